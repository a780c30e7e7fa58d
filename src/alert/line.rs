//! From a line of the log to an alert.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::task::Inbox;
use super::{Alert, DETAILS_MAX, QUEUE_MAX, Severity, TEXT_BYTES_MAX};
use crate::metrics::Metrics;
use crate::news::News;

/// The field that makes a line an alert.
const FIELD: &str = "alert";
/// The span around whatever a drill's own world logs.
const REHEARSAL: &str = "drill";
/// Fields that say what a line is about.
const SUBJECTS: [&str; 4] = ["zone", "prefix", "catalog", "cut"];

/// Hangs in the log and picks up alerts. Never waits.
#[derive(Clone)]
pub struct Tap {
    sender: mpsc::Sender<Alert>,
    metrics: Arc<Metrics>,
}

/// A tap, and where what it takes comes out.
pub fn tap(metrics: Arc<Metrics>) -> (Tap, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE_MAX);
    (Tap { sender, metrics }, Inbox(inbox))
}

impl Tap {
    /// To be laid over the tap: what is no alert costs nothing then.
    pub fn filter() -> FilterFn<impl Fn(&Metadata<'_>) -> bool + Clone> {
        // The span is needed to tell what is inside of it.
        let is_wanted = |metadata: &Metadata<'_>| match metadata.is_span() {
            true => metadata.name() == REHEARSAL,
            false => metadata.fields().field(FIELD).is_some(),
        };
        filter_fn(is_wanted).with_max_level_hint(LevelFilter::INFO)
    }

    fn tell(&self, alert: Alert) {
        alert.kind.metric(&self.metrics).inc();
        self.metrics.alerts_total.inc();
        if self.sender.try_send(alert).is_err() {
            self.metrics.alerts_dropped_total.inc();
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        if scope.any(|span| span.name() == REHEARSAL) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(alert) = line.alert(*event.metadata().level()) {
            self.tell(alert);
        }
    }
}

/// The fields of a line.
#[derive(Default)]
struct Line {
    kind: Option<News>,
    text: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    /// None where the field is there and empty: not every line of that place is an alert.
    fn alert(mut self, level: Level) -> Option<Alert> {
        let kind = self.kind?;
        let subject = SUBJECTS.iter().find_map(|field| self.fields.remove(*field));
        Some(Alert {
            kind,
            severity: match level {
                Level::ERROR => Severity::Critical,
                Level::WARN => Severity::Warning,
                _ => Severity::Info,
            },
            subject: subject.unwrap_or_default(),
            text: self.text,
            details: self.fields,
        })
    }

    fn note(&mut self, field: &Field, value: Bounded) {
        match field.name() {
            FIELD => self.kind = News::from_word(&value.0),
            "message" => self.text = value.0,
            name if self.fields.len() < DETAILS_MAX => {
                self.fields.insert(name.to_owned(), value.0);
            }
            _ => {}
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // It fails when there is no more room.
        let _ = write!(text, "{value:?}");
        self.note(field, text);
    }
}

/// Text of a bounded length.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at));
        self.0.push_str(&text[..end.unwrap_or(0)]);
        Err(fmt::Error)
    }
}
