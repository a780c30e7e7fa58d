//! The network as the file wants it: servers that say what its replies say, lost packets, shuffled records.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::dns::{Message, Question, Record, Rrsig, Rtype, group};
use holdfast::upstream::{Ask, BoxFuture, ExchangeError, Reply, Transport, Upstream};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::build::Builder;
use crate::file;
use crate::net::SimNet;
use crate::signer::{name, record, rr};

/// Share of packets that is lost in a seeded run, in percent.
const LOSS: u8 = 2;

/// One reply of the file, ready to be said.
struct Rule {
    reply: file::Reply,
    rtype: Option<Rtype>,
    sections: [Vec<Record>; 3],
    /// Types, and the type that a signature covers, to be left out of the truth.
    drops: Vec<(Rtype, Option<Rtype>)>,
}

impl Rule {
    fn new(reply: &file::Reply, builder: &Builder) -> Rule {
        let (_, rtype) = reply.to.split_once(' ').expect("NAME TYPE");
        let sections = [&reply.answer, &reply.authority, &reply.additional];
        Rule {
            rtype: (rtype != "*").then(|| rtype.parse().expect("a type")),
            sections: sections.map(|text| signed(lines(text), reply, builder)),
            drops: reply.drop.iter().map(|text| dropped(text)).collect(),
            reply: reply.clone(),
        }
    }

    fn applies(&self, ask: &Ask, at: Duration) -> bool {
        let reply = &self.reply;
        let over = match ask.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        ask.server.ip().to_string() == reply.at
            && self.is_for(&ask.question)
            && at >= Duration::from_secs(reply.from_s)
            && reply.until_s.is_none_or(|s| at < Duration::from_secs(s))
            && reply.over.as_ref().is_none_or(|o| o == over)
    }

    fn is_for(&self, question: &Question) -> bool {
        let owner = self.reply.to.split(' ').next().unwrap_or_default();
        let named = match owner.strip_prefix("*.") {
            _ if owner == "*" => true,
            Some(top) => question.name.is_within(&name(top)),
            None => question.name == name(owner),
        };
        named && self.rtype.is_none_or(|t| t == question.rtype)
    }

    fn say(&self, message: &mut Message) {
        if !self.reply.add {
            message.rcode = file::rcode(&self.reply.rcode);
            let has = |flag| self.reply.flags.split_whitespace().any(|f| f == flag);
            message.authoritative = has("aa");
            message.truncated = has("tc");
            message.recursion_available = has("ra");
            message.answer.clear();
            message.authority.clear();
            message.additional.clear();
        }
        for section in [
            &mut message.answer,
            &mut message.authority,
            &mut message.additional,
        ] {
            section.retain(|r| !self.drops.contains(&(r.rtype, covered(r))));
        }
        let [answer, authority, additional] = self.sections.clone();
        message.answer.extend(answer);
        message.authority.extend(authority);
        message.additional.extend(additional);
    }
}

/// `TYPE`, or `RRSIG TYPE`
fn dropped(text: &str) -> (Rtype, Option<Rtype>) {
    let rtype = |word: &str| word.parse().expect("a type");
    match text.strip_prefix("RRSIG ") {
        Some(covered) => (Rtype::RRSIG, Some(rtype(covered))),
        None => (rtype(text), None),
    }
}

/// What a signature covers.
fn covered(record: &Record) -> Option<Rtype> {
    let sig = (record.rtype == Rtype::RRSIG).then(|| Rrsig::parse(&record.rdata));
    sig.flatten().map(|sig| sig.covered)
}

/// `OWNER TYPE DATA` lines, names absolute.
pub fn lines(text: &str) -> Vec<Record> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let timed = |line: &str| {
        let (owner, rest) = line.split_once(' ').expect("OWNER TYPE DATA");
        let ttl = rest.starts_with(|c: char| c.is_ascii_digit());
        match ttl {
            true => line.to_string(),
            false => format!("{owner} 3600 {rest}"),
        }
    };
    lines.map(|line| rr(&timed(line))).collect()
}

fn signed(mut records: Vec<Record>, reply: &file::Reply, builder: &Builder) -> Vec<Record> {
    let Some(zone) = &reply.sign_as else {
        return records;
    };
    let signer = builder.signer(zone).expect("a signed zone");
    for set in group(&records) {
        for sig in signer.rrsigs(&set.name, set.rtype, set.ttl, &set.rdatas) {
            for i in 0..reply.junk_signatures {
                let mut junk = sig.to_vec();
                let last = junk.len() - 1;
                junk[last] ^= i + 1;
                records.push(record(&set.name, Rtype::RRSIG, set.ttl, junk.into()));
            }
            records.push(record(&set.name, Rtype::RRSIG, set.ttl, sig));
        }
    }
    records
}

/// The network.
pub struct Script {
    net: Arc<SimNet>,
    rules: Vec<Rule>,
    began: Instant,
    loss: u8,
    ordered: bool,
    /// `None` in the steady run.
    rng: Option<Mutex<SmallRng>>,
}

impl Script {
    /// The network of a run; seed 0 is the steady one.
    pub fn new(
        net: Arc<SimNet>,
        scenario: &file::Scenario,
        builder: &Builder,
        seed: u64,
    ) -> Script {
        Script {
            net,
            rules: (scenario.reply.iter())
                .map(|reply| Rule::new(reply, builder))
                .collect(),
            began: Instant::now(),
            loss: if scenario.lossless { 0 } else { LOSS },
            ordered: scenario.ordered,
            rng: (seed > 0).then(|| Mutex::new(SmallRng::seed_from_u64(seed))),
        }
    }

    fn is_lost(&self) -> bool {
        let draw = |rng: &Mutex<SmallRng>| rng.lock().unwrap().random_range(0..100u8);
        self.rng.as_ref().is_some_and(|rng| draw(rng) < self.loss)
    }

    fn shuffle(&self, message: &mut Message) {
        if let Some(rng) = self.rng.as_ref().filter(|_| !self.ordered) {
            let rng = &mut *rng.lock().unwrap();
            message.answer.shuffle(rng);
            message.authority.shuffle(rng);
            message.additional.shuffle(rng);
        }
    }
}

impl Upstream for Script {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        let lost = self.is_lost();
        let exchange = self.net.exchange(ask.clone());
        Box::pin(async move {
            if lost {
                tokio::time::sleep(ask.timeout).await;
                return Err(ExchangeError::TimedOut);
            }
            let mut reply = exchange.await?;
            let at = self.began.elapsed();
            if let Some(rule) = self.rules.iter().find(|r| r.applies(&ask, at)) {
                rule.say(&mut reply.message);
            }
            self.shuffle(&mut reply.message);
            Ok(reply)
        })
    }
}
