//! Signatures are checked while the zone's text is still being read.
//!
//! Reading takes one thread, and the public-key operations are most of all the work. So whoever reads shows each record on
//! the way; a thread beside puts those that follow each other under one name together to sets, and checks the
//! signatures by the DNSKEY set of the apex, wherever that came before. What it found good is kept as it is: key, signed
//! octets and signature ([`Checked`]), for comparing them is cheaper than a digest over them. It proves nothing about the zone: whether the keys
//! are to be trusted, the time, the place of the set and all else is judged over the finished image as ever, where such a signature needs
//! no second public-key operation. The thread goes on while the image is made, and beside the walk over it until that has come to where the thread
//! is. A server does not do so: while a version is taken up, one core is left to the answers.
//!
//! Failure: what is in another order, comes too fast or is more than [`CHECKED_BYTES_MAX`] is checked afterwards; so is what was not
//! found good. Nothing is reported here.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Policy;
use super::keys::usable_keys;
use super::signatures::{Key, SIGNATURES_TRIED_MAX, threads};
use crate::dns::{Dnskey, Name, Rdata, Rrsig, Rtype};
use crate::dnssec::verify::{Claim, PublicKey, SignatureError, Signee};
use crate::zone::Onlooker;

/// Octets of all that is remembered: of a large zone some hundred thousand signatures.
const CHECKED_BYTES_MAX: usize = 32 << 20;
/// Octets of records in a batch, but for its last name.
const BATCH_BYTES: usize = 32 << 10;
/// Batches that wait; what comes while so many do is not looked at.
const BATCHES_WAITING: usize = 128;
/// Octets of records of one name that are put together.
const NAME_BYTES_MAX: usize = 1 << 20;
/// Sets of one name whose signatures are looked at.
const SETS_MAX: usize = 64;

/// The start of a signature, by which is found what was found out about it.
type Start = [u8; 8];

/// Signatures that were found good.
#[derive(Default)]
pub struct Checked {
    found: Arc<Found>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Found {
    claims: Mutex<Claims>,
    enough: AtomicBool,
}

/// Which key has signed what, and how.
#[derive(Default)]
struct Claims {
    places: HashMap<Start, Place>,
    /// Of each the digest of the key, what is signed, and the signature.
    octets: Vec<u8>,
}

/// Where a claim is, and how long what is signed.
struct Place {
    octets: Range<usize>,
    message_len: usize,
}

impl Claims {
    fn insert(&mut self, key: &PublicKey, message: &[u8], signature: &[u8]) {
        let Some(start) = signature.first_chunk() else {
            return;
        };
        let at = self.octets.len();
        for part in [key.id(), message, signature] {
            self.octets.extend_from_slice(part);
        }
        let place = Place {
            octets: at..self.octets.len(),
            message_len: message.len(),
        };
        self.places.insert(*start, place);
    }

    fn has(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let start: Option<&Start> = signature.first_chunk();
        let Some(place) = start.and_then(|start| self.places.get(start)) else {
            return false;
        };
        let mut claim = &self.octets[place.octets.clone()];
        let mut parts = [key.id(), message, signature].into_iter();
        place.message_len == message.len()
            && parts.all(|part| claim.split_off(..part.len()) == Some(part))
            && claim.is_empty()
    }
}

impl Found {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }
}

impl Checked {
    /// Whether `key` was found to have made this signature of the message.
    pub fn has(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.found.claims().has(key, message, signature)
    }

    /// Whether `key` made this signature of the message; computed only where that is not known.
    pub fn check(
        &self,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self.has(key, message, signature) {
            true => Ok(()),
            false => key.verify(message, signature),
        }
    }

    /// Whether more are being looked at.
    pub fn is_going_on(&self) -> bool {
        let thread = self.thread.as_ref();
        !self.found.is_enough() && thread.is_some_and(|thread| !thread.is_finished())
    }

    /// Lets the thread beside end; what it has not found by now is for others.
    pub fn stop(&self) {
        self.found.enough.store(true, Ordering::Relaxed);
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Where it panicked, all was checked without it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
impl Checked {
    /// Waits until all that was shown has been looked at; how many were found good.
    pub fn count(&mut self) -> usize {
        let thread = self.thread.take().expect("a policy with two threads");
        thread.join().unwrap();
        self.found.claims().places.len()
    }

    /// The same; it seems to go on until it is stopped.
    pub fn lasting(mut self) -> Checked {
        let found = self.found.clone();
        self.thread = Some(std::thread::spawn(move || {
            while !found.is_enough() {
                std::thread::yield_now();
            }
        }));
        self
    }
}

/// Names with their records, in the order of the text. The octets of each owner, and after them the data of its records, follow each other.
struct Batch {
    octets: Vec<u8>,
    names: Vec<Shown>,
    records: Vec<Piece>,
}

impl Batch {
    fn new() -> Batch {
        Batch {
            octets: Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8),
            names: Vec::new(),
            records: Vec::new(),
        }
    }
}

/// A name in its batch.
struct Shown {
    owner_len: usize,
    records: usize,
}

/// A record in its batch.
#[derive(Clone, Copy)]
struct Piece {
    /// Type, of the covered set where it is a signature.
    covered: Rtype,
    sig: bool,
    len: usize,
}

/// Checks signatures of the records that it is shown.
pub struct Early {
    sha1: bool,
    workers: usize,
    batch: Batch,
    name: Coming,
    thread: Option<Thread>,
}

/// The name whose records come, last in the batch.
#[derive(Default)]
struct Coming {
    owner: Vec<u8>,
    octets_at: usize,
    records_at: usize,
    is_signed: bool,
}

struct Thread {
    sender: SyncSender<Batch>,
    found: Arc<Found>,
    joins: JoinHandle<()>,
}

impl Early {
    /// Checks as `policy` says, where there is a core for it.
    pub fn new(policy: &Policy) -> Early {
        Early {
            sha1: policy.sha1,
            workers: policy.workers,
            batch: Batch::new(),
            name: Coming::default(),
            thread: None,
        }
    }

    /// What was found of all that was shown, and goes on being found.
    pub fn finish(mut self) -> Checked {
        self.end_name();
        let Some(thread) = self.thread else {
            return Checked::default();
        };
        let _ = thread.sender.try_send(self.batch);
        Checked {
            found: thread.found,
            thread: Some(thread.joins),
        }
    }

    /// The records of a name have come. Without a signature they are of no use.
    fn end_name(&mut self) {
        let (name, batch) = (&self.name, &mut self.batch);
        let is_whole = batch.octets.len() - name.octets_at <= NAME_BYTES_MAX;
        if name.is_signed && is_whole {
            batch.names.push(Shown {
                owner_len: name.owner.len(),
                records: batch.records.len() - name.records_at,
            });
        } else {
            batch.octets.truncate(name.octets_at);
            batch.records.truncate(name.records_at);
        }
    }

    fn begin_name(&mut self, owner: &[u8]) {
        if self.batch.octets.len() >= BATCH_BYTES
            && let Some(thread) = &self.thread
        {
            let full = std::mem::replace(&mut self.batch, Batch::new());
            // Whoever reads waits for nobody.
            let _ = thread.sender.try_send(full);
        }
        let (name, batch) = (&mut self.name, &mut self.batch);
        name.owner.clear();
        name.owner.extend_from_slice(owner);
        name.is_signed = false;
        (name.octets_at, name.records_at) = (batch.octets.len(), batch.records.len());
        batch.octets.extend_from_slice(owner);
    }
}

impl Onlooker for Early {
    fn begin(&mut self, apex: &Name) {
        if threads(self.workers) < 2 {
            return;
        }
        let (sender, receiver) = sync_channel(BATCHES_WAITING);
        let found = Arc::new(Found::default());
        let mut checker = Checker {
            zone: apex.clone(),
            policy: Policy {
                sha1: self.sha1,
                ..Policy::default()
            },
            keys: Vec::new(),
            found: found.clone(),
        };
        let named = std::thread::Builder::new().name("early".into());
        // Without a thread all is checked afterwards.
        let joins = named.spawn(move || checker.run(&receiver));
        self.thread = joins.ok().map(|joins| Thread {
            sender,
            found,
            joins,
        });
    }

    fn record(&mut self, owner: &[u8], rtype: Rtype, _ttl: u32, rdata: &[u8]) {
        if self.thread.is_none() {
            return;
        }
        if owner != self.name.owner {
            self.end_name();
            self.begin_name(owner);
        }
        let batch = &mut self.batch;
        if batch.octets.len() - self.name.octets_at > NAME_BYTES_MAX {
            return;
        }
        let (covered, sig) = match (rtype, rdata) {
            (Rtype::RRSIG, [high, low, ..]) => (Rtype(u16::from_be_bytes([*high, *low])), true),
            (rtype, _) => (rtype, false),
        };
        self.name.is_signed |= sig;
        batch.octets.extend_from_slice(rdata);
        batch.records.push(Piece {
            covered,
            sig,
            len: rdata.len(),
        });
    }
}

/// The thread beside.
struct Checker {
    zone: Name,
    policy: Policy,
    keys: Vec<Key>,
    found: Arc<Found>,
}

impl Checker {
    fn run(&mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            if self.batch(&batch).is_none() {
                return;
            }
        }
    }

    /// `None`: it is enough.
    fn batch(&mut self, batch: &Batch) -> Option<()> {
        let (mut octets, mut pieces) = (&batch.octets[..], &batch.records[..]);
        let mut records = Vec::new();
        for name in &batch.names {
            let owner = octets.split_off(..name.owner_len)?;
            records.clear();
            for piece in pieces.split_off(..name.records)? {
                records.push((*piece, octets.split_off(..piece.len)?));
            }
            self.name(owner, &records)?;
        }
        Some(())
    }

    /// Checks the signatures of one name.
    fn name(&mut self, owner: &[u8], records: &[(Piece, &[u8])]) -> Option<()> {
        let Ok(name) = Name::from_wire(owner) else {
            return Some(());
        };
        let data_of = |rtype: Rtype| {
            let of = records
                .iter()
                .filter(move |(r, _)| r.covered == rtype && !r.sig);
            of.map(|(_, data)| *data)
        };
        if name == self.zone {
            let keys: Vec<Rdata> = data_of(Rtype::DNSKEY).map(Rdata::from).collect();
            if !keys.is_empty() {
                self.keys = usable_keys(&keys, &self.policy);
            }
        }
        let (mut seen, mut rdatas) = (Vec::new(), Vec::new());
        for (first, _) in records.iter().filter(|(r, _)| r.sig) {
            let rtype = first.covered;
            if seen.contains(&rtype) {
                continue;
            }
            if seen.len() >= SETS_MAX {
                break;
            }
            seen.push(rtype);
            rdatas.clear();
            rdatas.extend(data_of(rtype));
            let set = Signee {
                name: &name,
                rtype,
                rdatas: &rdatas,
            };
            let sigs = records.iter().filter(|(r, _)| r.sig && r.covered == rtype);
            for (_, sig) in sigs.take(SIGNATURES_TRIED_MAX) {
                if self.found.is_enough() {
                    return None;
                }
                self.check(set, sig);
            }
        }
        (self.found.claims().octets.len() < CHECKED_BYTES_MAX).then_some(())
    }

    fn check(&self, set: Signee<'_>, sig: &[u8]) {
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
                (self.found.claims()).insert(public, &message, sig.signature);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::algorithms::ED25519;

    #[test]
    fn a_claim_is_known_by_all_of_its_octets() {
        let key = |octet| PublicKey::new(ED25519, &[octet; 32]).unwrap();
        let (message, signature) = (&b"message"[..], &[7; 64][..]);
        let mut claims = Claims::default();
        claims.insert(&key(1), message, signature);
        // What stands behind it may go on as it ends.
        claims.insert(&key(1), message, &[8; 64]);
        assert!(claims.has(&key(1), message, signature));
        let longer = [signature, key(1).id()].concat();
        let mut alike = [7; 64];
        alike[63] = 8;
        let others: [(u8, &[u8], &[u8]); 11] = [
            (1, message, &alike),
            (2, message, signature),
            (1, b"massage", signature),
            (1, b"messag", signature),
            (1, b"message\x07", &signature[1..]),
            (1, message, &signature[1..]),
            (1, message, &signature[..8]),
            (1, message, &signature[..7]),
            (1, message, b""),
            (1, message, &longer),
            (1, message, &[9; 64]),
        ];
        for (octet, message, signature) in others {
            assert!(!claims.has(&key(octet), message, signature));
        }
    }
}
