//! Answers as a resolver's cache holds them, without end and without chance: the same number gives the same answer.

use holdfast::cache::entry::{Entry, Security};
use holdfast::dns::{Name, Question, Rcode, RrSet, Rtype};

/// What kinds of answers a cache is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub enum Mix {
    /// One address each, unsigned: what other resolvers are measured with.
    Addresses,
    /// One to four addresses, a third of them IPv6, a tenth signed, a tenth aliases, a fifth denials with SOA, of these half proven.
    Usual,
}

/// The `n`th question and its answer.
pub fn answer(mix: Mix, n: u32) -> (Question, Entry) {
    match mix {
        Mix::Addresses => addresses(n, Rtype::A, 1, false),
        Mix::Usual => match n % 10 {
            0 => alias(n),
            1 | 2 => denial(n, n % 10 == 1),
            3 => addresses(n, Rtype::A, 1, true),
            k @ 4..=6 => addresses(n, Rtype::AAAA, k as usize - 3, false),
            k => addresses(n, Rtype::A, k as usize - 5, false),
        },
    }
}

/// RDATA of an RRSIG by a 256-bit elliptic curve: 18 octets, the signer's name, 64 octets.
fn signature(zone: &Name) -> Box<[u8]> {
    [&[0; 18], zone.wire(), &[0xA5; 64]].concat().into()
}

fn zone(n: u32) -> Name {
    name(&format!("zone{:06}.example.", n / 4))
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn entry(rcode: Rcode, answer: Vec<RrSet>, authority: Vec<RrSet>, secure: bool) -> Entry {
    Entry {
        rcode,
        answer,
        authority,
        security: match secure {
            true => Security::Secure,
            false => Security::Insecure,
        },
        errors: Vec::new(),
    }
}

fn addresses(n: u32, rtype: Rtype, count: usize, secure: bool) -> (Question, Entry) {
    let owner = name(&format!("www{n}.{}", zone(n)));
    let octets = if rtype == Rtype::A { 4 } else { 16 };
    let set = RrSet {
        name: owner.clone(),
        rtype,
        ttl: 300,
        rdatas: (0..count).map(|i| vec![i as u8; octets].into()).collect(),
        sigs: secure.then(|| signature(&zone(n))).into_iter().collect(),
    };
    (
        Question::new(owner, rtype),
        entry(Rcode::NOERROR, vec![set], Vec::new(), secure),
    )
}

fn alias(n: u32) -> (Question, Entry) {
    let owner = name(&format!("alias{n}.{}", zone(n)));
    let target = name(&format!("edge{}.cdn.example.", n % 1000));
    let set = RrSet::single(owner.clone(), Rtype::CNAME, 300, target.wire().into());
    (
        Question::new(owner, Rtype::A),
        entry(Rcode::NOERROR, vec![set], Vec::new(), false),
    )
}

fn denial(n: u32, secure: bool) -> (Question, Entry) {
    let zone = zone(n);
    let owner = name(&format!("none{n}.{zone}"));
    let soa = [
        name(&format!("ns1.{zone}")).wire(),
        name(&format!("host.{zone}")).wire(),
        &[1; 20],
    ]
    .concat();
    let nsec = |owner: &str| {
        [
            name(&format!("{owner}z.{zone}")).wire(),
            &[0, 6, 0x40, 0, 0, 0, 0, 3],
        ]
        .concat()
    };
    let mut authority = vec![RrSet::single(zone.clone(), Rtype::SOA, 300, soa.into())];
    if secure {
        for label in ["a", "none"] {
            let at = name(&format!("{label}.{zone}"));
            authority.push(RrSet::single(at, Rtype::NSEC, 300, nsec(label).into()));
        }
        for set in &mut authority {
            set.sigs.push(signature(&zone));
        }
    }
    (
        Question::new(owner, Rtype::A),
        entry(Rcode::NXDOMAIN, Vec::new(), authority, secure),
    )
}
