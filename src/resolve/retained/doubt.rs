//! What was kept before somebody seemed to answer in everybody's place (`resolve::hijack`).
//!
//! Why: who answers in the place of parents for a minute can name his own servers, and of a zone that is not signed nothing ever shows that
//! they are not its own. So what has changed since the last answer that validated can be taken back, and then what stood there before is to
//! be there still: nothing that was honestly learned goes with him.
//!
//! Model: each change is dated. The first one after the last good answer puts what stood there aside; later ones leave that alone. What merely is
//! confirmed is no change.
//!
//! Failure: what was learned for the first time since goes, and is learned again from who gave it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{Cut, Entry, Host, Servers};
use super::{Key, Retained};
use crate::clock::Now;
use crate::dns::Name;

/// A delegation as it was.
#[derive(Debug, Clone)]
pub(super) struct FormerEntry {
    pub(super) servers: Servers,
    confirmed_s: u64,
}

/// Addresses of a name server as they were.
#[derive(Debug, Clone)]
pub(super) struct FormerHost {
    pub(super) a: Option<Box<[IpAddr]>>,
    pub(super) aaaa: Option<Box<[IpAddr]>>,
    seen_s: u64,
}

impl Entry {
    /// Dates this newer word of the parent of `known`; `changed` where it says something else. Everything was good at `good_s`.
    pub(super) fn follow(&mut self, known: &Entry, changed: bool, good_s: u64) {
        let is_in_doubt = known.changed_s >= good_s;
        match (changed, is_in_doubt) {
            (true, true) => self.former.clone_from(&known.former),
            (true, false) if known.parent_labels == self.parent_labels => {
                self.former = Some(Box::new(FormerEntry {
                    servers: known.servers.clone(),
                    confirmed_s: known.confirmed_s,
                }));
            }
            (true, false) => {}
            (false, _) => {
                self.changed_s = known.changed_s;
                if is_in_doubt {
                    self.former.clone_from(&known.former);
                }
            }
        }
    }
}

impl Host {
    /// Puts aside what is known, before it changes.
    pub(super) fn date(&mut self, known: &Host, now_s: u64, good_s: u64) {
        if known.changed_s < good_s && !known.is_empty() {
            self.former = Some(Box::new(FormerHost {
                a: known.a.clone(),
                aaaa: known.aaaa.clone(),
                seen_s: known.seen_s,
            }));
        }
        self.changed_s = now_s;
    }
}

impl Retained {
    /// An answer has validated: what stands here now is believed.
    pub fn trusted(&self, now: Now) {
        self.good_s.store(now.wall_s, Ordering::Relaxed);
    }

    /// What was kept when the program last ran is believed.
    pub(super) fn begin_good(&self, now: Now) {
        let order = Ordering::Relaxed;
        let _ = (self.good_s).compare_exchange(0, now.wall_s, order, order);
    }

    /// Takes back what parents or others have said since that second, as far as nobody can prove it; returns how many entries changed.
    pub fn distrust(&self, since_s: u64) -> usize {
        if let Some(original) = &self.original {
            original.distrust(since_s);
        }
        let mut tables = self.tables();
        let is_signed = |entry: &Entry| matches!(entry.cut, Cut::Signed { .. });
        let zones = tables.zones.iter();
        let zones = zones.filter(|(_, e)| e.changed_s >= since_s && !is_signed(e));
        let zones: Vec<(Name, Arc<Entry>)> = zones.map(|(z, e)| (z.clone(), e.clone())).collect();
        let hosts = tables.hosts.iter().filter(|(_, h)| h.changed_s >= since_s);
        let hosts: Vec<(Name, Arc<Host>)> = hosts.map(|(n, h)| (n.clone(), h.clone())).collect();
        let changed = zones.len() + hosts.len();
        for (zone, entry) in zones {
            let mut entry = Entry::clone(&entry);
            let Some(former) = entry.former.take() else {
                tables.remove_zone(&zone);
                continue;
            };
            (entry.servers, entry.confirmed_s) = (former.servers, former.confirmed_s);
            entry.changed_s = former.confirmed_s;
            tables.put_zone(zone.clone(), entry.into());
            tables.unwritten.insert(Key::Zone(zone));
        }
        for (name, host) in hosts {
            let mut host = Host::clone(&host);
            let Some(former) = host.former.take() else {
                tables.remove_host(&name);
                continue;
            };
            (host.a, host.aaaa, host.seen_s) = (former.a, former.aaaa, former.seen_s);
            host.changed_s = former.seen_s;
            tables.put_host(name.clone(), host.into());
            tables.unwritten.insert(Key::Host(name));
        }
        if tables.unwritable {
            tables.unwritten.clear();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::{Question, Rtype};
    use crate::resolve::delegation::{Delegation, DelegationOrigin};
    use crate::resolve::retained::Settings;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(s: u64) -> Now {
        Now::new(Duration::from_secs(s), 1_000_000 + s)
    }

    fn address(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    /// `com.` refers to the zone, which is served at the address of that number.
    fn refer(kept: &Retained, zone: &str, host: u8, s: u64) {
        let delegation = Delegation {
            zone: name(zone),
            servers: vec![(name("ns.net."), vec![address(host)])],
            expiry: None,
            origin: DelegationOrigin::Network,
        };
        kept.learn(&delegation, &name("com."), at(s));
    }

    fn find(kept: &Retained, host: u8, s: u64) {
        kept.learn_addresses(&name("ns.org."), Rtype::A, &[address(host)], at(s));
    }

    /// Where the zone and the name server are, as far as is kept.
    fn kept_of(kept: &Retained, zone: &str) -> (Option<IpAddr>, Option<IpAddr>) {
        let question = Question::new(name(zone), Rtype::A);
        let zone = kept.take(&name("com."), &question, at(1000));
        let host = kept.addresses(&name("ns.org."), Rtype::A, at(1000));
        (
            zone.map(|(delegation, _)| delegation.servers[0].1[0]),
            host.and_then(|host| host.list.first().copied()),
        )
    }

    fn since(s: u64) -> u64 {
        at(s).wall_s
    }

    #[test]
    fn what_stood_there_before_the_last_good_answer_comes_back() {
        // Each word with its time; 1 is said before the last good answer, at 50.
        for (words, expected) in [
            (&[(1, 0)][..], Some(1)),
            (&[(1, 0), (6, 60)], Some(1)),
            (&[(1, 0), (6, 60), (7, 70)], Some(1)),
            // Twice, and the truth between.
            (&[(1, 0), (6, 60), (1, 65), (6, 70)], Some(1)),
            // Confirmed, which is no change.
            (&[(1, 0), (1, 60)], Some(1)),
            // Changed before.
            (&[(1, 0), (2, 40), (6, 60)], Some(2)),
            (&[(1, 0), (2, 40), (2, 60)], Some(2)),
            // Nobody had heard of it.
            (&[(6, 60)], None),
            (&[(6, 60), (7, 70)], None),
        ] {
            let kept = Retained::new(Settings::default());
            kept.trusted(at(0));
            let mut good = false;
            for &(host, s) in words {
                if s > 50 && !std::mem::replace(&mut good, true) {
                    kept.trusted(at(50));
                }
                refer(&kept, "a.com.", host, s);
                find(&kept, host, s);
            }
            kept.distrust(since(50));
            let expected = expected.map(address);
            assert_eq!(kept_of(&kept, "a.com."), (expected, expected), "{words:?}");
        }
    }

    #[test]
    fn what_is_proven_to_be_signed_shows_itself_who_serves_it() {
        let kept = Retained::new(Settings::default());
        refer(&kept, "a.com.", 1, 60);
        let cut = Cut::Signed {
            ds: Box::default(),
            until_s: u64::MAX,
        };
        kept.learn_cut(&name("a.com."), &cut);
        kept.distrust(since(50));
        assert_eq!(kept_of(&kept, "a.com.").0, Some(address(1)));
    }

    #[test]
    fn what_a_copy_takes_back_the_original_takes_back_as_well() {
        let kept = Arc::new(Retained::new(Settings::default()));
        refer(&kept, "a.com.", 1, 0);
        kept.trusted(at(50));
        let copy = kept.copy(true);
        refer(&copy, "a.com.", 6, 60);
        copy.distrust(since(50));
        for kept in [&*kept, &copy] {
            assert_eq!(kept_of(kept, "a.com.").0, Some(address(1)));
        }
    }
}
