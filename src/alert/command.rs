//! Alerts to a program: it is run for each, without a shell, with the alert as JSON on its standard input and in its environment.
//!
//! It finds `HOLDFAST_ALERT_KIND`, `_SEVERITY`, `_SUBJECT`, `_TEXT`, `_AT`, `_LEFT_OUT` and `PATH`, nothing else of this process. Its output goes
//! nowhere. It runs in a process group of its own, at most [`AT_ONCE_MAX`] at a time, and each for [`TIME_MAX_S`]: then the whole group
//! is killed.
//!
//! Failure: an exit code other than 0, or none, is counted. It is not run again: who is to be woken may have been.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Outgoing;
use super::task::Told;
use crate::metrics::Metrics;

/// Programs at once.
pub const AT_ONCE_MAX: usize = 4;
/// A program may take so long, in seconds.
pub const TIME_MAX_S: u64 = 30;
/// Where programs are looked for, when this process does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `command` for what comes, until nothing comes any more.
pub async fn run_all(
    command: Vec<String>,
    mut queue: mpsc::Receiver<Arc<Outgoing>>,
    metrics: Arc<Metrics>,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let (command, told) = (Arc::new(command), Arc::new(Told::default()));
    while let Some(alert) = queue.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (command, told, metrics) = (command.clone(), told.clone(), metrics.clone());
        tokio::spawn(async move {
            let _place = place;
            match run(&command, &alert).await {
                Ok(()) => {
                    metrics.alerts_command_done_total.inc();
                    told.works(|| tracing::info!("alerts.command takes alerts again"));
                }
                Err(why) => {
                    metrics.alerts_command_failed_total.inc();
                    told.failed(|| tracing::warn!("alerts.command: {why}"));
                }
            }
        });
    }
}

/// Runs it once.
///
/// # Errors
/// It could not be run, took too long, or said that it failed.
pub async fn run(command: &[String], alert: &Outgoing) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("no program".into());
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let about = &alert.alert;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .env("HOLDFAST_ALERT_KIND", about.kind.word())
        .env("HOLDFAST_ALERT_SEVERITY", about.severity.word())
        .env("HOLDFAST_ALERT_SUBJECT", without_nul(&about.subject))
        .env("HOLDFAST_ALERT_TEXT", without_nul(&about.text))
        .env("HOLDFAST_ALERT_AT", &alert.at)
        .env("HOLDFAST_ALERT_LEFT_OUT", alert.left_out.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let limit = Duration::from_secs(TIME_MAX_S);
    let ended = timeout(limit, feed(&mut child, alert.to_json())).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => {
            kill_group(&child);
            let _ = child.wait().await;
            Err(format!(
                "{program} took longer than {TIME_MAX_S} s and was killed"
            ))
        }
    }
}

async fn feed(child: &mut Child, json: String) -> std::io::Result<ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read it may have all that he needs in his environment.
        let _ = stdin.write_all(json.as_bytes()).await;
    }
    child.wait().await
}

fn without_nul(text: &str) -> String {
    text.replace('\0', " ")
}

/// Ends a program that has not been waited for, and what it has started.
fn kill_group(child: &Child) {
    let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    // SAFETY: a plain system call. The child leads a group of its own, and until it is waited for its number is given to nobody else.
    unsafe {
        libc::kill(-id, libc::SIGKILL);
    }
}
