//! IPv6 addresses for what has only IPv4 ones: DNS64 (RFC 6147), for networks whose clients have no IPv4 and a NAT64 beside.
//!
//! This is the one place where an answer says what nobody has published. So it is off unless `dns64.prefix` is set, every answer that is
//! made here carries extended error 29 (synthesized), and what can be proven otherwise is never touched:
//!
//! | the client's query | what it gets |
//! |---|---|
//! | DO and CD: it validates by itself | the truth (RFC 6147 section 5.5 rule 3) |
//! | any other | a made address where there is provably, or else probably, no AAAA, and an A record |
//!
//! A denial or an A record that does not validate leads to no address, and AD says that both have been validated (rule 2). So an attacker
//! who takes away an AAAA of a signed name does not thereby turn its clients to IPv4.
//!
//! Model: [`Dns64`] is the arithmetic of RFC 6052 and the judgement of what is there; [`Translating`] puts it between pipeline and
//! resolver for the clients that it is for, so that neither cache nor validation ever sees a made address. Own zones are answered for
//! in the same way, but not with DO: they may be signed. Names that go back, below the prefix in `ip6.arpa.`, are aliases of those
//! in `in-addr.arpa.` (section 5.3.1). `ipv4only.arpa.`, by which clients find out the prefix (RFC 7050), is answered here, as RFC 8880
//! section 7.2 has it.
//!
//! Failure: where the question for A comes to nothing, the client gets what there was for AAAA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::Ipv6Net;

use super::own::Own;
use super::reply::Answer;
use super::request::Request;
use super::{BoxFuture, Options, Resolve};
use crate::config;
use crate::dns::{Class, Ede, Name, Question, Rcode, Rdata, RrSet, Rtype};
use crate::metrics::Metrics;
use crate::prefix_set::PrefixSet;
use crate::resolve::{Resolution, Security};

/// RFC 6052 section 2.1: the prefix that everybody may use, and that stands for public addresses only (section 3.1).
const WELL_KNOWN: Ipv6Net = match Ipv6Net::new(Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, 0, 0), 96) {
    Ok(net) => net,
    Err(_) => panic!("96 is a length of a prefix"),
};
/// Octet 8 of such addresses is always zero (RFC 6052 section 2.2).
const SKIPPED_OCTET: usize = 8;
/// TTL where no SOA says how long there is no AAAA, in seconds (RFC 6147 section 5.1.7).
const TTL_WITHOUT_SOA_S: u32 = 600;
/// TTL of what is true for as long as the configuration is, in seconds.
const TTL_LOCAL_S: u32 = 600;
/// What clients ask for to find out the prefix, and what it has (RFC 7050 section 8.2).
const IPV4_ONLY: &str = "ipv4only.arpa.";
const IPV4_ONLY_ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// Labels of the name of an IPv6 address.
const REVERSE_LABELS: usize = 34;

/// How addresses are made, and for whom.
#[derive(Debug, Clone)]
pub struct Dns64 {
    prefix: Ipv6Net,
    clients: PrefixSet,
    exclude: Vec<Ipv6Net>,
    ipv4_only: Name,
}

impl Dns64 {
    /// As `[dns64]` says; `None` where it names no prefix.
    pub fn new(config: &config::Dns64) -> Option<Dns64> {
        Some(Dns64 {
            prefix: config.prefix?,
            clients: config.clients.iter().copied().collect(),
            exclude: config.exclude.clone(),
            ipv4_only: IPV4_ONLY.parse().ok()?,
        })
    }

    /// Whether the client of this request gets made addresses.
    pub(super) fn serves(&self, request: &Request) -> bool {
        let checks_itself = request.dnssec_ok() && request.message.checking_disabled;
        request.question.class == Class::IN
            && !checks_itself
            && self.is_client(request.client.addr.ip())
    }

    /// Whether they are for who comes from there.
    pub(super) fn is_client(&self, from: IpAddr) -> bool {
        self.clients.contains(from)
    }

    /// Names at and below which something is made that no zone above has.
    pub(super) fn landmarks(&self) -> Vec<Name> {
        let digits = usize::from(self.prefix.prefix_len() / 4);
        let bits = u128::from(self.prefix.network());
        let mut reverse = String::new();
        for at in (0..digits).rev() {
            let digit = bits >> (124 - 4 * at) & 0xF;
            reverse.push_str(&format!("{digit:x}."));
        }
        let reverse = format!("{reverse}ip6.arpa.").parse().ok();
        reverse
            .into_iter()
            .chain([self.ipv4_only.clone()])
            .collect()
    }

    /// The answer for the name that tells the prefix.
    pub(super) fn told(&self, question: &Question) -> Option<Answer> {
        if question.name != self.ipv4_only {
            return None;
        }
        let addresses = IPV4_ONLY_ADDRESSES.iter();
        let rdatas: Vec<Rdata> = match question.rtype {
            Rtype::A => addresses.map(|a| a.octets().into()).collect(),
            Rtype::AAAA => addresses.map(|a| self.embed(*a).octets().into()).collect(),
            _ => return None,
        };
        Some(Answer {
            authoritative: true,
            answer: vec![RrSet {
                rdatas,
                ..empty_set(&question.name, question.rtype, TTL_LOCAL_S)
            }],
            ..Answer::default()
        })
    }

    /// The alias that leads from a made address to the name of the one within it, and where to go on.
    pub(super) fn pointer(&self, question: &Question) -> Option<(Answer, Question)> {
        if question.rtype != Rtype::PTR {
            return None;
        }
        let address = self.extract(address_of(&question.name)?)?;
        let [a, b, c, d] = address.octets();
        let target: Name = format!("{d}.{c}.{b}.{a}.in-addr.arpa.").parse().ok()?;
        let alias = RrSet::single(
            question.name.clone(),
            Rtype::CNAME,
            TTL_LOCAL_S,
            target.wire().into(),
        );
        let so_far = Answer {
            authoritative: true,
            answer: vec![alias],
            ..Answer::default()
        };
        let onward = Question {
            name: target,
            ..question.clone()
        };
        Some((so_far, onward))
    }

    /// The answer of an own zone with addresses made of what `own` says to the same question for A.
    pub(super) fn own(
        &self,
        answer: Answer,
        request: &Request,
        own: impl Fn(&Request) -> Own,
        metrics: &Metrics,
    ) -> Answer {
        let lacks = answer.rcode == Rcode::NOERROR && answer.answer.iter().all(is_no_address);
        if request.question.rtype != Rtype::AAAA || !lacks || request.dnssec_ok() {
            return answer;
        }
        let for_a = Request {
            question: for_a(&request.question),
            ..request.clone()
        };
        let Own::Answer(found) = own(&for_a) else {
            return answer;
        };
        match self.made(&found.answer, &answer.authority) {
            Some(made) => {
                metrics.answers_dns64_total.inc();
                Answer {
                    answer: made,
                    authority: Vec::new(),
                    additional: Vec::new(),
                    errors: vec![synthesized()],
                    ..found
                }
            }
            None => answer,
        }
    }

    /// The IPv6 address for an IPv4 one (RFC 6052 section 2.2).
    fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.prefix.network().octets();
        for (at, octet) in self.places().zip(address.octets()) {
            octets[at] = octet;
        }
        octets.into()
    }

    /// The IPv4 address in one that was made here.
    fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.prefix.contains(&address) {
            return None;
        }
        let octets = address.octets();
        let mut found = [0; 4];
        for (octet, at) in found.iter_mut().zip(self.places()) {
            *octet = octets[at];
        }
        Some(found.into())
    }

    /// Where the four octets stand.
    fn places(&self) -> impl Iterator<Item = usize> {
        let first = usize::from(self.prefix.prefix_len() / 8);
        (first..16).filter(|at| *at != SKIPPED_OCTET).take(4)
    }

    /// Whether there may be an IPv6 address for it.
    fn may_embed(&self, address: Ipv4Addr) -> bool {
        self.prefix != WELL_KNOWN || is_public(address)
    }

    fn is_excluded(&self, rdata: &Rdata) -> bool {
        let octets: Option<[u8; 16]> = rdata[..].try_into().ok();
        let address = octets.map(Ipv6Addr::from);
        address.is_some_and(|address| self.exclude.iter().any(|net| net.contains(&address)))
    }

    /// What an answer for AAAA is worth.
    fn judge(&self, mut found: Resolution) -> Judged {
        match (&found.rcode, &found.security) {
            // RFC 6147 section 5.5: what does not validate is no evidence.
            (_, Security::Bogus(_)) => return Judged::Stands(found),
            // Section 5.1.2: errors are treated as if there were no address.
            (&Rcode::NOERROR | &Rcode::SERVFAIL, _) => {}
            _ => return Judged::Stands(found),
        }
        // Section 5.1.4: addresses that lead nowhere.
        let mut is_changed = false;
        for set in &mut found.answer {
            if set.rtype == Rtype::AAAA {
                let before = set.rdatas.len();
                set.rdatas.retain(|rdata| !self.is_excluded(rdata));
                if set.rdatas.len() < before {
                    set.sigs.clear();
                    is_changed = true;
                }
            }
        }
        found.answer.retain(|set| !set.rdatas.is_empty());
        if is_changed {
            found.security = unproven(found.security);
            found.errors.push(synthesized());
        }
        match found.answer.iter().all(is_no_address) {
            true => Judged::Lacks(found),
            false => Judged::Stands(found),
        }
    }

    /// The answer for AAAA that comes of what was said to AAAA and to A; `None` if nothing comes of it.
    fn translated(&self, denial: &Resolution, found: &Resolution) -> Option<Resolution> {
        if found.rcode != Rcode::NOERROR || matches!(found.security, Security::Bogus(_)) {
            return None;
        }
        let answer = self.made(&found.answer, &denial.authority)?;
        let mut sources = found.sources.clone();
        sources.packets += denial.sources.packets;
        for mirror in &denial.sources.mirrors {
            if !sources.mirrors.contains(mirror) {
                sources.mirrors.push(mirror.clone());
            }
        }
        sources.stale |= denial.sources.stale;
        let mut errors = found.errors.clone();
        errors.push(synthesized());
        Some(Resolution {
            rcode: Rcode::NOERROR,
            answer,
            // The proofs there are concern A.
            authority: Vec::new(),
            additional: Vec::new(),
            // Section 5.5 rule 2: both have to be proven.
            security: match (denial.rcode, &denial.security, &found.security) {
                (_, Security::SecureAsOf, _) | (_, _, Security::SecureAsOf) => Security::SecureAsOf,
                (Rcode::NOERROR, Security::Secure, Security::Secure) => Security::Secure,
                _ => Security::Insecure,
            },
            errors,
            sources,
        })
    }

    /// Aliases as they are, and an address for each that may have one (RFC 6147 sections 5.1.6 and 5.1.7).
    fn made(&self, found: &[RrSet], denial: &[RrSet]) -> Option<Vec<RrSet>> {
        let soa = denial.iter().find(|set| set.rtype == Rtype::SOA);
        let ttl_max = soa.map_or(TTL_WITHOUT_SOA_S, |soa| soa.ttl);
        let made: Vec<RrSet> = (found.iter())
            .map(|set| match set.rtype {
                Rtype::A => {
                    let octets = |rdata: &Rdata| <[u8; 4]>::try_from(&rdata[..]).ok();
                    let addresses = set.rdatas.iter().filter_map(octets).map(Ipv4Addr::from);
                    let usable = addresses.filter(|address| self.may_embed(*address));
                    RrSet {
                        rdatas: usable.map(|a| self.embed(a).octets().into()).collect(),
                        ..empty_set(&set.name, Rtype::AAAA, set.ttl.min(ttl_max))
                    }
                }
                _ => set.clone(),
            })
            .filter(|set| !set.rdatas.is_empty())
            .collect();
        let has_address = made.iter().any(|set| set.rtype == Rtype::AAAA);
        has_address.then_some(made)
    }
}

/// See [`Dns64::judge`].
enum Judged {
    /// It is given as it is.
    Stands(Resolution),
    /// There is no address in it.
    Lacks(Resolution),
}

/// A resolver whose answers for AAAA are made where there are none.
pub struct Translating {
    /// Who knows what there is.
    pub resolver: Arc<dyn Resolve>,
    /// How addresses are made.
    pub dns64: Arc<Dns64>,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
}

impl Translating {
    fn chosen(&self, denial: Resolution, found: Resolution) -> Resolution {
        match self.dns64.translated(&denial, &found) {
            Some(made) => {
                self.metrics.answers_dns64_total.inc();
                made
            }
            // RFC 6147 section 5.1.6: without A, what there was for AAAA.
            None => denial,
        }
    }

    async fn known_or_resolved(&self, question: Question, options: Options) -> Resolution {
        match self.resolver.cached(&question, options) {
            Some(found) => found,
            None => self.resolver.resolve(question, options).await,
        }
    }
}

impl Resolve for Translating {
    fn cached(&self, question: &Question, options: Options) -> Option<Resolution> {
        let found = self.resolver.cached(question, options)?;
        if question.rtype != Rtype::AAAA {
            return Some(found);
        }
        match self.dns64.judge(found) {
            Judged::Stands(found) => Some(found),
            Judged::Lacks(denial) => {
                let found = self.resolver.cached(&for_a(question), options)?;
                Some(self.chosen(denial, found))
            }
        }
    }

    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution> {
        if question.rtype != Rtype::AAAA {
            return self.resolver.resolve(question, options);
        }
        Box::pin(async move {
            let for_a = for_a(&question);
            let found = self.known_or_resolved(question, options).await;
            match self.dns64.judge(found) {
                Judged::Stands(found) => found,
                Judged::Lacks(denial) => {
                    let found = self.known_or_resolved(for_a, options).await;
                    self.chosen(denial, found)
                }
            }
        })
    }
}

fn for_a(question: &Question) -> Question {
    Question {
        rtype: Rtype::A,
        ..question.clone()
    }
}

fn empty_set(name: &Name, rtype: Rtype, ttl: u32) -> RrSet {
    RrSet {
        name: name.clone(),
        rtype,
        ttl,
        rdatas: Vec::new(),
        sigs: Vec::new(),
    }
}

fn is_no_address(set: &RrSet) -> bool {
    set.rtype != Rtype::AAAA
}

fn synthesized() -> Ede {
    Ede::new(Ede::SYNTHESIZED, "DNS64")
}

/// What is left of a proof when a part of the answer has been taken away.
fn unproven(security: Security) -> Security {
    match security {
        Security::Secure => Security::Insecure,
        other => other,
    }
}

/// RFC 6052 section 3.1 with RFC 6890: an address that means the same everywhere.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || shared
        || protocols
        || benchmark)
}

/// The address that a name in `ip6.arpa.` is of (RFC 3596 section 2.5).
fn address_of(name: &Name) -> Option<Ipv6Addr> {
    if name.label_count() != REVERSE_LABELS {
        return None;
    }
    let (mut bits, mut count) = (0_u128, 0);
    for label in name.labels() {
        match label {
            [digit] if count < REVERSE_LABELS - 2 => {
                let digit = char::from(*digit).to_digit(16)?;
                bits = bits >> 4 | u128::from(digit) << 124;
            }
            _ if count == REVERSE_LABELS - 2 && label.eq_ignore_ascii_case(b"ip6") => {}
            _ if count == REVERSE_LABELS - 1 && label.eq_ignore_ascii_case(b"arpa") => {}
            _ => return None,
        }
        count += 1;
    }
    Some(bits.into())
}

#[cfg(test)]
mod tests;
