//! The life of a query, between the listeners and the resolver.
//!
//! [`Pipeline::begin`] does everything that needs no waiting, so that a listening thread can answer own
//! zones and cached data by itself; [`Pipeline::finish`] waits for the resolver. [`Pipeline::answer`] is
//! both in one. In order: read the query, look at the access list, answer special names, ask the own zones,
//! ask the resolver (cache, mirrors, forwarders, upstream), write the reply. Limits stand at both ends
//! (`limited`): how much may be asked, and how much of the same is told. A signed query is verified first, and its answer signed
//! (`signed`); NOTIFY goes to the mirrors (`notify`).
//!
//! What a reload may change is in [`Settings`], which is swapped whole: a query sees one state of the
//! world from beginning to end. Nothing here waits on a disk.

pub mod acl;
pub mod chaos;
pub mod cookie;
pub mod designated;
pub mod dns64;
mod limited;
mod notify;
pub mod own;
pub mod own_first;
pub mod quick;
pub mod rate_limit;
pub mod reply;
pub mod request;
pub mod route;
mod signed;
pub mod special;
pub mod transfer;
pub mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::dns::tsig::Keyring;
use crate::dns::{Class, Ede, Message, Name, Question, Rcode, Rtype, edns::option};
pub use crate::future::BoxFuture;
use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::mirror::Mirrors;
use crate::resolve::askers::Asker;
pub use crate::resolve::task::Options;
use crate::resolve::task::Resolver;
use crate::resolve::{Resolution, Security};

use acl::{AccessList, Rights};
use chaos::Chaos;
use cookie::{Cookies, Malformed, Standing};
use dns64::{Dns64, Translating};
use own::{Own, OwnZones};
use quick::{Keep, Kind};
use rate_limit::RateLimits;
use reply::Answer;
pub use request::{Client, Transport};
use request::{Rejected, Request, Signed};
use special::Special;
use transfer::{Begun, Outgoing, Transfers};
use watch::{Watch, Watched};

/// Whoever answers for names that are not in own zones.
pub trait Resolve: Send + Sync + 'static {
    /// The answer, if it is at hand (a live cache entry). Must not wait for anything.
    fn cached(&self, question: &Question, options: Options) -> Option<Resolution>;

    /// The answer to what [`Resolve::cached`] has just not known, however long it takes; the resolver limits the time by itself.
    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution>;

    /// A number that is another one after each change to what [`Resolve::cached`] says, but for those that time and newer answers
    /// make; `None` while its answers must not be given twice.
    fn standing(&self) -> Option<u64> {
        None
    }

    /// Names at which others than the zones above them may have a say.
    fn landmarks(&self) -> Vec<Name> {
        Vec::new()
    }

    /// So many questions with RD were answered with what [`Resolve::cached`] had said before.
    fn count_asked(&self, _times: u64) {}

    /// Which question it was, of those with RD, and how often. Comes later than [`Resolve::count_asked`].
    fn count_again(&self, _question: &Question, _rcode: Rcode, _times: u32) {}
}

impl Resolve for Resolver {
    fn cached(&self, question: &Question, options: Options) -> Option<Resolution> {
        self.known(question, options)
    }

    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution> {
        Box::pin(self.resolve_unknown(question, options))
    }
}

/// Lines in a second about other servers that were refused something.
const REFUSALS_PER_S_MAX: u32 = 2;

/// What a reload may change.
#[derive(Clone, Default)]
pub struct Settings {
    /// Who may ask for what.
    pub access: AccessList,
    /// The own zones.
    pub zones: OwnZones,
    /// Catalogs that are produced here: they are for secondaries alone.
    pub catalogs: OwnZones,
    /// Names that are answered here and nowhere else.
    pub special: Special,
    /// Largest answer over UDP, in octets.
    pub udp_size_max: u16,
    /// The keys that other servers sign with.
    pub keys: Keyring,
}

#[cfg(test)]
impl Settings {
    /// Those of a server that nobody has told anything, in force: without zones of its own, for clients of this machine.
    pub fn untold() -> SharedSettings {
        let config = crate::config::Config::default();
        let settings = Settings {
            access: AccessList::new(&config.access),
            udp_size_max: config.server.udp_size_max,
            ..Settings::default()
        };
        Arc::new(ArcSwap::from_pointee(settings))
    }
}

/// The settings in force, to be replaced whole.
pub type SharedSettings = Arc<ArcSwap<Settings>>;

/// The way of every query, whatever it came in by.
pub struct Pipeline {
    settings: SharedSettings,
    resolver: Option<Arc<dyn Resolve>>,
    /// Who gets made addresses, and the resolver that makes them.
    dns64: Option<(Arc<Dns64>, Arc<dyn Resolve>)>,
    cookies: Option<(Cookies, Clock)>,
    limits: Option<(Arc<RateLimits>, Clock)>,
    chaos: Chaos,
    transfers: Option<Transfers>,
    /// Who hears of NOTIFY, and the clock that signatures are judged by.
    mirrors: Option<(Arc<Mirrors>, Clock)>,
    /// Bytes for answers that are given again, of all threads.
    ready: Option<(usize, Clock)>,
    /// What is logged of servers that were refused something.
    refusals: Lines,
    /// Who looks on.
    watch: Option<Arc<dyn Watch>>,
    metrics: Arc<Metrics>,
}

/// How far a query has come without waiting.
pub enum Step {
    /// The reply, or nothing if the query deserves none.
    Done(Option<Vec<u8>>),
    /// Something must be waited for: see [`Pipeline::finish`].
    Wait(Job),
    /// A zone transfer, whose messages leave one after another; only where a stream asked.
    Stream(Box<Outgoing>),
}

/// A query that waits.
pub enum Job {
    /// For the resolver.
    Resolve(Box<Resolving>),
    /// For the difference between two versions of a zone, which answers over UDP.
    Difference(Box<Outgoing>),
    /// For either, and somebody looks on.
    Watched(Box<Watched>),
}

/// A query that waits for the resolver.
pub struct Resolving {
    request: Request,
    settings: Arc<Settings>,
    resolver: Arc<dyn Resolve>,
    /// The own part of a chain of aliases.
    so_far: Answer,
    question: Question,
    options: Options,
    recursion_available: bool,
    /// When it came.
    since: Option<Duration>,
}

impl Pipeline {
    /// A pipeline; whoever else holds `settings` may replace them. Without a resolver only own zones are answered.
    pub fn new(
        settings: SharedSettings,
        resolver: Option<Arc<dyn Resolve>>,
        metrics: Arc<Metrics>,
    ) -> Pipeline {
        Pipeline {
            settings,
            resolver,
            dns64: None,
            cookies: None,
            limits: None,
            chaos: Chaos::default(),
            transfers: None,
            mirrors: None,
            ready: None,
            refusals: Lines::new(REFUSALS_PER_S_MAX),
            watch: None,
            metrics,
        }
    }

    /// Gives a server cookie to every client that sends a cookie (RFC 7873 section 5.2).
    pub fn with_cookies(mut self, cookies: Cookies, clock: Clock) -> Pipeline {
        self.cookies = Some((cookies, clock));
        self
    }

    /// Makes addresses for the clients that it is for (RFC 6147), of what the resolver knows.
    pub fn with_dns64(mut self, dns64: Option<Dns64>) -> Pipeline {
        self.dns64 = dns64
            .map(Arc::new)
            .zip(self.resolver.clone())
            .map(|(dns64, resolver)| {
                let translating = Translating {
                    resolver,
                    dns64: dns64.clone(),
                    metrics: self.metrics.clone(),
                };
                (dns64, Arc::new(translating) as Arc<dyn Resolve>)
            });
        self
    }

    /// Limits what one network may ask and is told, and counts who asks most.
    pub fn with_limits(mut self, limits: Arc<RateLimits>, clock: Clock) -> Pipeline {
        self.limits = Some((limits, clock));
        self
    }

    /// Lets threads keep answers that they gave, in so many bytes, to give them again (`quick`).
    pub fn with_ready_answers(mut self, bytes_max: usize, clock: Clock) -> Pipeline {
        self.ready = Some((bytes_max, clock));
        self
    }

    /// Tells about this server what it may.
    pub fn with_chaos(mut self, chaos: Chaos) -> Pipeline {
        self.chaos = chaos;
        self
    }

    /// Hands zones on to secondaries; without it every question for a transfer is refused.
    pub fn with_transfers(mut self, transfers: Transfers) -> Pipeline {
        self.transfers = Some(transfers);
        self
    }

    /// Takes NOTIFY for these mirrors (RFC 1996), and signed queries (RFC 8945).
    pub fn with_mirrors(mut self, mirrors: Arc<Mirrors>, clock: Clock) -> Pipeline {
        self.mirrors = Some((mirrors, clock));
        self
    }

    /// Tells of every query and its answer. Then no answers are kept ready: each query passes the pipeline.
    pub fn with_watch(mut self, watch: Arc<dyn Watch>) -> Pipeline {
        self.watch = Some(watch);
        self
    }

    /// The reply to a query that has one message, or `None` if it deserves none. A transfer's messages are no reply: see
    /// [`Pipeline::begin`].
    pub async fn answer(&self, wire: &[u8], client: Client) -> Option<Vec<u8>> {
        match self.begin(wire, client) {
            Step::Done(reply) => reply,
            Step::Wait(job) => self.finish(job).await,
            Step::Stream(_) => None,
        }
    }

    /// Takes a query as far as it goes without waiting.
    pub fn begin(&self, wire: &[u8], client: Client) -> Step {
        match &self.watch {
            None => self.take(wire, client, false, &mut None),
            Some(watch) => {
                let take = |client| self.take(wire, client, false, &mut None);
                watch::watched(watch, wire, client, take)
            }
        }
    }

    /// The same for nobody who looks on, and says whether the reply may be given to others who ask the same, and as what. `is_admitted`: the
    /// query has been counted, and is within its network's limit.
    fn take(
        &self,
        wire: &[u8],
        client: Client,
        is_admitted: bool,
        kept: &mut Option<Keep>,
    ) -> Step {
        let settings = self.settings.load_full();
        self.count_query(client.transport);
        let is_notify = notify::is_notify(wire) && client.addr.port() != 0;
        if let Some((mirrors, clock)) = self.mirrors.as_ref().filter(|_| is_notify) {
            return Step::Done(self.notified(wire, &client, &settings, mirrors, clock));
        }
        let read =
            (Request::read(wire, client.clone())).and_then(|request| self.take_cookie(request));
        let request = match read {
            Ok(request) => request,
            Err(rejected) => return Step::Done(self.reject(rejected, &client, &settings)),
        };
        if !is_admitted && let Some(instead) = self.limit_query(&request, settings.udp_size_max) {
            return Step::Done(instead);
        }
        let request = match self.authenticate(request, wire, &settings) {
            Ok(request) => request,
            Err(refused) => return Step::Done(Some(refused)),
        };
        if matches!(request.question.rtype, Rtype::AXFR | Rtype::IXFR) {
            return self.transfer(&request, &settings);
        }
        let rights = settings.access.rights(client.addr.ip());
        if request.question.class == Class::CH {
            let records = self.chaos.answer(&request.question, rights);
            let records = records.ok_or_else(|| no_chaos(&request));
            return Step::Done(self.written_chaos(records, &request, settings.udp_size_max));
        }
        let dns64 =
            (self.dns64.as_ref()).filter(|(dns64, _)| rights.recursion && dns64.serves(&request));
        let resolver = (dns64.map(|(_, translating)| translating))
            .or(self.resolver.as_ref())
            .filter(|_| rights.recursion);
        let recursion_available = resolver.is_some();
        let recursion = recursion_available && request.message.recursion_desired;
        let mut done = |answer: Answer, keep: Option<(Keep, bool)>| {
            self.count_answer(&answer);
            let size_max = settings.udp_size_max;
            let judged = self.judged(&answer, &request, recursion_available, size_max);
            Step::Done(judged.map(|(octets, is_answer)| {
                *kept = (keep.filter(|_| is_answer)).and_then(|(keep, settled)| {
                    self.may_keep(keep, settled, &answer, &request, &octets)
                });
                octets
            }))
        };
        let transfers = self.transfers.as_ref();
        if let Some(answer) = transfers.and_then(|t| t.soa(&request, &settings)) {
            return done(answer, None);
        }
        if rights.recursion
            && let Some(lookup) = settings.special.lookup(&request.question)
        {
            self.metrics.answers_special_total.inc();
            return done(
                Answer::special(lookup),
                Some((Keep::fixed(Kind::Special), false)),
            );
        }
        if let Some(answer) = dns64.and_then(|(dns64, _)| dns64.told(&request.question)) {
            self.metrics.answers_special_total.inc();
            return done(answer, None);
        }
        let own = |request: &Request| settings.zones.answer(request, rights, recursion);
        let (so_far, question) = match own(&request) {
            Own::Answer(mut answer) => {
                self.metrics.answers_own_total.inc();
                if let Some((dns64, _)) = dns64 {
                    answer = dns64.own(answer, &request, own, &self.metrics);
                }
                return done(answer, Some((Keep::fixed(Kind::Own), true)));
            }
            Own::Refused => return done(refused(rights), None),
            Own::NotOurs => (Answer::default(), request.question.clone()),
            Own::Resolve { so_far, question } => (so_far, question),
        };
        let (so_far, question) = match dns64.and_then(|(dns64, _)| dns64.pointer(&question)) {
            Some((alias, onward)) => (alias.preceded_by(so_far), onward),
            None => (so_far, question),
        };
        let Some(resolver) = resolver else {
            return done(refused(rights), None);
        };
        let options = Options {
            checking_disabled: request.message.checking_disabled,
            recursion,
            asker: Asker::of(request.client.addr.ip()),
        };
        if let Some(resolution) = resolver.cached(&question, options) {
            let settled = resolution.sources.settled;
            let keep = Keep::cached(&resolution).filter(|_| so_far.answer.is_empty());
            let keep = keep.map(|keep| (keep, settled));
            return done(self.resolved(resolution, options, so_far), keep);
        }
        Step::Wait(Job::Resolve(Box::new(Resolving {
            resolver: resolver.clone(),
            settings: settings.clone(),
            so_far,
            question,
            options,
            recursion_available,
            request,
            since: self.mono(),
        })))
    }

    /// Moments from which waiting is measured.
    fn mono(&self) -> Option<Duration> {
        let clock = self.mirrors.as_ref().map(|(_, clock)| clock);
        clock.map(|clock| clock.now().mono)
    }

    /// A question for a whole zone, or for what changed in it.
    fn transfer(&self, request: &Request, settings: &Settings) -> Step {
        let begun = match &self.transfers {
            Some(transfers) => transfers.begin(request, settings),
            None => Begun::Answer(Answer::empty(
                Rcode::REFUSED,
                Some(Ede::new(Ede::PROHIBITED, "zone transfers are not offered")),
            )),
        };
        match begun {
            Begun::Answer(answer) => {
                if answer.rcode != Rcode::NOERROR {
                    let why = answer.errors.first().map_or("", |error| &error.text);
                    let (question, rcode) = (&request.question, answer.rcode);
                    self.tell_refused(&request.client, &format!("{question}: {rcode}: {why}"));
                }
                self.count_answer(&answer);
                Step::Done(self.written(&answer, request, false, settings.udp_size_max))
            }
            Begun::Single(outgoing) => match self.limit_records(request, settings.udp_size_max) {
                None => Step::Wait(Job::Difference(outgoing)),
                Some(instead) => Step::Done(instead),
            },
            Begun::Stream(outgoing) => Step::Stream(outgoing),
        }
    }

    /// Where the query seems to come from, unless its sender has shown to be there (RFC 7873) or is never limited. Only for what
    /// came over UDP.
    pub fn may_be_forged(&self, job: &Job) -> Option<IpAddr> {
        match job {
            Job::Resolve(job) => {
                let client = &job.request.client;
                let is_known = job.request.cookie_is_good
                    || self
                        .limits
                        .as_ref()
                        .is_some_and(|(l, _)| l.is_exempt(client));
                (!is_known).then(|| client.addr.ip())
            }
            Job::Difference(_) => None,
            Job::Watched(watched) => self.may_be_forged(watched.job()),
        }
    }

    /// Waits for what the query waits for, and writes the reply; `None` if a limit leaves none.
    pub async fn finish(&self, job: Job) -> Option<Vec<u8>> {
        match job {
            Job::Resolve(job) => self.finish_resolving(*job).await,
            Job::Difference(outgoing) => Some(outgoing.single().await),
            Job::Watched(watched) => {
                let (job, seen, watch) = watched.into_parts();
                let answer = Box::pin(self.finish(job)).await;
                watch.answer(seen, answer.as_deref());
                answer
            }
        }
    }

    async fn finish_resolving(&self, job: Resolving) -> Option<Vec<u8>> {
        let since = job.since;
        let resolution = job.resolver.resolve(job.question, job.options).await;
        let answer = self.resolved(resolution, job.options, job.so_far);
        self.count_answer(&answer);
        if let (Some(since), Some(now)) = (since, self.mono()) {
            self.metrics.waits.observe(now.saturating_sub(since));
        }
        let size_max = job.settings.udp_size_max;
        self.written(&answer, &job.request, job.recursion_available, size_max)
    }

    fn resolved(&self, resolution: Resolution, options: Options, so_far: Answer) -> Answer {
        let sources = &resolution.sources;
        if sources.stale {
            self.metrics.answers_stale_total.inc();
        }
        match (sources.packets, sources.mirrors.is_empty()) {
            (0, true) => self.metrics.answers_cache_total.inc(),
            (_, false) => self.metrics.answers_mirror_total.inc(),
            (_, true) => self.metrics.answers_live_total.inc(),
        }
        match resolution.security {
            Security::Bogus(_) => self.metrics.answers_bogus_total.inc(),
            Security::SecureAsOf => self.metrics.answers_as_of_total.inc(),
            _ => {}
        }
        Answer::resolved(resolution, options.checking_disabled).preceded_by(so_far)
    }

    /// Verifies the query's signature, where it has one; the error is the answer to a wrong one.
    fn authenticate(
        &self,
        mut request: Request,
        wire: &[u8],
        settings: &Settings,
    ) -> Result<Request, Vec<u8>> {
        let clock = self.mirrors.as_ref().map(|(_, clock)| clock);
        // Without a clock nothing is in time.
        let at_s = clock.map_or(0, |clock| clock.now().wall_s);
        let standing = signed::check(&request.message, wire, settings, at_s);
        self.count_signature(standing.signature());
        match standing {
            signed::Standing::Unsigned => {}
            signed::Standing::Signed(signer) => request.signed = Some(Signed { signer, at_s }),
            signed::Standing::Refused(reply, why) => {
                self.tell_refused(&request.client, &why);
                return Err(reply);
            }
        }
        Ok(request)
    }

    fn count_signature(&self, signature: Option<bool>) {
        match signature {
            Some(true) => self.metrics.tsig_good_total.inc(),
            Some(false) => self.metrics.tsig_bad_total.inc(),
            None => {}
        }
    }

    /// Says in the log that another server was refused something. Its operator will ask this one's why.
    fn tell_refused(&self, client: &Client, why: &str) {
        let second = match &self.mirrors {
            Some((_, clock)) => clock.now().mono.as_secs(),
            None => return,
        };
        if let Some(left_out) = self.refusals.claim(second) {
            let from = client.addr.ip();
            tracing::info!(%from, transport = ?client.transport, why, left_out, "another server is refused");
        }
    }

    /// Notes what the answer's COOKIE and NSID options will be.
    fn take_cookie(&self, mut request: Request) -> Result<Request, Rejected> {
        let edns = request.message.edns.as_ref();
        // RFC 5001 section 2.1: only who asks for it is told.
        if let Some(nsid) = &self.chaos.nsid
            && edns.is_some_and(|edns| edns.option(option::NSID).is_some())
        {
            request.nsid = Some(nsid.as_bytes().to_vec());
        }
        match self.cookie(&request.message, &request.client) {
            Ok(Some((cookie, standing))) => {
                request.cookie = Some(cookie.to_vec());
                request.cookie_is_good = standing == Standing::Good;
            }
            Ok(None) => {}
            Err(Malformed) => {
                return Err(Rejected::With {
                    query: Box::new(request.message),
                    rcode: Rcode::FORMERR,
                    error: None,
                });
            }
        }
        Ok(request)
    }

    /// The COOKIE option of the answer to `query`, if it is to have one, and what the query's is worth.
    fn cookie(
        &self,
        query: &Message,
        client: &Client,
    ) -> Result<Option<([u8; cookie::OPTION_LEN], Standing)>, Malformed> {
        let option = query.edns.as_ref().and_then(|e| e.option(option::COOKIE));
        let (Some((cookies, clock)), Some(option)) = (&self.cookies, option) else {
            return Ok(None);
        };
        let wall_s = clock.now().wall_s;
        let (answer, standing) = cookies.exchange(option, client.addr.ip(), wall_s)?;
        match standing {
            Standing::New => self.metrics.cookies_new_total.inc(),
            Standing::Good => self.metrics.cookies_good_total.inc(),
            Standing::Bad => self.metrics.cookies_bad_total.inc(),
        }
        Ok(Some((answer, standing)))
    }

    fn reject(&self, rejected: Rejected, client: &Client, settings: &Settings) -> Option<Vec<u8>> {
        let (query, rcode, error) = match rejected {
            Rejected::Silently => {
                self.metrics.queries_malformed_total.inc();
                self.verdict_on_query(client, false);
                return None;
            }
            Rejected::With {
                query,
                rcode,
                error,
            } => (query, rcode, error),
        };
        // What is refused for another reason may have a malformed cookie beside.
        let cookie = self.cookie(&query, client).ok().flatten();
        let is_good = matches!(cookie, Some((_, Standing::Good)));
        let cookie = cookie.map(|(cookie, _)| cookie.to_vec());
        // RFC 7873 section 5.4: a query without question is fine if it wants a cookie.
        let rcode = match query.question.is_none() && rcode == Rcode::FORMERR && cookie.is_some() {
            true => Rcode::NOERROR,
            false => rcode,
        };
        match rcode {
            Rcode::NOERROR => {}
            Rcode::REFUSED => self.metrics.queries_refused_total.inc(),
            _ => self.metrics.queries_malformed_total.inc(),
        }
        if !self.limit_rejected(client, is_good) {
            return None;
        }
        let size_max = settings.udp_size_max;
        let reply = reply::rejected(
            &query,
            rcode,
            error.as_ref(),
            cookie,
            client.transport,
            size_max,
        );
        Some(reply)
    }

    fn count_query(&self, transport: Transport) {
        match transport {
            Transport::Udp => self.metrics.queries_udp_total.inc(),
            Transport::Tcp => self.metrics.queries_tcp_total.inc(),
            Transport::Tls { .. } => self.metrics.queries_tls_total.inc(),
            Transport::Https => self.metrics.queries_https_total.inc(),
            Transport::Quic => self.metrics.queries_quic_total.inc(),
        }
    }

    fn count_answer(&self, answer: &Answer) {
        match answer.rcode {
            Rcode::SERVFAIL => self.metrics.answers_servfail_total.inc(),
            Rcode::REFUSED => self.metrics.queries_refused_total.inc(),
            _ => {}
        }
    }
}

/// Nothing is told of this name of class CH, or not to this client.
fn no_chaos(request: &Request) -> Answer {
    let text = format!(
        "no data of class {} under this name for this client",
        request.question.class
    );
    Answer::empty(Rcode::REFUSED, Some(Ede::new(Ede::NOT_SUPPORTED, text)))
}

/// RFC 8914 section 4.19: the access list says no.
fn refused(rights: Rights) -> Answer {
    let text = match rights {
        Rights {
            recursion: false,
            own_zones: false,
        } => "the access list has no place for this client",
        Rights {
            recursion: true,
            own_zones: false,
        } => "own zones are closed to this client",
        Rights {
            recursion: false,
            own_zones: true,
        } => "only own zones are open to this client",
        Rights {
            recursion: true,
            own_zones: true,
        } => "the name is in no own zone",
    };
    Answer::empty(Rcode::REFUSED, Some(Ede::new(Ede::PROHIBITED, text)))
}

#[cfg(test)]
mod tests;
