//! Signatures are checked while the zone's text is still being read.
//!
//! Reading takes one thread, and the public-key operations are most of all the work. So whoever reads shows each record on
//! the way; a thread beside puts those that follow each other under one name together to sets, and checks the
//! signatures by the DNSKEY set of the apex, wherever that came before. What it found good is known by a digest over key, signed
//! octets and signature ([`Checked`]). It proves nothing about the zone: whether the keys are to be trusted, the time, the
//! place of the set and all else is judged over the finished image as ever, where such a signature needs no second
//! public-key operation. A server does not do so: while a version is taken up, one core is left to the answers.
//!
//! Failure: what is in another order, comes too fast or is more than [`CHECKED_MAX`] is checked afterwards; so is what was not
//! found good. Nothing is reported here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Policy;
use super::keys::usable_keys;
use super::signatures::{Key, SIGNATURES_TRIED_MAX, threads};
use crate::dns::{Dnskey, Name, RrSet, Rrsig, Rtype};
use crate::dnssec::verify::{Claim, PublicKey, SignatureError};
use crate::zone::Onlooker;

/// Signatures that are remembered, 32 octets each.
const CHECKED_MAX: usize = 1 << 17;
/// Octets of records in a batch.
const BATCH_BYTES: usize = 32 << 10;
/// Batches that wait; what comes while so many do is not looked at.
const BATCHES_WAITING: usize = 128;
/// Octets of records of one name that are put together.
const NAME_BYTES_MAX: usize = 1 << 20;

/// Signatures that were found good.
#[derive(Default)]
pub struct Checked(HashSet<[u8; 32]>);

impl Checked {
    /// Whether `key` made this signature of the message; computed only where that is not known.
    pub fn check(
        &self,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self.0.is_empty() || !self.0.contains(&key.claim_id(message, signature)) {
            true => key.verify(message, signature),
            false => Ok(()),
        }
    }
}

/// Records in the order of the text.
#[derive(Default)]
struct Batch {
    octets: Vec<u8>,
    records: Vec<Shown>,
}

/// A record; owner and data follow each other in the octets of its batch.
struct Shown {
    owner_len: usize,
    rdata_len: usize,
    rtype: Rtype,
    ttl: u32,
}

/// Checks signatures of the records that it is shown.
pub struct Early {
    sha1: bool,
    workers: usize,
    batch: Batch,
    thread: Option<Thread>,
}

struct Thread {
    sender: SyncSender<Batch>,
    enough: Arc<AtomicBool>,
    joins: JoinHandle<Checked>,
}

impl Early {
    /// Checks as `policy` says, where there is a core for it.
    pub fn new(policy: &Policy) -> Early {
        Early {
            sha1: policy.sha1,
            workers: policy.workers,
            batch: Batch::default(),
            thread: None,
        }
    }

    /// What was found until now.
    pub fn finish(self) -> Checked {
        let Some(thread) = self.thread else {
            return Checked::default();
        };
        thread.enough.store(true, Ordering::Relaxed);
        drop(thread.sender);
        thread.joins.join().unwrap_or_default()
    }
}

#[cfg(test)]
impl Early {
    /// What was found of all that was shown.
    pub fn finish_all(mut self) -> Checked {
        let thread = self.thread.take().expect("a policy with two threads");
        let _ = thread.sender.send(self.batch);
        drop(thread.sender);
        thread.joins.join().unwrap()
    }
}

impl Checked {
    /// How many.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Onlooker for Early {
    fn begin(&mut self, apex: &Name) {
        if threads(self.workers) < 2 {
            return;
        }
        let (sender, receiver) = sync_channel(BATCHES_WAITING);
        let enough = Arc::new(AtomicBool::new(false));
        let mut checker = Checker {
            zone: apex.clone(),
            policy: Policy {
                sha1: self.sha1,
                ..Policy::default()
            },
            keys: Vec::new(),
            owner: Vec::new(),
            sets: Vec::new(),
            held: 0,
            enough: enough.clone(),
            checked: Checked::default(),
        };
        let named = std::thread::Builder::new().name("early".into());
        // Without a thread all is checked afterwards.
        let joins = named.spawn(move || {
            checker.run(&receiver);
            checker.checked
        });
        self.thread = joins.ok().map(|joins| Thread {
            sender,
            enough,
            joins,
        });
    }

    fn record(&mut self, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) {
        let Some(thread) = &self.thread else {
            return;
        };
        self.batch.octets.extend_from_slice(owner);
        self.batch.octets.extend_from_slice(rdata);
        self.batch.records.push(Shown {
            owner_len: owner.len(),
            rdata_len: rdata.len(),
            rtype,
            ttl,
        });
        if self.batch.octets.len() >= BATCH_BYTES {
            // Whoever reads waits for nobody.
            let _ = thread.sender.try_send(std::mem::take(&mut self.batch));
        }
    }
}

/// The thread beside.
struct Checker {
    zone: Name,
    policy: Policy,
    keys: Vec<Key>,
    /// The name whose records come, in wire form, and its sets so far.
    owner: Vec<u8>,
    sets: Vec<RrSet>,
    held: usize,
    enough: Arc<AtomicBool>,
    checked: Checked,
}

impl Checker {
    fn run(&mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            let mut rest = &batch.octets[..];
            for record in &batch.records {
                let Some((owner, after)) = rest.split_at_checked(record.owner_len) else {
                    return;
                };
                let Some((rdata, after)) = after.split_at_checked(record.rdata_len) else {
                    return;
                };
                rest = after;
                if owner != self.owner {
                    self.end_name();
                    self.owner = owner.to_vec();
                }
                self.take(record, rdata);
                if self.enough.load(Ordering::Relaxed) || self.checked.0.len() >= CHECKED_MAX {
                    return;
                }
            }
        }
        self.end_name();
    }

    fn take(&mut self, record: &Shown, rdata: &[u8]) {
        self.held += rdata.len();
        if self.held > NAME_BYTES_MAX {
            return;
        }
        let covered = match (record.rtype, rdata) {
            (Rtype::RRSIG, [high, low, ..]) => Rtype(u16::from_be_bytes([*high, *low])),
            (rtype, _) => rtype,
        };
        let found = self.sets.iter().position(|set| set.rtype == covered);
        let at = found.unwrap_or_else(|| {
            let Ok(name) = Name::from_wire(&self.owner) else {
                return usize::MAX;
            };
            self.sets.push(RrSet {
                name,
                rtype: covered,
                ttl: record.ttl,
                rdatas: Vec::new(),
                sigs: Vec::new(),
            });
            self.sets.len() - 1
        });
        if let Some(set) = self.sets.get_mut(at) {
            match record.rtype == Rtype::RRSIG {
                true => set.sigs.push(rdata.into()),
                false => set.rdatas.push(rdata.into()),
            }
        }
    }

    /// Checks what the name has.
    fn end_name(&mut self) {
        let sets = std::mem::take(&mut self.sets);
        self.held = 0;
        let is_keys = |set: &&RrSet| set.rtype == Rtype::DNSKEY && set.name == self.zone;
        if let Some(keys) = sets.iter().find(is_keys) {
            self.keys = usable_keys(&keys.rdatas, &self.policy);
        }
        for set in &sets {
            for rdata in set.sigs.iter().take(SIGNATURES_TRIED_MAX) {
                if self.enough.load(Ordering::Relaxed) {
                    return;
                }
                self.check(set, rdata);
            }
        }
    }

    fn check(&mut self, set: &RrSet, sig: &[u8]) {
        let Some(sig) = Rrsig::parse(sig) else {
            return;
        };
        let by = |k: &&Key| (k.tag, k.algorithm) == (sig.key_tag, sig.algorithm);
        for key in self.keys.iter().filter(by).take(SIGNATURES_TRIED_MAX) {
            let (Some(parsed), Ok(public)) = (Dnskey::parse(&key.rdata), &key.public) else {
                continue;
            };
            let Ok(claim) = Claim::new(set, &sig, &parsed, &self.zone) else {
                continue;
            };
            let message = claim.message();
            if public.verify(&message, sig.signature).is_ok() {
                let id = public.claim_id(&message, sig.signature);
                self.checked.0.insert(id);
                return;
            }
        }
    }
}
