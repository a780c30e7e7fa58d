//! Logging to stderr, as text or JSON, with a level that a reload may change; and the tap that takes alerts from it, at whatever level.

use std::io::IsTerminal;

use holdfast::alert::Tap;
use holdfast::config::{LogFormat, LogLevel};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Changes the level of a running log.
pub struct LogLevels {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log of the process. To be called once.
pub fn start(level: LogLevel, format: LogFormat, alerts: Option<Tap>) -> LogLevels {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // What is no news for the log of this level may be an alert all the same, so each has a filter of its own.
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(alerts.map(|tap| tap.with_filter(Tap::filter())))
        .init();
    LogLevels { handle }
}

impl LogLevels {
    /// Sets the level from now on.
    pub fn set(&self, level: LogLevel) {
        // It fails only when the log is gone, and then there is nobody to tell.
        let _ = self.handle.reload(filter(level));
    }
}

/// The listeners' library logs two lines per query at `info`, and peers' faults as warnings; both are for
/// debugging only.
fn filter(level: LogLevel) -> EnvFilter {
    let (own, libraries) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "error"),
        LogLevel::Info => ("info", "error"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "debug"),
    };
    EnvFilter::new(format!("{libraries},holdfast={own}"))
}
