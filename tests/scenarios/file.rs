//! What a scenario file says. README.md explains each key; an unknown one is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::dns::{Question, Rcode};
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
    #[serde(default)]
    pub settings: Settings,
    #[serde(default)]
    pub zone: Vec<Zone>,
    /// Hosts that serve no zone of their own.
    #[serde(default)]
    pub hosts: Vec<String>,
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
    /// Only so many of the root's servers are in the hints.
    pub hints_max: Option<usize>,
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
    /// `ed25519` or `p256`.
    #[serde(default = "ed25519")]
    pub algorithm: String,
    /// Another number is another pair of keys.
    #[serde(default)]
    pub keys: u64,
    /// Life of the signatures, in seconds from the beginning of the timeline.
    pub valid_from_s: Option<i64>,
    pub valid_to_s: Option<i64>,
    /// False: the parent has no DS.
    #[serde(default = "yes")]
    pub ds: bool,
    /// False: the parent has of it only what its own records say.
    #[serde(default = "yes")]
    pub delegated: bool,
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
    /// Zones in their new form. Servers that are no longer named keep the old one.
    #[serde(default)]
    pub zone: Vec<Zone>,
    /// `NAME TYPE`
    pub ask: Option<String>,
    /// Flags of the question: `rd`, `do`, `ad`, `cd`, `tcp`.
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
    /// `OWNER TYPE DATA` lines, without signatures, in any order.
    #[serde(default)]
    pub answer: String,
    /// So many records instead, where their data is not the point.
    pub answer_records: Option<usize>,
    /// Only in the steady run: one of the extended errors.
    pub ede: Option<u16>,
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

fn flags() -> String {
    "rd do".into()
}

fn once() -> usize {
    1
}

/// `NAME TYPE`
pub fn question(text: &str) -> Question {
    let (owner, rtype) = text.split_once(' ').expect("NAME TYPE");
    Question::new(name(owner), rtype.parse().expect("a type"))
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
        "udp-silent" => Fault::UdpSilent,
        "unreachable" => Fault::Unreachable,
        "lame" => Fault::Lame,
        "says" => Fault::Says(rcode(word())),
        "denies-short" => Fault::DeniesShort(word().parse().unwrap(), rcode(word())),
        "denies-ents" => Fault::DeniesEnts,
        "upwards" => Fault::Upwards,
        "rubbish" => Fault::Rubbish,
        "no-edns" => Fault::NoEdns,
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
        "truncates-always" => Fault::TruncatesAlways,
        "loses" => Fault::Loss(word().parse().unwrap()),
        _ => panic!("no fault is called {text}"),
    }
}
