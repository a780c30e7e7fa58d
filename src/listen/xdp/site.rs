//! An interface that is served past the kernel: how that begins, goes on and ends.
//!
//! Order: the program, then sockets at all queues, then threads, and only then the addresses whose questions the program redirects, so that none comes
//! to where nobody is. At the end the program goes first, and threads answer what is there.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use super::interface;
use super::places::Places;
use super::program::{self, Attached, Mode, PLACES_MAX, QUEUES_MAX};
use super::queue::Queue;
use super::socket::Socket;
use crate::listen::udp::Outbox;
use crate::metrics::{How, Metrics, PastKernel};

/// Between looks at the addresses of the machine, in milliseconds.
const LOOK_INTERVAL_MS: u64 = 1000;

/// The UDP sockets, one for each address that is listened on: they answer what has to wait.
pub struct Behind {
    /// The address, and what sends from there.
    pub listeners: Vec<(SocketAddr, Arc<Outbox>)>,
}

impl Behind {
    fn new(sockets: &[UdpSocket]) -> io::Result<Behind> {
        let mut listeners: Vec<(SocketAddr, Arc<Outbox>)> = Vec::new();
        for socket in sockets {
            let at = socket.local_addr()?;
            if listeners.iter().all(|(other, _)| *other != at) {
                let outbox = Outbox::new(Arc::new(socket.try_clone()?));
                listeners.push((at, Arc::new(outbox)));
            }
        }
        Ok(Behind { listeners })
    }
}

/// What all queues of an interface share.
pub struct Site {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// The longest packet.
    pub mtu: AtomicUsize,
    /// What is served.
    pub places: ArcSwap<Places>,
    /// What is counted.
    pub counts: Arc<PastKernel>,
    /// Who answers later.
    pub behind: Arc<Behind>,
}

impl Site {
    /// Says that the interface has gone.
    pub fn is_gone(&self, error: &io::Error) {
        let reason = format!("the interface has gone: {error}");
        if self.counts.how() != How::Sockets(reason.clone()) {
            tracing::warn!(interface = self.name, %error, "AF_XDP ends here; sockets go on");
            self.counts.set_how(How::Sockets(reason));
        }
    }

    /// Looks at the machine's addresses, and has the program redirect what is for them.
    fn follow(&self, attached: &Attached) -> io::Result<()> {
        if let Ok(mtu) = interface::mtu(&self.name) {
            self.mtu.store(mtu, Ordering::Relaxed);
        }
        let listen: Vec<_> = self.behind.listeners.iter().map(|(at, _)| *at).collect();
        let now = Places::new(&self.name, &interface::addresses()?, &listen);
        let before = self.places.load_full();
        if now == *before {
            return Ok(());
        }
        let served = |places: &Places| {
            places
                .served()
                .take(PLACES_MAX as usize)
                .collect::<Vec<_>>()
        };
        let (old, new) = (served(&before), served(&now));
        for place in old.iter().filter(|place| !new.contains(place)) {
            attached.places.remove(*place)?;
        }
        self.places.store(Arc::new(now));
        for place in new.iter().filter(|place| !old.contains(place)) {
            attached.places.add(*place)?;
        }
        let addresses: Vec<_> = new.iter().map(SocketAddr::to_string).collect();
        tracing::info!(
            interface = self.name,
            addresses = addresses.join(" "),
            "served past the kernel"
        );
        Ok(())
    }
}

type Held = Arc<Mutex<Vec<(Arc<Site>, Attached)>>>;

/// The programs at the interfaces: they leave when this is dropped.
pub struct Attachments {
    held: Held,
    follows: Mutex<Option<JoinHandle<()>>>,
}

impl Attachments {
    /// Has questions come, and follows the addresses of the machine from now on. Must be called within a tokio runtime.
    pub fn follow(&self) {
        if lock(&self.held).is_empty() {
            return;
        }
        look(&self.held);
        let held = self.held.clone();
        let follows = tokio::spawn(async move {
            let mut interval = tokio::time::interval(Duration::from_millis(LOOK_INTERVAL_MS));
            loop {
                interval.tick().await;
                look(&held);
            }
        });
        *self.follows.lock().unwrap_or_else(PoisonError::into_inner) = Some(follows);
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        let follows = self
            .follows
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(follows) = follows.take() {
            follows.abort();
        }
        lock(&self.held).clear();
    }
}

fn lock(held: &Held) -> std::sync::MutexGuard<'_, Vec<(Arc<Site>, Attached)>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(held: &Held) {
    for (site, attached) in lock(held).iter() {
        if let Err(error) = site.follow(attached) {
            tracing::debug!(interface = site.name, %error, "AF_XDP: addresses could not be followed");
        }
    }
}

/// Prepares these interfaces: nothing comes until [`Attachments::follow`]. One that cannot be served this way is said to be so.
///
/// # Errors
/// A UDP socket is not as it should be.
pub fn open(
    interfaces: &[String],
    sockets: &[UdpSocket],
    metrics: &Metrics,
) -> io::Result<(Attachments, Vec<Queue>)> {
    let (mut held, mut queues) = (Vec::new(), Vec::new());
    if !interfaces.is_empty() {
        let behind = Arc::new(Behind::new(sockets)?);
        for name in interfaces {
            let counts = Arc::new(PastKernel::new(name));
            metrics.past.add(counts.clone());
            match open_one(name, counts.clone(), behind.clone()) {
                Ok((site, attached, sockets)) => {
                    held.push((site.clone(), attached));
                    queues.extend(
                        sockets
                            .into_iter()
                            .map(|socket| Queue::new(socket, site.clone())),
                    );
                }
                Err(error) => {
                    let reason = format!("{error}{}", hint(&error));
                    tracing::warn!(interface = name, %reason, "no AF_XDP here; sockets do it all");
                    counts.set_how(How::Sockets(reason));
                }
            }
        }
    }
    let attachments = Attachments {
        held: Arc::new(Mutex::new(held)),
        follows: Mutex::new(None),
    };
    Ok((attachments, queues))
}

type Opened = (Arc<Site>, Attached, Vec<Socket>);

fn open_one(name: &str, counts: Arc<PastKernel>, behind: Arc<Behind>) -> io::Result<Opened> {
    let index = interface::index(name)?;
    let mac = interface::mac(name)?;
    let attached = program::attach(index, mac, modes(name))?;
    let mut sockets = Vec::new();
    for queue in 0..QUEUES_MAX {
        // A driver without the program has nothing to do with the memory.
        let Some(socket) = Socket::open(index, queue, attached.mode == Mode::Generic)? else {
            break;
        };
        attached.enter(queue, socket.fd())?;
        sockets.push(socket);
    }
    let mode = match attached.mode {
        Mode::Native => "native",
        Mode::Generic => "generic",
    };
    let zero_copy = sockets.iter().all(Socket::is_zero_copy);
    let queues = sockets.len();
    tracing::info!(interface = name, queues, mode, zero_copy, "AF_XDP is ready");
    counts.set_how(How::Past {
        mode,
        zero_copy,
        queues,
    });
    let site = Site {
        name: name.to_owned(),
        index,
        mtu: AtomicUsize::new(interface::mtu(name)?),
        places: ArcSwap::default(),
        counts,
        behind,
    };
    Ok((Arc::new(site), attached, sockets))
}

/// What to try. A veth has no card, so nothing is saved in its driver, and there packets wait in a ring of 256 places that a burst fills.
fn modes(interface: &str) -> &'static [Mode] {
    match interface::driver(interface).as_deref() {
        Some("veth") => &[Mode::Generic],
        _ => &[Mode::Native, Mode::Generic],
    }
}

/// What helps.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it takes the capabilities CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF"
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::AlreadyExists => {
            "; another program is at the interface"
        }
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => {
            "; it takes Linux 5.9 with AF_XDP, and an interface of Ethernet"
        }
        _ if error.to_string().contains("memory for packets") => {
            "; it takes 4 MiB of locked memory for each queue (LimitMEMLOCK of systemd), or CAP_IPC_LOCK"
        }
        _ => "",
    }
}
