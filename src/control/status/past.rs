//! What `holdfast status` says of interfaces whose UDP comes and goes past the kernel (`server.xdp`).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::metrics::{AllPast, How, PastKernel, REASONS};

/// An interface of `server.xdp`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PastKernelStatus {
    /// Its name.
    pub interface: String,
    /// `native`, `generic`, or `sockets` where it is served by sockets alone.
    pub mode: String,
    /// Why it is served by sockets alone.
    pub error: Option<String>,
    /// Receive queues that are served.
    pub queues: u64,
    /// Whether packets come without being copied.
    pub zero_copy: bool,
    /// Datagrams that came past the kernel, those that were dropped not among them.
    pub received: u64,
    /// Answers that went back at once.
    pub answered: u64,
    /// Queries that were handed over to the sockets: they wait for something, or their answer is too long for a packet.
    pub passed_on: u64,
    /// Packets that were dropped, by reason: `malformed`, `ip_checksum`, `udp_checksum`, `source` (nobody can have sent it from there), `destination` (no
    /// address that is served), `overrun` (no room).
    pub dropped: BTreeMap<String, u64>,
}

impl PastKernelStatus {
    /// All interfaces.
    pub fn all(interfaces: &AllPast) -> Vec<PastKernelStatus> {
        let interfaces = interfaces.all();
        interfaces
            .iter()
            .map(|of| PastKernelStatus::of(of))
            .collect()
    }

    fn of(interface: &PastKernel) -> PastKernelStatus {
        let (mode, zero_copy, queues, error) = match interface.how() {
            How::Beginning => ("sockets", false, 0, None),
            How::Past {
                mode,
                zero_copy,
                queues,
            } => (mode, zero_copy, queues as u64, None),
            How::Sockets(reason) => ("sockets", false, 0, Some(reason)),
        };
        let dropped = REASONS.iter().zip(&interface.dropped_total);
        PastKernelStatus {
            interface: interface.interface.clone(),
            mode: mode.into(),
            error,
            queues,
            zero_copy,
            received: interface.received_total.value(),
            answered: interface.answered_total.value(),
            passed_on: interface.passed_on_total.value(),
            dropped: dropped
                .map(|(reason, n)| ((*reason).into(), n.value()))
                .collect(),
        }
    }
}

/// The form for people; nothing where there is nothing to say.
pub(super) fn write(interfaces: &[PastKernelStatus], out: &mut String) {
    for of in interfaces {
        let name = &of.interface;
        if let Some(error) = &of.error {
            let _ = writeln!(out, "! {name} is served by sockets, not by AF_XDP: {error}");
            continue;
        }
        let copies = match of.zero_copy {
            true => "zero-copy",
            false => "copying",
        };
        let _ = write!(
            out,
            "\n{name} by AF_XDP ({}, {copies}, queues: {}): {} received, {} answered, {} passed on",
            of.mode, of.queues, of.received, of.answered, of.passed_on
        );
        for (reason, n) in of.dropped.iter().filter(|(_, n)| **n > 0) {
            let _ = write!(out, ", {n} dropped ({})", reason.replace('_', " "));
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn how_it_is_served_is_told() {
        let all = AllPast::default();
        let [eth0, eth1] = ["eth0", "eth1"].map(|name| Arc::new(PastKernel::new(name)));
        eth0.set_how(How::Past {
            mode: "generic",
            zero_copy: false,
            queues: 2,
        });
        eth0.received_total.add(7);
        eth0.answered_total.add(6);
        eth0.passed_on_total.inc();
        eth0.dropped_total[2].inc();
        eth1.set_how(How::Sockets("there is no such interface".into()));
        all.add(eth0);
        all.add(eth1);
        let mut out = String::new();
        write(&PastKernelStatus::all(&all), &mut out);
        let expected = "
eth0 by AF_XDP (generic, copying, queues: 2): 7 received, 6 answered, 1 passed on, 1 dropped (udp checksum)
! eth1 is served by sockets, not by AF_XDP: there is no such interface
";
        assert_eq!(out, expected);
    }
}
