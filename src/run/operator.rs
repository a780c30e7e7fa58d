//! What the control socket's requests do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use holdfast::anchors::PointStatus;
use holdfast::cache::{Kind, Tally};
use holdfast::clock::{Clock, Now, format_utc, system_wall};
use holdfast::control::api::{Body, BoxFuture, Commands, Request, Response, read_body};
use holdfast::control::status::{
    CacheStatus, ClockReset, ClockStatus, CrowdedStatus, DeadPrefixStatus, FloodedStatus,
    FlushDone, FullServerStatus, GoneStatus, KindStatus, MirrorStatus, NegativeAnchorStatus,
    PastKernelStatus, RetainedStatus, ServerStatus, StaleStatus, StaleZoneStatus, Status,
    TOP_ROWS_MAX, TableStatus, TalkerStatus, TopName, TopTalkers, TrustKeyStatus, TrustPointStatus,
    ZoneStatus, share,
};
use holdfast::dns::{Dnskey, Name, Question};
use holdfast::drill::names::Counted;
use holdfast::engine::{Drills, Engine};
use holdfast::metrics::Metrics;
use holdfast::mirror::source::spool::{Handed, Spool, SpoolError};
use holdfast::mirror::{GenerationState, Mirror};
use holdfast::query::SharedSettings;
use holdfast::query::own::OwnZone;
use holdfast::query::rate_limit::{RateLimits, Talker};
use holdfast::reach::DeadPrefix;
use holdfast::resolve::delegation::TableStats;
use holdfast::resolve::denials::FloodedZone;
use holdfast::resolve::retained::Gone;
use holdfast::resolve::seats::FullServer;
use holdfast::resolve::select::ServerState;
use holdfast::resolve::shares::CrowdedZone;
use holdfast::resolve::stale::ZoneInTrouble;
use serde_json::Value;

use super::certificate::CertificateWatch;
use super::{rehearse, system_clock, trace, versions};

/// Octets of a file that are received at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Networks that a status tells as asking most.
const TALKERS_MAX: usize = 50;

/// The parts of the server that requests look at.
pub struct Operator {
    /// The clock.
    pub clock: Clock,
    /// When the server started.
    pub started: Now,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The own zones are in them.
    pub settings: SharedSettings,
    /// Resolver, mirrors, reachability.
    pub engine: Arc<Engine>,
    /// Looks at what encrypted listeners show.
    pub certificate: Arc<CertificateWatch>,
    /// Drills and readiness reports.
    pub drills: Arc<Drills>,
    /// The sets of prefixes in force.
    pub sets: rehearse::Sets,
    /// Own zones whose file cannot be used; why.
    pub zone_errors: ArcSwap<BTreeMap<Name, String>>,
    /// What networks may ask, and who asks most.
    pub rate_limits: Arc<RateLimits>,
    /// Limit of the cache, in bytes.
    pub cache_bytes_max: u64,
    /// Datagrams that nobody waited for, as the kernel had counted them before the server started.
    pub unclaimed_before: u64,
}

impl Commands for Operator {
    fn run<'a>(&'a self, request: Request, body: Body<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            match self.carry_out(request, body).await {
                Ok(value) => Response::Ok(value),
                Err(why) => Response::Error(why),
            }
        })
    }
}

impl Operator {
    async fn carry_out(&self, request: Request, body: Body<'_>) -> Result<Value, String> {
        match request {
            Request::Status => to_json(&self.status()),
            Request::TopNames => to_json(&self.top_names()),
            Request::MirrorList => to_json(&self.mirrors()),
            Request::MirrorShow { zone } => {
                let mirror = self.mirror(&zone)?;
                let engine = self.engine.clone();
                // The list is read from the disk.
                let read = move || to_json(&engine.mirrors.generations(&mirror));
                let list = tokio::task::spawn_blocking(read).await;
                list.map_err(|error| error.to_string())?
            }
            Request::MirrorRefresh { zone } => {
                let mirror = self.mirror(&zone)?;
                mirror.refresh().await?;
                self.outcome(&mirror)
            }
            Request::MirrorAccept { zone, serial } => {
                let mirror = self.mirror(&zone)?;
                let serial = match serial {
                    Some(serial) => serial,
                    None => self.only_held(&mirror)?,
                };
                let accepted = mirror.accept(serial).await;
                accepted.map_err(|error| error.to_string())?;
                self.outcome(&mirror)
            }
            Request::MirrorRollback { zone, serial } => {
                let mirror = self.mirror(&zone)?;
                let rolled_back = mirror.rollback(serial).await;
                rolled_back.map_err(|error| error.to_string())?;
                self.outcome(&mirror)
            }
            Request::MirrorImport { zone, file, octets } => {
                let mirror = self.mirror(&zone)?;
                let spool = self.receive(&mirror, octets, body).await?;
                let imported = mirror.import(Handed::new(PathBuf::from(file), spool)).await;
                imported.map_err(|error| error.to_string())?;
                self.outcome(&mirror)
            }
            Request::ClockReset => {
                let keeper = self.engine.timekeeper.clone();
                let keeper = keeper.ok_or("with lab.clock_file there is no floor to clear")?;
                let reset = tokio::task::spawn_blocking(move || keeper.reset()).await;
                let reset = reset.map_err(|error| error.to_string())?;
                let floor_was = reset.map_err(|error| error.to_string())?;
                system_clock::adopt(&self.clock, system_wall());
                to_json(&ClockReset {
                    floor_was: floor_was.map(format_utc),
                    running: true,
                    time: format_utc(self.clock.now().wall_s),
                })
            }
            Request::Trace {
                name,
                rtype,
                checking_disabled,
                afresh,
            } => {
                let rtype = rtype.parse().map_err(|_| {
                    format!("{rtype} is no record type; such as A, AAAA, MX or TYPE65")
                })?;
                let asked = trace::Asked {
                    question: Question::new(parse_name(&name)?, rtype),
                    checking_disabled,
                    afresh,
                };
                let resolver = &self.engine.front.current();
                to_json(&trace::trace(asked, &self.settings, resolver, &self.clock).await?)
            }
            Request::Readiness { names, cut } => {
                let (cut, questions) = rehearse::assessed(cut, names, &self.sets).await?;
                to_json(&self.drills.assess(cut, questions).await?)
            }
            Request::ReadinessPoll { job } => to_json(&self.drills.assessed(job)?),
            Request::DrillStart {
                cut,
                for_s,
                shadow,
                abort_at_permille,
            } => {
                let planned =
                    rehearse::planned(cut, for_s, shadow, abort_at_permille, &self.sets).await?;
                to_json(&self.drills.start(planned).await?)
            }
            Request::DrillStop => to_json(&self.drills.stop()?),
            Request::DrillReport => {
                let drills = self.drills.clone();
                let adding = tokio::task::spawn_blocking(move || drills.report());
                to_json(&adding.await.map_err(|error| error.to_string())??)
            }
            Request::CacheStats => to_json(&self.cache()),
            Request::CacheFlush { name, tree } => to_json(&self.flush(&parse_name(&name)?, tree)),
        }
    }

    fn mirror(&self, zone: &str) -> Result<Arc<Mirror>, String> {
        let name = parse_name(zone)?;
        let mirror = self.engine.mirrors.find(&name);
        mirror.ok_or_else(|| format!("{name} is no mirror; `holdfast mirror list` names them"))
    }

    /// Receives a zone file of so many octets into a file without a name.
    async fn receive(
        &self,
        mirror: &Arc<Mirror>,
        octets: u64,
        body: Body<'_>,
    ) -> Result<Spool, String> {
        let (engine, mirror) = (self.engine.clone(), mirror.clone());
        let mut spool = at_leisure(move || engine.mirrors.spool(&mirror)).await?;
        let mut left = octets;
        while left > 0 {
            let piece = read_body(body, left.min(PIECE_BYTES) as usize).await;
            let piece = piece.map_err(|error| format!("the file did not arrive: {error}"))?;
            left -= piece.len() as u64;
            spool = at_leisure(move || spool.take(&piece)).await?;
        }
        Ok(spool)
    }

    /// The one version that waits for the operator.
    fn only_held(&self, mirror: &Mirror) -> Result<u32, String> {
        let mut held = self.engine.mirrors.generations(mirror);
        held.retain(|generation| generation.state == GenerationState::Held);
        match held.as_slice() {
            [one] => Ok(one.serial),
            [] => Err(format!("no version of {} is held", mirror.zone())),
            _ => Err("several versions are held; name the serial of one".into()),
        }
    }

    /// What a command to a mirror has led to.
    fn outcome(&self, mirror: &Mirror) -> Result<Value, String> {
        to_json(&versions::done(mirror.zone(), mirror.current().as_deref()))
    }

    pub(super) fn status(&self) -> Status {
        let now = self.clock.now();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: (now.mono - self.started.mono).as_secs(),
            time: format_utc(now.wall_s),
            clock: self.clock_status(),
            certificate: self.certificate.status(),
            trust_anchors: self.trust_anchors(),
            zones: self.zones(),
            mirrors: self.mirrors(),
            negative_trust_anchors: self.negative_trust_anchors(now.wall_s),
            servers: self.servers(),
            dead_prefixes: self.dead_prefixes(),
            retained: self.retained(),
            stale: self.stale(),
            crowded: self.crowded(),
            full_servers: self.full_servers(),
            flooded: self.flooded(),
            past_kernel: PastKernelStatus::all(&self.metrics.past),
            top_talkers: self.top_talkers(),
            drill: self.drills.current(),
            cache: self.cache(),
            metrics: (self.metrics().into_iter())
                .map(|(name, _, value)| (name.into(), value))
                .collect(),
        }
    }

    fn clock_status(&self) -> ClockStatus {
        let source = match &self.engine.timekeeper {
            None => "file",
            Some(_) if self.clock.is_held() => "floor",
            Some(_) => "system",
        };
        ClockStatus {
            source: source.into(),
            floor: self.clock.floor_s().map(format_utc),
            proven: self.clock.proven_s().map(format_utc),
        }
    }

    fn trust_anchors(&self) -> Vec<TrustPointStatus> {
        let points = self.engine.trust_points.load();
        points.iter().map(trust_point).collect()
    }

    fn zones(&self) -> Vec<ZoneStatus> {
        let errors = self.zone_errors.load();
        let settings = self.settings.load();
        let mut zones: Vec<_> = settings.zones.iter().collect();
        zones.sort_by_key(|(apex, _)| *apex);
        let status = |(apex, zone): (&Name, &OwnZone)| ZoneStatus {
            zone: apex.to_string(),
            serial: match zone {
                OwnZone::Loaded(image) => Some(image.serial()),
                OwnZone::Broken(_) => None,
            },
            error: errors.get(apex).cloned(),
        };
        zones.into_iter().map(status).collect()
    }

    /// All metrics, with what the kernel counts.
    pub(super) fn metrics(&self) -> Vec<(&'static str, &'static str, u64)> {
        let unclaimed = holdfast::upstream::unclaimed_datagrams().unwrap_or(0);
        let since_start = unclaimed.saturating_sub(self.unclaimed_before);
        self.metrics.datagrams_unclaimed_total.set(since_start);
        let (flooded, refused) = self.engine.resolver.flooded_zones();
        self.metrics
            .random_subdomain_zones
            .set(flooded.len() as u64);
        self.metrics.random_subdomain_refused_total.set(refused);
        let forgotten = self.rate_limits.forgotten();
        self.metrics.limited_forgotten_total.set(forgotten);
        let certificate = self.certificate.status();
        let mut all = self.metrics.snapshot();
        // Without a certificate there is none that could run out, and 0 would say that it has.
        all.retain(|(name, ..)| certificate.is_some() || *name != "tls_certificate_left_s");
        all
    }

    pub(super) fn mirrors(&self) -> Vec<MirrorStatus> {
        let now_s = self.clock.now().wall_s;
        let mut mirrors = self.engine.mirrors.all();
        mirrors.sort_by(|a, b| a.zone().cmp(b.zone()));
        let status = |mirror: Arc<Mirror>| {
            let reach = self.engine.reach.zone(mirror.zone()).unwrap_or_default();
            MirrorStatus {
                mirror: mirror.status(now_s),
                state: reach.state.to_string(),
                since: Some(format_utc(reach.since.wall_s)),
                evidence: reach.evidence.clone(),
            }
        };
        mirrors.into_iter().map(status).collect()
    }

    fn negative_trust_anchors(&self, now_s: u64) -> Vec<NegativeAnchorStatus> {
        let settings = self.settings.load();
        let anchors = self.engine.resolver.negative_trust_anchors();
        let status = |(name, until_s): (Name, Option<u64>)| NegativeAnchorStatus {
            own_zone: settings.zones.zone(&name).is_some(),
            name: name.to_string(),
            until: until_s.map(format_utc),
            left_s: until_s.map(|until_s| until_s.saturating_sub(now_s)),
        };
        anchors.into_iter().map(status).collect()
    }

    fn servers(&self) -> Vec<ServerStatus> {
        let mut servers = self.engine.resolver.servers_status();
        servers.sort_by_key(|server| server.server);
        let status = |server: holdfast::resolve::select::ServerStatus| ServerStatus {
            address: server.server.to_string(),
            srtt_ms: server.srtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            state: match server.state {
                ServerState::New => "new".into(),
                ServerState::Good => "good".into(),
                ServerState::Silent => "silent".into(),
            },
            quirks: server.quirks.iter().map(ToString::to_string).collect(),
        };
        servers.into_iter().map(status).collect()
    }

    fn dead_prefixes(&self) -> Vec<DeadPrefixStatus> {
        let status = |dead: DeadPrefix| DeadPrefixStatus {
            prefix: dead.prefix.to_string(),
            since: format_utc(dead.since.wall_s),
            evidence: dead.evidence,
        };
        self.engine
            .prefixes
            .dead()
            .into_iter()
            .map(status)
            .collect()
    }

    fn top_names(&self) -> Vec<TopName> {
        let names = self.engine.front.names();
        let mut all = names.map(|names| names.all()).unwrap_or_default();
        all.sort_by(|a, b| b.count.total_cmp(&a.count));
        all.truncate(TOP_ROWS_MAX);
        let name = |counted: Counted| TopName {
            name: counted.question.name.to_string(),
            rtype: counted.question.rtype.to_string(),
            queries: counted.count,
        };
        all.into_iter().map(name).collect()
    }

    fn flooded(&self) -> Vec<FloodedStatus> {
        let status = |of: FloodedZone| FloodedStatus {
            zone: of.zone.to_string(),
            since: format_utc(of.since_s),
            denials: of.denials,
            refused: of.refused,
        };
        let (zones, _) = self.engine.resolver.flooded_zones();
        zones.into_iter().map(status).collect()
    }

    fn top_talkers(&self) -> TopTalkers {
        let talkers = self.rate_limits.talkers(TALKERS_MAX, self.clock.now().mono);
        let all = talkers.queries;
        let status = |of: Talker| TalkerStatus {
            prefix: of.prefix.to_string(),
            queries: of.queries,
            queries_share: share(of.queries, all),
            dropped: of.limited,
            dropped_share: share(of.limited, of.queries),
        };
        TopTalkers {
            over_s: talkers.over_s,
            queries: all,
            dropped: talkers.limited,
            prefixes: talkers.networks.into_iter().map(status).collect(),
        }
    }

    fn retained(&self) -> RetainedStatus {
        let resolver = &self.engine.resolver;
        let stats = resolver.retained_stats();
        let gone = |gone: Gone| GoneStatus {
            zone: gone.zone.to_string(),
            since: format_utc(gone.since_s),
        };
        RetainedStatus {
            delegations: stats.zones.entries as u64,
            servers: stats.hosts.entries as u64,
            bytes: (stats.zones.bytes + stats.hosts.bytes) as u64,
            parents_gone: resolver.gone().into_iter().map(gone).collect(),
        }
    }

    fn crowded(&self) -> Vec<CrowdedStatus> {
        let status = |of: CrowdedZone| CrowdedStatus {
            zone: of.zone.to_string(),
            since: format_utc(of.since_s),
            waiting: of.waiting as u64,
            refused: of.refused,
        };
        let zones = self.engine.resolver.crowded_zones();
        zones.into_iter().map(status).collect()
    }

    fn full_servers(&self) -> Vec<FullServerStatus> {
        let status = |of: FullServer| FullServerStatus {
            address: of.server.to_string(),
            since: format_utc(of.since_s),
            outstanding: of.outstanding as u64,
            refused: of.refused,
        };
        let servers = self.engine.resolver.full_servers();
        servers.into_iter().map(status).collect()
    }

    fn stale(&self) -> StaleStatus {
        let resolver = &self.engine.resolver;
        let (held, disk) = (resolver.stale_stats(), resolver.answers_on_disk());
        let zone = |zone: ZoneInTrouble| StaleZoneStatus {
            zone: zone.zone.to_string(),
            since: format_utc(zone.since_s),
            answers: zone.answers,
            why: zone.why,
        };
        StaleStatus {
            entries: held.entries as u64,
            bytes: held.bytes as u64,
            disk_entries: disk.entries as u64,
            disk_bytes: disk.disk_bytes as u64,
            disk_list_bytes: disk.bytes as u64,
            answers_total: self.metrics.answers_stale_total.value(),
            zones: resolver.zones_in_trouble().into_iter().map(zone).collect(),
        }
    }

    fn cache(&self) -> CacheStatus {
        let resolver = &self.engine.resolver;
        let stats = resolver.cache_stats();
        let kind = |(kind, tally): (Kind, Tally)| KindStatus {
            kind: kind.name().into(),
            entries: tally.entries as u64,
            bytes: tally.bytes as u64,
        };
        let table = |(table, stats): (&str, TableStats)| TableStatus {
            table: table.into(),
            entries: stats.entries as u64,
            bytes: Some(stats.bytes as u64),
        };
        let keys = TableStatus {
            table: "keys".into(),
            entries: resolver.keys_known() as u64,
            bytes: None,
        };
        let tables = resolver.tables_stats().into_iter().map(table);
        CacheStatus {
            entries: stats.entries as u64,
            bytes: stats.bytes as u64,
            bytes_max: self.cache_bytes_max,
            hits_total: stats.hits,
            misses_total: stats.misses,
            evictions_total: self.metrics.cache_evictions_total.value(),
            expired_total: self.metrics.cache_expired_total.value(),
            prefetches_total: self.metrics.prefetches_total.value(),
            prefetch_failures_total: self.metrics.prefetch_failures_total.value(),
            kinds: Kind::ALL.into_iter().zip(stats.kinds).map(kind).collect(),
            stale_entries: resolver.stale_stats().entries as u64,
            tables: tables.chain([keys]).collect(),
        }
    }

    /// The root stands for everything: flushing the root's own records alone is of no use to anybody.
    fn flush(&self, name: &Name, tree: bool) -> FlushDone {
        let tree = tree || name.is_root();
        // What a drill has found out beside goes, too; its cache is the same.
        if let Some(rehearsal) = self.engine.front.rehearsal() {
            rehearsal.resolver.flush(name, tree);
        }
        let gone = self.engine.resolver.flush(name, tree);
        FlushDone {
            flushed: name.to_string(),
            tree,
            answers: gone.answers as u64,
            delegations: gone.delegations as u64,
            addresses: gone.addresses as u64,
            links: gone.links as u64,
            keys: gone.keys as u64,
            failures: gone.failures as u64,
            retained: gone.retained as u64,
            on_disk: gone.on_disk as u64,
        }
    }
}

fn trust_point(point: &PointStatus) -> TrustPointStatus {
    let tracked = point.keys.iter().filter_map(|key| {
        let parsed = Dnskey::parse(&key.rdata)?;
        Some(TrustKeyStatus {
            tag: parsed.key_tag(),
            algorithm: parsed.algorithm,
            state: key.state.to_string(),
            since: Some(format_utc(key.since_s)),
            until: key.until_s.map(format_utc),
        })
    });
    let unseen = point.unseen.iter().map(|(tag, algorithm)| TrustKeyStatus {
        tag: *tag,
        algorithm: *algorithm,
        state: "configured".into(),
        since: None,
        until: None,
    });
    TrustPointStatus {
        zone: point.zone.to_string(),
        keys: tracked.chain(unseen).collect(),
        lost_all: point.lost_all,
        refreshed_at: point.refreshed_s.map(format_utc),
        next_refresh_at: Some(format_utc(point.due_s)),
        last_error: point.error.clone(),
    }
}

/// Does what blocks on the disk where nobody waits for it.
async fn at_leisure(
    work: impl FnOnce() -> Result<Spool, SpoolError> + Send + 'static,
) -> Result<Spool, String> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn parse_name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}
