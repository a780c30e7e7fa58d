//! The messages of a zone transfer, made one at a time (RFC 5936 section 2.2, RFC 1995 section 4). Pure.
//!
//! Records go from the images straight into messages; each message that is full is handed out before the next one is begun.
//! Whoever takes them slowly slows the walk over the zone, and nothing piles up.
//!
//! Failure: [`Stop`] says why a transfer ends before its closing SOA; who receives it then has no whole zone, and knows it.

use std::ops::ControlFlow;

use crate::dns::packer::Packer;
use crate::dns::{Edns, Message, Record, Rtype};
use crate::zone::{ChangeKind, ZoneImage, diff};

/// Appends something to a message.
pub type Append = dyn FnMut(&mut Vec<u8>) + Send;

/// Adds a signature to each message.
pub struct Seal {
    /// Octets that it adds to a message.
    pub len: usize,
    /// Appends it.
    pub append: Box<Append>,
}

/// What the messages look like.
pub struct Envelope {
    /// Header and question of the answer.
    pub head: Message,
    /// OPT, for the first message (RFC 5936 section 2.2.5: what a query has, the first message of its answer should have).
    pub edns: Option<Edns>,
    /// Octets of a message.
    pub size_max: usize,
    /// How many messages there may be.
    pub messages_max: u64,
    /// The signature.
    pub seal: Option<Seal>,
}

/// Why a transfer is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Nobody takes the messages any more.
    #[error("the client went away or was too slow")]
    Gone,
    /// It needs more messages than there may be, or a record needs more octets than a message has.
    #[error("it does not fit")]
    TooLarge,
    /// The image does not hold as many records as it says.
    #[error("the zone image is damaged")]
    Damaged,
}

/// What has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Records.
    pub records: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of the messages.
    pub bytes: u64,
}

/// Takes a message; waits until there is room for it.
pub type Out<'o> = &'o mut dyn FnMut(Vec<u8>) -> Result<(), Stop>;

/// Sends a whole zone: the SOA, everything else, the SOA again (RFC 5936 section 2.2).
///
/// # Errors
/// It ends before its end.
pub fn whole(image: &ZoneImage, envelope: Envelope, out: Out<'_>) -> Result<Sent, Stop> {
    let soa = soa_record(image)?;
    let mut sink = Sink::new(envelope, out);
    sink.record(&soa)?;
    let mut visited = 0;
    let walk = image.visit(|record| {
        visited += 1;
        if record.rtype == Rtype::SOA {
            return ControlFlow::Continue(());
        }
        let name = record.name.wire();
        match sink.push(name, record.rtype, record.ttl, record.rdata) {
            Ok(()) => ControlFlow::Continue(()),
            Err(stop) => ControlFlow::Break(stop),
        }
    });
    if let ControlFlow::Break(stop) = walk {
        return Err(stop);
    }
    // What cannot be read is left out by the walk. A zone with a hole must not look like a whole one.
    if visited != image.record_count() {
        return Err(Stop::Damaged);
    }
    sink.record(&soa)?;
    sink.finish()
}

/// Sends what changed from one version to another (RFC 1995 section 4): the new SOA; the old SOA and what was removed; the new SOA
/// and what was added; the new SOA. Versions between the two are left out (section 5).
///
/// # Errors
/// It ends before its end.
pub fn difference(
    old: &ZoneImage,
    new: &ZoneImage,
    envelope: Envelope,
    out: Out<'_>,
) -> Result<Sent, Stop> {
    let (before, after) = (soa_record(old)?, soa_record(new)?);
    let mut sink = Sink::new(envelope, out);
    sink.record(&after)?;
    for (kind, soa) in [(ChangeKind::Removed, &before), (ChangeKind::Added, &after)] {
        sink.record(soa)?;
        let mut changes = diff(old, new);
        for change in changes.by_ref().filter(|change| change.kind == kind) {
            if change.record.rtype != Rtype::SOA {
                sink.record(&change.record)?;
            }
        }
        // What cannot be read looks like a change.
        if !changes.was_whole() {
            return Err(Stop::Damaged);
        }
    }
    sink.record(&after)?;
    sink.finish()
}

/// Whether fewer records changed than there are: otherwise the zone itself is the shorter answer (RFC 1995 section 2).
pub fn is_worth_it(old: &ZoneImage, new: &ZoneImage) -> bool {
    let limit = new.record_count();
    (diff(old, new)
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .count() as u64)
        < limit
}

fn soa_record(image: &ZoneImage) -> Result<Record, Stop> {
    let set = image.find(image.apex(), Rtype::SOA);
    let record = set.and_then(|set| set.records(false).next());
    record.ok_or(Stop::Damaged)
}

/// Fills messages and hands them out.
struct Sink<'o> {
    packer: Packer,
    envelope: Envelope,
    out: Out<'o>,
    sent: Sent,
}

impl Sink<'_> {
    fn new(envelope: Envelope, out: Out<'_>) -> Sink<'_> {
        let mut packer = Packer::new(envelope.size_max);
        packer.begin(&envelope.head);
        Sink {
            packer,
            envelope,
            out,
            sent: Sent::default(),
        }
    }

    fn record(&mut self, record: &Record) -> Result<(), Stop> {
        self.push(record.name.wire(), record.rtype, record.ttl, &record.rdata)
    }

    fn push(&mut self, name: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> Result<(), Stop> {
        let mut added = self.packer.push(name, rtype, ttl, rdata, self.room());
        if !added {
            self.flush()?;
            // RFC 5936 section 2.2.2: the question stands in the first message.
            self.envelope.head.question = None;
            self.envelope.edns = None;
            self.packer.begin(&self.envelope.head);
            added = self.packer.push(name, rtype, ttl, rdata, self.room());
        }
        self.sent.records += u64::from(added);
        added.then_some(()).ok_or(Stop::TooLarge)
    }

    /// Octets to be kept for what comes after the records.
    fn room(&self) -> usize {
        let options =
            |edns: &Edns| -> usize { edns.options.iter().map(|(_, v)| 4 + v.len()).sum() };
        let opt = self.envelope.edns.as_ref().map_or(0, |e| 11 + options(e));
        opt + self.envelope.seal.as_ref().map_or(0, |seal| seal.len)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.packer.is_empty() || self.sent.messages == self.envelope.messages_max {
            return Err(Stop::TooLarge);
        }
        let mut message = self.packer.take(self.envelope.edns.as_ref());
        if let Some(seal) = &mut self.envelope.seal {
            (seal.append)(&mut message);
        }
        self.sent.messages += 1;
        self.sent.bytes += message.len() as u64;
        (self.out)(message)
    }

    fn finish(mut self) -> Result<Sent, Stop> {
        self.flush()?;
        Ok(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use crate::dns::{Name, Question, Rcode};
    use crate::zone::{Builder, parse};
    use std::collections::BTreeSet;

    fn image(serial: u32, hosts: std::ops::Range<u32>) -> ZoneImage {
        let apex: Name = "lab.test.".parse().unwrap();
        let mut text = format!("@ 60 SOA ns h {serial} 1 1 1 1\n@ 60 NS ns\n");
        for i in hosts {
            text += &format!(
                "host-{i} 60 A 192.0.2.{}\nhost-{i} 60 TXT \"{i}\"\n",
                i % 250
            );
        }
        let mut builder = Builder::new(apex.clone());
        for record in parse::records(text.as_bytes(), "test", Some(&apex)) {
            builder.add(record.unwrap()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn envelope(rtype: Rtype, size_max: usize) -> Envelope {
        let question = Question::new("lab.test.".parse().unwrap(), rtype);
        Envelope {
            head: Message::query(7, question).reply(Rcode::NOERROR),
            edns: Some(Edns::new(1232, false)),
            size_max,
            messages_max: u64::MAX,
            seal: Some(Seal {
                len: 3,
                append: Box::new(|message| message.extend_from_slice(b"TSG")),
            }),
        }
    }

    /// The answer records of all messages, after a look at their form.
    fn records(messages: &[Vec<u8>], size_max: usize) -> Vec<Record> {
        let mut all = Vec::new();
        for (i, message) in messages.iter().enumerate() {
            assert!(message.len() <= size_max && message.ends_with(b"TSG"));
            // Pointers lead so far (`dns/packer`).
            let full = size_max.min(1 << 14);
            let filled = i + 1 == messages.len() || message.len() + 64 > full;
            assert!(filled, "{} of {size_max} octets", message.len());
            let parsed = Message::parse(message).unwrap();
            assert_eq!((parsed.id, parsed.question.is_some()), (7, i == 0));
            assert_eq!(parsed.edns.is_some(), i == 0);
            all.extend(parsed.answer);
        }
        all
    }

    fn collect(
        run: impl FnOnce(Out<'_>) -> Result<Sent, Stop>,
    ) -> (Vec<Vec<u8>>, Result<Sent, Stop>) {
        let mut messages = Vec::new();
        let sent = run(&mut |message| {
            messages.push(message);
            Ok(())
        });
        (messages, sent)
    }

    #[test]
    fn a_zone_comes_whole_between_two_soas() {
        let zone = image(5, 0..3000);
        for size_max in [600, 4096, MESSAGE_LEN_MAX] {
            let (messages, sent) =
                collect(|out| whole(&zone, envelope(Rtype::AXFR, size_max), out));
            let found = records(&messages, size_max);
            let sent = sent.unwrap();
            assert_eq!(sent.messages, messages.len() as u64);
            assert_eq!(sent.records, found.len() as u64);
            assert_eq!(found.len() as u64, zone.record_count() + 1);
            assert_eq!(found[0].rtype, Rtype::SOA);
            assert_eq!(found.first(), found.last());
            let mut builder = Builder::new(zone.apex().clone());
            for record in &found[1..] {
                builder.add(record.clone()).unwrap();
            }
            assert_eq!(builder.finish().unwrap().digest(), zone.digest());
        }
    }

    #[test]
    fn a_difference_leads_from_the_old_to_the_new() {
        let (old, new) = (image(5, 0..2000), image(9, 100..2100));
        assert!(is_worth_it(&old, &new) && !is_worth_it(&image(1, 0..50), &image(2, 50..60)));
        let (messages, sent) =
            collect(|out| difference(&old, &new, envelope(Rtype::IXFR, 2048), out));
        assert_eq!(sent.unwrap().messages, messages.len() as u64);
        let found = records(&messages, 2048);
        let soas: Vec<usize> = (0..found.len())
            .filter(|i| found[*i].rtype == Rtype::SOA)
            .collect();
        let serials: Vec<u32> = soas
            .iter()
            .map(|i| crate::dns::Soa::parse(&found[*i].rdata).unwrap().serial)
            .collect();
        assert_eq!(serials, [9, 5, 9, 9]);
        let [_, before, after, end] = soas[..] else {
            panic!()
        };
        assert_eq!((after - before, end - after), (201, 201));
        let all = |image: &ZoneImage| -> BTreeSet<String> {
            let nodes: Vec<_> = image.nodes().collect();
            let sets = nodes.iter().flat_map(|n| &n.sets);
            sets.flat_map(|s| s.records(true))
                .map(|r| format!("{r:?}"))
                .collect()
        };
        let mut zone = all(&old);
        for record in &found[before..after] {
            assert!(zone.remove(&format!("{record:?}")));
        }
        for record in &found[after..end] {
            assert!(zone.insert(format!("{record:?}")));
        }
        assert_eq!(zone, all(&new));
    }

    #[test]
    fn what_does_not_fit_or_is_not_taken_ends_early() {
        let (old, new) = (image(5, 0..20), image(9, 5..25));
        let one = |size_max| Envelope {
            messages_max: 1,
            ..envelope(Rtype::IXFR, size_max)
        };
        let (messages, sent) = collect(|out| difference(&old, &new, one(2000), out));
        assert_eq!((messages.len(), sent.map(|s| s.messages)), (1, Ok(1)));
        let (_, sent) = collect(|out| difference(&old, &new, one(512), out));
        assert_eq!(sent, Err(Stop::TooLarge));
        let sent = whole(&new, envelope(Rtype::AXFR, 600), &mut |_| Err(Stop::Gone));
        assert_eq!(sent, Err(Stop::Gone));
        // A record that has no room in any message.
        let (_, sent) = collect(|out| whole(&new, envelope(Rtype::AXFR, 60), out));
        assert_eq!(sent, Err(Stop::TooLarge));
    }
}
