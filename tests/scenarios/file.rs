//! What a scenario file says. README.md explains each key; an unknown one is an error.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use holdfast::dns::{Class, Question, Rcode};
use serde::Deserialize;

use crate::net::Fault;
use crate::signer::name;

/// A file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What is shown, and the RFC or CVE that asks for it.
    pub about: String,
    /// `unsigned`, `signed` or `none`: root and top level zones that the file need not describe.
    #[serde(default = "unsigned")]
    pub base: String,
    /// Loses no packets in the seeded runs: what is shown depends on who answered first.
    #[serde(default)]
    pub lossless: bool,
    /// Keeps records in their order in the seeded runs.
    #[serde(default)]
    pub ordered: bool,
    /// Real sockets on loopback and real time, in one run.
    #[serde(default)]
    pub sockets: bool,
    /// The whole engine with its ledger on disk.
    #[serde(default)]
    pub engine: bool,
    #[serde(default)]
    pub settings: Settings,
    #[serde(default)]
    pub zone: Vec<Zone>,
    /// Hosts that serve no zone of their own.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Hosts that know every zone and answer with RD, as a validating resolver does.
    #[serde(default)]
    pub resolvers: Vec<String>,
    #[serde(default)]
    pub forward: Vec<Forward>,
    /// By zone, the host from which a mirror of it gets its versions. Only with `engine`.
    #[serde(default)]
    pub mirrors: BTreeMap<String, IpAddr>,
    /// By zone, when the copy of it that is held here is asked: `now`, `hedge`, `last`.
    #[serde(default)]
    pub copies: BTreeMap<String, String>,
    /// By host or zone: what its servers do wrong from the start.
    #[serde(default)]
    pub faults: BTreeMap<String, String>,
    #[serde(default)]
    pub reply: Vec<Reply>,
    pub step: Vec<Step>,
}

fn unsigned() -> String {
    "unsigned".into()
}

/// What differs from the resolver's defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub ipv4: Option<bool>,
    pub ipv6: Option<bool>,
    pub qname_minimisation: Option<bool>,
    pub harden_glue: Option<bool>,
    pub prime: Option<bool>,
    pub prefetch: Option<bool>,
    pub aggressive_nsec: Option<bool>,
    pub special_use_zones: Option<bool>,
    pub trust_anchor_updates: Option<bool>,
    pub query_loopback: Option<bool>,
    /// `insecure` or `validate`.
    pub sha1: Option<String>,
    pub ttl_min_s: Option<u32>,
    pub ttl_max_s: Option<u32>,
    pub cache_bytes_max: Option<u64>,
    /// `stale.enabled`
    pub stale: Option<bool>,
    pub answer_after_ms: Option<u64>,
    pub stale_age_max_s: Option<u64>,
    /// `NAME`, or `NAME SECONDS` with its end, counted from the beginning of the timeline.
    #[serde(default)]
    pub negative_trust_anchors: Vec<String>,
    /// Zones whose keys are trust anchors, in place of the root's.
    pub trust_anchors: Option<Vec<String>>,
    /// Only so many of the root's servers are in the hints.
    pub hints_max: Option<usize>,
}

/// A zone whose questions go to others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    pub zone: String,
    pub servers: Vec<IpAddr>,
    #[serde(default)]
    pub first: bool,
    /// A `[[stub]]`.
    #[serde(default)]
    pub stub: bool,
}

/// A zone and its servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    pub name: String,
    /// `NAME ADDRESS...`, with `no-glue` at the end if the parent has no addresses for it.
    pub servers: Vec<String>,
    #[serde(default)]
    pub records: String,
    pub ttl: Option<u32>,
    /// `nsec`, `nsec3` or `nsec3-opt-out`; unsigned without it.
    pub sign: Option<String>,
    /// NSEC3 iterations.
    #[serde(default)]
    pub iterations: u16,
    /// `ed25519`, `p256`, `p384`, `rsasha256` or `rsasha512`.
    #[serde(default = "ed25519")]
    pub algorithm: String,
    /// Another number is another pair of keys.
    #[serde(default)]
    pub keys: u64,
    /// In place of its one key signing key, `NUMBER` or `NUMBER revoked` each.
    #[serde(default)]
    pub key_signing_keys: Vec<String>,
    /// So many more keys, with the tag and algorithm of the one that signs its data.
    #[serde(default)]
    pub decoy_keys: u8,
    /// Digest type of its DS.
    #[serde(default = "sha256")]
    pub ds_digest: u8,
    /// Life of the signatures, in seconds from the beginning of the timeline.
    pub valid_from_s: Option<i64>,
    pub valid_to_s: Option<i64>,
    /// False: the parent has no DS.
    #[serde(default = "yes")]
    pub ds: bool,
    /// False: the parent has of it only what its own records say.
    #[serde(default = "yes")]
    pub delegated: bool,
    /// True: an own zone of the server under test, which nobody else serves.
    #[serde(default)]
    pub own: bool,
}

fn sha256() -> u8 {
    2
}

fn ed25519() -> String {
    "ed25519".into()
}

fn yes() -> bool {
    true
}

/// What a server says to some questions instead of the truth, or beside it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// A host.
    pub at: String,
    /// `NAME TYPE`; `*` for any, `*.NAME` for the name and all below.
    pub to: String,
    /// In what part of the timeline, seconds.
    #[serde(default)]
    pub from_s: u64,
    pub until_s: Option<u64>,
    /// `udp` or `tcp`; both without it.
    pub over: Option<String>,
    /// The sections are added to the truth; otherwise they replace it.
    #[serde(default)]
    pub add: bool,
    #[serde(default = "noerror")]
    pub rcode: String,
    /// Of `aa`, `tc` and `ra`.
    #[serde(default = "aa")]
    pub flags: String,
    #[serde(default)]
    pub answer: String,
    #[serde(default)]
    pub authority: String,
    #[serde(default)]
    pub additional: String,
    /// Records of these types, or with `RRSIG TYPE` the signatures over that type, are left out of the truth. Only with `add`.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Sign the records given here with the keys of this zone.
    pub sign_as: Option<String>,
    /// So many damaged signatures before each good one.
    #[serde(default)]
    pub junk_signatures: u8,
}

fn noerror() -> String {
    "NOERROR".into()
}

fn aa() -> String {
    "aa".into()
}

/// Something happens, is asked, and is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, in seconds; right after the step before without it.
    pub at_s: Option<u64>,
    /// By host or zone: what its servers do wrong from now on.
    #[serde(default)]
    pub faults: BTreeMap<String, String>,
    /// Every fault ends.
    #[serde(default)]
    pub heal: bool,
    /// The server under test stops and starts again. Only with `engine`.
    #[serde(default)]
    pub restart: bool,
    /// What the machine's clock shows after the restart, seconds since 1970.
    pub boot_clock_s: Option<u64>,
    /// The wall clock jumps by so many seconds.
    #[serde(default)]
    pub clock_jump_s: i64,
    /// `cache flush NAME`, or with ` tree` at the end all below it too.
    #[serde(default)]
    pub flush: Vec<String>,
    /// Zones in their new form. Servers that are no longer named keep the old one.
    #[serde(default)]
    pub zone: Vec<Zone>,
    /// So long all of `load` is asked, seconds.
    #[serde(default)]
    pub load_s: u64,
    #[serde(default)]
    pub load: Vec<Load>,
    /// By host or zone, `FAULT DOWN_S EVERY_S`: the fault holds in the first seconds of each so many, during the load.
    #[serde(default)]
    pub flaps: BTreeMap<String, String>,
    /// `ZONE FROM_S PER_QUESTION PER_S`: from so long after the beginning of the load on, the zone's servers get no more packets than
    /// that, per question of the load for its names and in any second; only in the steady run.
    #[serde(default)]
    pub sent_max: Vec<String>,
    /// `NAME TYPE` or `NAME CLASS TYPE`. With `times`, `{n}` is the number of the question, from 1.
    pub ask: Option<String>,
    /// Flags of the question: `rd`, `do`, `ad`, `cd`, `tcp`, `cookie`, `plain`.
    #[serde(default = "flags")]
    pub with: String,
    /// Asked so often at the same time.
    #[serde(default = "once")]
    pub times: usize,
    #[serde(default = "noerror")]
    pub rcode: String,
    /// Of `ad`, `aa` and `tc`, exactly those.
    #[serde(default)]
    pub flags: String,
    /// `OWNER TYPE DATA` lines, without signatures, in any order. `{n}` is as in `ask`.
    #[serde(default)]
    pub answer: String,
    /// `OWNER TYPE` lines: the whole section but for signatures.
    pub authority: Option<String>,
    pub additional: Option<String>,
    /// So many records instead, where their data is not the point.
    pub answer_records: Option<usize>,
    /// Only in the steady run: one of the extended errors.
    pub ede: Option<u16>,
    /// Only in the steady run: a piece of the text of an extended error.
    pub ede_text: Option<String>,
    /// Only in the steady run: pieces of what `holdfast trace` says, in order. The rest of the answer is then not looked at.
    #[serde(default)]
    pub traced: Vec<String>,
    /// Only in the steady run: by how much counters went up in this step, or what gauges show, as `NAME COUNT` or `NAME MIN..MAX`
    /// with one side left out at will.
    #[serde(default)]
    pub counted: Vec<String>,
    /// Only in the steady run: the TTL of every record of answer and authority section.
    pub ttl_s: Option<u32>,
    /// No TTL in the answer is larger.
    pub ttl_max_s: Option<u32>,
    /// Only in the steady run: packets upstream, all of them.
    pub packets_max: Option<usize>,
    /// Only in the steady run.
    pub within_ms: Option<u64>,
    /// Hosts that must not be asked in this step.
    #[serde(default)]
    pub unasked: Vec<String>,
    /// Questions, as `NAME TYPE`, that somebody must have been asked in this step; only in the steady run.
    #[serde(default)]
    pub asked: Vec<String>,
}

/// A question that is asked again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// `{n}` is the number of the question, from 1.
    pub ask: String,
    pub per_s: u64,
    /// The numbers begin again after so many.
    pub names: Option<u64>,
    #[serde(default = "noerror")]
    pub rcode: String,
    #[serde(default)]
    pub answer: String,
    pub ad: Option<bool>,
    /// What is asked in the first seconds is not looked at.
    #[serde(default)]
    pub settles_s: u64,
    /// So many percent are right; of the others each is SERVFAIL.
    #[serde(default = "all")]
    pub right_min: u8,
    /// Only in the steady run: how long any may take that is right.
    pub within_ms: Option<u64>,
    /// Only in the steady run: an extended error of each.
    pub ede: Option<u16>,
}

fn all() -> u8 {
    100
}

fn flags() -> String {
    "rd do".into()
}

fn once() -> usize {
    1
}

/// `NAME TYPE` or `NAME CLASS TYPE`
pub fn question(text: &str) -> Question {
    let words: Vec<&str> = text.split(' ').collect();
    let new = |owner, rtype: &str| Question::new(name(owner), rtype.parse().expect("a type"));
    match words[..] {
        [owner, rtype] => new(owner, rtype),
        [owner, class, rtype] => Question {
            class: class_of(class),
            ..new(owner, rtype)
        },
        _ => panic!("{text} is not NAME TYPE or NAME CLASS TYPE"),
    }
}

fn class_of(text: &str) -> Class {
    match text.strip_prefix("CLASS") {
        Some(number) => Class(number.parse().expect("a class")),
        None if text == "CH" => Class::CH,
        None if text == "IN" => Class::IN,
        None => panic!("no class is called {text}"),
    }
}

/// A code by its name.
pub fn rcode(text: &str) -> Rcode {
    let known = [
        Rcode::NOERROR,
        Rcode::FORMERR,
        Rcode::SERVFAIL,
        Rcode::NXDOMAIN,
        Rcode::NOTIMP,
        Rcode::REFUSED,
        Rcode::YXDOMAIN,
        Rcode::NOTAUTH,
        Rcode::BADVERS,
    ];
    let found = known.into_iter().find(|r| r.to_string() == text);
    found.unwrap_or_else(|| panic!("no code is called {text}"))
}

/// What a server does wrong.
pub fn fault(text: &str) -> Fault {
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let mut word = || words.next().unwrap_or_else(|| panic!("{text}: more words"));
    match kind {
        "none" => Fault::None,
        "silent" => Fault::Silent,
        "silent-tcp" => Fault::SilentTcp(Duration::from_millis(word().parse().unwrap())),
        "udp-silent" => Fault::UdpSilent,
        "unreachable" => Fault::Unreachable,
        "lame" => Fault::Lame,
        "says" => Fault::Says(rcode(word())),
        "denies-short" => Fault::DeniesShort(word().parse().unwrap(), rcode(word())),
        "denies-ents" => Fault::DeniesEnts,
        "upwards" => Fault::Upwards,
        "rubbish" => Fault::Rubbish,
        "no-edns" => Fault::NoEdns,
        "ignores-edns" => Fault::IgnoresEdns,
        "truncates" => Fault::Truncate,
        "bogus" => Fault::Bogus,
        "stripped" => Fault::Stripped,
        "hijacked" => Fault::Hijack(word().parse().unwrap()),
        "slow" => Fault::Slow(Duration::from_millis(word().parse().unwrap())),
        "drops-edns" => Fault::DropsEdns,
        "fails-edns" => Fault::FailsEdns(rcode(word())),
        "drops-cookies" => Fault::DropsCookies,
        "refuses-cookies" => Fault::RefusesCookies,
        "bad-cookie" => Fault::BadCookie,
        "folds-case" => Fault::FoldsCase { tcp: true },
        "forgers" => Fault::Forgers,
        "drops-large" => Fault::DropsLarge(word().parse().unwrap()),
        "drops-new-types" => Fault::DropsNewTypes,
        "truncates-always" => Fault::TruncatesAlways,
        "other-port" => Fault::OtherPort,
        "other-address" => Fault::OtherAddress(word().parse().unwrap()),
        "other-id" => Fault::OtherId,
        "loses" => Fault::Loss(word().parse().unwrap()),
        "loses-datagrams" => Fault::LossUdp(word().parse().unwrap()),
        _ => panic!("no fault is called {text}"),
    }
}
