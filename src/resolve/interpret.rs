//! What a server's message means to the question that it was asked.
//!
//! Why: a server may say anything. Only records of the zone that it was asked about count; a referral must lead down
//! towards the name; addresses count only for name servers that the referral names, and (with `harden_glue`)
//! only within the asked zone. Everything else in the message is left aside, so that no server speaks for
//! another's zone.
//!
//! Model: [`interpret`] is one function from a message to a [`Said`]. Its cases follow RFC 1034 section 5.3.3 step 4 and
//! RFC 2308 section 2.
//!
//! Failure: a message that fits no case is [`Said::Lame`] or [`Said::Failed`]; the next server is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cache::entry::Expiry;
use crate::clock::Now;
use crate::dns::{Message, Name, Question, Rcode, Record, RrSet, Rtype, group, rdata};
use crate::resolve::delegation::{
    ADDRESSES_PER_NAME_MAX, DELEGATION_TTL_MAX_S, Delegation, DelegationOrigin, NAMES_MAX,
};
use crate::resolve::quirks::EdnsLevel;
use crate::resolve::{Origin, Response};
use crate::upstream::{Doubt, Transport};

/// Sets of a chain of aliases that are taken from one message: more than a question follows, and few enough that
/// looking each up in the message costs nothing.
pub const REST_MAX: usize = 16;

/// What a server said, or failed to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The set asked for, an alias, or a denial.
    Answer(Response),
    /// The zone's own list of its servers: the answer to an NS question at its apex (RFC 9609).
    Apex(Response, Delegation),
    /// The servers of a zone below know more.
    Referral(Referral),
    /// Ask again over TCP.
    Truncated,
    /// Ask again with this much of EDNS (RFC 6891 section 7).
    EdnsRefused(EdnsLevel),
    /// Ask again with the cookie that came along (RFC 7873 section 5.3).
    CookieRefused,
    /// What came may be a forgery: ask again over TCP.
    Doubtful(Doubt),
    /// It does not serve the zone.
    Lame(&'static str),
    /// It serves the zone, perhaps, but said this.
    Failed(String),
    /// It said nothing in time.
    Silent,
    /// It cannot be reached.
    Unreachable(String),
    /// This machine could not ask.
    NotSent(String),
}

/// A step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// The zone below and its servers.
    pub delegation: Delegation,
    /// The answer to the DS question for that zone, if it came along: the set or its denial.
    pub ds: Option<Response>,
}

/// Where a message came from and what it answers.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The zone that the server was asked about as one of its servers.
    pub zone: &'a Name,
    /// The question, perhaps minimised.
    pub asked: &'a Question,
    /// How it was sent.
    pub transport: Transport,
    /// Whether the server is a forwarder, asked to recurse.
    pub forwarded: bool,
    /// How much of EDNS it was sent with.
    pub edns: EdnsLevel,
    /// The server has answered with EDNS before.
    pub takes_edns: bool,
    /// The server.
    pub server: IpAddr,
    /// `resolver.harden_glue`
    pub harden_glue: bool,
    /// When it came.
    pub now: Now,
}

/// Reads a matched message.
pub fn interpret(cx: &Context<'_>, message: &Message) -> Said {
    if !message.response || message.opcode != 0 {
        return Said::Failed("no response to a query".into());
    }
    match message.rcode {
        Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN => {}
        // RFC 7873 section 5.3: over TCP a server needs no cookie.
        Rcode::BADCOOKIE if cx.transport == Transport::Udp => return Said::CookieRefused,
        code if let Some(level) = refused_edns(cx, message, code) => {
            return Said::EdnsRefused(level);
        }
        Rcode::REFUSED => return Said::Lame("REFUSED"),
        Rcode::NOTAUTH => return Said::Lame("NOTAUTH"),
        other => return Said::Failed(other.to_string()),
    }
    if message.truncated {
        return match cx.transport {
            Transport::Udp => Said::Truncated,
            Transport::Tcp => Said::Failed("truncated over TCP".into()),
        };
    }
    if cx.forwarded {
        return forwarded(cx, message);
    }
    // A recursive server without authority repeats others' data, of any age.
    if !message.authoritative && message.recursion_available && !message.answer.is_empty() {
        return Said::Lame("not authoritative");
    }
    let answer = answers(cx, cx.zone, message);
    let authority = in_zone(cx.zone, group(&message.authority));
    if message.rcode == Rcode::YXDOMAIN {
        return positive(cx, &answer, &authority, message.rcode)
            .map_or(Said::Failed("YXDOMAIN without DNAME".into()), Said::Answer);
    }
    // Some servers put the NS set of a zone below into the answer section.
    let cut = |s: &&RrSet| s.rtype == Rtype::NS && s.name == cx.asked.name;
    if cx.asked.rtype == Rtype::NS
        && !message.authoritative
        && let Some(ns) = answer.iter().find(cut)
        && is_step_down(cx, &ns.name)
    {
        return referral(cx, message, ns, &authority);
    }
    if let Some(response) = positive(cx, &answer, &authority, Rcode::NOERROR) {
        return with_apex(cx, message, response);
    }
    let alias = |s: &RrSet| s.rtype == Rtype::CNAME && s.name == cx.asked.name;
    if answer.iter().any(alias) {
        return Said::Failed("more than one CNAME".into());
    }
    negative(cx, message, authority)
}

/// What a forwarder says: the end of the question, from whatever zone it comes.
fn forwarded(cx: &Context<'_>, message: &Message) -> Said {
    // RFC 1034 section 4.3.1. A referral is of no use: whom to ask is the forwarder's business.
    if !message.recursion_available && !message.authoritative {
        return Said::Lame("does not recurse");
    }
    // The zone that the answer comes from may lie above the forwarded one, and its records with it.
    let answer = answers(cx, &Name::root(), message);
    let authority = in_zone(&Name::root(), group(&message.authority));
    let rcode = match message.rcode {
        Rcode::YXDOMAIN => Rcode::YXDOMAIN,
        _ => Rcode::NOERROR,
    };
    if let Some(response) = positive(cx, &answer, &authority, rcode) {
        return Said::Answer(response);
    }
    if !answer.is_empty() || message.rcode == Rcode::YXDOMAIN {
        return Said::Failed("an answer to another question".into());
    }
    // The evidence of a bad denial must not count against the zone that its SOA names: the response stays the forwarder's.
    let mut denial = response(cx, message.rcode, Vec::new(), &authority);
    if let Some(soa) = authority.iter().find(|s| denies(cx, s)) {
        denial.authority.insert(0, soa.clone());
    }
    Said::Answer(denial)
}

/// Whether this SOA set may stand in a denial of the question.
fn denies(cx: &Context<'_>, s: &RrSet) -> bool {
    let asked = &cx.asked.name;
    // RFC 4035 section 3.1.4.1: the zone's own SOA denies a DS only if it stands above the name.
    let above = asked.is_below(&s.name) || asked.is_root();
    s.rtype == Rtype::SOA && asked.is_within(&s.name) && (cx.asked.rtype != Rtype::DS || above)
}

/// The RRsets of the answer section, within the zone. One without data is its signatures: those of another server's set, but
/// where signatures are what was asked for.
fn answers(cx: &Context<'_>, zone: &Name, message: &Message) -> Vec<RrSet> {
    let mut sets = group(&message.answer);
    if cx.asked.rtype != Rtype::RRSIG {
        return in_zone(zone, sets);
    }
    sets.retain(|s| s.name.is_within(zone));
    sets
}

/// Whether the code is about EDNS rather than the question, and how much of it the server may take.
fn refused_edns(cx: &Context<'_>, message: &Message, code: Rcode) -> Option<EdnsLevel> {
    if cx.edns == EdnsLevel::None {
        return None;
    }
    match code {
        // Version 0 is all that was asked for.
        Rcode::BADVERS => Some(EdnsLevel::None),
        Rcode::FORMERR | Rcode::NOTIMP if message.edns.is_none() => Some(EdnsLevel::None),
        // RFC 6891 section 6.1.1: who sends OPT back knows EDNS, and means the question, or else the option.
        Rcode::FORMERR if cx.edns == EdnsLevel::Full => Some(EdnsLevel::Bare),
        // Some fail at what they do not know.
        Rcode::SERVFAIL if message.edns.is_none() && !cx.takes_edns => Some(EdnsLevel::None),
        _ => None,
    }
}

/// RRsets with data, within the zone.
fn in_zone(zone: &Name, sets: Vec<RrSet>) -> Vec<RrSet> {
    let fits = |s: &RrSet| !s.rdatas.is_empty() && s.name.is_within(zone);
    sets.into_iter().filter(fits).collect()
}

fn response(cx: &Context<'_>, rcode: Rcode, answer: Vec<RrSet>, authority: &[RrSet]) -> Response {
    let proofs = |s: &&RrSet| matches!(s.rtype, Rtype::NSEC | Rtype::NSEC3);
    Response {
        zone: cx.zone.clone(),
        rcode,
        answer,
        rest: Vec::new(),
        authority: authority.iter().filter(proofs).cloned().collect(),
        origin: Origin::Network(cx.server),
    }
}

/// The set asked for, or an alias in its place.
fn positive(
    cx: &Context<'_>,
    answer: &[RrSet],
    authority: &[RrSet],
    rcode: Rcode,
) -> Option<Response> {
    let asked = cx.asked;
    // RFC 6672 section 2.4: a name below a DNAME has no data of its own, so a CNAME there, asked for or not, was made.
    let dname = |s: &&RrSet| s.rtype == Rtype::DNAME && asked.name.is_below(&s.name);
    if let Some(dname) = answer.iter().find(dname) {
        return from_dname(cx, dname, authority).map(|made| with_rest(cx, made, answer));
    }
    let wanted = |s: &&RrSet| {
        let fits = match asked.rtype {
            Rtype::ANY => true,
            Rtype::RRSIG => !s.sigs.is_empty(),
            rtype => s.rtype == rtype,
        };
        fits && s.name == asked.name
    };
    let found: Vec<RrSet> = answer.iter().filter(wanted).cloned().collect();
    if !found.is_empty() {
        return Some(response(cx, rcode, found, authority));
    }
    let cname = |s: &&RrSet| s.rtype == Rtype::CNAME && s.name == asked.name;
    let cname = answer.iter().find(cname).filter(|s| s.rdatas.len() == 1)?;
    let alias = response(cx, rcode, vec![cname.clone()], authority);
    Some(with_rest(cx, alias, answer))
}

/// RFC 1034 section 5.3.3 step 4c: the rest of a chain of aliases, as far as it stays in the zone. What a parent's
/// server would say of a DS below an alias may be another zone's, and so may all that a forwarder says.
fn with_rest(cx: &Context<'_>, mut alias: Response, answer: &[RrSet]) -> Response {
    let target = |set: &RrSet| match &set.rdatas[..] {
        [rdata] if set.rtype == Rtype::CNAME => rdata::single_name(rdata),
        _ => None,
    };
    let mut at = alias.answer.last().and_then(target);
    let usable = ![Rtype::DS, Rtype::CNAME].contains(&cx.asked.rtype) && !cx.forwarded;
    while let Some(name) = at.filter(|_| usable && alias.rest.len() < REST_MAX) {
        let here = |rtype| answer.iter().find(|s| s.name == name && s.rtype == rtype);
        let Some(next) = here(cx.asked.rtype).or_else(|| here(Rtype::CNAME)) else {
            break;
        };
        if alias.rest.contains(next) {
            break;
        }
        at = target(next);
        alias.rest.push(next.clone());
    }
    alias
}

fn from_dname(cx: &Context<'_>, dname: &RrSet, authority: &[RrSet]) -> Option<Response> {
    let (rcode, answer) = redirected(dname, &cx.asked.name)?;
    Some(response(cx, rcode, answer, authority))
}

/// What a DNAME makes of a name below it: itself and a CNAME, which is made here whatever the server made of it (RFC 6672
/// section 3.2); or YXDOMAIN where the new name is too long (section 2.2).
pub fn redirected(dname: &RrSet, name: &Name) -> Option<(Rcode, Vec<RrSet>)> {
    let [rdata] = &dname.rdatas[..] else {
        return None;
    };
    let target = rdata::single_name(rdata)?;
    match name.replace_suffix(&dname.name, &target) {
        Ok(to) => {
            let to = to?.wire().into();
            let made = RrSet::single(name.clone(), Rtype::CNAME, dname.ttl, to);
            Some((Rcode::NOERROR, vec![dname.clone(), made]))
        }
        Err(_) => Some((Rcode::YXDOMAIN, vec![dname.clone()])),
    }
}

/// Adds the zone's own server list where it was asked for.
fn with_apex(cx: &Context<'_>, message: &Message, response: Response) -> Said {
    if cx.asked.rtype != Rtype::NS || cx.asked.name != *cx.zone || !message.authoritative {
        return Said::Answer(response);
    }
    match response.answer.first() {
        Some(ns) if ns.rtype == Rtype::NS => {
            let delegation = delegation(cx, ns, &message.additional);
            Said::Apex(response, delegation)
        }
        _ => Said::Answer(response),
    }
}

/// No answer: a denial, a referral, or nonsense.
fn negative(cx: &Context<'_>, message: &Message, authority: Vec<RrSet>) -> Said {
    let soa = authority.iter().find(|s| denies(cx, s));
    let asked = &cx.asked.name;
    let own = |s: &RrSet| s.rtype == Rtype::SOA && s.name == *asked && !asked.is_root();
    if cx.asked.rtype == Rtype::DS && authority.iter().any(own) {
        return Said::Lame("denies a DS as the zone below");
    }
    let denial = |rcode| {
        let mut made = response(cx, rcode, Vec::new(), &authority);
        if let Some(soa) = soa {
            // A server of both parent and child answers from the child without a referral.
            made.zone = soa.name.clone();
            made.authority.insert(0, soa.clone());
        }
        Said::Answer(made)
    };
    if message.rcode == Rcode::NXDOMAIN {
        return match message.authoritative || !message.recursion_available {
            true => denial(Rcode::NXDOMAIN),
            false => Said::Lame("not authoritative"),
        };
    }
    if soa.is_some() && (message.authoritative || !message.recursion_available) {
        return denial(Rcode::NOERROR);
    }
    let ns = group(&message.authority)
        .into_iter()
        .find(|s| s.rtype == Rtype::NS && !s.rdatas.is_empty());
    match ns {
        Some(ns) if is_step_down(cx, &ns.name) => referral(cx, message, &ns, &authority),
        // RFC 2308 section 2.2: NODATA may come without SOA, and with the zone's own NS set.
        Some(ns) if ns.name == *cx.zone && message.authoritative => denial(Rcode::NOERROR),
        Some(_) => Said::Lame("refers upwards or sideways"),
        None if message.authoritative => denial(Rcode::NOERROR),
        None => Said::Lame("not authoritative"),
    }
}

/// Whether a referral to `cut` leads from the zone towards the name.
fn is_step_down(cx: &Context<'_>, cut: &Name) -> bool {
    let asked = &cx.asked.name;
    cut.is_below(cx.zone)
        && match cx.asked.rtype {
            // The DS of a cut is data of the parent; whoever refers on for it does not serve the parent.
            Rtype::DS => asked.is_below(cut),
            _ => asked.is_within(cut),
        }
}

fn referral(cx: &Context<'_>, message: &Message, ns: &RrSet, authority: &[RrSet]) -> Said {
    let delegation = delegation(cx, ns, &message.additional);
    let ds_set = (authority.iter()).find(|s| s.rtype == Rtype::DS && s.name == ns.name);
    let ds = match ds_set {
        Some(set) => Some(response(cx, Rcode::NOERROR, vec![set.clone()], &[])),
        None => Some(response(cx, Rcode::NOERROR, Vec::new(), authority))
            .filter(|r| !r.authority.is_empty()),
    };
    Said::Referral(Referral { delegation, ds })
}

fn delegation(cx: &Context<'_>, ns: &RrSet, additional: &[Record]) -> Delegation {
    let scope = cx.harden_glue.then_some(cx.zone);
    Delegation {
        zone: ns.name.clone(),
        servers: servers(ns, &group(additional), scope),
        expiry: Some(Expiry::after(cx.now, ns.ttl.min(DELEGATION_TTL_MAX_S))),
        origin: DelegationOrigin::Network,
    }
}

/// The name servers of an NS set with their addresses among `glue`; with a scope, only addresses of
/// names within it.
pub fn servers(ns: &RrSet, glue: &[RrSet], scope: Option<&Name>) -> Vec<(Name, Vec<IpAddr>)> {
    let mut servers = Vec::new();
    for name in ns
        .rdatas
        .iter()
        .take(NAMES_MAX)
        .filter_map(|r| rdata::single_name(r))
    {
        let usable = scope.is_none_or(|zone| name.is_within(zone));
        let own = |s: &&RrSet| usable && s.name == name;
        let found = glue.iter().filter(own).flat_map(addresses);
        let found = found.take(ADDRESSES_PER_NAME_MAX).collect();
        servers.push((name, found));
    }
    servers
}

/// The addresses in an A or AAAA set; none in any other.
pub fn addresses(set: &RrSet) -> impl Iterator<Item = IpAddr> + '_ {
    set.rdatas.iter().filter_map(|rdata| match set.rtype {
        Rtype::A => <[u8; 4]>::try_from(&rdata[..])
            .ok()
            .map(|a| Ipv4Addr::from(a).into()),
        Rtype::AAAA => <[u8; 16]>::try_from(&rdata[..])
            .ok()
            .map(|a| Ipv6Addr::from(a).into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
