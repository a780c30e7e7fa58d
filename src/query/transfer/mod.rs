//! Zone transfers to secondaries (RFC 5936, RFC 1995), from own zones and from the current generations of mirrors.
//!
//! Why here: a transfer is a question like others, with an access list of its own (`access.allow_transfer`), and an answer that may
//! be longer than a message. So the pipeline gets either one answer from [`Transfers::begin`] or an [`Outgoing`], which is a
//! bounded stream of messages once it is started.
//!
//! Model: a transfer holds the one version that it began with, whatever becomes current meanwhile. A thread of its own
//! (`write`) makes the messages, at most [`MESSAGES_WAITING_MAX`] ahead of the client. Places for transfers are bounded by
//! [`TRANSFERS_MAX`] in all, and so that no client takes them all; the listener ends one that makes no progress.
//!
//! What may be handed on: what may be answered from. A mirror that is too old by its policy, whose signatures have run out where
//! that is not accepted, or that has only its bundled snapshot, is not: its secondaries would present it as living data.
//! They get SERVFAIL, as from any server whose zone has expired, and ask elsewhere.

mod write;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Settings;
use super::acl::AccessList;
use super::own::OwnZone;
use super::reply::{self, Answer};
use super::request::{Client, Request, Transport};
use crate::clock::Clock;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::tsig::Signer;
use crate::dns::{Ede, Edns, Message, Name, Rcode, Rtype, Soa};
use crate::metrics::Metrics;
use crate::mirror::{Generation, Mirrors, policy};
use crate::places::{self, Place, Places};
use crate::zone::ZoneImage;

use write::{Envelope, Seal, Sent, Stop};

/// Transfers at once; further clients get SERVFAIL and come back.
pub const TRANSFERS_MAX: usize = 32;
/// Of these, of one client /24 or /56: a network leaves room for others.
pub const TRANSFERS_PER_NETWORK_MAX: usize = 16;
/// Of these, of one address: a secondary of a thousand zones leaves room for its neighbours.
pub const TRANSFERS_PER_ADDRESS_MAX: usize = 8;
/// Larger zones, in records, are not compared for a question over UDP: its sender may be forged, and pays nothing.
const UDP_RECORDS_MAX: u64 = 10_000;
/// Messages that are made before the client takes them.
pub const MESSAGES_WAITING_MAX: usize = 4;

/// Hands zones on.
pub struct Transfers {
    mirrors: Option<Arc<Mirrors>>,
    by_network: Arc<Places>,
    by_address: Arc<Places>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What a question for a transfer leads to.
pub enum Begun {
    /// This answer.
    Answer(Answer),
    /// One message, once it is made; it answers over UDP.
    Single(Box<Outgoing>),
    /// A stream of messages; only over TCP.
    Stream(Box<Outgoing>),
}

/// One version of a zone.
#[derive(Clone)]
enum Version {
    Own(Arc<ZoneImage>),
    Mirror(Arc<Generation>),
}

impl Version {
    fn image(&self) -> &ZoneImage {
        match self {
            Version::Own(image) => image,
            Version::Mirror(generation) => generation.image(),
        }
    }
}

/// Where the version is that a difference begins at.
enum Base {
    Own(Arc<ZoneImage>),
    /// With this serial, on disk.
    Stored(Arc<Mirrors>, u32),
}

/// What a zone's name leads to.
enum Found {
    Current(Version),
    /// It is a zone of this server, and cannot be handed on; why.
    Unusable(&'static str),
    NotOurs,
}

impl Transfers {
    /// Hands on own zones, and what `mirrors` hold.
    pub fn new(mirrors: Option<Arc<Mirrors>>, clock: Clock, metrics: Arc<Metrics>) -> Transfers {
        Transfers {
            mirrors,
            by_network: Places::new(TRANSFERS_MAX, TRANSFERS_PER_NETWORK_MAX, places::network),
            by_address: Places::new(TRANSFERS_MAX, TRANSFERS_PER_ADDRESS_MAX, places::address),
            clock,
            metrics,
        }
    }

    /// Looks at a question for AXFR or IXFR.
    pub fn begin(&self, request: &Request, settings: &Settings) -> Begun {
        match self.decide(request, settings) {
            Ok(begun) => begun,
            Err(answer) => {
                self.metrics.transfers_out_refused_total.inc();
                Begun::Answer(answer)
            }
        }
    }

    fn decide(&self, request: &Request, settings: &Settings) -> Result<Begun, Answer> {
        let refuse = |rcode, code, text: &str| Answer::empty(rcode, Some(Ede::new(code, text)));
        if !may_transfer(&settings.access, request) {
            let text = "zone transfers are closed to this client";
            return Err(refuse(Rcode::REFUSED, Ede::PROHIBITED, text));
        }
        // RFC 9103 section 7.1.
        if let Transport::Tls {
            for_transfers: false,
        } = request.client.transport
        {
            let text = "transfers over TLS need TLS 1.3 and the protocol `dot` (ALPN)";
            return Err(refuse(Rcode::REFUSED, Ede::PROHIBITED, text));
        }
        if request.client.transport == Transport::Https {
            let text =
                "transfers need DNS over TLS, QUIC or TCP: an answer over HTTPS is one message";
            return Err(refuse(Rcode::REFUSED, Ede::PROHIBITED, text));
        }
        let zone = &request.question.name;
        let is_axfr = request.question.rtype == Rtype::AXFR;
        // RFC 5936 section 4.2: there is no AXFR over UDP.
        if is_axfr && request.client.transport == Transport::Udp {
            let text = "a whole zone is sent over TCP only";
            return Err(refuse(Rcode::FORMERR, Ede::NOT_SUPPORTED, text));
        }
        let since = match is_axfr {
            true => None,
            // RFC 1995 section 3: the client's SOA is in the authority section.
            false => Some(client_serial(&request.message).ok_or_else(|| {
                let text = "IXFR needs the SOA that is held, in the authority section";
                refuse(Rcode::FORMERR, Ede::OTHER, text)
            })?),
        };
        let current = match self.find(zone, settings) {
            Found::Current(version) => version,
            // As servers do whose zone has expired.
            Found::Unusable(why) => return Err(refuse(Rcode::SERVFAIL, Ede::NOT_READY, why)),
            // RFC 5936 section 2.2.1.
            Found::NotOurs => {
                let text = "no zone of this server";
                return Err(refuse(Rcode::NOTAUTH, Ede::NOT_AUTHORITATIVE, text));
            }
        };
        let newest = current.image().serial();
        // RFC 1995 section 2: who has this version or a newer one gets the SOA alone; so does who is to come over TCP.
        let is_large = current.image().record_count() > UDP_RECORDS_MAX;
        if since.is_some_and(|held| !Soa::serial_newer(newest, held))
            || request.client.transport == Transport::Udp && is_large
        {
            return Ok(Begun::Answer(soa_alone(current.image())));
        }
        let places = match self.take_places(&request.client) {
            Ok(places) => places,
            // The client is to come over TCP.
            Err(_) if request.client.transport == Transport::Udp => {
                return Ok(Begun::Answer(soa_alone(current.image())));
            }
            Err(why) => {
                self.metrics.transfers_out_crowded_total.inc();
                return Err(refuse(Rcode::SERVFAIL, Ede::NOT_READY, why));
            }
        };
        let outgoing = Box::new(Outgoing {
            base: since.and_then(|serial| self.base(zone, serial, settings)),
            head: head(request),
            edns: reply::opt(
                &request.message,
                settings.udp_size_max,
                request.cookie.clone(),
                None,
            ),
            size_max: reply::size_limit(
                &request.message,
                request.client.transport,
                settings.udp_size_max,
            ),
            client: request.client.clone(),
            signer: request.signed.as_ref().map(|signed| signed.signer.clone()),
            clock: self.clock.clone(),
            current,
            metrics: self.metrics.clone(),
            _places: places,
        });
        Ok(match request.client.transport {
            Transport::Udp => Begun::Single(outgoing),
            _ => Begun::Stream(outgoing),
        })
    }

    /// A place of the client's address and one of its network; else why there is none.
    fn take_places(&self, client: &Client) -> Result<[Place; 2], &'static str> {
        let ip = client.addr.ip();
        let own = self.by_address.take(ip);
        let own = own.ok_or("too many transfers to this client at once; later")?;
        let shared = self.by_network.take(ip);
        Ok([own, shared.ok_or("too many transfers at once; later")?])
    }

    /// The answer to a secondary that asks whether there is a new version: a question for the SOA of a mirror, without RD, by a client that
    /// may transfer it. It speaks for the copy that would be transferred and has AA=1, without which servers believe no
    /// primary; everyone else's questions get what `route` says. `None`: it is no such question.
    pub fn soa(&self, request: &Request, settings: &Settings) -> Option<Answer> {
        let question = &request.question;
        if question.rtype != Rtype::SOA
            || request.message.recursion_desired
            || !may_transfer(&settings.access, request)
        {
            return None;
        }
        let Found::Current(version) = self.find(&question.name, settings) else {
            return None;
        };
        let lookup = version.image().lookup(&question.name, Rtype::SOA);
        Some(Answer {
            authoritative: true,
            answer: lookup.answer,
            ..Answer::default()
        })
    }

    fn find(&self, zone: &Name, settings: &Settings) -> Found {
        let own = settings.zones.zone(zone);
        match own.or_else(|| settings.catalogs.zone(zone)) {
            Some(OwnZone::Loaded(image)) => return Found::Current(Version::Own(image.clone())),
            Some(OwnZone::Broken(_)) => return Found::Unusable("the zone's file is not usable"),
            None => {}
        }
        let Some(mirror) = self.mirrors.as_ref().and_then(|m| m.find(zone)) else {
            return Found::NotOurs;
        };
        let Some(generation) = mirror.current() else {
            return Found::Unusable("there is no copy of the zone yet");
        };
        match policy::transferable(&generation, mirror.config(), self.clock.now().wall_s) {
            Ok(()) => Found::Current(Version::Mirror(generation)),
            Err(why) => Found::Unusable(why),
        }
    }

    fn base(&self, zone: &Name, serial: u32, settings: &Settings) -> Option<Base> {
        for zones in [&settings.zones, &settings.catalogs] {
            if zones.zone(zone).is_some() {
                return zones.earlier(zone, serial).map(Base::Own);
            }
        }
        Some(Base::Stored(self.mirrors.clone()?, serial))
    }
}

fn may_transfer(access: &AccessList, request: &Request) -> bool {
    let key = request
        .signed
        .as_ref()
        .map(|signed| signed.signer.key().name());
    access.may_transfer(&request.client, key)
}

/// The serial that an IXFR question comes with.
fn client_serial(query: &Message) -> Option<u32> {
    let question = query.question.as_ref()?;
    match &query.authority[..] {
        [soa] if soa.rtype == Rtype::SOA && soa.name == question.name => {
            Soa::parse(&soa.rdata).map(|soa| soa.serial)
        }
        _ => None,
    }
}

/// Header and question of the messages (RFC 5936 section 2.2.1: AA is set, RD is not of interest).
fn head(request: &Request) -> Message {
    Message {
        authoritative: true,
        ..request.message.reply(Rcode::NOERROR)
    }
}

fn soa_alone(image: &ZoneImage) -> Answer {
    let mut set = image.find(image.apex(), Rtype::SOA);
    // RFC 1995 section 4: it is the form of an IXFR without changes, which holds no signature, not the answer to a SOA question.
    if let Some(set) = &mut set {
        set.sigs.clear();
    }
    Answer {
        authoritative: true,
        answer: set.into_iter().collect(),
        ..Answer::default()
    }
}

/// A transfer that has its place and its version, and is not begun.
pub struct Outgoing {
    current: Version,
    /// Where the difference begins; `None` = the whole zone.
    base: Option<Base>,
    head: Message,
    edns: Option<Edns>,
    size_max: usize,
    client: Client,
    /// Signs the messages, where the question was signed.
    signer: Option<Signer>,
    clock: Clock,
    metrics: Arc<Metrics>,
    _places: [Place; 2],
}

/// What travels from the thread that makes messages to the connection.
enum Piece {
    Message(Vec<u8>),
    /// All of it has been handed over.
    End,
}

/// A running transfer's messages.
pub struct Messages(mpsc::Receiver<Piece>);

/// The transfer ended before its end: the connection is to be closed, so that the client does not wait for the rest.
#[derive(Debug, thiserror::Error)]
#[error("the transfer broke off")]
pub struct BrokenOff;

impl Messages {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// There will be no last one.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, BrokenOff> {
        match self.0.recv().await {
            Some(Piece::Message(message)) => Ok(Some(message)),
            Some(Piece::End) => Ok(None),
            None => Err(BrokenOff),
        }
    }
}

impl Outgoing {
    /// Begins to make messages. Must be called within a tokio runtime. Dropping the messages ends the transfer.
    pub fn start(self) -> Messages {
        let (pieces, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        tokio::task::spawn_blocking(move || {
            let ended = self.send(&mut |message| {
                let sent = pieces.blocking_send(Piece::Message(message));
                sent.map_err(|_| Stop::Gone)
            });
            if ended.is_ok() {
                let _ = pieces.blocking_send(Piece::End);
            }
        });
        Messages(messages)
    }

    /// The only message of an answer over UDP: the difference if it fits, else the SOA alone (RFC 1995 section 2).
    pub async fn single(self: Box<Self>) -> Vec<u8> {
        let made = tokio::task::spawn_blocking(move || self.make_single()).await;
        // The runtime is shutting down, or a defect: no answer is an answer over UDP.
        made.unwrap_or_default()
    }

    fn make_single(self: Box<Self>) -> Vec<u8> {
        let mut only = Vec::new();
        let mut keep = |message| {
            only = message;
            Ok(())
        };
        let difference = self.old().map(|old| {
            let envelope = self.envelope(1);
            write::difference(&old, self.current.image(), envelope, &mut keep)
        });
        if let Some(Ok(_)) = difference {
            self.metrics.transfers_out_ixfr_total.inc();
            return only;
        }
        let soa = soa_alone(self.current.image());
        let mut reply = Message {
            edns: self.edns.clone(),
            ..self.head.clone()
        };
        let mut seal = self.seal();
        let room = seal.as_ref().map_or(0, |seal| seal.len);
        reply.answer = soa
            .answer
            .iter()
            .flat_map(|set| set.records(false))
            .collect();
        let mut wire = reply.encode(self.size_max.saturating_sub(room));
        if let Some(seal) = &mut seal {
            (seal.append)(&mut wire);
        }
        wire
    }

    /// Makes all messages, and says how it went.
    fn send(&self, out: write::Out<'_>) -> Result<Sent, Stop> {
        let current = self.current.image();
        let old = (self.old()).filter(|old| write::is_worth_it(old, current));
        let kind = match &old {
            Some(_) => "IXFR",
            None => "AXFR",
        };
        let envelope = self.envelope(u64::MAX);
        let ended = match &old {
            Some(old) => write::difference(old, current, envelope, out),
            None => write::whole(current, envelope, out),
        };
        let (zone, serial, client) = (current.apex(), current.serial(), self.client.addr);
        match &ended {
            Ok(sent) => {
                let counter = match &old {
                    Some(_) => &self.metrics.transfers_out_ixfr_total,
                    None => &self.metrics.transfers_out_axfr_total,
                };
                counter.inc();
                self.metrics.transfers_out_bytes_total.add(sent.bytes);
                let (records, bytes) = (sent.records, sent.bytes);
                tracing::info!(%zone, serial, %client, kind, records, bytes, "zone transferred");
            }
            Err(stop) => {
                self.metrics.transfers_out_failed_total.inc();
                tracing::warn!(%zone, serial, %client, kind, "a transfer to a secondary broke off: {stop}");
            }
        }
        ended
    }

    /// The version that the client has, if it is kept.
    fn old(&self) -> Option<Arc<ZoneImage>> {
        match self.base.as_ref()? {
            Base::Own(image) => Some(image.clone()),
            Base::Stored(mirrors, serial) => {
                let zone = self.current.image().apex();
                mirrors.version(zone, *serial).map(Arc::new)
            }
        }
    }

    /// RFC 8945 section 5.3.1: every message is signed.
    fn seal(&self) -> Option<Seal> {
        let (mut signer, clock) = (self.signer.clone()?, self.clock.clone());
        Some(Seal {
            len: signer.record_len(),
            append: Box::new(move |message| signer.sign(message, clock.now().wall_s)),
        })
    }

    fn envelope(&self, messages_max: u64) -> Envelope {
        Envelope {
            head: self.head.clone(),
            edns: self.edns.clone(),
            size_max: self.size_max.min(MESSAGE_LEN_MAX),
            messages_max,
            seal: self.seal(),
        }
    }
}
