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
use crate::dns::{Dnskey, Name, Rdata, RrSet, Rrsig, Rtype};
use crate::dnssec::verify::{Claim, PublicKey, SignatureError, Signee, Window};
use crate::zone::SetRef;

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

/// How it is known that a key has made a signature.
#[derive(Clone, Copy)]
enum By {
    /// By the public-key operation, unless it was found good before.
    Operation,
    /// By that alone.
    Found,
    /// It stands in a version where the same keys were found to have made it: what is left is its time.
    Proof,
}

/// A set with its signatures, lent.
struct Lent<'a> {
    signee: Signee<'a>,
    ttl: u32,
    sigs: &'a [&'a [u8]],
}

fn with_lent<T>(set: &RrSet, f: impl FnOnce(&Lent<'_>) -> T) -> T {
    let rdatas: Vec<&[u8]> = set.rdatas.iter().map(|rdata| &**rdata).collect();
    let sigs: Vec<&[u8]> = set.sigs.iter().map(|rdata| &**rdata).collect();
    f(&Lent {
        signee: Signee {
            name: &set.name,
            rtype: set.rtype,
            rdatas: &rdatas,
        },
        ttl: set.ttl,
        sigs: &sigs,
    })
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
        let outcome = match proven {
            // Neither way leaves anything open.
            true => with_lent(set, |set| self.outcome_by(set, By::Proof)),
            false => Some(self.outcome(set)),
        };
        if let Some(outcome) = outcome {
            self.note((&set.name, set.rtype), outcome, tally);
        }
    }

    fn note(&self, (name, rtype): (&Name, Rtype), outcome: Outcome, tally: &mut Tally) {
        match outcome {
            Outcome::Valid { count, from, until } => tally.add(count, from, until),
            Outcome::Invalid(problem) => self.faults.add(name, Some(rtype), problem),
        }
    }

    /// Judges one set. One valid signature is enough (RFC 6840 section 5.11), and signatures by keys that
    /// the zone does not publish (yet, or any more) and ones that ran out do no harm beside it. But one
    /// that a published key never made is damage.
    pub fn outcome(&self, set: &RrSet) -> Outcome {
        let outcome = with_lent(set, |set| self.outcome_by(set, By::Operation));
        // That way leaves nothing open.
        outcome.unwrap_or(Outcome::Invalid(Problem::Unsigned))
    }

    /// Judges a set by the signatures that were found good before, without a public-key operation; whether that was enough.
    fn judge_found(&self, set: &Lent<'_>, tally: &mut Tally) -> bool {
        let outcome = self.outcome_by(set, By::Found);
        let of = (set.signee.name, set.signee.rtype);
        outcome.map(|o| self.note(of, o, tally)).is_some()
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

    /// `None`: not all that matters is known this way.
    fn outcome_by(&self, set: &Lent<'_>, by: By) -> Option<Outcome> {
        if set.signee.rdatas.is_empty() {
            return Some(Outcome::Invalid(Problem::Orphan));
        }
        let mut best: Option<(u64, u64)> = None;
        let (mut count, mut tried) = (0, 0);
        let mut untimely = None;
        for rdata in set.sigs {
            let Some(sig) = Rrsig::parse(rdata) else {
                return Some(Outcome::Invalid(Problem::MalformedSignature));
            };
            match self.try_signature(set, &sig, by, &mut tried)? {
                Ok(None) => {}
                Ok(Some((from, until))) => {
                    count += 1;
                    best = best.max(Some((until, from)));
                }
                Err(problem) if is_untimely(&problem) => untimely = untimely.or(Some(problem)),
                Err(problem) => return Some(Outcome::Invalid(problem)),
            }
        }
        Some(match (best, untimely) {
            (Some((until, from)), _) => Outcome::Valid { count, from, until },
            (None, Some(problem)) => Outcome::Invalid(problem),
            (None, None) => Outcome::Invalid(Problem::Unsigned),
        })
    }

    /// `None`: not known this way. `Ok(None)`: by a key that is not among the zone's.
    fn try_signature(
        &self,
        set: &Lent<'_>,
        sig: &Rrsig<'_>,
        by: By,
        tried: &mut usize,
    ) -> Option<Result<Option<(u64, u64)>, Problem>> {
        let mut problem = None;
        for (key, public) in self.keys_of(sig) {
            *tried += 1;
            if *tried > SIGNATURES_TRIED_MAX {
                return Some(Err(Problem::TooManySignatures));
            }
            let claim = Claim::new(set.signee, sig, &key, self.zone);
            let is_made = match (&claim, public, by) {
                (Err(error), ..) => Err(*error),
                (Ok(_), _, By::Proof) => Ok(()),
                (Ok(_), Err(error), _) => Err(*error),
                (Ok(claim), Ok(public), By::Operation) => {
                    self.checked.check(public, &claim.message(), sig.signature)
                }
                (Ok(claim), Ok(public), By::Found) => {
                    let is_known = self.checked.has(public, &claim.message(), sig.signature);
                    is_known.then_some(Ok(()))?
                }
            };
            match is_made.and(claim) {
                Ok(claim) => return Some(self.good(set.ttl, sig, &claim).map(Some)),
                Err(error) => {
                    problem = Some(Problem::Signature {
                        key_tag: sig.key_tag,
                        error,
                        when: None,
                    });
                }
            }
        }
        Some(problem.map_or(Ok(None), Err))
    }

    /// When a signature that one of the zone's keys has made is valid, if it is what the zone needs.
    fn good(&self, ttl_s: u32, sig: &Rrsig<'_>, claim: &Claim<'_>) -> Result<(u64, u64), Problem> {
        let (signed, window) = claim.signed();
        if signed.wildcard.is_some() {
            return Err(Problem::Expanded(sig.key_tag));
        }
        // The signature covers the original TTL alone; in the zone itself the two are the
        // same by definition (RFC 4034 section 3.1.4).
        if sig.original_ttl != ttl_s {
            return Err(Problem::Ttl {
                ttl_s,
                original_ttl_s: sig.original_ttl,
            });
        }
        self.timely(sig, window)
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
pub struct Sink<'a, 'i> {
    judge: &'a Judge<'a>,
    tally: &'a mut Tally,
    batch: Batch,
    /// Whether the signatures are still being looked at beside; nobody else judges until then.
    is_behind: bool,
    /// Data and signatures of the set in hand.
    lent: (Vec<&'i [u8]>, Vec<&'i [u8]>),
    /// To the threads that judge beside; `None`: sets are judged where they are taken.
    sender: Option<SyncSender<Batch>>,
}

/// Sets, each with whether it was found good before.
type Batch = Vec<(RrSet, bool)>;

impl<'i> Sink<'_, 'i> {
    /// Takes the set of a name; `proven` tells whether it was found good before.
    pub fn take(&mut self, name: &Name, set: SetRef<'i>, proven: bool) {
        // Little work, and one core is busy with what comes next.
        if self.is_behind && self.is_judged(name, set) {
            return;
        }
        self.batch.push((set.to_rrset(name.clone()), proven));
        if self.batch.len() >= BATCH_SETS {
            self.flush();
        }
    }

    /// Judges the set by what was found good before; whether that was enough.
    fn is_judged(&mut self, name: &Name, set: SetRef<'i>) -> bool {
        let (rdatas, sigs) = &mut self.lent;
        rdatas.clear();
        rdatas.extend(set.rdatas());
        sigs.clear();
        sigs.extend(set.sig_rdatas());
        let lent = Lent {
            signee: Signee {
                name,
                rtype: set.rtype,
                rdatas,
            },
            ttl: set.ttl,
            sigs,
        };
        self.judge.judge_found(&lent, self.tally)
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
pub fn run<'i>(
    judge: &Judge<'_>,
    workers: usize,
    tally: &mut Tally,
    walk: impl FnOnce(&mut Sink<'_, 'i>),
) {
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
            lent: (Vec::new(), Vec::new()),
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
