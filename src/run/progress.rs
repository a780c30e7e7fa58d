//! What is being done and how far it has come, as a line on stderr with a bar, while it lasts. Nothing where nobody looks on: what is no terminal
//! stays as it is.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use holdfast::mirror::verify::Pace;

/// Pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(500);
/// Cells of the bar.
const BAR_LEN: usize = 24;
/// Where the terminal does not tell how wide it is, in columns.
const COLUMNS: usize = 80;

/// The line. Dropping it takes it away.
pub struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    says: Mutex<Says>,
    ended: AtomicBool,
}

/// What is said.
struct Says {
    what: String,
    share: Option<f64>,
    pace: Option<Arc<Pace>>,
}

impl Progress {
    /// Begins to say it.
    pub fn start(what: String) -> Progress {
        Progress::following(what, None)
    }

    /// The same, with a bar that follows a verification.
    pub fn of_verification(what: String, pace: Arc<Pace>) -> Progress {
        Progress::following(what, Some(pace))
    }

    fn following(what: String, pace: Option<Arc<Pace>>) -> Progress {
        let says = Says {
            what,
            share: None,
            pace,
        };
        let shared = Arc::new(Shared {
            says: Mutex::new(says),
            ended: AtomicBool::new(false),
        });
        let thread = io::stderr().is_terminal().then(|| {
            let shared = shared.clone();
            std::thread::spawn(move || show(&shared))
        });
        Progress { shared, thread }
    }

    /// Says something else from now on; `share`, from 0 to 1, is the part that is done, where it is known.
    pub fn say(&self, what: String, share: Option<f64>) {
        let mut says = (self.shared.says.lock()).unwrap_or_else(PoisonError::into_inner);
        (says.what, says.share) = (what, share);
    }

    /// Whether anybody looks on.
    pub fn is_shown(&self) -> bool {
        self.thread.is_some()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// A way out that ends the progress as soon as there is something to say.
pub struct AfterProgress<W> {
    /// What is said until then.
    pub progress: Option<Progress>,
    /// Where it goes.
    pub out: W,
}

impl<W: Write> Write for AfterProgress<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.progress = None;
        self.out.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn show(shared: &Shared) {
    let mut looks = 0;
    while !shared.ended.load(Ordering::Relaxed) {
        std::thread::park_timeout(PAUSE);
        looks += 1;
        let text = {
            let says = (shared.says.lock()).unwrap_or_else(PoisonError::into_inner);
            let paced = says.pace.as_ref().and_then(|pace| pace.share());
            line(&says.what, says.share.or(paced), PAUSE * looks, columns())
        };
        eprint!("\r\x1b[K{text}");
    }
    eprint!("\r\x1b[K");
}

/// The line, no wider than `columns`: a longer one would leave its beginning behind on the terminal.
fn line(what: &str, share: Option<f64>, since: Duration, columns: usize) -> String {
    let mut text = String::new();
    if let Some(share) = share {
        let share = share.clamp(0.0, 1.0);
        let filled = (share * BAR_LEN as f64) as usize;
        let (full, empty) = ("#".repeat(filled), "-".repeat(BAR_LEN - filled));
        text = format!("[{full}{empty}] {:3.0} % ", (share * 100.0).floor());
    }
    let end = format!(" ({} s)", since.as_secs());
    let room = columns.saturating_sub(1 + text.len() + end.len());
    text.extend(what.chars().take(room));
    text + &end
}

/// How wide the terminal is.
fn columns() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call writes into the one struct that outlives it.
    let told = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    match (told, size.ws_col) {
        (0, 1..) => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_bar_where_the_end_is_known_and_fits_the_terminal() {
        let check = |share, columns, expected: &str| {
            let line = line(
                "verifying x.zone",
                share,
                Duration::from_millis(7500),
                columns,
            );
            assert_eq!(line, expected);
            assert!(line.len() < columns);
        };
        check(None, 80, "verifying x.zone (7 s)");
        check(
            Some(0.0),
            80,
            "[------------------------]   0 % verifying x.zone (7 s)",
        );
        check(
            Some(0.999),
            80,
            "[#######################-]  99 % verifying x.zone (7 s)",
        );
        check(
            Some(7.0),
            80,
            "[########################] 100 % verifying x.zone (7 s)",
        );
        check(
            Some(0.5),
            51,
            "[############------------]  50 % verifying x (7 s)",
        );
        check(None, 20, "verifying x.z (7 s)");
    }
}
