//! What an incremental transfer says (RFC 1995), without its socket.
//!
//! ```text
//! SOA n | SOA a  removed...  SOA b  added... | SOA b  removed...  SOA c  added... | ... SOA n
//! ```
//! Why strict: the records of a delta mean something only on top of the very version that their sender has in mind. So each
//! delta must begin at the serial where the one before ended, serials must go up, a record must not be removed twice or added
//! twice, and the last delta must lead to the SOA that opened and closes the answer. The deltas are folded into their net effect as
//! they come, so that what is held is bounded by what differs, not by the history.
//!
//! Failure: a [`DeltaFault`]; whoever asked takes the whole zone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::dns::{Name, Rdata, Record, Rtype, Soa, rdata};
use crate::zone::Changes;

/// Octets that a record costs beside its name and data, as bounds count them.
const RECORD_COST: u64 = 192;

/// Why deltas make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeltaFault {
    /// The first delta begins at another serial than the one that is held.
    #[error("the changes do not begin at the serial that is held")]
    Start,
    /// A delta does not begin where the one before ended, does not go up, or leads past the end.
    #[error("the serials of the changes are no chain")]
    Chain,
    /// A record is removed that an earlier delta removed.
    #[error("a record is removed twice")]
    RemovedTwice,
    /// A record is added that an earlier delta added.
    #[error("a record is added twice")]
    AddedTwice,
    /// A SOA record without its form.
    #[error("a malformed SOA record")]
    Soa,
    /// More than is allowed.
    #[error("the changes take more than {0} bytes")]
    TooLarge(u64),
}

/// Deltas under way.
#[derive(Debug)]
pub(super) struct Deltas {
    /// The SOA that opened the answer: the version that the last delta leads to.
    goal: Record,
    goal_serial: u32,
    from: u32,
    /// The serial that the deltas have reached.
    reached: u32,
    half: Half,
    net: Net,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Removed,
    Added,
}

impl Deltas {
    /// After the opening SOA and the one that begins the first delta; `held` is the serial that was asked from. What the
    /// records take in memory is bounded by `bytes_max`.
    pub(super) fn begin(
        goal: Record,
        first: Record,
        held: u32,
        bytes_max: u64,
    ) -> Result<Deltas, DeltaFault> {
        let (goal_serial, from) = (serial(&goal)?, serial(&first)?);
        if from != held {
            return Err(DeltaFault::Start);
        }
        let mut net = Net::new(bytes_max);
        net.remove(first)?;
        Ok(Deltas {
            goal,
            goal_serial,
            from,
            reached: from,
            half: Half::Removed,
            net,
        })
    }

    /// Takes the next record of the zone; the changes once they are complete.
    pub(super) fn take(
        &mut self,
        record: Record,
        is_soa: bool,
    ) -> Result<Option<Changes>, DeltaFault> {
        match (is_soa, self.half) {
            (false, Half::Removed) => self.net.remove(record)?,
            (false, Half::Added) => self.net.add(record)?,
            (true, Half::Removed) => self.reach(record)?,
            (true, Half::Added) if self.reached == self.goal_serial => {
                if record.rdata != self.goal.rdata {
                    return Err(DeltaFault::Chain);
                }
                return Ok(Some(self.changes()));
            }
            (true, Half::Added) => {
                if serial(&record)? != self.reached {
                    return Err(DeltaFault::Chain);
                }
                self.net.remove(record)?;
                self.half = Half::Removed;
            }
        }
        Ok(None)
    }

    /// The SOA in the middle of a delta.
    fn reach(&mut self, soa: Record) -> Result<(), DeltaFault> {
        let to = serial(&soa)?;
        let is_goal = to == self.goal_serial;
        // RFC 1982: up, and not past the end.
        let up = Soa::serial_newer(to, self.reached);
        if !up || !(is_goal || Soa::serial_newer(self.goal_serial, to)) {
            return Err(DeltaFault::Chain);
        }
        if is_goal && soa.rdata != self.goal.rdata {
            return Err(DeltaFault::Chain);
        }
        self.reached = to;
        self.half = Half::Added;
        self.net.add(soa)
    }

    fn changes(&mut self) -> Changes {
        let net = std::mem::replace(&mut self.net, Net::new(0));
        let (removed, added) = net.into_lists();
        Changes {
            from_serial: self.from,
            to_serial: self.reached,
            removed,
            added,
        }
    }
}

fn serial(soa: &Record) -> Result<u32, DeltaFault> {
    let soa = Soa::parse(&soa.rdata).ok_or(DeltaFault::Soa)?;
    Ok(soa.serial)
}

/// Owner, type and canonical data: what makes two records the same.
type Key = (Name, Rtype, Rdata);

/// What the changes come to for one record.
#[derive(Debug)]
enum Fate {
    /// It was there and goes.
    Removed(Record),
    /// It was not there and comes.
    Added(Record),
    /// It was there and comes again, with another TTL or letter case.
    Replaced(Record, Record),
}

/// The net effect so far.
#[derive(Debug)]
struct Net {
    records: HashMap<Key, Fate>,
    bytes: u64,
    bytes_max: u64,
}

impl Net {
    fn new(bytes_max: u64) -> Net {
        Net {
            records: HashMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn remove(&mut self, record: Record) -> Result<(), DeltaFault> {
        self.pay(&record)?;
        match self.records.entry(key(&record)) {
            Entry::Vacant(entry) => {
                entry.insert(Fate::Removed(record));
            }
            Entry::Occupied(mut entry) => match entry.get() {
                Fate::Removed(_) => return Err(DeltaFault::RemovedTwice),
                Fate::Added(_) => {
                    entry.remove();
                }
                Fate::Replaced(was, _) => {
                    let was = was.clone();
                    entry.insert(Fate::Removed(was));
                }
            },
        }
        Ok(())
    }

    fn add(&mut self, record: Record) -> Result<(), DeltaFault> {
        self.pay(&record)?;
        match self.records.entry(key(&record)) {
            Entry::Vacant(entry) => {
                entry.insert(Fate::Added(record));
            }
            Entry::Occupied(mut entry) => match entry.get() {
                Fate::Added(_) | Fate::Replaced(..) => return Err(DeltaFault::AddedTwice),
                Fate::Removed(was) if was.ttl == record.ttl && was.rdata == record.rdata => {
                    entry.remove();
                }
                Fate::Removed(was) => {
                    let was = was.clone();
                    entry.insert(Fate::Replaced(was, record));
                }
            },
        }
        Ok(())
    }

    /// Counts a record. What cancels out is not given back: the bound holds for the work too.
    fn pay(&mut self, record: &Record) -> Result<(), DeltaFault> {
        let octets = record.name.wire().len() + record.rdata.len();
        self.bytes += 2 * octets as u64 + RECORD_COST;
        match self.bytes > self.bytes_max {
            true => Err(DeltaFault::TooLarge(self.bytes_max)),
            false => Ok(()),
        }
    }

    /// What goes and what comes, both in canonical order.
    fn into_lists(self) -> (Vec<Record>, Vec<Record>) {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let mut all: Vec<(Key, Fate)> = self.records.into_iter().collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (_, fate) in all {
            match fate {
                Fate::Removed(record) => removed.push(record),
                Fate::Added(record) => added.push(record),
                Fate::Replaced(was, is) => {
                    removed.push(was);
                    added.push(is);
                }
            }
        }
        (removed, added)
    }
}

fn key(record: &Record) -> Key {
    let data = rdata::canonical(&record.rdata, record.rtype);
    (record.name.clone(), record.rtype, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{name, rrs};

    const BYTES_MAX: u64 = 1 << 16;

    /// Records of a transfer; a bare number is the SOA with that serial.
    fn records(lines: &str) -> Vec<Record> {
        let line = |line: &str| match line.trim().parse::<u32>() {
            Ok(serial) => format!("test. 60 SOA ns.x. host.x. {serial} 2 3 4 5\n"),
            Err(_) => format!("{}\n", line.trim()),
        };
        rrs(&lines.split(',').map(line).collect::<String>())
    }

    fn run(lines: &str) -> Result<Option<Changes>, DeltaFault> {
        run_within(lines, BYTES_MAX)
    }

    /// Serial 1 is held; the first two records are the opening SOA and that of the first delta.
    fn run_within(lines: &str, bytes_max: u64) -> Result<Option<Changes>, DeltaFault> {
        let mut records = records(lines).into_iter();
        let goal = records.next().unwrap();
        let mut deltas = Deltas::begin(goal, records.next().unwrap(), 1, bytes_max)?;
        for record in records {
            let is_soa = record.rtype == Rtype::SOA && record.name == name("test.");
            if let Some(changes) = deltas.take(record, is_soa)? {
                return Ok(Some(changes));
            }
        }
        Ok(None)
    }

    #[track_caller]
    fn check(lines: &str, removed: &str, added: &str) {
        let changes = run(lines).unwrap().expect("a whole answer");
        assert_eq!(changes.from_serial, 1);
        assert_eq!(changes.removed, records(removed), "{lines}");
        assert_eq!(changes.added, records(added), "{lines}");
    }

    const A: &str = "a.test. 60 A 192.0.2.1";
    const B: &str = "b.test. 60 A 192.0.2.2";

    #[test]
    fn deltas_are_folded_into_their_net_effect() {
        check(
            &format!("2,1,{A},2,{B},2"),
            &format!("1,{A}"),
            &format!("2,{B}"),
        );
        check("2,1,2,2", "1", "2");
        // Added, then removed again.
        check(&format!("3,1,2,{A},2,{A},3,{B},3"), "1", &format!("3,{B}"));
        // Removed, then added again: nothing; with another TTL or case: both.
        check(&format!("3,1,{A},2,2,3,{A},3"), "1", "3");
        let (longer, ns, upper) = (
            "a.test. 90 A 192.0.2.1",
            "a.test. 60 NS ns.x.",
            "a.test. 60 NS NS.x.",
        );
        check(
            &format!("3,1,{A},2,2,3,{longer},3"),
            &format!("1,{A}"),
            &format!("3,{longer}"),
        );
        check(
            &format!("2,1,{ns},2,{upper},2"),
            &format!("1,{ns}"),
            &format!("2,{upper}"),
        );
        // And away again.
        check(
            &format!("4,1,{A},2,{longer},2,{longer},4,4"),
            &format!("1,{A}"),
            "4",
        );
        // Condensed (RFC 1995 section 4), and over the end of the numbers.
        check("9,1,9,9", "1", "9");
    }

    #[test]
    fn serials_are_a_chain() {
        for (lines, fault) in [
            ("3,2,3,3", DeltaFault::Start),
            ("3,1,2,3,3,3", DeltaFault::Chain),
            ("3,1,1,3,3", DeltaFault::Chain),
            ("3,1,4,3", DeltaFault::Chain),
            ("3,1,2,1,3,3", DeltaFault::Chain),
            ("3,1,3000000000,3", DeltaFault::Chain),
        ] {
            assert_eq!(run(lines), Err(fault), "{lines}");
        }
        // The same serial, another SOA.
        let other = "test. 60 SOA ns.x. host.x. 2 2 3 4 9";
        assert_eq!(run(&format!("2,1,{other},2")), Err(DeltaFault::Chain));
        assert_eq!(run(&format!("2,1,2,{other}")), Err(DeltaFault::Chain));
        // The SOA that a delta begins with must be the one that the delta before led to.
        let other = "test. 60 SOA ns.x. host.x. 2 2 3 4 9";
        let twice = run(&format!("3,1,2,{other},3,3")).unwrap().unwrap();
        assert_eq!(
            twice.removed.len(),
            2,
            "refused by the zone, which has no such SOA"
        );
        assert_eq!(run("3,1,2"), Ok(None), "an end that does not come");
    }

    #[test]
    fn records_go_and_come_once() {
        let twice = |half: &str, fault| assert_eq!(run(half), Err(fault), "{half}");
        twice(&format!("2,1,{A},{A},2,2"), DeltaFault::RemovedTwice);
        twice(&format!("2,1,2,{A},{A},2"), DeltaFault::AddedTwice);
        twice(&format!("3,1,2,{A},2,3,{A},3"), DeltaFault::AddedTwice);
        twice(&format!("3,1,{A},2,2,{A},3,3"), DeltaFault::RemovedTwice);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let lines: String = (0..200)
            .map(|i| format!(",n{i}.test. 60 A 192.0.2.1"))
            .collect();
        let lines = format!("2,1{lines},2,2");
        assert_eq!(
            run_within(&lines, 10_000),
            Err(DeltaFault::TooLarge(10_000))
        );
        assert!(run_within(&lines, 100_000).is_ok());
    }
}
