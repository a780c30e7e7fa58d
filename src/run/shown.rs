//! What the status page looks at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast::control::history::{Counts, History, ROW_S, Row, Shade};
use holdfast::control::http;
use holdfast::control::status::{MirrorStatus, Status};
use holdfast::drill::report::Report;
use holdfast::metrics::Times;
use holdfast::query::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};

use super::operator::Operator;
use super::ready::Doors;

/// The server as it can be looked at.
pub struct Shown {
    operator: Arc<Operator>,
    doors: Doors,
    history: Mutex<History>,
}

impl Shown {
    /// A server that answers there.
    pub fn new(operator: Arc<Operator>, doors: Doors) -> Arc<Shown> {
        Arc::new(Shown {
            operator,
            doors,
            history: Mutex::default(),
        })
    }

    /// Writes down every minute, for as long as the server runs.
    pub async fn keep_history(self: Arc<Self>) {
        let mut minutes = interval(Duration::from_secs(ROW_S));
        minutes.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first one ends at once.
        minutes.tick().await;
        loop {
            minutes.tick().await;
            let mirrors = self.operator.mirrors();
            let shades = mirrors.iter().map(|m| (m.mirror.zone.clone(), shade(m)));
            let counts = Counts::of(&self.operator.metrics);
            let wall_s = self.operator.clock.now().wall_s;
            self.lock().note(wall_s, counts, shades.collect());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http::Shown for Shown {
    fn status(&self) -> Status {
        self.operator.status()
    }

    fn metrics(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.operator.metrics()
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.operator.metrics)
    }

    fn waits(&self) -> Times {
        self.operator.metrics.waits.times()
    }

    fn history(&self) -> Vec<Row> {
        self.lock().rows().cloned().collect()
    }

    fn outlook(&self) -> Option<Report> {
        self.operator.drills.outlook()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.doors.ask())
    }
}

fn shade(mirror: &MirrorStatus) -> Shade {
    let usable = mirror.mirror.usable.as_deref();
    match mirror.state.as_str() {
        _ if usable.is_none_or(|usable| usable == "too old") => Shade::Bare,
        "online" => Shade::Online,
        "isolated" => Shade::Isolated,
        _ => Shade::Suspect,
    }
}
