//! Takes alerts in, limits them, and has them sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::limit::{Limiter, Taken};
use super::webhook::Webhook;
use super::{Alert, Outgoing, QUEUE_MAX, command};
use crate::clock::{Clock, format_utc};
use crate::config;
use crate::metrics::Metrics;
use crate::mirror::{Connect, Lookup};

/// What alerts need of the world.
pub struct Deps {
    /// Where they go.
    pub config: config::Alerts,
    /// The way to the web server.
    pub connect: Arc<dyn Connect>,
    /// From its name to its addresses.
    pub lookup: Arc<dyn Lookup>,
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Where alerts come out of the log.
pub struct Inbox(pub(super) mpsc::Receiver<Alert>);

/// Limits and sends alerts, for as long as it is polled.
pub async fn run(mut inbox: Inbox, deps: Deps) {
    let Deps {
        config,
        connect,
        lookup,
        clock,
        metrics,
    } = deps;
    let mut doors = Vec::new();
    let mut workers = tokio::task::JoinSet::new();
    if let Some(to) = config.webhook.clone() {
        let (door, queue) = mpsc::channel(QUEUE_MAX);
        doors.push(door);
        let webhook = Webhook {
            to,
            ca: config.ca.clone(),
            connect,
            lookup,
            clock: clock.clone(),
        };
        workers.spawn(webhook.send_all(queue, metrics.clone()));
    }
    if !config.command.is_empty() {
        let (door, queue) = mpsc::channel(QUEUE_MAX);
        doors.push(door);
        workers.spawn(command::run_all(
            config.command.clone(),
            queue,
            metrics.clone(),
        ));
    }
    let mut limiter = Limiter::new(Duration::from_secs(config.interval_s));
    let server = machine();
    let send = |alert: Alert, left_out: u64| {
        let outgoing = Arc::new(Outgoing {
            at: format_utc(clock.now().wall_s),
            server: server.clone(),
            alert,
            left_out,
        });
        for door in &doors {
            if door.try_send(outgoing.clone()).is_err() {
                metrics.alerts_dropped_total.inc();
            }
        }
    };
    loop {
        let now = clock.now().mono;
        let wait = limiter.next_due().map(|due| due.saturating_sub(now));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            alert = inbox.0.recv() => {
                let Some(alert) = alert else {
                    return;
                };
                match limiter.take(alert, clock.now().mono) {
                    Taken::Now(alert, left_out) => {
                        metrics.alerts_limited_total.add(left_out);
                        send(alert, left_out);
                    }
                    Taken::Held(_) => {}
                    Taken::NoRoom => metrics.alerts_dropped_total.inc(),
                }
            }
            () = due => {
                for (alert, left_out) in limiter.due(clock.now().mono) {
                    metrics.alerts_limited_total.add(left_out);
                    send(alert, left_out);
                }
            }
        }
    }
}

/// This machine's name.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}

/// Whether it works, to be told once when that changes.
#[derive(Default)]
pub(super) struct Told(AtomicBool);

impl Told {
    /// Says that it failed, unless it was said.
    pub fn failed(&self, say: impl FnOnce()) {
        if !self.0.swap(true, Ordering::Relaxed) {
            say();
        }
    }

    /// Says that it works, if it was said that it does not.
    pub fn works(&self, say: impl FnOnce()) {
        if self.0.swap(false, Ordering::Relaxed) {
            say();
        }
    }
}
