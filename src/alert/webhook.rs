//! Alerts to a web server: each a POST of its JSON.
//!
//! Failure: another try after [`TRY_AGAIN_S`]; then it is given up and counted. One alert after another: who waits meanwhile, waits in a
//! bounded queue. The address may hold a secret, so errors name the server alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Outgoing;
use super::task::Told;
use crate::clock::Clock;
use crate::config::WebUrl;
use crate::metrics::Metrics;
use crate::mirror::source::https::{self, HttpsError};
use crate::mirror::source::tls::{Tls, roots};
use crate::mirror::{Connect, Lookup, blocking};

/// Pauses before the tries after the first, in seconds.
pub const TRY_AGAIN_S: [u64; 2] = [2, 15];
/// A try may take so long, in seconds.
pub const TRY_TIME_MAX_S: u64 = 15;

/// The web server, and the way to it.
pub struct Webhook {
    /// Its address.
    pub to: WebUrl,
    /// Who vouches for it; else those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The way to addresses.
    pub connect: Arc<dyn Connect>,
    /// From names to addresses.
    pub lookup: Arc<dyn Lookup>,
    /// Judges certificates.
    pub clock: Clock,
}

impl Webhook {
    /// Sends what comes, until nothing comes any more.
    pub async fn send_all(self, mut queue: mpsc::Receiver<Arc<Outgoing>>, metrics: Arc<Metrics>) {
        let told = Told::default();
        let server = self.to.at.host.to_string();
        while let Some(alert) = queue.recv().await {
            match self.send_patiently(&alert).await {
                Ok(()) => {
                    metrics.alerts_webhook_sent_total.inc();
                    told.works(|| tracing::info!(server, "alerts.webhook takes alerts again"));
                }
                Err(why) => {
                    metrics.alerts_webhook_failed_total.inc();
                    told.failed(|| {
                        tracing::warn!(server, "alerts.webhook: an alert could not be sent: {why}")
                    });
                }
            }
        }
    }

    async fn send_patiently(&self, alert: &Outgoing) -> Result<(), String> {
        let mut why = match self.send(alert).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        for pause_s in TRY_AGAIN_S {
            sleep(Duration::from_secs(pause_s)).await;
            match self.send(alert).await {
                Ok(()) => return Ok(()),
                Err(again) => why = again,
            }
        }
        Err(why)
    }

    async fn send(&self, alert: &Outgoing) -> Result<(), String> {
        let work = async {
            let tls = match self.to.is_secure {
                true => {
                    let ca = self.ca.clone();
                    let roots = blocking(move || roots(ca.as_deref())).await?;
                    Some(Tls::for_web(roots, &self.clock))
                }
                false => None,
            };
            let way = https::Door {
                connect: &*self.connect,
                lookup: &*self.lookup,
                tls: tls.as_ref(),
            };
            https::post(&way, &self.to.at, alert.to_json()).await
        };
        let done = timeout(Duration::from_secs(TRY_TIME_MAX_S), work).await;
        done.map_err(|_| format!("no answer within {TRY_TIME_MAX_S} s"))?
            .map_err(|error: HttpsError| error.to_string())
    }
}
