//! A small signed internet in memory, and validations that ask it.

mod aggressive;
mod keys;
mod limits;
mod mutation;
mod policy;
mod proofs;
mod right;
mod tampered;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Culprit, Event, Settings, Step, SubAsk, Validation, Validator, Verdict};
use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, Record, RrSet, Rtype};
use crate::resolve::{LocalTrust, MirrorNote, Origin, Response, Security};
use crate::signer::{Denial, INCEPTION, Signer, name, record, rrs};
use crate::zone::{Builder, LookupKind, Room, ZoneImage, load_file};

/// A day after the zones were signed, long after the program's start.
pub const NOW: Now = Now {
    mono: Duration::from_secs(100_000),
    wall_s: INCEPTION as u64 + 86_400,
};

/// What every zone has at its apex.
fn apex(zone: &str) -> Vec<Record> {
    let at = |name: &str| match zone {
        "." => format!("{name}."),
        _ => format!("{name}.{zone}"),
    };
    rrs(&format!(
        "{zone} 3600 SOA {} {} 1 7200 3600 1209600 300
         {zone} 3600 NS {}
         {} 3600 A 192.0.2.1",
        at("ns"),
        at("host"),
        at("ns"),
        at("ns"),
    ))
}

/// The content of a leaf zone: everything that a lookup can come to.
fn leaf(zone: &str) -> Vec<Record> {
    let mut records = apex(zone);
    records.extend(rrs(&format!(
        "www.{zone} 600 A 192.0.2.10
         www.{zone} 600 A 192.0.2.11
         www.{zone} 600 TXT text
         alias.{zone} 600 CNAME www.{zone}
         *.wild.{zone} 600 A 192.0.2.20
         own.wild.{zone} 600 A 192.0.2.21
         *.walias.{zone} 600 CNAME www.{zone}
         old.{zone} 600 DNAME new.{zone}
         a.b.ent.{zone} 600 A 192.0.2.30
         unsigned.{zone} 3600 NS ns.unsigned.{zone}
         ns.unsigned.{zone} 3600 A 192.0.2.40
         zz.{zone} 600 A 192.0.2.50"
    )));
    records
}

fn delegate(child: &Signer) -> Vec<Record> {
    let server = child.apex.child(b"ns").unwrap();
    let mut records = vec![record(&child.apex, Rtype::NS, 3600, server.wire().into())];
    records.extend((child.ds().into_iter()).map(|ds| record(&child.apex, Rtype::DS, 3600, ds)));
    records
}

/// The zones, and what is done to their answers on the way.
pub struct World {
    zones: &'static [ZoneImage],
    pub root: Signer,
    pub ctx: Arc<Validator>,
    pub now: Now,
    /// Questions that the last validation asked.
    pub asked: Vec<SubAsk>,
}

fn image(apex: &str, records: Vec<Record>) -> ZoneImage {
    let mut builder = Builder::new(name(apex));
    for record in records {
        builder.add(record).unwrap();
    }
    builder.finish().unwrap()
}

fn signer(apex: &str, seed: u64, denial: Denial) -> Signer {
    Signer {
        denial,
        ..Signer::new(apex, seed)
    }
}

fn zones(root: &Signer) -> Vec<ZoneImage> {
    let tlds = [
        signer("test.", 2, Denial::Nsec),
        signer(
            "hash.",
            3,
            Denial::Nsec3 {
                salt: vec![1, 2],
                iterations: 3,
                opt_out: false,
            },
        ),
        signer("opt.", 4, Denial::nsec3(true)),
    ];
    let mut root_records = apex(".");
    let mut zones = Vec::new();
    for (i, tld) in tlds.iter().enumerate() {
        let zone = tld.apex.to_string();
        let child = signer(&format!("leaf.{zone}"), 10 + i as u64, tld.denial.clone());
        let mut records = apex(&zone);
        records.extend(delegate(&child));
        // Two labels below its parent, and an unsigned one.
        let deep = signer(&format!("deep.ent.{zone}"), 20 + i as u64, Denial::Nsec);
        records.extend(delegate(&deep));
        records.extend(rrs(&format!(
            "plain.{zone} 3600 NS ns.plain.{zone}
                 ns.plain.{zone} 3600 A 192.0.2.60
                 plain.far.{zone} 3600 NS ns.plain.far.{zone}
                 ns.plain.far.{zone} 3600 A 192.0.2.61"
        )));
        for plain in [format!("plain.{zone}"), format!("plain.far.{zone}")] {
            let mut records = apex(&plain);
            records.extend(rrs(&format!("www.{plain} 600 A 192.0.2.62")));
            zones.push(image(&plain, records));
        }
        let of_leaf = |s: &Signer| image(&s.apex.to_string(), s.sign(&leaf(&s.apex.to_string())));
        zones.extend([of_leaf(&child), of_leaf(&deep)]);
        for leaf in [&child, &deep] {
            let plain = format!("unsigned.{}", leaf.apex);
            let mut records = apex(&plain);
            records.extend(rrs(&format!("www.{plain} 600 A 192.0.2.63")));
            zones.push(image(&plain, records));
        }
        root_records.extend(delegate(tld));
        zones.push(image(&zone, tld.sign(&records)));
    }
    // DS records that cannot be followed: the algorithm, the digest.
    for (zone, ds) in [("alg.", "1 99 2"), ("digest.", "1 15 99")] {
        root_records.extend(rrs(&format!(
                "{zone} 3600 NS ns.{zone}
                 ns.{zone} 3600 A 192.0.2.70
                 {zone} 3600 DS {ds} 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
            )));
        zones.push(image(zone, apex(zone)));
    }
    // A zone that asks for too many rounds.
    let slow = signer(
        "slow.",
        9,
        Denial::Nsec3 {
            salt: vec![],
            iterations: 101,
            opt_out: false,
        },
    );
    root_records.extend(delegate(&slow));
    zones.push(image("slow.", slow.sign(&leaf("slow."))));
    zones.push(image(".", root.sign(&root_records)));
    zones
}

impl World {
    pub fn new() -> World {
        static ZONES: OnceLock<Vec<ZoneImage>> = OnceLock::new();
        let root = Signer::new(".", 1);
        World {
            zones: ZONES.get_or_init(|| zones(&root)),
            ctx: Arc::new(Validator::new(Settings {
                anchors: vec![root.ds_record(0)],
                ..Settings::default()
            })),
            root,
            now: NOW,
            asked: Vec::new(),
        }
    }

    /// The bundled snapshot of the real root, at noon of the day after it was made.
    pub fn of_the_real_root(anchors: Vec<Record>) -> World {
        static ROOT: OnceLock<[ZoneImage; 1]> = OnceLock::new();
        let load = || {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/root.zone");
            let room = Room::beside(&std::env::temp_dir());
            [load_file(&path, None, 64 << 20, &room).unwrap().image]
        };
        World {
            zones: ROOT.get_or_init(load),
            now: Now::new(NOW.mono, 1_785_585_600),
            ..World::with(Settings {
                anchors,
                ..Settings::default()
            })
        }
    }

    /// A validator with other settings than the root's DS as anchor.
    pub fn with(settings: Settings) -> World {
        World {
            ctx: Arc::new(Validator::new(settings)),
            ..World::new()
        }
    }

    /// The right answer to a question, as a server of the deepest zone gives it.
    pub fn answer(&self, question: &Question) -> Response {
        let holds = |z: &&ZoneImage| match question.rtype {
            Rtype::DS if !question.name.is_root() => question.name.is_below(z.apex()),
            _ => question.name.is_within(z.apex()),
        };
        let zones = self.zones.iter().filter(holds);
        let zone = zones.max_by_key(|z| z.apex().label_count()).unwrap();
        let lookup = zone.lookup(&question.name, question.rtype);
        let rcode = match lookup.kind {
            LookupKind::NxDomain => Rcode::NXDOMAIN,
            LookupKind::TooLong => Rcode::YXDOMAIN,
            LookupKind::Referral(_) | LookupKind::OutOfZone => panic!("{question}: {lookup:?}"),
            _ => Rcode::NOERROR,
        };
        Response {
            zone: zone.apex().clone(),
            rcode,
            answer: lookup.answer,
            rest: Vec::new(),
            authority: lookup.authority,
            origin: Origin::Network([192, 0, 2, 1].into()),
        }
    }

    /// Validates the right answer to `question` after `tamper` was applied to it and to every link.
    /// The attempt is `None` for the answer itself.
    pub fn validate_tampered(
        &mut self,
        question: &Question,
        mut tamper: impl FnMut(&Question, Option<u8>, &mut Response),
    ) -> Verdict {
        let mut response = self.answer(question);
        tamper(question, None, &mut response);
        self.validate_response(question, response, |ask, response| {
            tamper(&ask.question, Some(ask.attempt), response);
            true
        })
    }

    /// Validates `response`; `link` changes the links, and takes them away with `false`.
    pub fn validate_response(
        &mut self,
        question: &Question,
        response: Response,
        mut link: impl FnMut(&SubAsk, &mut Response) -> bool,
    ) -> Verdict {
        self.asked.clear();
        let mut validation = Validation::new(question.clone(), response, self.ctx.clone());
        let mut step = validation.step(self.now, Event::Start);
        let mut waiting: Vec<SubAsk> = Vec::new();
        loop {
            match step {
                Step::Done(verdict) => return verdict,
                Step::Ask(asks) => {
                    self.asked.extend(asks.iter().cloned());
                    waiting.extend(asks);
                }
            }
            assert!(!waiting.is_empty(), "{question}: waits for nothing");
            // The last first: links come in any order.
            let ask = waiting.pop().unwrap();
            let mut response = self.answer(&ask.question);
            let result = link(&ask, &mut response).then_some(response);
            step = validation.step(
                self.now,
                Event::Reply {
                    question: ask.question,
                    attempt: ask.attempt,
                    result,
                },
            );
        }
    }

    pub fn validate(&mut self, question: &Question) -> Verdict {
        self.validate_tampered(question, |_, _, _| {})
    }
}

/// A question from `name TYPE`.
pub fn question(text: &str) -> Question {
    let (owner, rtype) = text.split_once(' ').unwrap();
    Question::new(name(owner), rtype.parse().unwrap())
}

/// The verdict's standing in a word: `secure`, `as-of`, `insecure`, or the code of what is bogus.
pub fn standing(verdict: &Verdict) -> String {
    match &verdict.security {
        Security::Secure => "secure".into(),
        Security::SecureAsOf => "as-of".into(),
        Security::Insecure => "insecure".into(),
        Security::Bogus(ede) => format!("bogus {}", ede.code),
    }
}

pub fn text_of(verdict: &Verdict) -> String {
    match &verdict.security {
        Security::Bogus(ede) => ede.text.clone(),
        _ => String::new(),
    }
}

pub fn mirror(zone: &str, trust: LocalTrust) -> Origin {
    Origin::Mirror(MirrorNote {
        zone: name(zone),
        serial: 7,
        age_s: 60,
        trust,
    })
}

/// The first set of this type in either section.
pub fn set_mut(response: &mut Response, rtype: Rtype) -> &mut RrSet {
    let mut sets = response.answer.iter_mut().chain(&mut response.authority);
    sets.find(|s| s.rtype == rtype).unwrap()
}

pub fn drop_types(response: &mut Response, types: &[Rtype]) {
    response.answer.retain(|s| !types.contains(&s.rtype));
    response.authority.retain(|s| !types.contains(&s.rtype));
}
