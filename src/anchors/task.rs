//! The one loop that looks at the keys of zones with trust anchors, and keeps what it learns.
//!
//! ```text
//! start: ledger -> trust points -> anchors in force, before anything is validated
//! loop:  due -> ask a server of the zone -> TrustPoint::observe -> ledger, synced -> anchors in force, published
//! ```
//!
//! The ledger is written before the new anchors are: what a restart would not know is not trusted. When a look is due
//! is judged by the wall clock, because hold-down times are; so a suspended machine looks when it wakes up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{debug, error, info, warn};

use super::machine::KeyState;
use super::point::{Change, KEYS_MAX, Observed, PointStatus, Refused, TrackedKey, TrustPoint};
use crate::clock::{Clock, format_utc};
use crate::config::{Anchor, Anchors};
use crate::dns::{Name, RrSet};
use crate::future::BoxFuture;
use crate::metrics::Metrics;
use crate::news::News;
use crate::store::{
    Changes, Durability, Ledger, StoreError, TrustAnchorRow, TrustKeyRow, hex, unhex, zone_key,
};

/// The first look waits this long, in seconds: a machine that boots has its network a moment later, and a look that
/// fails is not repeated for an hour.
const START_PAUSE_S: u64 = 15;
/// How often it is looked whether something is due, in seconds.
const LOOK_INTERVAL_S: u64 = 30;
/// Servers that are asked in one look before it counts as failed.
const SERVERS_ASKED_MAX: usize = 3;

/// A DNSKEY set as a server gave it.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The set with its signatures, not validated.
    pub set: RrSet,
    /// Who gave it.
    pub server: IpAddr,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfetched {
    /// The zone is isolated: what could be had now counts for nothing.
    Isolated,
    /// It could not be had; why.
    Failed(String),
}

/// The way to a zone's keys.
pub trait KeySource: Send + Sync + 'static {
    /// The zone's DNSKEY set from one of its servers, never from a copy or a cache; `avoid` gave bad ones.
    fn keys<'a>(
        &'a self,
        zone: &'a Name,
        avoid: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<Fetched, Unfetched>>;

    /// Takes new anchors into use. `shrunk` are the zones that have lost one: what rests on it is to be forgotten.
    fn put_in_force(&self, anchors: &Anchors, shrunk: &[Name]);
}

/// What the loop needs.
pub struct Deps {
    /// Where the state is kept.
    pub ledger: Arc<Ledger>,
    /// The way to the keys.
    pub source: Arc<dyn KeySource>,
    /// The clock. It is told of each inception that an anchor's signature proves.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The zones with trust anchors, and what everybody else reads of them.
pub struct Tracked {
    points: Vec<TrustPoint>,
    errors: BTreeMap<Name, String>,
    live: Arc<ArcSwap<Anchors>>,
    status: Arc<ArcSwap<Vec<PointStatus>>>,
}

impl Tracked {
    /// Takes up the state of the last run where it belongs to the anchors that are configured now.
    pub fn load(configured: &Anchors, sha1: bool, ledger: &Ledger, clock: &Clock) -> Tracked {
        let now_s = clock.now().wall_s;
        let load = |anchor: &Anchor| match ledger.get::<TrustAnchorRow>(&zone_key(&anchor.owner)) {
            Some(row) => resume(anchor, sha1, row, now_s),
            None => TrustPoint::new(anchor.clone(), sha1, now_s),
        };
        let points: Vec<TrustPoint> = configured.zones.iter().map(load).collect();
        forget_others(configured, ledger);
        let tracked = Tracked {
            live: Arc::new(ArcSwap::from_pointee(in_force(&points))),
            errors: BTreeMap::new(),
            status: Arc::default(),
            points,
        };
        for point in tracked.points.iter().filter(|p| p.lost_all()) {
            let alert = News::TrustAnchor.word();
            error!(alert, zone = %point.zone(), "{}", Refused::NoAnchorLeft);
        }
        tracked.publish();
        tracked
    }

    /// The anchors in force, as they change.
    pub fn live(&self) -> Arc<ArcSwap<Anchors>> {
        self.live.clone()
    }

    /// What `status` shows, as it changes.
    pub fn status(&self) -> Arc<ArcSwap<Vec<PointStatus>>> {
        self.status.clone()
    }

    fn publish(&self) {
        let status = self.points.iter();
        let status = status.map(|p| p.status(self.errors.get(p.zone()).cloned()));
        self.status.store(Arc::new(status.collect()));
    }
}

fn in_force(points: &[TrustPoint]) -> Anchors {
    Anchors {
        zones: points.iter().map(TrustPoint::in_force).collect(),
    }
}

/// Runs until the task is dropped.
pub async fn run(mut tracked: Tracked, deps: Deps) {
    count(&tracked.points, &deps.metrics);
    tokio::time::sleep(Duration::from_secs(START_PAUSE_S)).await;
    loop {
        for at in 0..tracked.points.len() {
            if tracked.points[at].is_due(deps.clock.now().wall_s) {
                look(&mut tracked, at, &deps).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(LOOK_INTERVAL_S)).await;
    }
}

/// Looks at one zone's keys: asks until a server's set counts.
async fn look(tracked: &mut Tracked, at: usize, deps: &Deps) {
    let zone = tracked.points[at].zone().clone();
    let mut point = tracked.points[at].clone();
    let mut changes = Vec::new();
    let mut avoid = Vec::new();
    let failure = loop {
        let fetched = match deps.source.keys(&zone, &avoid).await {
            Ok(fetched) => fetched,
            // RFC 5011 knows of no isolation. Nothing was seen: neither a key nor its absence.
            Err(Unfetched::Isolated) => return debug!(%zone, "isolated: its keys wait"),
            Err(Unfetched::Failed(why)) => break Some(why),
        };
        let now_s = deps.clock.now().wall_s;
        let Observed {
            changes: seen,
            counted,
        } = point.observe(&fetched.set, now_s);
        changes.extend(seen);
        match counted {
            Ok(signed) => {
                deps.clock.note_proven(signed.inception_s);
                break None;
            }
            Err(refused) => {
                avoid.push(fetched.server);
                if avoid.len() >= SERVERS_ASKED_MAX || refused == Refused::NoAnchorLeft {
                    break Some(format!("{}: {refused}", fetched.server));
                }
            }
        }
    };
    if failure.is_some() {
        point.failed(deps.clock.now().wall_s);
    }
    let failure = match keep(&point, &changes, deps).await {
        Ok(()) => {
            tracked.points[at] = point;
            announce(tracked, at, &changes, deps);
            failure
        }
        Err(error) => {
            tracked.points[at].failed(deps.clock.now().wall_s);
            Some(error.to_string())
        }
    };
    note(tracked, &zone, failure, deps);
    tracked.publish();
}

/// Writes the zone's state, synced if a key has changed: a pending key whose time is lost only waits again, but a
/// revocation must not be forgotten.
async fn keep(point: &TrustPoint, changes: &[Change], deps: &Deps) -> Result<(), StoreError> {
    let durability = match changes.is_empty() {
        true => Durability::Soon,
        false => Durability::Synced,
    };
    let (row, ledger) = (row(point), deps.ledger.clone());
    let write = move || ledger.commit(Changes::new().put(&row), durability);
    match tokio::task::spawn_blocking(write).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::Sled {
            step: "write trust anchors",
            why: error.to_string(),
        }),
    }
}

/// Puts what has changed in force, and says it.
fn announce(tracked: &Tracked, at: usize, changes: &[Change], deps: &Deps) {
    if changes.is_empty() {
        return;
    }
    let point = &tracked.points[at];
    let zone = point.zone();
    let alert = News::TrustAnchor.word();
    for Change { tag, from, to } in changes {
        match to {
            KeyState::AddPend => {
                info!(%zone, tag, %from, %to, "a new key is announced; it becomes a trust anchor if it stays")
            }
            KeyState::Valid => info!(%zone, tag, %from, %to, "the key is a trust anchor"),
            KeyState::Revoked => {
                warn!(alert, %zone, tag, %from, %to, "the key is revoked, and a trust anchor no more")
            }
            KeyState::Missing => {
                warn!(alert, %zone, tag, %from, %to, "the zone has left out a trust anchor's key")
            }
            KeyState::Start => {
                warn!(alert, %zone, tag, %from, %to, "the announced key is gone again; it was never trusted")
            }
            KeyState::Removed => info!(%zone, tag, %from, %to, "the revoked key is forgotten"),
        }
    }
    if point.keys().len() >= KEYS_MAX {
        warn!(%zone, "the zone shows more keys than are kept; further ones are not followed");
    }
    if point.lost_all() {
        error!(alert, %zone, "{}", Refused::NoAnchorLeft);
    }
    let anchors = in_force(&tracked.points);
    let lost = |c: &Change| c.from.is_trusted() && !c.to.is_trusted() || c.to == KeyState::Revoked;
    let shrunk = match changes.iter().any(lost) {
        true => vec![zone.clone()],
        false => Vec::new(),
    };
    tracked.live.store(Arc::new(anchors.clone()));
    deps.source.put_in_force(&anchors, &shrunk);
    count(&tracked.points, &deps.metrics);
}

/// Counts a failure, and logs it if it is another one than before.
fn note(tracked: &mut Tracked, zone: &Name, failure: Option<String>, deps: &Deps) {
    match failure {
        Some(error) => {
            deps.metrics.trust_anchor_refresh_failures_total.inc();
            if tracked.errors.get(zone) != Some(&error) {
                warn!(%zone, error, "the zone's keys could not be looked at; its trust anchors stay as they are");
            }
            tracked.errors.insert(zone.clone(), error);
        }
        None => {
            if let Some(was) = tracked.errors.remove(zone) {
                info!(%zone, was, "the zone's keys can be looked at again");
            }
        }
    }
}

fn count(points: &[TrustPoint], metrics: &Metrics) {
    let keys = |state| {
        let keys = points.iter().flat_map(TrustPoint::keys);
        keys.filter(|k| k.state == state).count() as u64
    };
    let m = metrics;
    m.trust_anchor_keys_valid.set(keys(KeyState::Valid));
    m.trust_anchor_keys_pending.set(keys(KeyState::AddPend));
    m.trust_anchor_keys_missing.set(keys(KeyState::Missing));
    m.trust_anchor_keys_revoked.set(keys(KeyState::Revoked));
}

// The ledger.

fn row(point: &TrustPoint) -> TrustAnchorRow {
    let keys = point.keys().iter().map(|key| TrustKeyRow {
        dnskey: hex(&key.rdata),
        state: key.state.to_string(),
        since_at: key.since_s,
        until_at: key.until_s,
    });
    TrustAnchorRow {
        zone: point.zone().clone(),
        configured: fingerprint(point.configured()),
        keys: keys.collect(),
        refreshed_at: point.refreshed_s(),
        due_at: point.due_s(),
    }
}

/// The state of the last run. Other configured anchors begin anew: a key that an anchor now withdrawn has introduced is
/// worth no more than that anchor.
fn resume(configured: &Anchor, sha1: bool, row: TrustAnchorRow, now_s: u64) -> TrustPoint {
    let zone = &configured.owner;
    if row.configured != fingerprint(configured) {
        warn!(%zone, "other trust anchors are configured than before: what was learned of the zone's keys is dropped");
        return TrustPoint::new(configured.clone(), sha1, now_s);
    }
    let keys: Option<Vec<TrackedKey>> = row.keys.iter().map(tracked_key).collect();
    let Some(keys) = keys.filter(|keys| keys.len() <= KEYS_MAX) else {
        warn!(%zone, "the stored state of the zone's trust anchors cannot be read: begun anew from the configured ones");
        return TrustPoint::new(configured.clone(), sha1, now_s);
    };
    debug!(%zone, keys = keys.len(), due = format_utc(row.due_at), "trust anchors taken up");
    TrustPoint::resumed(configured.clone(), sha1, keys, row.refreshed_at, row.due_at)
}

fn tracked_key(row: &TrustKeyRow) -> Option<TrackedKey> {
    let state: KeyState = row.state.parse().ok()?;
    Some(TrackedKey {
        rdata: unhex(&row.dnskey)?.into(),
        state,
        since_s: row.since_at,
        until_s: row.until_at,
    })
    .filter(|_| state != KeyState::Start)
}

/// Each configured record, in an order of its own.
fn fingerprint(configured: &Anchor) -> Vec<String> {
    let ds = configured.ds.iter().map(|r| format!("DS {}", hex(r)));
    let keys = configured.dnskeys.iter();
    let mut all: Vec<String> = ds
        .chain(keys.map(|r| format!("DNSKEY {}", hex(r))))
        .collect();
    all.sort_unstable();
    all
}

/// Drops the state of zones that have no configured anchors any more.
fn forget_others(configured: &Anchors, ledger: &Ledger) {
    let is_configured = |zone: &Name| configured.zones.iter().any(|a| a.owner == *zone);
    let mut changes = Changes::new();
    for row in ledger.scan::<TrustAnchorRow>(&[]) {
        if !is_configured(&row.zone) {
            changes = changes.remove::<TrustAnchorRow>(zone_key(&row.zone));
        }
    }
    if !changes.is_empty()
        && let Err(error) = ledger.commit(changes, Durability::Soon)
    {
        warn!(%error, "trust anchors of zones that are configured no longer could not be dropped");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::dns::{Rdata, Rtype};
    use crate::signer::{INCEPTION, KSK, Key, Signer, name};

    /// Gives whatever it was told to, and takes down what was put in force.
    struct Told {
        next: Mutex<Result<Fetched, Unfetched>>,
        put: Mutex<Vec<(usize, usize)>>,
    }

    impl KeySource for Told {
        fn keys<'a>(
            &'a self,
            _: &'a Name,
            _: &'a [IpAddr],
        ) -> BoxFuture<'a, Result<Fetched, Unfetched>> {
            let next = self.next.lock().unwrap().clone();
            Box::pin(async move { next })
        }

        fn put_in_force(&self, anchors: &Anchors, shrunk: &[Name]) {
            let count = anchors.zones[0].ds.len() + anchors.zones[0].dnskeys.len();
            self.put.lock().unwrap().push((count, shrunk.len()));
        }
    }

    fn signed(keys: &[&Key]) -> Fetched {
        let signer = Signer::new("test.", 1);
        let rdatas: Vec<Rdata> = keys.iter().map(|k| k.dnskey()).collect();
        let sign = |k: &&Key| signer.rrsig_by(k, &name("test."), Rtype::DNSKEY, 3600, &rdatas);
        let set = RrSet {
            name: name("test."),
            rtype: Rtype::DNSKEY,
            ttl: 3600,
            sigs: keys.iter().map(sign).collect(),
            rdatas,
        };
        Fetched {
            set,
            server: [192, 0, 2, 1].into(),
        }
    }

    fn anchors(of: &[&Key]) -> Anchors {
        let zone = name("test.");
        Anchors {
            zones: vec![Anchor {
                ds: of.iter().map(|k| k.ds(&zone)).collect(),
                dnskeys: Vec::new(),
                owner: zone,
            }],
        }
    }

    fn shown(status: &Arc<ArcSwap<Vec<PointStatus>>>) -> Vec<String> {
        let status = status.load();
        status[0].keys.iter().map(|k| k.state.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_is_kept_and_isolation_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path(), Arc::default()).unwrap();
        let ledger = Arc::new(ledger);
        let clock = Clock::starting_at(Duration::from_secs(u64::from(INCEPTION) + 1000));
        let metrics = Arc::new(Metrics::default());
        let (one, two) = (Key::ed25519(1, KSK), Key::ed25519(2, KSK));
        let source = Arc::new(Told {
            next: Mutex::new(Err(Unfetched::Isolated)),
            put: Mutex::default(),
        });
        let tracked = Tracked::load(&anchors(&[&one]), false, &ledger, &clock);
        let (status, live) = (tracked.status(), tracked.live());
        let task = tokio::spawn(run(
            tracked,
            Deps {
                ledger: ledger.clone(),
                source: source.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
        ));
        let hours = |n: u64| tokio::time::sleep(Duration::from_secs(n * 3600));
        hours(5).await;
        assert!(shown(&status).is_empty() && source.put.lock().unwrap().is_empty());
        assert_eq!(metrics.trust_anchor_refresh_failures_total.value(), 0);

        *source.next.lock().unwrap() = Err(Unfetched::Failed("no server".into()));
        hours(3).await;
        let failed = metrics.trust_anchor_refresh_failures_total.value();
        assert!((2..=4).contains(&failed), "{failed}");
        assert_eq!(status.load()[0].error.as_deref(), Some("no server"));

        *source.next.lock().unwrap() = Ok(signed(&[&one, &two]));
        hours(2).await;
        assert_eq!(shown(&status), ["valid", "add-pending"]);
        assert_eq!(metrics.trust_anchor_keys_pending.value(), 1);
        assert_eq!(clock.proven_s(), Some(INCEPTION.into()));
        let gone = Key::ed25519(1, KSK).revoked();
        *source.next.lock().unwrap() = Ok(signed(&[&gone, &two]));
        hours(2).await;
        assert_eq!(shown(&status), ["revoked", "add-pending"]);
        assert_eq!(source.put.lock().unwrap().last(), Some(&(1, 1)));
        // Nothing is left: what is configured stands.
        assert_eq!(live.load().zones[0], anchors(&[&one]).zones[0]);
        task.abort();

        let again = Tracked::load(&anchors(&[&one]), false, &ledger, &clock);
        assert_eq!(shown(&again.status()), ["revoked", "add-pending"]);
        // Other configured anchors begin anew; a zone that has none is forgotten.
        let other = Tracked::load(&anchors(&[&one, &two]), false, &ledger, &clock);
        assert!(shown(&other.status()).is_empty());
        assert_eq!(other.live().load().zones[0].ds.len(), 2);
        Tracked::load(&Anchors { zones: vec![] }, false, &ledger, &clock);
        assert!(ledger.scan::<TrustAnchorRow>(&[]).is_empty());
    }

    #[test]
    fn state_that_cannot_be_read_is_begun_anew() {
        let one = Key::ed25519(1, KSK);
        let configured = anchors(&[&one]).zones.remove(0);
        let good = TrustKeyRow {
            dnskey: hex(&one.dnskey()),
            state: "revoked".into(),
            since_at: 5,
            until_at: Some(9),
        };
        let check = |change: &dyn Fn(&mut TrustKeyRow), expected| {
            let mut key = good.clone();
            change(&mut key);
            let row = TrustAnchorRow {
                zone: name("test."),
                configured: fingerprint(&configured),
                keys: vec![key],
                refreshed_at: None,
                due_at: 7,
            };
            assert_eq!(resume(&configured, false, row, 6).keys().len(), expected);
        };
        check(&|_| {}, 1);
        check(&|k| k.state = "trusted".into(), 0);
        check(&|k| k.state = "start".into(), 0);
        check(&|k| k.dnskey.push('0'), 0);
        check(&|k| k.dnskey = "zz".into(), 0);
    }
}
