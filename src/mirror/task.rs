//! The one loop of a mirror: load what is on disk, then refresh for ever.
//!
//! ```text
//! start: ledger -> current generation?  -- none --> bootstrap snapshot
//!        (both later, where only the parent can vouch for them: mirrors start before the resolver)
//! loop:  timer | `refresh_now` | NOTIFY | file changed | operator's command
//!            -> refresh -> confirmed: wait for the SOA's refresh
//!                       -> activated: swap, tell subscribers, wait for the SOA's refresh
//!                       -> failed:    keep what there is, wait for the SOA's retry
//! ```
//!
//! Failure: every outcome but success leaves the current generation as it is. An error is logged when it differs from
//! the one before, and its end is logged as well; in between `last_error` tells. A panic in the loop is logged and the
//! loop begun anew: a mirror must not stop refreshing without anyone noticing.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::generation::{Candidate, Generation};
use super::refresh::{Done, Failure, FilesSeen, Refresher, SourceError};
use super::source::file;
use super::source::spool::Handed;
use super::store::{GenerationRow, SourceKind, Standing, Verdict};
use super::work::{Rank, blocking};
use super::{CommandError, Mirror, Shared, scrutiny};
use crate::config::Source;
use crate::dns::Soa;
use crate::news::News;

/// Shortest time between two refreshes, in seconds.
const REFRESH_MIN_S: u64 = 1;
/// Longest time between two refreshes, in seconds: two a day whatever the SOA says.
const REFRESH_MAX_S: u64 = 43_200;
/// Longest wait after a failure, in seconds.
const RETRY_MAX_S: u64 = 3600;
/// Longest wait after a failure while there is no version but the snapshot, in seconds. The first is 1 s.
const RETRY_EMPTY_MAX_S: u64 = 60;
/// How often files, and the soundness of what is served, are looked at, in seconds.
const LOOK_S: u64 = 5;
/// A wait is shortened by up to this part, so that many secondaries do not keep step.
const JITTER_PART: u64 = 10;
/// Least time between two refreshes that follow NOTIFY messages, in seconds: their senders may be forged.
const NOTIFY_DISTANCE_MIN_S: u64 = 2;
/// How often that time doubles, with each failure in a row: up to about a minute.
const NOTIFY_DOUBLINGS_MAX: u32 = 5;
/// Wait before a loop that panicked is begun anew, in seconds.
const PANIC_PAUSE_S: u64 = 30;
/// How long the first refresh waits for the resolver that is to ask the parent, in seconds: until the other mirrors are
/// loaded, a moment as a rule.
const BEGIN_MAX_S: u64 = 120;

const _: () = assert!(REFRESH_MIN_S < REFRESH_MAX_S && RETRY_EMPTY_MAX_S < RETRY_MAX_S);

/// Where the outcome of a refresh goes.
pub(super) type Asker = oneshot::Sender<Result<(), String>>;

/// What the loop is asked to do.
pub(super) enum Command {
    /// Refresh now; the answer says how it went.
    Refresh(Asker),
    /// What does not wait for a refresh that is under way.
    Change(Change),
}

/// What an operator decides.
pub(super) enum Change {
    /// Serve a held version after all.
    Accept(u32, oneshot::Sender<Result<(), CommandError>>),
    /// Serve an older version; `None` = the one before.
    Rollback(Option<u32>, oneshot::Sender<Result<(), CommandError>>),
    /// Take up a zone file.
    Import(Box<Handed>, oneshot::Sender<Result<(), CommandError>>),
}

/// The receiving end of a mirror's commands; it outlives a loop that panicked.
pub(super) type Commands = Arc<Mutex<mpsc::Receiver<Command>>>;

/// Runs a mirror's loop until the task is aborted.
pub(super) async fn supervise(
    mirror: Arc<Mirror>,
    shared: Arc<Shared>,
    commands: Commands,
    seed: u64,
    files: FilesSeen,
) {
    let mut files = files;
    for round in 0.. {
        let mut task = Task::new(mirror.clone(), shared.clone(), seed ^ round);
        task.refresher.files = std::mem::take(&mut files);
        let running = AbortOnDrop(tokio::spawn(task.run(commands.clone())));
        let ended = running.join().await;
        tracing::error!(zone = %mirror.config.zone, ?ended, "the mirror's loop ended by itself; it is begun anew");
        let error = "internal fault: the mirror's loop panicked";
        mirror.fail(vec![error.to_owned()], error, News::MirrorRefresh, None);
        tokio::time::sleep(Duration::from_secs(PANIC_PAUSE_S)).await;
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Brings a mirror to what is on disk: the stored copy, else a file among its sources, else the snapshot. Run once,
/// before the loop, so that a first start on this machine's own files answers from its first moment on. Returns what it
/// saw of the files, for the loop, which need not read them again.
pub(super) async fn load(
    mirror: &Arc<Mirror>,
    shared: &Arc<Shared>,
    seed: u64,
    rank: Rank,
) -> FilesSeen {
    let mut task = Task::new(mirror.clone(), shared.clone(), seed);
    task.refresher.rank = rank;
    match task.load_stored(MayAsk::Nobody).await {
        Ok(()) => {}
        Err(NotLoaded::Waits { serial, why }) => {
            let zone = &mirror.config.zone;
            tracing::info!(%zone, serial, "the stored version is not served yet: {why}");
        }
        Err(NotLoaded::Failed(error)) => {
            mirror.fail(vec![error.clone()], &error, News::MirrorRefresh, None);
        }
    }
    if task.refresher.can_prove_alone() {
        if mirror.current().is_none() && task.has_files() {
            let is_file = |s: &&Source| matches!(s, Source::File(_));
            let files: Vec<Source> = mirror
                .config
                .sources
                .iter()
                .filter(is_file)
                .cloned()
                .collect();
            let _ = task.refresh(&files).await;
        }
        task.bootstrap().await;
        if let Some(error) = mirror.snapshot_error() {
            mirror.fail(vec![error.clone()], &error, News::MirrorRefresh, None);
        }
    }
    task.refresher.files
}

/// Takes up a file for a mirror whose loop does not run.
pub(super) async fn import_stopped(
    mirror: &Arc<Mirror>,
    shared: &Arc<Shared>,
    handed: Handed,
) -> Result<(), CommandError> {
    let mut task = Task::new(mirror.clone(), shared.clone(), shared.deps.seed);
    let loaded = task.load_stored(MayAsk::Parent).await;
    loaded.map_err(|e| CommandError::Refused(e.to_string()))?;
    task.import(handed).await
}

/// Who may be asked about a stored version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MayAsk {
    /// There is no resolver yet.
    Nobody,
    /// The zone's parent.
    Parent,
}

/// Why the stored version is not served.
#[derive(Debug, thiserror::Error)]
enum NotLoaded {
    /// It must be proven anew, and nobody can vouch for it at present.
    #[error("the stored version, serial {serial}: {why}")]
    Waits {
        /// Its serial.
        serial: u32,
        /// What it waits for.
        why: String,
    },
    /// It is no good, or cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// The version of this serial that a brake holds; what stands in the way where there is none.
fn held_row(rows: Vec<GenerationRow>, serial: u32) -> Result<GenerationRow, CommandError> {
    let mut other = None;
    for row in rows.into_iter().filter(|row| row.serial == serial) {
        let is = match &row.verdict {
            Verdict::Held(_) => return Ok(row),
            Verdict::Refused(faults) => format!(
                "it failed verification, and no such version is ever served ({})",
                faults.join("; ")
            ),
            Verdict::Verified | Verdict::Unverified => {
                "it was admitted by itself; an older one is served with `holdfast mirror rollback`"
                    .to_owned()
            }
        };
        other.get_or_insert(is);
    }
    Err(other.map_or(CommandError::NoSuchVersion(serial), |is| {
        CommandError::NotHeld(serial, is)
    }))
}

struct Task {
    refresher: Refresher,
    failures: u32,
    /// How sources failed beside one that succeeded, by [`Failure::sort`].
    remarks: Vec<String>,
    /// When a NOTIFY may next be followed, on the monotonic clock.
    follow_from: Duration,
    /// The stored version did not verify: it is not tried again.
    gave_up_stored: bool,
}

impl Task {
    fn new(mirror: Arc<Mirror>, shared: Arc<Shared>, seed: u64) -> Task {
        Task {
            refresher: Refresher {
                mirror,
                shared,
                rng: SmallRng::seed_from_u64(seed),
                seen: Default::default(),
                meter: Default::default(),
                files: FilesSeen::default(),
                rank: Rank::Behind,
            },
            failures: 0,
            remarks: Vec::new(),
            follow_from: Duration::ZERO,
            gave_up_stored: false,
        }
    }

    async fn run(mut self, commands: Commands) {
        let mut commands = commands.lock().await;
        let mirror = self.mirror().clone();
        self.refresh_and_obey(&mut commands, Vec::new()).await;
        let mut due = self.due();
        // The refresh that a NOTIFY has asked for.
        let mut asked: Option<tokio::time::Instant> = None;
        loop {
            let look = Duration::from_secs(LOOK_S);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    self.refresh_and_obey(&mut commands, Vec::new()).await;
                }
                () = tokio::time::sleep(look) => {
                    self.replace_damaged().await;
                    if !self.has_files() || !self.refresh_files().await {
                        continue;
                    }
                }
                () = mirror.notified.notified(), if asked.is_none() => {
                    asked = Some(self.follow_at());
                    continue;
                }
                () = tokio::time::sleep_until(asked.unwrap_or(due)), if asked.is_some() => {
                    asked = None;
                    self.refresh_and_obey(&mut commands, Vec::new()).await;
                }
                () = mirror.wake.notified() => {
                    self.refresh_and_obey(&mut commands, Vec::new()).await;
                }
                command = commands.recv() => match command {
                    Some(Command::Refresh(asker)) => {
                        self.refresh_and_obey(&mut commands, vec![asker]).await;
                    }
                    Some(Command::Change(change)) => self.obey(change).await,
                    // The mirror is gone; so is this task in a moment.
                    None => return,
                },
            }
            due = self.due();
        }
    }

    /// Refreshes. A transfer may take an hour, and an operator who rolls back does not wait for it: such a command
    /// comes first, and the refresh begins again after it.
    async fn refresh_and_obey(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        mut askers: Vec<Asker>,
    ) {
        loop {
            let change = {
                let mut refresh = std::pin::pin!(self.refresh_all());
                loop {
                    tokio::select! {
                        result = &mut refresh => {
                            // Whoever asked may have gone away meanwhile.
                            for asker in askers {
                                let _ = asker.send(result.clone());
                            }
                            return;
                        }
                        Some(command) = commands.recv() => match command {
                            Command::Refresh(asker) => askers.push(asker),
                            Command::Change(change) => break change,
                        },
                    }
                }
            };
            self.obey(change).await;
        }
    }

    async fn bootstrap(&self) {
        let error = self.refresher.bootstrap().await.err();
        self.mirror()
            .set_snapshot_error(error.map(|e| format!("bootstrap: {e}")));
    }

    async fn refresh_all(&mut self) -> Result<(), String> {
        let sources = self.mirror().config.sources.clone();
        if !self.refresher.can_prove_alone() {
            // Mirrors start before the resolver. Without one, the refresh fails and says so.
            let limit = Duration::from_secs(BEGIN_MAX_S);
            let lookup = &self.shared().deps.lookup;
            let _ = tokio::time::timeout(limit, lookup.begun()).await;
            // What only the parent can vouch for had to wait until the parent can be asked.
            if self.mirror().current().is_none() {
                self.prove_stored().await;
                self.bootstrap().await;
            }
        }
        match sources.is_empty() {
            true => Ok(()),
            false => self.refresh(&sources).await,
        }
    }

    /// Looks at the files; says whether one had changed since it was last tried.
    async fn refresh_files(&mut self) -> bool {
        let mut changed = Vec::new();
        for source in &self.mirror().config.sources {
            if let Source::File(path) = source {
                let tried = self.refresher.files.tried(path).cloned();
                let (path, zone) = (path.clone(), self.mirror().config.zone.clone());
                let before = tried.clone();
                let look = move || file::stamp_after(&path, &zone, before.as_ref());
                let stamp = blocking(look).await.ok();
                if stamp.is_some() && stamp != tried {
                    changed.push(source.clone());
                }
            }
        }
        if changed.is_empty() {
            return false;
        }
        let _ = self.refresh(&changed).await;
        true
    }

    async fn refresh(&mut self, sources: &[Source]) -> Result<(), String> {
        let shared = self.shared().clone();
        let _turn = match self.mirror().config.catalog {
            Some(_) => shared.member_refreshes.acquire().await.ok(),
            None => None,
        };
        let (done, failures) = self.refresher.refresh(sources).await;
        let mut errors: Vec<String> = failures.iter().map(Failure::to_string).collect();
        self.mirror().tell_age(self.shared());
        if done.is_none() {
            self.failures = self.failures.saturating_add(1);
            let metrics = &self.shared().deps.metrics;
            metrics.mirror_refresh_failures_total.inc();
            errors.extend(self.mirror().snapshot_error());
            let text = errors.join("; ");
            let sorts: Vec<String> = failures.iter().map(Failure::sort).collect();
            let held = failures.iter().find_map(Failure::held);
            let news = failures.iter().map(Failure::news).max();
            let news = news.unwrap_or(News::MirrorRefresh);
            self.mirror().fail(errors, &sorts.join(" "), news, held);
            return Err(text);
        }
        self.failures = 0;
        self.mirror().succeed();
        let sorts: Vec<String> = failures.iter().map(Failure::sort).collect();
        if sorts != self.remarks {
            for error in &errors {
                tracing::warn!(zone = %self.mirror().config.zone, error, "a source failed, another one served");
            }
            self.remarks = sorts;
        }
        if done == Some(Done::Confirmed) {
            tracing::debug!(zone = %self.mirror().config.zone, "confirmed");
        }
        Ok(())
    }

    async fn obey(&mut self, change: Change) {
        let (result, asker) = match change {
            Change::Accept(serial, asker) => (self.accept(serial).await, asker),
            Change::Rollback(serial, asker) => (self.rollback(serial).await, asker),
            Change::Import(handed, asker) => (self.import(*handed).await, asker),
        };
        let _ = asker.send(result);
    }

    /// Serves a held version. It is verified again: it may have been held for longer than its signatures last.
    async fn accept(&self, serial: u32) -> Result<(), CommandError> {
        let row = held_row(self.rows().await, serial)?;
        let contact = self.refresher.contact_of(&row.provenance);
        let (shared, wanted) = (self.shared().clone(), row.clone());
        let stored = blocking(move || shared.store.load(&wanted)).await?;
        let (image, row) = stored.into_parts();
        let candidate = Candidate::new(image, row.provenance);
        let now = self.refresher.now_s();
        let verified = (self.refresher.verify(candidate, now).await)
            .map_err(|e| CommandError::Refused(e.to_string()))?;
        self.refresher.activate(verified, contact).await?;
        self.mirror().settle_error();
        Ok(())
    }

    /// Serves an older version; what is newer is not taken again until something newer still comes.
    async fn rollback(&self, serial: Option<u32>) -> Result<(), CommandError> {
        let (mirror, shared) = (self.mirror().clone(), self.shared().clone());
        blocking(move || mirror.roll_back(serial, &shared)).await
    }

    /// Takes up a zone file of the operator's, if it verifies and no brake holds it.
    async fn import(&mut self, handed: Handed) -> Result<(), CommandError> {
        let imported = self.refresher.import(handed).await;
        self.mirror().tell_age(self.shared());
        imported.map_err(|e| match e {
            SourceError::Commit(error) => CommandError::Commit(error),
            other => CommandError::Refused(other.to_string()),
        })
    }

    /// Takes up a stored version for which only the parent can vouch, once it does.
    async fn prove_stored(&mut self) {
        if self.gave_up_stored {
            return;
        }
        let zone = self.mirror().config.zone.clone();
        match self.load_stored(MayAsk::Parent).await {
            Ok(()) => {}
            // The refresh fails for the same reason, and says so.
            Err(NotLoaded::Waits { serial, why }) => {
                tracing::debug!(%zone, serial, "the stored version is not served yet: {why}");
            }
            Err(NotLoaded::Failed(error)) => {
                self.gave_up_stored = true;
                tracing::warn!(%zone, "a stored version is not served any more, another one is fetched: {error}");
            }
        }
    }

    /// Takes up what the ledger names as current. What rests on trust that is configured no longer is verified anew.
    async fn load_stored(&self, may_ask: MayAsk) -> Result<(), NotLoaded> {
        let (shared, zone) = (self.shared().clone(), self.mirror().config.zone.clone());
        let found = blocking(move || shared.store.recover(&zone)).await;
        let found = found.map_err(|e| NotLoaded::Failed(format!("stored versions: {e}")))?;
        let Some((stored, standing)) = found else {
            return Ok(());
        };
        let Some(generation) = Generation::take_up(stored, standing.last_contact_at) else {
            return Ok(());
        };
        if self.mirror().must_prove(&generation, self.shared()) {
            if may_ask == MayAsk::Nobody && !self.refresher.can_prove_alone() {
                return Err(NotLoaded::Waits {
                    serial: generation.serial(),
                    why: "what it was verified with is no longer configured; it is verified anew as soon as its parent can be asked for DS"
                        .to_owned(),
                });
            }
            return self.prove_again(generation, standing).await;
        }
        self.mirror()
            .set_rolled_back_from(standing.rolled_back_from);
        let serial = generation.serial();
        self.mirror().swap(generation, self.shared());
        self.mirror().scrutinise();
        self.recall_held(serial).await;
        Ok(())
    }

    /// Whether the version that is served is damaged; then another one takes its place.
    async fn replace_damaged(&self) {
        let current = self.mirror().current();
        if current.is_some_and(|g| scrutiny::damaged(&g).is_some()) {
            let (mirror, shared) = (self.mirror().clone(), self.shared().clone());
            blocking(move || mirror.replace_damaged(&shared)).await;
        }
    }

    async fn prove_again(
        &self,
        generation: Generation,
        standing: Standing,
    ) -> Result<(), NotLoaded> {
        let (serial, at) = (generation.serial(), generation.verified_at());
        let verified = self.refresher.verify(generation.into_candidate(), at).await;
        let verified = verified.map_err(|error| match error {
            SourceError::NoTrust(why) => NotLoaded::Waits { serial, why },
            other => NotLoaded::Failed(format!(
                "the stored version, with today's trust anchors: {other}"
            )),
        })?;
        // No source has confirmed it just now, and what the operator decided stands.
        let activated = self.refresher.reinstate(verified, standing).await;
        activated.map_err(|e| NotLoaded::Failed(e.to_string()))?;
        self.recall_held(serial).await;
        Ok(())
    }

    async fn rows(&self) -> Vec<GenerationRow> {
        let (shared, zone) = (self.shared().clone(), self.mirror().config.zone.clone());
        blocking(move || shared.store.rows(&zone)).await
    }

    /// Remembers the version that was held before this start and is newer than `current`, so that it is not fetched again
    /// and `status` says why it waits.
    async fn recall_held(&self, current: u32) {
        let is_newer = |row: &GenerationRow| Soa::serial_newer(row.serial, current);
        let held = |row: GenerationRow| match row.verdict {
            Verdict::Held(reasons) => Some((row.serial, reasons)),
            _ => None,
        };
        let rows = self.rows().await.into_iter().filter(is_newer);
        let newest = rows.max_by_key(|row| row.verified_at).and_then(held);
        if newest.is_some() {
            self.mirror().set_held(newest);
        }
    }

    /// When a NOTIFY that has just come is followed.
    fn follow_at(&mut self) -> tokio::time::Instant {
        let clock = &self.shared().deps.clock;
        let now = clock.now().mono;
        let at = now.max(self.follow_from);
        let instant = clock.instant(at);
        // A source whose version is refused is asked for all of it each time.
        let distance_s = NOTIFY_DISTANCE_MIN_S << self.failures.min(NOTIFY_DOUBLINGS_MAX);
        self.follow_from = at + Duration::from_secs(distance_s);
        instant
    }

    /// When the next refresh is due.
    fn due(&mut self) -> tokio::time::Instant {
        let wait = self.wait();
        let clock = &self.shared().deps.clock;
        clock.instant(clock.now().mono + wait)
    }

    /// How long until the next refresh.
    fn wait(&mut self) -> Duration {
        let current = self.mirror().current();
        let real = current
            .as_ref()
            .filter(|g| g.provenance().kind != SourceKind::Bootstrap);
        let wait_s = match (real, self.failures) {
            (Some(generation), 0) => {
                u64::from(generation.soa().refresh_s).clamp(REFRESH_MIN_S, REFRESH_MAX_S)
            }
            (Some(generation), _) => {
                let soa = generation.soa();
                u64::from(soa.retry_s.min(soa.refresh_s)).clamp(REFRESH_MIN_S, RETRY_MAX_S)
            }
            (None, failures) => 1 << failures.saturating_sub(1).min(6),
        };
        let wait_s = match real {
            Some(_) => wait_s,
            None => wait_s.min(RETRY_EMPTY_MAX_S),
        };
        let wait_ms = wait_s * 1000;
        let jitter_ms = self.refresher.rng.random_range(0..=wait_ms / JITTER_PART);
        Duration::from_millis(wait_ms - jitter_ms)
    }

    fn has_files(&self) -> bool {
        let sources = &self.mirror().config.sources;
        sources.iter().any(|s| matches!(s, Source::File(_)))
    }

    fn mirror(&self) -> &Arc<Mirror> {
        &self.refresher.mirror
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.refresher.shared
    }
}
