//! `holdfast top`: looks at the server again and again.

use std::io::{IsTerminal, Write, stdout};
use std::path::Path;
use std::time::Duration;

use holdfast::control::api::Request;
use holdfast::control::client::ask;
use holdfast::control::status::{Status, Top, TopName};

use super::Fault;

/// Moves to the top left of the terminal and clears the rest.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows a frame every `every`, so many of them or until it is stopped.
///
/// # Errors
/// No server answers, or nobody reads any more.
pub async fn top(
    socket: &Path,
    every: Duration,
    count: Option<u32>,
    json: bool,
) -> Result<(), Fault> {
    let clear = stdout().is_terminal() && !json;
    let mut before = look(socket).await?;
    let mut shown = 0;
    while count.is_none_or(|count| shown < count) {
        tokio::time::sleep(every).await;
        let now = look(socket).await?;
        let names: Vec<TopName> = serde_json::from_value(ask(socket, &Request::TopNames).await?)?;
        let frame = Top::between(&before, &now, every.as_secs_f64(), names);
        let mut text = match json {
            true => serde_json::to_string(&frame)?,
            false => frame.to_text(&now),
        };
        if clear {
            text.insert_str(0, CLEAR);
        }
        text.push('\n');
        let mut out = stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        (before, shown) = (now, shown + 1);
    }
    Ok(())
}

async fn look(socket: &Path) -> Result<Status, Fault> {
    Ok(serde_json::from_value(
        ask(socket, &Request::Status).await?,
    )?)
}
