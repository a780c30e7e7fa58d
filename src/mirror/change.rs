//! What changes a mirror: a new version, a confirmation, a step back.
//!
//! Each is done in one go under the mirror's own lock, on a thread that may block, and disk and memory change together:
//! the loop may stop waiting for it, and another change may be asked for meanwhile, and still the version that is
//! served is the one that a restart would serve.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::generation::{Generation, Verified};
use super::store::{
    CommitError, Durability, GenerationRow, MirrorStore, SourceKind, Standing, StoreError,
    TrustRecord,
};
use super::{CommandError, Mirror, Shared};
use crate::config::Verify;

impl Mirror {
    /// Makes a verified version durable and current.
    pub(super) fn activate(
        &self,
        verified: Verified,
        standing: Standing,
        shared: &Shared,
    ) -> Result<(), CommitError> {
        let _one_change = self.lock_changes();
        if self.state().removed {
            return Err(CommitError::NoSuch("the mirror was removed".into()));
        }
        let stored = (shared.store).commit(verified, standing, self.keep())?;
        if let Some(generation) = Generation::take_up(stored, standing.last_contact_at) {
            self.swap(generation, shared);
            shared.deps.metrics.mirror_generations_total.inc();
        }
        self.set_rolled_back_from(standing.rolled_back_from);
        self.set_held(None);
        Ok(())
    }

    /// Notes that a source has `generation` as its newest, unless it is current no longer.
    pub(super) fn confirm(
        &self,
        generation: &Arc<Generation>,
        at: u64,
        store: &MirrorStore,
    ) -> Result<(), StoreError> {
        let _one_change = self.lock_changes();
        if !(self.current()).is_some_and(|current| Arc::ptr_eq(&current, generation)) {
            return Ok(());
        }
        generation.confirmed(at);
        let standing = Standing {
            last_contact_at: Some(at),
            rolled_back_from: None,
        };
        store.set_current(generation.row(), standing, Durability::Soon)
    }

    /// Serves an older version: that with this serial, or the one before the current one.
    pub(super) fn roll_back(
        &self,
        serial: Option<u32>,
        shared: &Shared,
    ) -> Result<(), CommandError> {
        let _one_change = self.lock_changes();
        let current = self.current().ok_or(CommandError::NothingToRollBack)?;
        let row = older_version(shared.store.rows(&self.config.zone), &current, serial)?;
        let from = self.rolled_back_from().unwrap_or(current.serial());
        let standing = Standing {
            last_contact_at: current.last_contact_at(),
            rolled_back_from: Some(from),
        };
        let stored = shared.store.load(&row)?;
        let generation = Generation::take_up(stored, standing.last_contact_at)
            .filter(|g| !self.must_prove(g, shared))
            .ok_or(CommandError::OtherTrust(row.serial))?;
        (shared.store).set_current(&row, standing, Durability::Synced)?;
        tracing::warn!(zone = %self.config.zone, from = current.serial(), to = row.serial, "rolled back");
        self.set_rolled_back_from(Some(from));
        self.swap(generation, shared);
        Ok(())
    }

    /// Whether a stored generation rests on something that is configured no longer.
    pub(super) fn must_prove(&self, generation: &Generation, shared: &Shared) -> bool {
        if self.config.verify == Verify::None {
            return false;
        }
        let anchored = shared.anchored(&self.config.zone);
        match (&generation.row().trust, anchored) {
            (TrustRecord::None, _) => true,
            (TrustRecord::Anchors(was), Some((_, TrustRecord::Anchors(is)))) => *was != is,
            (TrustRecord::Anchors(_), _) => true,
            (TrustRecord::Parent(_), anchored) => anchored.is_some(),
        }
    }

    /// Waits for a change that is under way. Blocks.
    pub fn settle(&self) {
        drop(self.lock_changes());
    }

    pub(super) fn lock_changes(&self) -> MutexGuard<'_, ()> {
        (self.changes.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

fn older_version(
    rows: Vec<GenerationRow>,
    current: &Generation,
    serial: Option<u32>,
) -> Result<GenerationRow, CommandError> {
    let mut kept = rows.into_iter().filter(|row| {
        row.verdict.is_admitted()
            && row.digest != current.digest()
            && row.provenance.kind != SourceKind::Bootstrap
    });
    match serial {
        Some(serial) => kept
            .find(|row| row.serial == serial)
            .ok_or(CommandError::NoSuchVersion(serial)),
        None => kept
            .find(|row| row.stored_at <= current.row().stored_at)
            .ok_or(CommandError::NothingToRollBack),
    }
}
