//! What the status page looks at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast::control::history::{Counts, History, ROW_S, Row, Shade};
use holdfast::control::http;
use holdfast::control::status::{MirrorStatus, Status};
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Message, Question, Rtype};
use holdfast::drill::report::Report;
use holdfast::metrics::Times;
use holdfast::query::BoxFuture;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::operator::Operator;

/// A server that answers takes no longer for a name that it knows by itself.
const READY_TIME_MAX: Duration = Duration::from_secs(1);
/// The name.
const READY_NAME: &str = "localhost.";

/// The server as it can be looked at.
pub struct Shown {
    operator: Arc<Operator>,
    /// Where it answers over UDP.
    address: Option<SocketAddr>,
    history: Mutex<History>,
}

impl Shown {
    /// A server that listens on these addresses.
    pub fn new(operator: Arc<Operator>, listen: &[SocketAddr]) -> Arc<Shown> {
        Arc::new(Shown {
            operator,
            address: listen.first().copied().map(reachable),
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

    /// Asks over UDP what every server knows.
    async fn ask(&self) -> Result<(), String> {
        let Some(address) = self.address else {
            return Ok(());
        };
        let failed = |error: std::io::Error| format!("UDP {address}: {error}");
        let from: IpAddr = match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((from, 0)).await.map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        let name = READY_NAME.parse().expect("a name");
        let query = Message::query(0, Question::new(name, Rtype::A));
        let exchange = async {
            socket.send(&query.encode(MESSAGE_LEN_MAX)).await?;
            socket.recv(&mut [0; 512]).await
        };
        match timeout(READY_TIME_MAX, exchange).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(format!(
                "UDP {address}: no answer within {} s",
                READY_TIME_MAX.as_secs()
            )),
        }
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
        Box::pin(self.ask())
    }
}

/// The address at which this machine reaches itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
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
