//! The signatures of a zone's sets, checked by several threads.
//!
//! A root zone takes some 2,800 public-key operations, a TLD millions: they are nearly all of the work,
//! and each set stands for itself. The walk hands out sets in batches over a bounded channel, so that
//! memory stays small whatever the zone's size; while that is full, and at the end, it judges too.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::early::Checked;
use super::{Faults, Problem};
use crate::clock::format_utc;
use crate::dns::{Dnskey, Name, Rdata, RrSet, Rrsig};
use crate::dnssec::verify::{Claim, PublicKey, SignatureError, Window};

/// Signatures of one set that are tried; more that fail make a fault by themselves.
pub const SIGNATURES_TRIED_MAX: usize = 16;
/// Sets in a batch: few, so that all threads end together.
const BATCH_SETS: usize = 16;
/// Batches that wait per worker.
const BATCHES_WAITING: usize = 4;
/// Threads at most.
const WORKERS_MAX: usize = 64;

/// A key that may sign the zone.
#[derive(Clone)]
pub struct Key {
    /// Key tag.
    pub tag: u16,
    /// Algorithm number.
    pub algorithm: u8,
    /// DNSKEY data.
    pub rdata: Rdata,
    /// The key itself, or why it can have signed nothing.
    pub public: Result<PublicKey, SignatureError>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.rdata == other.rdata
    }
}

impl Key {
    /// The key, if it is a zone key.
    pub fn new(rdata: &Rdata) -> Option<Key> {
        let key = Dnskey::parse(rdata).filter(Dnskey::is_zone_key)?;
        Some(Key {
            tag: key.key_tag(),
            algorithm: key.algorithm,
            rdata: rdata.clone(),
            public: PublicKey::new(key.algorithm, key.public_key),
        })
    }
}

/// What was found about a set.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Signed; `count` signatures verify, the longest one holds for this window (seconds since 1970).
    Valid {
        /// Signatures that verify and are within their time.
        count: u64,
        /// From when on.
        from: u64,
        /// Until when.
        until: u64,
    },
    /// Not signed as it must be.
    Invalid(Problem),
}

/// Sums over all sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Signatures that verify.
    pub signatures: u64,
    /// Latest inception.
    pub from: Option<u64>,
    /// Earliest expiration.
    pub until: Option<u64>,
}

impl Tally {
    fn add(&mut self, count: u64, from: u64, until: u64) {
        self.signatures += count;
        self.from = self.from.max(Some(from));
        self.until = Some(self.until.map_or(until, |u| u.min(until)));
    }

    fn merge(&mut self, other: Tally) {
        if let (Some(from), Some(until)) = (other.from, other.until) {
            self.add(other.signatures, from, until);
        }
    }
}

/// By what signatures are judged.
pub struct Judge<'a> {
    /// The zone.
    pub zone: &'a Name,
    /// Its keys.
    pub keys: &'a [Key],
    /// The time that counts, seconds since 1970.
    pub at: u64,
    /// Where faults go.
    pub faults: &'a Faults,
    /// Signatures that were found good while the zone was read.
    pub checked: &'a Checked,
}

impl Judge<'_> {
    fn judge_all(&self, batch: &[(RrSet, bool)], tally: &mut Tally) {
        for (set, proven) in batch {
            // What is left is taken and dropped, so that the walk is not held up.
            if self.faults.is_full() {
                return;
            }
            self.judge(set, *proven, tally);
        }
    }

    fn judge(&self, set: &RrSet, proven: bool, tally: &mut Tally) {
        match self.outcome_of(set, proven) {
            Outcome::Valid { count, from, until } => tally.add(count, from, until),
            Outcome::Invalid(problem) => self.faults.add(&set.name, Some(set.rtype), problem),
        }
    }

    /// Judges one set. One valid signature is enough (RFC 6840 section 5.11), and signatures by keys that
    /// the zone does not publish (yet, or any more) and ones that ran out do no harm beside it. But one
    /// that a published key never made is damage.
    pub fn outcome(&self, set: &RrSet) -> Outcome {
        self.outcome_of(set, false)
    }

    /// Whether each of the set's signatures that has to be checked was found good by the key that it is checked by.
    fn is_found(&self, set: &RrSet) -> bool {
        set.sigs.iter().all(|rdata| {
            let Some(sig) = Rrsig::parse(rdata) else {
                return false;
            };
            let mut tried = self.keys_of(&sig).filter_map(|(key, public)| {
                let claim = Claim::new(set, &sig, &key, self.zone).ok()?;
                let has = |key: &PublicKey| self.checked.has(key, &claim.message(), sig.signature);
                Some(public.as_ref().is_ok_and(has))
            });
            // The first that fits decides.
            tried.next().unwrap_or(false)
        })
    }

    /// The keys that may have made the signature.
    fn keys_of<'k>(
        &'k self,
        sig: &Rrsig<'_>,
    ) -> impl Iterator<Item = (Dnskey<'k>, &'k Result<PublicKey, SignatureError>)> {
        let by = (sig.key_tag, sig.algorithm);
        (self.keys.iter())
            .filter(move |k| (k.tag, k.algorithm) == by)
            .filter_map(|k| Some((Dnskey::parse(&k.rdata)?, &k.public)))
    }

    /// With `proven`, these very signatures were found good by the same keys before: what is left is their time.
    fn outcome_of(&self, set: &RrSet, proven: bool) -> Outcome {
        if set.rdatas.is_empty() {
            return Outcome::Invalid(Problem::Orphan);
        }
        let mut best: Option<(u64, u64)> = None;
        let (mut count, mut tried) = (0, 0);
        let mut untimely = None;
        for rdata in &set.sigs {
            let Some(sig) = Rrsig::parse(rdata) else {
                return Outcome::Invalid(Problem::MalformedSignature);
            };
            match self.try_signature(set, &sig, proven, &mut tried) {
                Ok(None) => {}
                Ok(Some((from, until))) => {
                    count += 1;
                    best = best.max(Some((until, from)));
                }
                Err(problem) if is_untimely(&problem) => untimely = untimely.or(Some(problem)),
                Err(problem) => return Outcome::Invalid(problem),
            }
        }
        match (best, untimely) {
            (Some((until, from)), _) => Outcome::Valid { count, from, until },
            (None, Some(problem)) => Outcome::Invalid(problem),
            (None, None) => Outcome::Invalid(Problem::Unsigned),
        }
    }

    /// `Ok(None)`: by a key that is not among the zone's.
    fn try_signature(
        &self,
        set: &RrSet,
        sig: &Rrsig<'_>,
        proven: bool,
        tried: &mut usize,
    ) -> Result<Option<(u64, u64)>, Problem> {
        let mut problem = None;
        for (key, public) in self.keys_of(sig) {
            *tried += 1;
            if *tried > SIGNATURES_TRIED_MAX {
                return Err(Problem::TooManySignatures);
            }
            let judged = Claim::new(set, sig, &key, self.zone).and_then(|claim| {
                if !proven {
                    let public = public.as_ref().map_err(|error| *error)?;
                    self.checked
                        .check(public, &claim.message(), sig.signature)?;
                }
                Ok(claim.signed())
            });
            match judged {
                Ok((signed, window)) => {
                    if signed.wildcard.is_some() {
                        return Err(Problem::Expanded(sig.key_tag));
                    }
                    // The signature covers the original TTL alone; in the zone itself the two are the
                    // same by definition (RFC 4034 section 3.1.4).
                    if sig.original_ttl != set.ttl {
                        return Err(Problem::Ttl {
                            ttl_s: set.ttl,
                            original_ttl_s: sig.original_ttl,
                        });
                    }
                    return self.timely(sig, window).map(Some);
                }
                Err(error) => {
                    problem = Some(Problem::Signature {
                        key_tag: sig.key_tag,
                        error,
                        when: None,
                    });
                }
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// The window in seconds since 1970, if it holds now.
    fn timely(&self, sig: &Rrsig<'_>, window: Window) -> Result<(u64, u64), Problem> {
        let now = self.at as u32;
        // Serial numbers (RFC 4034 section 3.1.5): the nearest moment with these 32 bits.
        let moment = |serial: u32| {
            self.at
                .saturating_add_signed(i64::from(serial.wrapping_sub(now) as i32))
        };
        let (from, until) = (moment(window.inception), moment(window.expiration));
        window.check(self.at).map_err(|error| Problem::Signature {
            key_tag: sig.key_tag,
            error,
            when: match error {
                SignatureError::Expired => Some(format!(" ({})", format_utc(until))),
                SignatureError::NotYetValid => Some(format!(" (from {} on)", format_utc(from))),
                _ => None,
            },
        })?;
        Ok((from, until))
    }
}

fn is_untimely(problem: &Problem) -> bool {
    use SignatureError::{Expired, NotYetValid};
    matches!(problem, Problem::Signature { error, .. } if matches!(error, Expired | NotYetValid))
}

/// Where the walk puts the sets that are to be judged.
pub struct Sink<'a> {
    judge: &'a Judge<'a>,
    tally: &'a mut Tally,
    batch: Batch,
    /// Whether the signatures are still being looked at beside; nobody else judges until then.
    is_behind: bool,
    /// To the threads that judge beside; `None`: sets are judged where they are taken.
    sender: Option<SyncSender<Batch>>,
}

/// Sets, each with whether it was found good before.
type Batch = Vec<(RrSet, bool)>;

impl Sink<'_> {
    /// Takes a set; `proven` tells whether it was found good before.
    pub fn take(&mut self, set: RrSet, proven: bool) {
        if self.is_behind && self.judge.is_found(&set) {
            // Little work, and one core is busy with what comes next.
            self.judge.judge(&set, true, self.tally);
            return;
        }
        self.batch.push((set, proven));
        if self.batch.len() >= BATCH_SETS {
            self.flush();
        }
    }

    /// Hands the batch on. Where the others have enough to do, it is judged here.
    fn flush(&mut self) {
        // The walk has come to what has not been looked at.
        self.judge.checked.stop();
        self.is_behind = false;
        let batch = std::mem::take(&mut self.batch);
        let left = match &self.sender {
            None => batch,
            Some(sender) => match sender.try_send(batch) {
                Ok(()) => return,
                Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => batch,
            },
        };
        self.judge.judge_all(&left, self.tally);
    }
}

/// How many threads `workers` means: 0 = one per core.
pub fn threads(workers: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let wanted = if workers == 0 { cores() } else { workers };
    wanted.min(WORKERS_MAX)
}

/// Runs `walk` with a sink whose sets `judge` looks at on `workers` threads (0 = one per core), the calling one among them, and
/// sums up in `tally`.
pub fn run(judge: &Judge<'_>, workers: usize, tally: &mut Tally, walk: impl FnOnce(&mut Sink<'_>)) {
    let others = threads(workers) - 1;
    let (sender, receiver) = sync_channel(BATCHES_WAITING * others);
    // With more cores than two, others would stand idle.
    let is_behind = others < 2 && judge.checked.is_going_on();
    if !is_behind {
        judge.checked.stop();
    }
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..others)
            .map(|_| scope.spawn(|| work(judge, &receiver)))
            .collect();
        let mut sink = Sink {
            judge,
            tally,
            batch: Vec::new(),
            is_behind,
            sender: (others > 0).then_some(sender),
        };
        walk(&mut sink);
        sink.flush();
        drop(sink);
        // What still waits is for all of them.
        tally.merge(work(judge, &receiver));
        for thread in threads {
            match thread.join() {
                Ok(part) => tally.merge(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
}

fn work(judge: &Judge<'_>, receiver: &Mutex<Receiver<Batch>>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let batch = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(batch) = batch else {
            return tally;
        };
        judge.judge_all(&batch, &mut tally);
    }
}
