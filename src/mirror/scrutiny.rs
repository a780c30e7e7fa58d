//! Looking at a served image all through, and what becomes of a damaged one.
//!
//! At start an image is opened without being read, so that its mirror answers at once. Then a thread reads all of it, behind
//! all other work of the machine: every checksum, and the digest of the content that the version is named by. That also
//! brings it into memory before clients ask for it. What storage damaged later is found by the query that touches it.
//!
//! Either way the mirror's loop hears of it from [`damaged`] and takes the next sound version; the file is renamed and an
//! error logged. Until then names in sound blocks are answered, and for others the copy has no answer.

use std::sync::Arc;
use std::time::Duration;

use super::generation::Generation;
use super::work::{STEPS_LAST, step_back};
use super::{Mirror, Shared};
use crate::zone::ImageError;

/// How often it is looked whether anyone still holds a generation that is served no longer.
const RETIRE_LOOK: Duration = Duration::from_millis(20);
/// How many times at most: ten minutes, longer than any query lives.
const RETIRE_LOOKS_MAX: u32 = 30_000;
/// Pause between two steps, so that one core is never all the thread's.
const PAUSE: Duration = Duration::from_micros(200);

/// Reads all of a generation's image in a thread of its own.
pub(super) fn begin(generation: &Arc<Generation>) {
    let generation = Arc::downgrade(generation);
    let started = std::thread::Builder::new()
        .name("scrutiny".to_owned())
        .spawn(move || {
            step_back(STEPS_LAST);
            let Some(generation) = generation.upgrade() else {
                return;
            };
            let (zone, serial) = (&generation.row().zone, generation.serial());
            let mut pace = || std::thread::sleep(PAUSE);
            match generation.image().check_whole(&mut pace) {
                Ok(()) => tracing::debug!(%zone, serial, "the stored version was read through and is sound"),
                Err(fault) => generation.note_fault(fault),
            }
        });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread to read a stored version through; its blocks are checked as they are used");
    }
}

/// Lets go of a generation that is served no longer. Queries under way may still hold it, and whoever is last has to unmap
/// what may be half a gigabyte: that is to be this thread, not one that answers.
pub(super) fn retire(generation: Arc<Generation>) {
    let started = std::thread::Builder::new()
        .name("retire".to_owned())
        .spawn(move || {
            for _ in 0..RETIRE_LOOKS_MAX {
                if Arc::strong_count(&generation) == 1 {
                    break;
                }
                std::thread::sleep(RETIRE_LOOK);
            }
        });
    // Without a thread it goes with whoever is last.
    drop(started);
}

/// What is wrong with the image of a generation, if anything was found.
pub(super) fn damaged(generation: &Generation) -> Option<ImageError> {
    let seen = (generation.image().damage() > 0).then_some(ImageError::Checksum("a block"));
    generation.fault().or(seen)
}

impl Mirror {
    /// Puts the current version aside if it is damaged, and serves the newest sound one. Blocks.
    pub(super) fn replace_damaged(&self, shared: &Shared) {
        let _one_change = self.lock_changes();
        let Some(current) = self.current() else {
            return;
        };
        let Some(fault) = damaged(&current) else {
            return;
        };
        shared.deps.metrics.mirror_damaged_total.inc();
        if let Err(error) = shared.store.condemn_version(current.row(), &fault) {
            tracing::error!(zone = %self.config.zone, %error, "a damaged version could not be set aside");
        }
        let next = shared.store.recover(&self.config.zone);
        let next = next.map_err(|error| error.to_string()).map(|found| {
            found.and_then(|(stored, standing)| {
                let generation = Generation::take_up(stored, standing.last_contact_at)?;
                (!self.must_prove(&generation, shared)).then_some(generation)
            })
        });
        match next {
            Ok(Some(generation)) => {
                self.swap(generation, shared);
                self.scrutinise();
            }
            other => {
                let why = other.err().unwrap_or_default();
                tracing::error!(
                    zone = %self.config.zone, why,
                    "no sound version of the zone is left; it is fetched again"
                );
                self.current.store(None);
            }
        }
        self.refresh_now();
    }

    /// Begins to read the current version through.
    pub(super) fn scrutinise(&self) {
        if let Some(current) = self.current() {
            begin(&current);
        }
    }
}
