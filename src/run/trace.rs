//! `holdfast trace`: one question on the way of every client's question, with somebody looking on.
//!
//! The question goes through a [`Pipeline`] of its own over the server's own zones and its resolver, so that what answers a client
//! answers here. Only counters are its own, and the access list lets it pass: an operator's question is not a client's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use holdfast::clock::Clock;
use holdfast::config::Access;
use holdfast::control::trace::TraceReport;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Question};
use holdfast::query::acl::AccessList;
use holdfast::query::{
    BoxFuture, Client, Options, Pipeline, Resolve, Settings, SharedSettings, Transport,
};
use holdfast::resolve::Resolution;
use holdfast::resolve::task::Resolver;
use holdfast::resolve::trace::{Trace, What, ms};

/// Any port but 0, from which nothing is answered.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// What is to be looked at.
pub struct Asked {
    /// The question.
    pub question: Question,
    /// CD.
    pub checking_disabled: bool,
    /// With a resolver that knows nothing yet.
    pub afresh: bool,
}

/// Asks, and reports the answer with the way to it.
pub async fn trace(
    asked: Asked,
    settings: &SharedSettings,
    resolver: &Resolver,
    clock: &Clock,
) -> Result<TraceReport, String> {
    let started = clock.now();
    let trace = Trace::recording(started);
    let watched = Arc::new(Watched {
        resolver: match asked.afresh {
            true => resolver.afresh(),
            false => resolver.clone(),
        },
        trace: trace.clone(),
        was_asked: Mutex::new(false),
    });
    let in_force = settings.load_full();
    let open = Settings {
        access: AccessList::new(&Access::default()),
        ..Settings::clone(&in_force)
    };
    let open = Arc::new(ArcSwap::from_pointee(open));
    let pipeline = Pipeline::new(open, Some(watched.clone()), Arc::default());
    let query = Message {
        recursion_desired: true,
        authentic_data: true,
        checking_disabled: asked.checking_disabled,
        edns: Some(Edns::new(in_force.udp_size_max, true)),
        ..Message::query(0, asked.question.clone())
    };
    let client = Client::new(CLIENT, Transport::Tcp);
    let reply = pipeline
        .answer(&query.encode(MESSAGE_LEN_MAX), client)
        .await;
    let reply = reply.ok_or("this question gets no answer")?;
    let reply = Message::parse(&reply).map_err(|error| error.to_string())?;
    if !watched.was_asked() {
        let name = &asked.question.name;
        let own = in_force.zones.deepest(name);
        trace.note(clock.now(), || What::Own {
            zone: own.map(|(apex, _)| apex.to_string()),
        });
    }
    let took = clock.now().mono - started.mono;
    Ok(TraceReport::new(
        &reply,
        asked.afresh,
        ms(took),
        trace.events(),
    ))
}

/// The resolver, with somebody looking on.
struct Watched {
    resolver: Resolver,
    trace: Trace,
    was_asked: Mutex<bool>,
}

impl Watched {
    fn was_asked(&self) -> bool {
        *self
            .was_asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Watched {
    /// What is at hand is found by `resolve` too, which writes it down.
    fn cached(&self, _question: &Question, _options: Options) -> Option<Resolution> {
        None
    }

    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution> {
        *self
            .was_asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        Box::pin(async move {
            let trace = &self.trace;
            self.resolver.resolve_traced(question, options, trace).await
        })
    }
}
