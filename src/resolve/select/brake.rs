//! How fast servers that have fallen silent are asked again, whoever asks.
//!
//! Why: each question goes from server to server on its own, and when all servers of many busy names fall silent at the same moment
//! (October 2021), each of them does so before anybody can know. Their sum is what those servers, and the networks on the way, are sent.
//!
//! Model: packets of the last second ([`WINDOW`]) that a zone's servers have left unanswered, none of them having sent anything since.
//! When the first of these is late there is *doubt*, for [`DOUBT_FOR`], and while there is no more than a number of packets goes out in a second:
//!
//! | | packets |
//! |---|---|
//! | a question's first try, and looks at what is in trouble | [`FIRST_MAX`] |
//! | further tries | [`AGAIN_MAX`] |
//! | the same where the servers are known to be silent | [`SILENT_MAX`] |
//!
//! Who finds no room waits ([`HOLD_FOR`]) and sees again. Anything that any of the servers sends ends the doubt, so one that lives lifts the
//! brake for all, and at a return everybody goes on at once. Servers are counted, not zones: an operator's zones share what his servers are sent.
//!
//! Failure: what is not in the table was not sent anything; a full one forgets what is older than the window.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Packets count for so long.
const WINDOW: Duration = Duration::from_secs(1);
/// One that is late casts doubt for so long.
const DOUBT_FOR: Duration = Duration::from_secs(4);
/// Packets to a zone's servers in the window.
pub const FIRST_MAX: usize = 16;
pub const AGAIN_MAX: usize = 12;
pub const SILENT_MAX: usize = 4;
/// A question that finds no room sees again after so long.
pub const HOLD_FOR: Duration = Duration::from_millis(50);
/// A packet is late after this, however slow its server.
const LATE_MAX: Duration = Duration::from_millis(500);
/// Packets of a try to connect that nobody takes, within the window.
const PACKETS_TO_CONNECT: usize = 2;
/// Servers in the table before those that were not asked lately are dropped.
const SWEEP_AT: usize = 1024;

const _: () = assert!(SILENT_MAX < AGAIN_MAX && AGAIN_MAX < FIRST_MAX);

/// What servers were sent lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    servers: HashMap<IpAddr, Row>,
    sweep_at: usize,
}

#[derive(Debug, Clone, Default)]
struct Row {
    heard_at: Option<Duration>,
    /// When packets were sent since, and when each is late; bounded by `FIRST_MAX`, for more make no difference.
    packets: VecDeque<(Duration, Duration)>,
}

impl Row {
    fn is_of_use(&self, now: Duration) -> bool {
        let last = self.packets.back().map(|(sent_at, _)| *sent_at);
        last.max(self.heard_at)
            .is_some_and(|at| at + DOUBT_FOR > now)
    }
}

impl Sent {
    /// A question goes to the server, which usually answers within that time.
    pub fn sent(&mut self, server: IpAddr, connects: bool, usual: Duration, now: Duration) {
        if self.servers.len() >= self.sweep_at.max(SWEEP_AT) {
            self.servers.retain(|_, row| row.is_of_use(now));
            self.sweep_at = self.servers.len() * 2;
        }
        let packets = &mut self.servers.entry(server).or_default().packets;
        let count = if connects { PACKETS_TO_CONNECT } else { 1 };
        for _ in 0..count {
            packets.push_back((now, now + usual.min(LATE_MAX)));
        }
        while packets.len() > FIRST_MAX {
            packets.pop_front();
        }
    }

    /// The server has sent something.
    pub fn heard(&mut self, server: IpAddr, now: Duration) {
        if let Some(row) = self.servers.get_mut(&server) {
            row.packets.clear();
            row.heard_at = Some(now);
        }
    }

    /// The network has said that the server cannot be reached: nobody waits for it.
    pub fn settled(&mut self, server: IpAddr) {
        if let Some(row) = self.servers.get_mut(&server) {
            row.packets.clear();
        }
    }

    /// Packets of the last second that these servers have left unanswered, where that is doubtful; 0 where it is not.
    pub fn in_doubt(&self, servers: &[IpAddr], now: Duration) -> usize {
        let rows = || servers.iter().filter_map(|a| self.servers.get(a));
        let heard_at = rows().filter_map(|row| row.heard_at).max();
        let unanswered = |(sent_at, _): &&(Duration, Duration)| {
            *sent_at + DOUBT_FOR > now && heard_at.is_none_or(|at| *sent_at >= at)
        };
        let (mut count, mut is_late) = (0, false);
        for (sent_at, late_at) in rows().flat_map(|row| row.packets.iter().filter(unanswered)) {
            count += usize::from(*sent_at + WINDOW > now);
            is_late |= *late_at <= now;
        }
        if is_late { count } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_is_unanswered_counts_from_the_first_that_is_late_until_anything_is_heard() {
        let mut sent = Sent::default();
        let both = [ONE, TWO];
        sent.sent(ONE, false, ms(50), ms(0));
        sent.sent(TWO, true, ms(400), ms(20));
        // A burst to servers that answer in time is none of the brake's business.
        assert_eq!(sent.in_doubt(&both, ms(49)), 0);
        assert_eq!(sent.in_doubt(&both, ms(50)), 3);
        assert_eq!(sent.in_doubt(&[TWO], ms(50)), 0);
        // One that lives speaks for the zone, not for zones that it does not serve.
        sent.heard(TWO, ms(60));
        assert_eq!(sent.in_doubt(&both, ms(70)), 0);
        assert_eq!(sent.in_doubt(&[ONE], ms(70)), 1);
        sent.sent(ONE, false, ms(50), ms(80));
        assert_eq!(sent.in_doubt(&both, ms(130)), 1);
        // After a second it counts no more, and doubt stays: who waits meanwhile must not go all at once.
        sent.sent(ONE, false, ms(50), ms(1080));
        assert_eq!(sent.in_doubt(&both, ms(1081)), 1);
        sent.sent(ONE, false, ms(50), ms(6000));
        assert_eq!(sent.in_doubt(&both, ms(6001)), 0);
    }

    #[test]
    fn the_table_keeps_to_what_is_of_use() {
        let mut sent = Sent::default();
        for n in 0..100_000u32 {
            let server = IpAddr::V4(n.into());
            sent.sent(server, false, ms(50), ms(u64::from(n)));
            (0..100).for_each(|_| sent.sent(server, false, ms(50), ms(u64::from(n))));
        }
        assert!(sent.servers.len() < 16_384, "{}", sent.servers.len());
        assert!(
            sent.servers
                .values()
                .all(|row| row.packets.len() <= FIRST_MAX)
        );
    }
}
