//! Names that are answered here because the rest of the world must not be asked for them.
//!
//! Why: `localhost.`, the reverse zones of private addresses, `onion.` and their like have no servers, or
//! servers that should never hear of them. Whoever sends them on leaks what machines there are inside, waits
//! for the root or the AS112 servers, and in an outage fails for a name that needed nobody.
//!
//! Model: each of these names is a small zone with nothing but SOA and NS (RFC 6303 section 3), answered with
//! AA=1 and never validated, so AD=0. A few have data: `localhost.` its addresses (RFC 6761 section 6.3), the
//! reverse zones of loopback their PTR. A zone that is served here (own, mirror, member of a catalog, forward) at or
//! below such a name takes its part of it over; one above does not. Questions for DS at the name itself belong to the zone above
//! (RFC 4035 section 3.1.4.1) and go there: its signed answer tells validators downstream that nothing signed follows.
//!
//! Not among them: `example.`, which caching servers treat like any name (RFC 6761 section 6.5), and `empty.as112.arpa.`,
//! which is a real zone that DNAMEs lead to (RFC 7535).

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::dns::{Name, Question, Rdata, RrSet, Rtype};
use crate::zone::{Lookup, LookupKind};

/// TTL of all records, in seconds: RFC 6303 section 3.
const TTL_S: u32 = 10_800;
/// Serial of every SOA: RFC 6303 section 3.
pub const SERIAL: u32 = 1;
/// Serial, refresh, retry, expire and minimum of every SOA: RFC 6303 section 3.
const SOA_NUMBERS: [u32; 5] = [SERIAL, 3600, 1200, 604_800, 10_800];

/// What a special name has below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing exists.
    Empty,
    /// Every name has the loopback addresses (RFC 6761 section 6.3).
    Localhost,
    /// `1.0.0.127.in-addr.arpa.` or its like points to `localhost.`.
    Loopback(&'static str),
    /// Every name exists, and has no data but for what designates encrypted listeners (RFC 9462 section 4).
    NoData,
}

/// The one PTR record of each loopback zone.
const LOOPBACK_V4: &str = "1.0.0.127.in-addr.arpa.";
const LOOPBACK_V6: &str =
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
const UNSPECIFIED_V6: &str =
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

const NAMES: &[(&str, Kind)] = &[
    ("localhost.", Kind::Localhost),  // RFC 6761 section 6.3
    ("test.", Kind::Empty),           // RFC 6761 section 6.2
    ("invalid.", Kind::Empty),        // RFC 6761 section 6.4
    ("local.", Kind::Empty),          // RFC 6762 section 22.1
    ("onion.", Kind::Empty),          // RFC 7686 section 2
    ("alt.", Kind::Empty),            // RFC 9476 section 2
    ("home.arpa.", Kind::Empty),      // RFC 8375 section 4
    ("resolver.arpa.", Kind::NoData), // RFC 9462 section 6.4
    // RFC 6303 sections 4.1 and 4.2.
    ("10.in-addr.arpa.", Kind::Empty),
    ("168.192.in-addr.arpa.", Kind::Empty),
    ("0.in-addr.arpa.", Kind::Empty),
    ("127.in-addr.arpa.", Kind::Loopback(LOOPBACK_V4)),
    ("254.169.in-addr.arpa.", Kind::Empty),
    ("2.0.192.in-addr.arpa.", Kind::Empty),
    ("100.51.198.in-addr.arpa.", Kind::Empty),
    ("113.0.203.in-addr.arpa.", Kind::Empty),
    ("255.255.255.255.in-addr.arpa.", Kind::Empty),
    // RFC 6303 sections 4.3 to 4.6.
    (UNSPECIFIED_V6, Kind::Empty),
    (LOOPBACK_V6, Kind::Loopback(LOOPBACK_V6)),
    ("d.f.ip6.arpa.", Kind::Empty),
    ("8.e.f.ip6.arpa.", Kind::Empty),
    ("9.e.f.ip6.arpa.", Kind::Empty),
    ("a.e.f.ip6.arpa.", Kind::Empty),
    ("b.e.f.ip6.arpa.", Kind::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa.", Kind::Empty),
];

/// The second octets of 172.16.0.0/12 (RFC 6303 section 4.1) and of 100.64.0.0/10 (RFC 7793 section 2.1).
const RANGES: [(std::ops::RangeInclusive<u8>, &str); 2] = [
    (16..=31, "172.in-addr.arpa."),
    (64..=127, "100.in-addr.arpa."),
];

/// The last labels of all of them: other names need no closer look.
const TOPS: [&[u8]; 7] = [
    b"arpa",
    b"localhost",
    b"test",
    b"invalid",
    b"local",
    b"onion",
    b"alt",
];

/// The special names in force; none by default.
#[derive(Debug, Clone, Default)]
pub struct Special {
    zones: HashMap<Name, Kind>,
    /// Zones that are served here at or below special names.
    taken: HashSet<Name>,
    /// The names between these and the special ones, both ends included.
    above_taken: HashSet<Name>,
    /// How many labels special names have, each number once.
    depths: BTreeSet<usize>,
    /// What `_dns.resolver.arpa.` has (RFC 9462).
    designated: Option<RrSet>,
}

impl Special {
    /// All special names, but for what zones that are served here take over.
    pub fn new<'n>(served: impl IntoIterator<Item = &'n Name>) -> Special {
        let zones: HashMap<Name, Kind> = all().collect();
        let depths = zones.keys().map(Name::label_count).collect();
        let mut special = Special {
            zones,
            taken: HashSet::new(),
            above_taken: HashSet::new(),
            depths,
            designated: None,
        };
        for zone in served {
            if let Some(top) = special.above(zone).map(|(apex, _)| apex.label_count()) {
                special.taken.insert(zone.clone());
                let counts = top..=zone.label_count();
                (special.above_taken).extend(counts.map(|count| zone.suffix(count)));
            }
        }
        special
    }

    /// Names the encrypted listeners that stand for this resolver (RFC 9462 section 4).
    pub fn with_designated(mut self, records: Option<RrSet>) -> Special {
        self.designated = records;
        self
    }

    /// The special names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.zones.keys()
    }

    /// The special name that answers the question.
    pub fn responsible(&self, question: &Question) -> Option<&Name> {
        self.find(question).map(|(apex, _)| apex)
    }

    /// The answer to the question, if it is made here.
    pub fn lookup(&self, question: &Question) -> Option<Lookup> {
        let (apex, kind) = self.find(question)?;
        let sets = self.sets(apex, kind, &question.name);
        let Some(sets) = sets else {
            return Some(without_data(apex, LookupKind::NxDomain));
        };
        let asked = |set: &RrSet| question.rtype == Rtype::ANY || set.rtype == question.rtype;
        let answer: Vec<RrSet> = sets.into_iter().filter(asked).collect();
        Some(match answer.is_empty() {
            true => without_data(apex, LookupKind::NoData),
            false => Lookup {
                kind: LookupKind::Answer,
                answer,
                authority: Vec::new(),
                additional: Vec::new(),
                wildcard: None,
            },
        })
    }

    fn find(&self, question: &Question) -> Option<(&Name, Kind)> {
        // The DS set of a zone stands in the zone above it.
        let parent = match question.rtype {
            Rtype::DS => Some(question.name.parent()?),
            _ => None,
        };
        let name = parent.as_ref().unwrap_or(&question.name);
        let (apex, kind) = self.above(name)?;
        (!self.is_taken(name)).then_some((apex, kind))
    }

    /// The special name at or above `name`.
    fn above(&self, name: &Name) -> Option<(&Name, Kind)> {
        let last = name.labels().last()?;
        if self.zones.is_empty() || !TOPS.iter().any(|top| last.eq_ignore_ascii_case(top)) {
            return None;
        }
        let depths = self.depths.range(..=name.label_count());
        let mut suffixes = depths.map(|count| name.suffix(*count));
        let (apex, kind) = suffixes.find_map(|suffix| self.zones.get_key_value(&suffix))?;
        Some((apex, *kind))
    }

    fn is_taken(&self, name: &Name) -> bool {
        // A catalog may bring many: they are looked up, not gone through.
        !self.taken.is_empty()
            && (1..=name.label_count()).any(|count| self.taken.contains(&name.suffix(count)))
    }

    /// What the name has; `None` if it does not exist.
    fn sets(&self, apex: &Name, kind: Kind, name: &Name) -> Option<Vec<RrSet>> {
        let mut sets = match name == apex {
            true => vec![soa(apex), ns(apex)],
            false => Vec::new(),
        };
        let single = |rtype, rdata: Rdata| RrSet::single(name.clone(), rtype, TTL_S, rdata);
        let exists = match kind {
            Kind::Empty => false,
            Kind::NoData => {
                let designated = self.designated.iter().filter(|set| set.name == *name);
                sets.extend(designated.cloned());
                true
            }
            Kind::Localhost => {
                sets.push(single(Rtype::A, [127, 0, 0, 1].into()));
                let mut loopback = [0; 16];
                loopback[15] = 1;
                sets.push(single(Rtype::AAAA, loopback.into()));
                true
            }
            Kind::Loopback(owner) => {
                let owner = fixed(owner);
                if *name == owner {
                    let localhost = fixed("localhost.");
                    sets.push(single(Rtype::PTR, localhost.wire().into()));
                }
                owner.is_within(name)
            }
        };
        // Above a zone that is served here there is at least an empty name (RFC 8020 section 2).
        let is_above_taken = || self.above_taken.contains(name);
        (exists || name == apex || is_above_taken()).then_some(sets)
    }
}

/// Whether `name` is at or below a special name, whatever is configured.
pub fn is_special(name: &Name) -> bool {
    all().any(|(apex, _)| name.is_within(&apex))
}

fn all() -> impl Iterator<Item = (Name, Kind)> {
    let listed = NAMES.iter().map(|(name, kind)| (fixed(name), *kind));
    let ranges = RANGES.iter().flat_map(|(octets, below)| {
        let name = move |octet: u8| fixed(&format!("{octet}.{below}"));
        octets.clone().map(move |octet| (name(octet), Kind::Empty))
    });
    listed.chain(ranges)
}

fn fixed(text: &str) -> Name {
    text.parse().expect("a name of the tables above")
}

/// A denial, with the SOA that says how long it holds (RFC 2308 section 3).
fn without_data(apex: &Name, kind: LookupKind) -> Lookup {
    Lookup {
        kind,
        answer: Vec::new(),
        authority: vec![soa(apex)],
        additional: Vec::new(),
        wildcard: None,
    }
}

/// RFC 6303 section 3: `@ 10800 IN SOA @ nobody.invalid. 1 3600 1200 604800 10800`.
fn soa(apex: &Name) -> RrSet {
    let mut rdata = apex.wire().to_vec();
    rdata.extend_from_slice(fixed("nobody.invalid.").wire());
    rdata.extend(SOA_NUMBERS.iter().flat_map(|number| number.to_be_bytes()));
    RrSet::single(apex.clone(), Rtype::SOA, TTL_S, rdata.into())
}

/// RFC 6303 section 3: `@ 10800 IN NS @`.
fn ns(apex: &Name) -> RrSet {
    RrSet::single(apex.clone(), Rtype::NS, TTL_S, apex.wire().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// `KIND owner TYPE data, ... | SOA owner` of the answer, or what became of the question.
    fn said(special: &Special, owner: &str, rtype: Rtype) -> String {
        let question = Question::new(name(owner), rtype);
        let Some(lookup) = special.lookup(&question) else {
            return "resolved".into();
        };
        let data = |set: &RrSet| match set.rtype {
            Rtype::A | Rtype::AAAA => rdata::address(&set.rdatas[0]).unwrap().to_string(),
            Rtype::PTR | Rtype::NS => rdata::single_name(&set.rdatas[0]).unwrap().to_string(),
            _ => "...".into(),
        };
        let answer = (lookup.answer.iter()).map(|s| format!("{} {} {}", s.name, s.rtype, data(s)));
        let authority = lookup.authority.iter().map(|s| s.name.to_string());
        let parts = [
            format!("{:?}", lookup.kind),
            answer.collect::<Vec<_>>().join(", "),
            authority.collect(),
        ];
        parts.join(" | ")
    }

    fn check(special: &Special, rows: &[(&str, Rtype, &str)]) {
        for (owner, rtype, expected) in rows {
            assert_eq!(said(special, owner, *rtype), *expected, "{owner} {rtype}");
        }
    }

    // RFC 6761 sections 6.2 to 6.5, RFC 6762 section 22.1, RFC 7686, RFC 8375, RFC 9462, RFC 9476.
    #[test]
    fn special_use_names_are_answered_here() {
        check(
            &Special::new([]),
            &[
                ("localhost.", Rtype::A, "Answer | localhost. A 127.0.0.1 | "),
                (
                    "a.LocalHost.",
                    Rtype::AAAA,
                    "Answer | a.LocalHost. AAAA ::1 | ",
                ),
                ("localhost.", Rtype::MX, "NoData |  | localhost."),
                ("x.test.", Rtype::A, "NxDomain |  | test."),
                ("test.", Rtype::A, "NoData |  | test."),
                ("test.", Rtype::NS, "Answer | test. NS test. | "),
                (
                    "test.",
                    Rtype::ANY,
                    "Answer | test. SOA ..., test. NS test. | ",
                ),
                ("foo.onion.", Rtype::A, "NxDomain |  | onion."),
                ("printer.local.", Rtype::A, "NxDomain |  | local."),
                ("x.y.alt.", Rtype::TXT, "NxDomain |  | alt."),
                ("x.invalid.", Rtype::A, "NxDomain |  | invalid."),
                ("nas.home.arpa.", Rtype::A, "NxDomain |  | home.arpa."),
                (
                    "_dns.resolver.arpa.",
                    Rtype::SVCB,
                    "NoData |  | resolver.arpa.",
                ),
                ("www.example.", Rtype::A, "resolved"),
                ("a.localhost.com.", Rtype::A, "resolved"),
                ("nottest.", Rtype::A, "resolved"),
                (".", Rtype::A, "resolved"),
                ("arpa.", Rtype::A, "resolved"),
                ("empty.as112.arpa.", Rtype::SOA, "resolved"),
            ],
        );
    }

    // RFC 6303 sections 3 and 4, RFC 7793.
    #[test]
    fn reverse_zones_of_private_addresses_are_answered_here() {
        let special = Special::new([]);
        check(
            &special,
            &[
                (
                    "1.0.0.127.in-addr.arpa.",
                    Rtype::PTR,
                    "Answer | 1.0.0.127.in-addr.arpa. PTR localhost. | ",
                ),
                (
                    "0.0.127.in-addr.arpa.",
                    Rtype::PTR,
                    "NoData |  | 127.in-addr.arpa.",
                ),
                (
                    "2.0.0.127.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 127.in-addr.arpa.",
                ),
                (
                    "10.in-addr.arpa.",
                    Rtype::SOA,
                    "Answer | 10.in-addr.arpa. SOA ... | ",
                ),
                (
                    "7.0.0.10.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 10.in-addr.arpa.",
                ),
                ("1.15.172.in-addr.arpa.", Rtype::PTR, "resolved"),
                (
                    "1.16.172.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 16.172.in-addr.arpa.",
                ),
                (
                    "1.31.172.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 31.172.in-addr.arpa.",
                ),
                ("1.32.172.in-addr.arpa.", Rtype::PTR, "resolved"),
                ("1.63.100.in-addr.arpa.", Rtype::PTR, "resolved"),
                (
                    "1.64.100.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 64.100.in-addr.arpa.",
                ),
                (
                    "1.127.100.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 127.100.in-addr.arpa.",
                ),
                ("1.128.100.in-addr.arpa.", Rtype::PTR, "resolved"),
                (
                    "1.0.d.f.ip6.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | d.f.ip6.arpa.",
                ),
                (
                    "1.8.e.f.ip6.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 8.e.f.ip6.arpa.",
                ),
                ("1.c.e.f.ip6.arpa.", Rtype::PTR, "resolved"),
            ],
        );
        let ptr = format!("Answer | {LOOPBACK_V6} PTR localhost. | ");
        check(&special, &[(LOOPBACK_V6, Rtype::PTR, &ptr)]);
        assert_eq!(special.zones.len(), NAMES.len() + 16 + 64);
    }

    // RFC 4035 section 3.1.4.1; RFC 8375 section 4 wants the DS of home.arpa. resolved.
    #[test]
    fn ds_belongs_to_the_zone_above() {
        check(
            &Special::new([]),
            &[
                ("home.arpa.", Rtype::DS, "resolved"),
                ("10.in-addr.arpa.", Rtype::DS, "resolved"),
                ("localhost.", Rtype::DS, "resolved"),
                (
                    "1.10.in-addr.arpa.",
                    Rtype::DS,
                    "NxDomain |  | 10.in-addr.arpa.",
                ),
                (".", Rtype::DS, "resolved"),
            ],
        );
    }

    #[test]
    fn zones_of_the_configuration_take_over_their_part() {
        let configured = [
            ".",
            "arpa.",
            "lab.test.",
            "deep.er.test.",
            "10.in-addr.arpa.",
            "example.",
        ];
        let configured = configured.map(name);
        check(
            &Special::new(&configured),
            &[
                ("www.lab.test.", Rtype::A, "resolved"),
                ("lab.test.", Rtype::NS, "resolved"),
                ("lab.test.", Rtype::DS, "NoData |  | test."),
                ("other.test.", Rtype::A, "NxDomain |  | test."),
                ("er.test.", Rtype::A, "NoData |  | test."),
                ("x.er.test.", Rtype::A, "NxDomain |  | test."),
                ("1.10.in-addr.arpa.", Rtype::PTR, "resolved"),
                (
                    "1.168.192.in-addr.arpa.",
                    Rtype::PTR,
                    "NxDomain |  | 168.192.in-addr.arpa.",
                ),
                ("x.home.arpa.", Rtype::A, "NxDomain |  | home.arpa."),
            ],
        );
        assert!(is_special(&name("corp.local.")) && !is_special(&name("corp.example.")));
    }

    #[test]
    fn nothing_is_special_by_default() {
        let special = Special::default();
        check(&special, &[("localhost.", Rtype::A, "resolved")]);
    }

    #[test]
    fn records_are_those_of_the_rfc() {
        let special = Special::new([]);
        let question = Question::new(name("x.10.in-addr.arpa."), Rtype::A);
        let lookup = special.lookup(&question).unwrap();
        let soa = rdata::Soa::parse(&lookup.authority[0].rdatas[0]).unwrap();
        assert_eq!((soa.serial, soa.minimum_s), (1, 10_800));
        assert_eq!(lookup.authority[0].ttl, 10_800);
        assert!(lookup.authority[0].sigs.is_empty());
    }
}
