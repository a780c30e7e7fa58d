//! A simulated network: name servers that answer from zone images, and faults that come and go.
//!
//! [`SimNet`] is an `Upstream`. It lives in tokio's paused time: a delay is a sleep, so an hour passes in
//! a millisecond, and two runs with one seed are the same run. Answers travel in wire form, so that
//! truncation happens as it would.

#![allow(dead_code)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Class, Edns, Message, Name, Question, Rcode, Record, RrSet, Rtype, WireError};
use holdfast::upstream::{Ask, BoxFuture, Doubt, ExchangeError, Reply, Transport, Upstream};
use holdfast::zone::{LookupKind, ZoneImage};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

/// What [`Fault::DropsNewTypes`] lets through.
const OLD_TYPES: [Rtype; 4] = [Rtype::A, Rtype::NS, Rtype::CNAME, Rtype::SOA];

/// How a host misbehaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// It does not.
    None,
    /// Nothing comes back.
    Silent,
    /// Nothing comes back, and a connection ends so soon: another question has waited for it longer.
    SilentTcp(Duration),
    /// Datagrams are dropped, TCP works.
    UdpSilent,
    /// This machine has as many connections to it as may be, all full.
    TcpFull,
    /// ICMP unreachable.
    Unreachable,
    /// SERVFAIL to everything.
    ServFail,
    /// REFUSED to everything.
    Refused,
    /// This code to everything.
    Says(Rcode),
    /// This code to names of fewer labels, right answers to others: breaks at minimised names.
    DeniesShort(usize, Rcode),
    /// A referral to the root for everything.
    Upwards,
    /// Bytes that are no message.
    Rubbish,
    /// NOERROR without anything, AA=0.
    Lame,
    /// FORMERR to queries with EDNS, right answers to those without.
    NoEdns,
    /// Answers as if the query had no EDNS, whether it has or not.
    IgnoresEdns,
    /// TC=1 over UDP, right answers over TCP.
    Truncate,
    /// Every signature is damaged.
    Bogus,
    /// Every signature and proof is left out.
    Stripped,
    /// Any question is answered with AA=1 and this address (or no data), unsigned.
    Hijack(Ipv4Addr),
    /// Right answers, this much later.
    Slow(Duration),
    /// A share of packets, in percent, is lost.
    Loss(u8),
    /// The same on the way back; over TCP they are sent again.
    LossUdp(u8),
    /// NXDOMAIN for empty non-terminals (a broken server).
    DeniesEnts,
    /// Datagrams with EDNS are dropped.
    DropsEdns,
    /// Questions with EDNS get this code without OPT (or, where the code needs it, with).
    FailsEdns(Rcode),
    /// Datagrams with a cookie are dropped.
    DropsCookies,
    /// FORMERR with OPT to questions with a cookie.
    RefusesCookies,
    /// BADCOOKIE to every datagram with a cookie.
    BadCookie,
    /// Datagrams with a cookie are answered without, though the server sent cookies before. TCP works or is closed.
    LosesCookies {
        /// TCP works.
        tcp: bool,
    },
    /// The case of names is not kept. TCP works or is closed.
    FoldsCase {
        /// TCP works.
        tcp: bool,
    },
    /// Somebody sends answers to guessed questions before the server does.
    Forgers,
    /// Datagrams of more than so many octets do not arrive.
    DropsLarge(usize),
    /// Only questions for A, NS, CNAME and SOA are answered.
    DropsNewTypes,
    /// TC=1 over UDP and TCP.
    TruncatesAlways,
    /// Datagrams leave from another port than they came to: nobody takes them.
    OtherPort,
    /// Datagrams leave from this address.
    OtherAddress(Ipv4Addr),
    /// Datagrams have another ID.
    OtherId,
}

/// Stands for every host.
pub const EVERYBODY: &str = "*";

/// A packet that was sent to a host.
#[derive(Debug, Clone)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// To whom.
    pub host: IpAddr,
    /// What was asked.
    pub question: Question,
    /// Over what.
    pub transport: Transport,
    /// Whether with EDNS.
    pub edns: bool,
    /// RD.
    pub recursion_desired: bool,
    /// CD.
    pub checking_disabled: bool,
    /// To which port.
    pub port: u16,
    /// The UDP size that was advertised; 0 without EDNS.
    pub size: u16,
    /// Whether with a cookie.
    pub cookie: bool,
    /// Whether in mixed case.
    pub mixed: bool,
}

struct Host {
    zones: Vec<Arc<ZoneImage>>,
    groups: Vec<String>,
    fault: Fault,
    /// Questions for names of these stay unanswered.
    dropped: Vec<Name>,
    delay: Duration,
    /// It answers for all zones that it has, as a validating resolver would, and only with RD.
    recursive: bool,
}

struct Inner {
    hosts: HashMap<IpAddr, Host>,
    packets: Vec<Packet>,
    rng: SmallRng,
}

impl Inner {
    /// A host, which is made if need be.
    fn host(&mut self, address: &str) -> &mut Host {
        let made = || Host {
            zones: Vec::new(),
            groups: Vec::new(),
            fault: Fault::None,
            dropped: Vec::new(),
            recursive: false,
            delay: Duration::from_millis(10),
        };
        self.hosts
            .entry(address.parse().unwrap())
            .or_insert_with(made)
    }
}

/// The network.
pub struct SimNet {
    inner: Mutex<Inner>,
}

impl SimNet {
    /// An empty network; `seed` decides jitter and loss.
    pub fn new(seed: u64) -> SimNet {
        let rng = SmallRng::seed_from_u64(seed);
        SimNet {
            inner: Mutex::new(Inner {
                hosts: HashMap::new(),
                packets: Vec::new(),
                rng,
            }),
        }
    }

    /// A host that serves nothing yet.
    pub fn host(&self, host: &str) {
        self.inner.lock().unwrap().host(host);
    }

    /// Puts a zone on a host, which is made if need be; a zone with the same apex is replaced.
    pub fn serve(&self, host: &str, zone: Arc<ZoneImage>, groups: &[&str]) {
        let mut inner = self.inner.lock().unwrap();
        let host = inner.host(host);
        host.zones.retain(|z| z.apex() != zone.apex());
        host.zones.push(zone);
        host.groups.extend(groups.iter().map(|g| g.to_string()));
    }

    /// Sets the fault of every host of a group, or of the host with this address.
    pub fn set(&self, who: &str, fault: Fault) {
        self.each(who, |host| host.fault = fault);
    }

    /// A group or host drops questions for names of this zone until [`SimNet::heal`], whatever its fault.
    pub fn drop_zone(&self, who: &str, zone: &str) {
        let zone: Name = zone.parse().unwrap();
        self.each(who, |host| host.dropped.push(zone.clone()));
    }

    /// Makes resolvers of a group or host: they know the zones put on them, and nothing else.
    pub fn make_recursive(&self, who: &str) {
        self.each(who, |host| host.recursive = true);
    }

    /// Sets the round trip time of a group or host.
    pub fn set_delay(&self, who: &str, delay: Duration) {
        self.each(who, |host| host.delay = delay);
    }

    fn each(&self, who: &str, mut f: impl FnMut(&mut Host)) {
        let mut inner = self.inner.lock().unwrap();
        let mut found = false;
        for (ip, host) in &mut inner.hosts {
            if who == EVERYBODY || ip.to_string() == who || host.groups.iter().any(|g| g == who) {
                f(host);
                found = true;
            }
        }
        assert!(found, "no host or group {who}");
    }

    /// Ends every fault.
    pub fn heal(&self) {
        for host in self.inner.lock().unwrap().hosts.values_mut() {
            host.fault = Fault::None;
            host.dropped.clear();
        }
    }

    /// How many packets were sent since the last [`SimNet::take_packets`].
    pub fn packet_count(&self) -> usize {
        self.inner.lock().unwrap().packets.len()
    }

    /// The fault of a host; silent if there is none.
    pub fn fault(&self, ip: IpAddr) -> Fault {
        let inner = self.inner.lock().unwrap();
        inner
            .hosts
            .get(&ip)
            .map_or(Fault::Silent, |host| host.fault)
    }

    /// The zone with this apex as the host serves it.
    pub fn zone_at(&self, ip: IpAddr, apex: &Name) -> Option<Arc<ZoneImage>> {
        let inner = self.inner.lock().unwrap();
        let zones = &inner.hosts.get(&ip)?.zones;
        zones.iter().find(|z| z.apex() == apex).cloned()
    }

    /// Takes the packets that were sent since the last call.
    pub fn take_packets(&self) -> Vec<Packet> {
        std::mem::take(&mut self.inner.lock().unwrap().packets)
    }

    /// What a host answers, before delays.
    fn outcome(&self, ask: &Ask) -> (Duration, Result<Message, ExchangeError>) {
        let mut inner = self.inner.lock().unwrap();
        let ip = ask.server.ip();
        inner.packets.push(Packet {
            at: Instant::now(),
            host: ip,
            question: ask.question.clone(),
            transport: ask.transport,
            edns: ask.edns.is_some(),
            recursion_desired: ask.recursion_desired,
            checking_disabled: ask.checking_disabled,
            port: ask.server.port(),
            size: ask.edns.as_ref().map_or(0, |edns| edns.udp_size),
            cookie: ask.cookie,
            mixed: ask.mix_case,
        });
        let jitter = Duration::from_micros(inner.rng.random_range(0..1000));
        let lost = inner.rng.random_range(0..100u8);
        let Some(host) = inner.hosts.get(&ip) else {
            return (ask.timeout, Err(ExchangeError::TimedOut));
        };
        let udp = ask.transport == Transport::Udp;
        let rtt = host.delay + jitter + if udp { Duration::ZERO } else { host.delay };
        let timed_out = (ask.timeout, Err(ExchangeError::TimedOut));
        let drops = |zone: &Name| ask.question.name.is_within(zone);
        match host.fault {
            Fault::SilentTcp(after) if !udp => (after, Err(ExchangeError::TimedOut)),
            Fault::Silent | Fault::SilentTcp(_) => timed_out,
            _ if host.dropped.iter().any(drops) => timed_out,
            Fault::UdpSilent if udp => timed_out,
            Fault::Loss(share) if lost < share => timed_out,
            Fault::LossUdp(share) if udp && lost < share => timed_out,
            Fault::TcpFull if !udp => (Duration::ZERO, Err(ExchangeError::Limit("full".into()))),
            Fault::Unreachable => (rtt, Err(ExchangeError::Unreachable("host".into()))),
            Fault::Rubbish => (rtt, Err(ExchangeError::Malformed(WireError::Truncated))),
            Fault::Slow(late) if rtt + late >= ask.timeout => timed_out,
            Fault::Slow(late) => (rtt + late, Ok(answer(host, ask))),
            Fault::DropsEdns if udp && ask.edns.is_some() => timed_out,
            Fault::DropsNewTypes if !OLD_TYPES.contains(&ask.question.rtype) => timed_out,
            Fault::DropsCookies if udp && ask.cookie => timed_out,
            Fault::DropsLarge(len_max) if udp => match answer(host, ask) {
                large if large.encode(MESSAGE_LEN_MAX).len() > len_max => timed_out,
                small => (rtt, Ok(small)),
            },
            Fault::LosesCookies { .. } if udp && ask.cookie => {
                (rtt, Err(ExchangeError::Doubtful(Doubt::CookieMissing)))
            }
            Fault::FoldsCase { .. } if udp && ask.mix_case => {
                (rtt, Err(ExchangeError::Doubtful(Doubt::CaseChanged)))
            }
            Fault::LosesCookies { tcp: false } | Fault::FoldsCase { tcp: false } if !udp => {
                (rtt, Err(ExchangeError::Unreachable("refused".into())))
            }
            Fault::OtherPort | Fault::OtherAddress(_) | Fault::OtherId if udp => timed_out,
            Fault::Forgers if udp => (rtt, Err(ExchangeError::Doubtful(Doubt::Strays))),
            _ => (rtt, Ok(answer(host, ask))),
        }
    }
}

impl Upstream for SimNet {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        let (after, outcome) = self.outcome(&ask);
        let folds = matches!(self.fault(ask.server.ip()), Fault::FoldsCase { .. });
        Box::pin(async move {
            tokio::time::sleep(after).await;
            Ok(Reply {
                message: outcome?,
                rtt: after,
                folded: folds && ask.mix_case && ask.transport == Transport::Tcp,
            })
        })
    }
}

fn answer(host: &Host, ask: &Ask) -> Message {
    let plain = (host.fault == Fault::IgnoresEdns).then(|| Ask {
        edns: None,
        ..ask.clone()
    });
    let ask = plain.as_ref().unwrap_or(ask);
    let query = Message {
        edns: ask.edns.clone(),
        ..Message::query(0, ask.question.clone())
    };
    let mut reply = match host.fault {
        Fault::ServFail => query.reply(Rcode::SERVFAIL),
        Fault::Refused => query.reply(Rcode::REFUSED),
        Fault::Lame => query.reply(Rcode::NOERROR),
        Fault::Says(rcode) => query.reply(rcode),
        Fault::DeniesShort(labels, rcode) if ask.question.name.label_count() < labels => {
            query.reply(rcode)
        }
        Fault::Upwards => {
            let mut reply = query.reply(Rcode::NOERROR);
            reply
                .authority
                .push(crate::signer::rr(". 3600 NS a.roots."));
            reply
        }
        _ if host.recursive && !ask.recursion_desired => query.reply(Rcode::REFUSED),
        // Who validates tells bogus data only to those who do not want it checked.
        Fault::Bogus if host.recursive && !ask.checking_disabled => query.reply(Rcode::SERVFAIL),
        Fault::NoEdns if ask.edns.is_some() => query.reply(Rcode::FORMERR),
        Fault::FailsEdns(rcode) if ask.edns.is_some() => query.reply(rcode),
        Fault::RefusesCookies if ask.cookie => query.reply(Rcode::FORMERR),
        Fault::BadCookie if ask.cookie && ask.transport == Transport::Udp => {
            query.reply(Rcode::BADCOOKIE)
        }
        Fault::Hijack(address) => hijacked(&query, address),
        _ => truth(host, &query),
    };
    match host.fault {
        Fault::Bogus => damage(&mut reply),
        Fault::Stripped => strip(&mut reply),
        Fault::TruncatesAlways => reply.truncated = true,
        Fault::Truncate if ask.transport == Transport::Udp => {
            reply.answer.clear();
            reply.authority.clear();
            reply.additional.clear();
            reply.truncated = true;
        }
        Fault::DeniesEnts if reply.answer.is_empty() && reply.authoritative => {
            reply.rcode = Rcode::NXDOMAIN;
        }
        _ => {}
    }
    if host.recursive {
        reply.authoritative = false;
        reply.recursion_available = true;
    }
    let without = match host.fault {
        Fault::NoEdns => true,
        Fault::FailsEdns(rcode) => rcode.0 < 16,
        _ => false,
    };
    if let (Some(edns), false) = (&ask.edns, without) {
        reply.edns = Some(Edns::new(1232, edns.dnssec_ok));
    }
    let size = match (ask.transport, &ask.edns) {
        (Transport::Tcp, _) => MESSAGE_LEN_MAX,
        (Transport::Udp, Some(edns)) => edns.udp_size.max(512).into(),
        (Transport::Udp, None) => 512,
    };
    Message::parse(&reply.encode(size)).unwrap()
}

/// What a sound server says.
fn truth(host: &Host, query: &Message) -> Message {
    let question = query.question.clone().unwrap();
    let dnssec = query.edns.as_ref().is_some_and(|e| e.dnssec_ok);
    let mut reply = query.reply(Rcode::NOERROR);
    let mut name = question.name.clone();
    for _ in 0..8 {
        let Some(zone) = deepest(host, &name, question.rtype) else {
            if reply.answer.is_empty() {
                reply.rcode = Rcode::REFUSED;
            }
            return reply;
        };
        let found = zone.lookup(&name, question.rtype);
        reply.authoritative |= !matches!(found.kind, LookupKind::Referral(_));
        let push = |to: &mut Vec<Record>, sets: &[RrSet]| {
            for set in sets {
                let proof =
                    matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3) && set.rtype != question.rtype;
                if dnssec || !proof {
                    to.extend(set.records(dnssec));
                }
            }
        };
        push(&mut reply.answer, &found.answer);
        push(&mut reply.authority, &found.authority);
        push(&mut reply.additional, &found.additional);
        match found.kind {
            LookupKind::Alias(target) => name = target,
            LookupKind::NxDomain => {
                reply.rcode = Rcode::NXDOMAIN;
                return reply;
            }
            LookupKind::TooLong => {
                reply.rcode = Rcode::YXDOMAIN;
                return reply;
            }
            _ => return reply,
        }
    }
    reply
}

fn deepest<'a>(host: &'a Host, name: &Name, rtype: Rtype) -> Option<&'a ZoneImage> {
    let holds = |z: &&Arc<ZoneImage>, strict: bool| match strict {
        true => name.is_below(z.apex()),
        false => name.is_within(z.apex()),
    };
    let best = |strict| {
        let zones = host.zones.iter().filter(|z| holds(z, strict));
        zones.max_by_key(|z| z.apex().label_count()).map(|z| &**z)
    };
    // A DS question goes to the parent, if it is here (RFC 4035 section 3.1.4.1).
    if rtype == Rtype::DS {
        best(true).or_else(|| best(false))
    } else {
        best(false)
    }
}

fn hijacked(query: &Message, address: Ipv4Addr) -> Message {
    let mut reply = query.reply(Rcode::NOERROR);
    let question = query.question.clone().unwrap();
    reply.authoritative = true;
    if question.rtype == Rtype::A {
        reply.answer.push(Record {
            name: question.name,
            rtype: Rtype::A,
            class: Class::IN,
            ttl: 3600,
            rdata: address.octets().into(),
        });
    }
    reply
}

fn damage(reply: &mut Message) {
    let all = reply
        .answer
        .iter_mut()
        .chain(&mut reply.authority)
        .chain(&mut reply.additional);
    for r in all.filter(|r| r.rtype == Rtype::RRSIG) {
        *r.rdata.last_mut().unwrap() ^= 1;
    }
}

fn strip(reply: &mut Message) {
    let dnssec = [Rtype::RRSIG, Rtype::NSEC, Rtype::NSEC3, Rtype::DS];
    for section in [
        &mut reply.answer,
        &mut reply.authority,
        &mut reply.additional,
    ] {
        section.retain(|r| !dnssec.contains(&r.rtype));
    }
}
