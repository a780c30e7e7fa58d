//! UDP past the kernel: AF_XDP, for the interfaces of `server.xdp`.
//!
//! Why: of what it costs to answer a query, most is the kernel's way from the interface to a socket and back. With AF_XDP frames come into memory that is
//! shared with the kernel, and leave from there (benches/README.md has what that brings). It is built with the cargo feature `xdp` alone, and off unless
//! `server.xdp` names an interface.
//!
//! Model: a small `program` at the interface picks queries out of what comes, by the `places` that are served there; everything else stays with the kernel. Each receive
//! queue has a `socket` and a thread that reads frames (`frame`), has them answered as what comes by the UDP sockets is, with the same access list,
//! limits, cookies and counters (`super::udp`), and writes answers over the questions (`queue`). What has to wait, and what is too long, is
//! answered by the UDP sockets. Once a second it is looked whether addresses have come or gone.
//!
//! What does not hold there: nftables, routes and reverse path filters see neither these questions nor their answers; an answer goes back to the neighbour that
//! the question came from. `tcpdump` sees the answers alone.
//!
//! Failure: an interface that is not there, a kernel that is too old, a right that is missing are a warning and a line of `status`, and the sockets do
//! all of the work, as they do for what comes by other interfaces. The program leaves the interface with this process, however that ends.

pub mod frame;
#[cfg(feature = "xdp")]
pub mod interface;
pub mod places;
#[cfg(feature = "xdp")]
pub mod program;
#[cfg(feature = "xdp")]
mod queue;
#[cfg(feature = "xdp")]
mod site;
#[cfg(feature = "xdp")]
pub mod socket;

#[cfg(feature = "xdp")]
pub(super) use site::{Attachments, open};

/// What of these interfaces of `server.xdp` is not here, for people; a server would go on with its sockets.
pub fn missing(interfaces: &[String]) -> Vec<String> {
    #[cfg(feature = "xdp")]
    let is_missing = |name: &&String| interface::index(name).is_err();
    // The configuration has none without the feature.
    #[cfg(not(feature = "xdp"))]
    let is_missing = |_: &&String| false;
    let missing = interfaces.iter().filter(is_missing);
    missing
        .map(|name| format!("server.xdp: this machine has no interface {name}; it would be served by sockets alone"))
        .collect()
}

/// An error of the kernel with what it was about.
#[cfg(feature = "xdp")]
fn named(what: &str, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What the last system call failed with, and what it was about.
#[cfg(feature = "xdp")]
fn step(what: &str) -> std::io::Error {
    named(what, &std::io::Error::last_os_error())
}
