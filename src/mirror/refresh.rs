//! One refresh: the sources in turn, until one of them confirms the current version or brings a better one.
//!
//! Failure: what a source brings is dropped at the first step that it fails at, and the error names the step; the
//! current generation is not touched before the new one is durable. A version that a brake holds ends the refresh: the
//! other sources have the same one.

mod secured;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::brakes::{self, Brake, Policy};
use super::generation::{Candidate, Generation, Proof, Verified};
use super::source::axfr::{self, Fault, Fetched, Want};
use super::source::file::{self, FileError, Reading, Stamp};
use super::source::https::HttpsError;
use super::source::meter::{Meter, Stage};
use super::source::spool::{Handed, SpoolError};
use super::source::tls::TrustError;
use super::store::{Channel, CommitError, Provenance, SourceKind, Standing, TrustRecord, hex};
use super::work::{Rank, behind, blocking};
use super::{DsAnswer, Mirror, Shared, memory, verify};
use crate::clock::{floor, format_utc};
use crate::config::{Source, Verify};
use crate::dns::{Name, Record, Rtype};
use crate::news::News;
use crate::zone::{BuildError, Changes, ZoneImage, apply_in};

pub use secured::Seen;
use secured::channel_of;

/// Longest wait for the parent's DS, in seconds.
const DS_TIME_MAX_S: u64 = 15;

/// What a refresh came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A source has the version that is current.
    Confirmed,
    /// A new version is current.
    Activated,
    /// Sources have nothing newer than the version that the operator rolled back from.
    RolledBack,
}

/// Why a source brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The network source failed.
    #[error("{0}")]
    Fetch(#[from] axfr::FetchError),
    /// The web server failed.
    #[error("{0}")]
    Https(#[from] HttpsError),
    /// Nobody can be trusted to be the source.
    #[error("certificates: {0}")]
    Certificates(#[from] TrustError),
    /// The file failed.
    #[error("{0}")]
    File(#[from] FileError),
    /// What the operator handed over is no zone file.
    #[error("{0}")]
    Handed(SpoolError),
    /// Its version is older than the current one.
    #[error("its serial {theirs} is older than {ours}, which is current here")]
    Older {
        /// The source's serial.
        theirs: u32,
        /// The current one.
        ours: u32,
    },
    /// It still has the current version, whose signatures have run out.
    #[error(
        "its serial {serial} is current here, but the signatures of that ran out at {expired_at}: the source is stuck, or the clock is wrong"
    )]
    Stale {
        /// The serial of both.
        serial: u32,
        /// When the first signature ran out.
        expired_at: String,
    },
    /// Its records make no zone.
    #[error("not a zone: {0}")]
    NotAZone(String),
    /// There is nothing to verify it with.
    #[error("{0}")]
    NoTrust(String),
    /// It failed verification.
    #[error("serial {serial} refused: {}", faults.join("; "))]
    Refused {
        /// Its serial.
        serial: u32,
        /// What is wrong with it.
        faults: Vec<String>,
    },
    /// A brake holds it.
    #[error("serial {serial} is held for the operator: {}", reasons.join("; "))]
    Held {
        /// Its serial.
        serial: u32,
        /// Why.
        reasons: Vec<String>,
    },
    /// It is current already.
    #[error("serial {serial} with this content is current already")]
    Known {
        /// Its serial.
        serial: u32,
    },
    /// It could not be stored.
    #[error("{0}")]
    Commit(#[from] CommitError),
    /// There is no place to put it together.
    #[error("scratch files in data_dir: {0}")]
    Scratch(#[from] std::io::Error),
    /// Not built in.
    #[error("this kind of source is not supported")]
    Unsupported,
}

/// A source that brought nothing, and why.
#[derive(Debug)]
pub struct Failure {
    /// The source as it is written in the configuration.
    pub source: String,
    /// What went wrong.
    pub error: SourceError,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.source, self.error)
    }
}

impl Failure {
    /// The source and the step at which it failed. While that is the same, another wording (now refused, now silent) is no
    /// news. Errors begin with their step and a colon; a version that was refused or is held has its serial there.
    pub fn sort(&self) -> String {
        let error = self.error.to_string();
        let step = error.split(':').next().unwrap_or_default();
        format!("{} {step}", self.source)
    }

    /// What an operator is told of it: the last of the kinds is the most important one.
    pub fn news(&self) -> News {
        match self.error {
            SourceError::Held { .. } => News::VersionHeld,
            SourceError::Refused { .. } => News::VersionRefused,
            _ => News::MirrorRefresh,
        }
    }

    /// The serial of the version that waits for the operator, if that is why.
    pub fn held(&self) -> Option<u32> {
        match self.error {
            SourceError::Held { serial, .. } => Some(serial),
            _ => None,
        }
    }
}

/// What verification rests on.
enum Basis {
    Dnssec(verify::Trust, verify::Policy, TrustRecord),
    None,
}

impl Basis {
    /// The same; `pace` is told how far the verification has come.
    fn told_to(self, pace: Arc<verify::Pace>) -> Basis {
        match self {
            Basis::Dnssec(trust, mut policy, record) => {
                policy.pace = Some(pace);
                Basis::Dnssec(trust, policy, record)
            }
            Basis::None => Basis::None,
        }
    }

    fn proof(&self) -> Proof<'_> {
        match self {
            Basis::Dnssec(trust, policy, record) => Proof::Dnssec(trust, policy, record),
            Basis::None => Proof::None,
        }
    }
}

/// While it lives, `status` shows what is on its way in.
struct Shown(Arc<Mirror>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.set_meter(None);
    }
}

/// Octets that records take in a zone, about.
fn octets_of(records: &[Record]) -> u64 {
    let octets = |record: &Record| (record.name.wire().len() + record.rdata.len()) as u64;
    records.iter().map(octets).sum()
}

/// What a transfer came to.
enum Transferred {
    /// There is none to be had.
    Nothing(Fetched),
    /// The whole zone.
    Whole(Box<ZoneImage>),
    /// What changed.
    Changes(Changes),
}

/// Refreshes one mirror.
pub struct Refresher {
    pub(super) mirror: Arc<Mirror>,
    pub(super) shared: Arc<Shared>,
    pub(super) rng: SmallRng,
    /// What each web server had when it was last asked.
    pub(super) seen: HashMap<String, Seen>,
    /// Counts what is on its way in.
    pub(super) meter: Arc<Meter>,
    /// What is known of its files.
    pub(super) files: FilesSeen,
    /// Where its long work stands.
    pub(super) rank: Rank,
}

/// How a mirror's files stood when they were looked at.
#[derive(Default)]
pub(super) struct FilesSeen {
    /// The state in which each was last found good.
    good: HashMap<PathBuf, Stamp>,
    /// The state in which each was last tried; `None` when it was not there.
    tried: HashMap<PathBuf, Option<Stamp>>,
}

impl FilesSeen {
    /// The state in which a file was last tried, if it was there.
    pub(super) fn tried(&self, path: &Path) -> Option<&Stamp> {
        self.tried.get(path)?.as_ref()
    }
}

impl Refresher {
    /// Tries the sources in turn, see [`super::health`]. Also returns what the failed ones said, in order.
    pub async fn refresh(&mut self, sources: &[Source]) -> (Option<Done>, Vec<Failure>) {
        let mut errors = Vec::new();
        for source in &self.mirror.sources_in_order(sources, self.now_s()) {
            let tried = self.try_source(source).await;
            self.note_health(source, tried.as_ref().err());
            match tried {
                Ok(done) => return (Some(done), errors),
                Err(error) => {
                    let is_held = matches!(error, SourceError::Held { .. });
                    let source = source.to_string();
                    errors.push(Failure { source, error });
                    if is_held {
                        break;
                    }
                }
            }
        }
        (None, errors)
    }

    /// Counts how a source fared. What failed here says nothing about it.
    fn note_health(&self, source: &Source, error: Option<&SourceError>) {
        let now = self.now_s();
        let error = match error {
            Some(SourceError::NoTrust(_) | SourceError::Commit(_)) => return,
            None | Some(SourceError::Held { .. }) => None,
            Some(error) => Some(error.to_string()),
        };
        self.mirror.with_health(source, |health| match error {
            Some(error) => health.failed(error, now),
            None => health.worked(now),
        });
    }

    async fn try_source(&mut self, source: &Source) -> Result<Done, SourceError> {
        let _shown = self.begin(source.to_string());
        match source {
            Source::Axfr { .. } => self.try_axfr(source).await,
            Source::File(path) => self.try_file(source, path).await,
            Source::Https { url, ca } => self.try_https(source, url, ca.as_deref()).await,
        }
    }

    /// Shows what is on its way in until the returned guard is dropped.
    fn begin(&mut self, source: String) -> Shown {
        let held = self.mirror.current().map_or(0, |g| g.row().records);
        self.meter = Arc::new(Meter::new(source, self.now_s(), held));
        self.mirror.set_meter(Some(self.meter.clone()));
        Shown(self.mirror.clone())
    }

    /// What changed since the version that is held; the whole zone where there is none, or its changes do not lead to a
    /// version that verifies.
    async fn try_axfr(&mut self, source: &Source) -> Result<Done, SourceError> {
        if self.want().newer_than.is_none() {
            // All of the zone is about to come: not in vain, if nobody can vouch for it yet.
            self.basis().await?;
        }
        // A file of the operator's may differ from what the servers have under its serial.
        let is_network = |g: &Arc<Generation>| g.provenance().kind == SourceKind::Network;
        let base = self.mirror.current().filter(is_network);
        let image = match self.transfer(source, base.as_deref()).await? {
            Transferred::Nothing(other) => {
                return self.nothing_new(other, SourceKind::Network).await;
            }
            Transferred::Whole(image) => *image,
            Transferred::Changes(changes) => {
                let why = match self.try_changes(source, base, changes).await? {
                    Ok(done) => return Ok(done),
                    Err(why) => why,
                };
                self.note_no_changes(source, Some(why));
                match self.transfer(source, None).await? {
                    Transferred::Whole(image) => *image,
                    Transferred::Nothing(other) => {
                        return self.nothing_new(other, SourceKind::Network).await;
                    }
                    // Nobody asked for them.
                    Transferred::Changes(_) => return Err(SourceError::Unsupported),
                }
            }
        };
        self.shared.deps.metrics.mirror_transfers_full_total.inc();
        self.admit_from(source, image, None).await
    }

    /// `base`: the version that the image was made from by changes.
    async fn admit_from(
        &self,
        source: &Source,
        image: ZoneImage,
        base: Option<Arc<Generation>>,
    ) -> Result<Done, SourceError> {
        // What did not come just now must have needed no warning either.
        let rest_is_sound = (base.as_ref()).is_none_or(|base| base.row().warnings.is_empty());
        let channel = match rest_is_sound {
            true => channel_of(source),
            false => Channel::Plain,
        };
        let provenance = Provenance {
            channel,
            ..self.provenance(source.to_string(), SourceKind::Network)
        };
        let candidate = match base {
            Some(base) => Candidate::updated(image, provenance, base),
            None => Candidate::new(image, provenance),
        };
        self.admit(candidate).await
    }

    /// Applies changes and admits what they lead to. The inner error says why the whole zone is to be taken instead.
    async fn try_changes(
        &self,
        source: &Source,
        base: Option<Arc<Generation>>,
        changes: Changes,
    ) -> Result<Result<Done, String>, SourceError> {
        let Some(base) = base else {
            return Ok(Err("no version is held".to_owned()));
        };
        // Changes that each fit must not add up to what could not have come as a whole.
        let limit = self.mirror.config.bytes_max;
        if base.image().len_bytes() as u64 + octets_of(&changes.added) > limit {
            return Ok(Err(Fault::TooLarge(limit).to_string()));
        }
        let scratch = self.scratch(&self.mirror.config.zone).await?;
        let old = base.clone();
        let applied = behind(move || apply_in(old.image(), &changes, Some(&scratch))).await;
        let image = match applied {
            Ok(image) => image,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match self.admit_from(source, image, Some(base)).await {
            Ok(done) => {
                self.note_no_changes(source, None);
                self.shared.deps.metrics.mirror_transfers_ixfr_total.inc();
                Ok(Ok(done))
            }
            Err(SourceError::Refused { faults, .. }) => Ok(Err(faults.join("; "))),
            Err(other) => Err(other),
        }
    }

    /// Notes why a source's changes were of no use; logs it if that is news.
    fn note_no_changes(&self, source: &Source, why: Option<String>) {
        if why.is_some() {
            let metrics = &self.shared.deps.metrics;
            metrics.mirror_ixfr_fallbacks_total.inc();
        }
        let mut news = false;
        (self.mirror).with_health(source, |h| news = h.set_no_changes(why.clone()));
        if let (true, Some(why)) = (news, why) {
            tracing::info!(
                zone = %self.mirror.config.zone, %source, why,
                "no incremental transfer; the whole zone is taken instead"
            );
        }
    }

    /// Asks a server; with `base`, for what changed since.
    async fn transfer(
        &mut self,
        source: &Source,
        base: Option<&Generation>,
    ) -> Result<Transferred, SourceError> {
        let Source::Axfr { addr, tsig, .. } = source else {
            return Err(SourceError::Unsupported);
        };
        let key = match tsig {
            Some(name) => Some(
                self.shared
                    .keys
                    .find(name)
                    .ok_or(SourceError::Unsupported)?,
            ),
            None => None,
        };
        let config = &self.mirror.config;
        let soa = base.and_then(|g| g.image().find(g.image().apex(), Rtype::SOA));
        let held = soa.and_then(|set| set.records(false).next());
        let order = axfr::Order {
            server: *addr,
            zone: &config.zone,
            want: self.want(),
            limits: axfr::Limits {
                bytes_max: config.bytes_max,
                time_max: Duration::from_secs(config.transfer_time_max_s),
            },
            key: key.as_ref(),
            held,
        };
        let scratch = self.scratch(&config.zone).await?;
        let mut builder = memory::builder(&config.zone, config.bytes_max, &scratch);
        let connect = self.way_to(source).await?;
        let way = (&*connect, &self.shared.deps.clock);
        let meter = self.meter.clone();
        let mut sink = |record| {
            meter.count_record();
            builder.add(record).map_err(|error| match error {
                BuildError::TooLarge(limit) => Fault::TooLarge(limit),
                other => Fault::NotAZone(other.to_string()),
            })
        };
        let rng = &mut self.rng;
        let answer = axfr::fetch(way, &order, &mut || rng.random(), &mut sink).await?;
        let asked_for_changes = order.held.is_some();
        (self.mirror).with_health(source, |h| h.set_expire(answer.expire_s));
        match answer.fetched {
            Fetched::Newer(_) => {
                if asked_for_changes {
                    let why = answer.no_changes.map(|fault| fault.to_string());
                    let why = why.unwrap_or_else(|| "the server sends the whole zone".to_owned());
                    self.note_no_changes(source, Some(why));
                }
                self.meter.enter(Stage::Building);
                let image = behind(move || builder.finish()).await;
                let image = image.map_err(|e| SourceError::NotAZone(e.to_string()))?;
                Ok(Transferred::Whole(Box::new(image)))
            }
            Fetched::Changed(changes) => Ok(Transferred::Changes(*changes)),
            other => Ok(Transferred::Nothing(other)),
        }
    }

    async fn try_file(&mut self, source: &Source, path: &Path) -> Result<Done, SourceError> {
        let good = self.files.good.get(path);
        let stamp = file::stamp_after(path, &self.mirror.config.zone, good);
        self.files
            .tried
            .insert(path.to_owned(), stamp.as_ref().ok().cloned());
        let stamp = stamp?;
        let current = self.mirror.current();
        let current = current.filter(|g| !g.is_bootstrap());
        if current.is_some() && self.files.good.get(path) == Some(&stamp) {
            return self.nothing_new(Fetched::Same, SourceKind::File).await;
        }
        let Reading { stamp, zone } = self.read_file(path).await?;
        (self.files.tried).insert(path.to_owned(), Some(stamp.clone()));
        let image = zone?;
        let same_content = (current.as_ref()).is_some_and(|g| {
            g.image().digest() == image.digest() && !self.mirror.must_prove(g, &self.shared)
        });
        let fetched = match self.want().judge(image.serial()) {
            // An operator who edits a file without a new serial means it all the same.
            Some(Fetched::Same) if !same_content => None,
            other => other,
        };
        let done = match fetched {
            Some(other) => self.nothing_new(other, SourceKind::File).await?,
            None => {
                let provenance = self.provenance(source.to_string(), SourceKind::File);
                self.admit(Candidate::new(image, provenance)).await?
            }
        };
        self.files.good.insert(path.to_owned(), stamp);
        Ok(done)
    }

    async fn read_file(&self, path: &Path) -> Result<Reading, FileError> {
        let (path, zone) = (path.to_owned(), self.mirror.config.zone.clone());
        let bytes_max = self.mirror.config.bytes_max;
        let scratch = self.scratch(&zone).await?;
        let read = move || file::read(&path, &zone, bytes_max, &scratch);
        self.rank.run(read).await
    }

    /// Where a version that is being put together may put what exceeds memory.
    async fn scratch(&self, zone: &Name) -> std::io::Result<PathBuf> {
        let (shared, zone) = (self.shared.clone(), zone.clone());
        blocking(move || shared.store.scratch(&zone)).await
    }

    /// The versions that would be an improvement. Against a bootstrap snapshot any network version is.
    fn want(&self) -> Want {
        let newer_than = (self.mirror.current())
            .filter(|g| !g.is_bootstrap())
            .map(|g| self.mirror.rolled_back_from().unwrap_or(g.serial()));
        Want {
            newer_than,
            except: self.mirror.held_serial(),
        }
    }

    /// A source that has nothing to offer: it confirms the current version, or is behind.
    async fn nothing_new(&self, found: Fetched, kind: SourceKind) -> Result<Done, SourceError> {
        let current = self.mirror.current();
        match (found, current) {
            (Fetched::Same, Some(_)) if self.mirror.rolled_back_from().is_some() => {
                Ok(Done::RolledBack)
            }
            (Fetched::Same, Some(current)) => {
                self.confirm(&current, kind).await?;
                Ok(Done::Confirmed)
            }
            (Fetched::Older(theirs), Some(current)) => Err(SourceError::Older {
                theirs,
                ours: (self.mirror.rolled_back_from()).unwrap_or(current.serial()),
            }),
            (Fetched::Excepted(serial), _) => Err(SourceError::Held {
                serial,
                reasons: self.mirror.held_reasons(),
            }),
            _ => Err(SourceError::NotAZone("no version".to_owned())),
        }
    }

    /// Notes that a source has the current version as its newest.
    async fn confirm(
        &self,
        current: &Arc<Generation>,
        kind: SourceKind,
    ) -> Result<(), SourceError> {
        if !self.is_contact(kind) {
            return Ok(());
        }
        let at = self.now_s();
        // A version is never taken from a source outside its validity, and so is not confirmed by one either: a source that
        // has nothing else is behind the world.
        if let Some(end) = current.row().signatures_expire_at.filter(|end| at > *end) {
            return Err(SourceError::Stale {
                serial: current.serial(),
                expired_at: format_utc(end),
            });
        }
        let (mirror, shared, current) = (self.mirror.clone(), self.shared.clone(), current.clone());
        let noted = blocking(move || mirror.confirm(&current, at, &shared.store)).await;
        Ok(noted.map_err(CommitError::from)?)
    }

    /// ARCHITECTURE.md: only a network source's confirmation counts as contact. Where the operator named files
    /// alone, the files are all the contact there is.
    fn is_contact(&self, kind: SourceKind) -> bool {
        match kind {
            SourceKind::Network => true,
            SourceKind::Bootstrap => false,
            SourceKind::File => {
                let sources = &self.mirror.config.sources;
                sources.iter().all(|s| matches!(s, Source::File(_)))
            }
        }
    }

    /// Takes up a file that the operator hands over. It passes through everything that a source's version does.
    pub(super) async fn import(&mut self, handed: Handed) -> Result<(), SourceError> {
        let _shown = self.begin(format!("import:{}", handed.path().display()));
        let config = &self.mirror.config;
        let (zone, bytes_max) = (config.zone.clone(), config.bytes_max);
        let image = behind(move || handed.into_zone(&zone, bytes_max)).await;
        let image = image.map_err(SourceError::Handed)?;
        self.meter.set_records(image.record_count());
        let current = self.mirror.current().filter(|g| !g.is_bootstrap());
        let want = Want {
            newer_than: current.as_ref().map(|g| g.serial()),
            except: self.mirror.held_serial(),
        };
        let is_other = current.is_some_and(|g| g.image().digest() != image.digest());
        match want.judge(image.serial()) {
            None => {}
            Some(Fetched::Same) if is_other => {}
            Some(Fetched::Same) => {
                return Err(SourceError::Known {
                    serial: image.serial(),
                });
            }
            Some(other) => drop(self.nothing_new(other, SourceKind::File).await?),
        }
        let provenance = self.provenance(self.meter.source.clone(), SourceKind::File);
        self.admit(Candidate::new(image, provenance)).await?;
        Ok(())
    }

    /// Verifies a candidate as of now, asks the brakes, and makes it current.
    async fn admit(&self, candidate: Candidate) -> Result<Done, SourceError> {
        let now = self.now_s();
        let contact = self.contact_of(candidate.provenance());
        let step = self.clock_step(candidate.image(), now);
        let verified = self.verify(candidate, step.unwrap_or(now)).await?;
        self.step_clock(step);
        let (mirror, shared) = (self.mirror.clone(), self.shared.clone());
        let brake = move || apply_brakes(&mirror, &shared, verified);
        let verified = self.rank.run(brake).await?;
        self.activate(verified, contact).await?;
        Ok(Done::Activated)
    }

    /// Verifies a candidate as of `at`.
    pub(super) async fn verify(
        &self,
        candidate: Candidate,
        at: u64,
    ) -> Result<Verified, SourceError> {
        let basis = match candidate.provenance().kind {
            SourceKind::Bootstrap => self.basis_of_snapshot().await?,
            SourceKind::Network | SourceKind::File => self.basis().await?,
        };
        let basis = basis.told_to(self.meter.pace.clone());
        let now = self.now_s();
        self.meter.enter(Stage::Verifying);
        let (shared, keep) = (self.shared.clone(), self.mirror.keep());
        let verify = move || {
            candidate.verify(basis.proof(), at, now).map_err(|refusal| {
                shared.deps.metrics.mirror_refused_total.inc();
                shared.store.refuse(&refusal, keep);
                SourceError::Refused {
                    serial: refusal.row.serial,
                    faults: refusal.faults,
                }
            })
        };
        self.rank.run(verify).await
    }

    /// Makes a verified version durable and current. Once begun it is finished, whoever waits for it.
    pub(super) async fn activate(
        &self,
        verified: Verified,
        last_contact_at: Option<u64>,
    ) -> Result<(), CommitError> {
        let standing = Standing {
            last_contact_at,
            rolled_back_from: None,
        };
        self.reinstate(verified, standing).await
    }

    /// The same for a stored version, which keeps its standing.
    pub(super) async fn reinstate(
        &self,
        verified: Verified,
        standing: Standing,
    ) -> Result<(), CommitError> {
        let (mirror, shared) = (self.mirror.clone(), self.shared.clone());
        blocking(move || mirror.activate(verified, standing, &shared)).await
    }

    /// When the zone was last heard of, once a version from this source is current.
    pub(super) fn contact_of(&self, provenance: &Provenance) -> Option<u64> {
        match self.is_contact(provenance.kind) {
            true => Some(provenance.fetched_at),
            false => self.mirror.current().and_then(|g| g.last_contact_at()),
        }
    }

    /// Reads the bundled snapshot, unless something better is held. It is verified as of its own signing time.
    pub(super) async fn bootstrap(&self) -> Result<(), SourceError> {
        let Some(path) = self.mirror.config.bootstrap.clone() else {
            return Ok(());
        };
        let current = self.mirror.current();
        if current.as_ref().is_some_and(|g| !g.is_bootstrap()) {
            return Ok(());
        }
        let image = self.read_file(&path).await?.zone?;
        if current.is_some_and(|g| !crate::dns::Soa::serial_newer(image.serial(), g.serial())) {
            return Ok(());
        }
        let now = self.now_s();
        let at = match self.mirror.config.verify {
            Verify::None => now,
            Verify::Dnssec => verify::signing_time(&image).unwrap_or(now),
        };
        let source = format!("bootstrap:{}", path.display());
        let provenance = self.provenance(source, SourceKind::Bootstrap);
        let step = self.clock_step(&image, now);
        let verified = self.verify(Candidate::new(image, provenance), at).await?;
        self.step_clock(step);
        Ok(self.activate(verified, None).await?)
    }

    /// When a copy was signed, if that is to move the clock: a whole copy of the root, signed down from the anchors,
    /// on a machine whose clock nobody has set.
    fn clock_step(&self, image: &ZoneImage, now: u64) -> Option<u64> {
        let config = &self.mirror.config;
        if !config.zone.is_root() || config.verify == Verify::None {
            return None;
        }
        floor::step(
            (self.shared.deps.clock_is_unset)(),
            verify::signing_time(image)?,
            now,
        )
    }

    /// Moves the clock to the signing time of a copy that has been verified as of it.
    fn step_clock(&self, step: Option<u64>) {
        let Some(signed_at) = step else { return };
        let clock = &self.shared.deps.clock;
        clock.note_proven(signed_at);
        let from = format_utc(clock.now().wall_s);
        if clock.raise_floor(signed_at) {
            self.shared.deps.metrics.clock_steps_total.inc();
            let to = format_utc(signed_at);
            tracing::error!(
                from,
                to,
                "nobody has set the system's clock, and the root was signed later than it says: going on from there"
            );
        }
    }

    /// Whether versions can be verified without asking anyone.
    pub(super) fn can_prove_alone(&self) -> bool {
        let config = &self.mirror.config;
        config.verify == Verify::None || self.shared.anchored(&config.zone).is_some()
    }

    async fn basis_of_snapshot(&self) -> Result<Basis, SourceError> {
        let anchored = self.shared.anchored_for_snapshot(&self.mirror.config.zone);
        match (self.mirror.config.verify, anchored) {
            (Verify::Dnssec, Some((trust, record))) => {
                Ok(Basis::Dnssec(trust, self.policy(), record))
            }
            _ => self.basis().await,
        }
    }

    fn policy(&self) -> verify::Policy {
        verify::Policy {
            workers: self.rank.threads(),
            ..self.shared.policy.clone()
        }
    }

    /// What versions of this zone are verified against.
    async fn basis(&self) -> Result<Basis, SourceError> {
        if self.mirror.config.verify == Verify::None {
            return Ok(Basis::None);
        }
        let zone = &self.mirror.config.zone;
        if let Some((trust, record)) = self.shared.anchored(zone) {
            return Ok(Basis::Dnssec(trust, self.policy(), record));
        }
        let limit = Duration::from_secs(DS_TIME_MAX_S);
        let answer = tokio::time::timeout(limit, self.shared.deps.lookup.ds(zone)).await;
        match answer.unwrap_or_else(|_| DsAnswer::Unavailable("timed out".to_owned())) {
            DsAnswer::Secure(ds) if !ds.is_empty() => {
                let record = TrustRecord::Parent(fingerprint(ds.iter().map(|r| &r[..])));
                let trust = verify::Trust {
                    ds,
                    ..verify::Trust::default()
                };
                Ok(Basis::Dnssec(trust, self.policy(), record))
            }
            DsAnswer::Secure(_) | DsAnswer::Insecure => Err(SourceError::NoTrust(format!(
                "the parent has no DS record for {zone} and no trust anchor is configured; \
                 nothing can be verified (verify = \"none\" admits it as insecure)"
            ))),
            DsAnswer::Unavailable(why) => Err(SourceError::NoTrust(format!(
                "the parent's DS record for {zone} could not be had: {why}"
            ))),
        }
    }

    fn provenance(&self, source: String, kind: SourceKind) -> Provenance {
        Provenance {
            source,
            kind,
            fetched_at: self.now_s(),
            channel: Channel::Plain,
            validators: None,
        }
    }

    pub(super) fn now_s(&self) -> u64 {
        self.shared.deps.clock.now().wall_s
    }
}

/// Compares a verified version with the current one; a held one is stored as such.
fn apply_brakes(
    mirror: &Mirror,
    shared: &Shared,
    verified: Verified,
) -> Result<Verified, SourceError> {
    let config = &mirror.config;
    let Some(current) = mirror.current() else {
        return Ok(verified);
    };
    let is_catalog = shared.catalogs.contains(&config.zone);
    let listed = is_catalog.then(|| shared.listed(&current)).flatten();
    let policy = Policy {
        shrink_max: config.shrink_max,
        protect: &config.protect,
        protect_changes: config.protect_changes,
        listed: listed.as_ref(),
    };
    let zone = &config.zone;
    let serial = verified.row().serial;
    match brakes::check(
        current.image(),
        current.is_bootstrap(),
        verified.image(),
        &policy,
    ) {
        Brake::Admit(alarms) => {
            for alarm in alarms {
                let alert = alarm.news.word();
                tracing::warn!(alert, %zone, serial, "ALARM: {}", alarm.text);
            }
            Ok(verified)
        }
        Brake::Hold(reasons) => {
            (shared.store).hold(verified, reasons.clone(), mirror.keep())?;
            mirror.set_held(Some((serial, reasons.clone())));
            Err(SourceError::Held { serial, reasons })
        }
    }
}

/// A digest over records in any order.
pub(super) fn fingerprint<'a>(rdatas: impl Iterator<Item = &'a [u8]>) -> String {
    let mut all: Vec<&[u8]> = rdatas.collect();
    all.sort_unstable();
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for rdata in all {
        context.update(&(rdata.len() as u32).to_be_bytes());
        context.update(rdata);
    }
    hex(context.finish().as_ref())
}
