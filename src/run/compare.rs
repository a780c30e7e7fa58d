//! `holdfast mirror diff`: what differs between two versions of a zone.
//!
//! A version that a brake holds or that was refused is looked at before somebody decides about it. Both versions are walked
//! side by side, so that the memory does not grow with the zone; for people each record is a line of its own, for scripts
//! the lists have a limit and the counts do not.

use std::io::{self, BufWriter, Write};

use holdfast::cli::told::{Compared, ComparedVersion};
use holdfast::config::Located;
use holdfast::dns::Name;
use holdfast::mirror::{GenerationInfo, GenerationState};
use holdfast::zone::{ChangeKind, diff, present};
use serde_json::Value;

use super::Fault;
use super::versions::{Version, list, open, pick};

/// Lines of each list in the form for scripts.
const LINES_MAX: usize = 100_000;

/// What `mirror diff` compares: the versions with these serials, or what an operator most likely wants to know of.
struct Pair<'a> {
    old: &'a GenerationInfo,
    new: &'a GenerationInfo,
}

impl<'a> Pair<'a> {
    /// Two serials: from the first to the second. One: from the current one to it. None: from the current one to the newest
    /// that is held or refused, else from the one before to the current one.
    fn choose(
        list: &'a [GenerationInfo],
        zone: &Name,
        a: Option<u32>,
        b: Option<u32>,
    ) -> Result<Pair<'a>, Fault> {
        let current = || pick(list, zone, None);
        match (a, b) {
            (Some(a), Some(_)) => Ok(Pair {
                old: pick(list, zone, Some(a))?,
                new: pick(list, zone, b)?,
            }),
            (Some(a), None) => Ok(Pair {
                old: current()?,
                new: pick(list, zone, Some(a))?,
            }),
            (None, _) => {
                let current = current()?;
                let waits = |v: &&GenerationInfo| {
                    v.file.is_some()
                        && [GenerationState::Held, GenerationState::Refused].contains(&v.state)
                };
                if let Some(new) = list.iter().find(waits) {
                    return Ok(Pair { old: current, new });
                }
                let older = list
                    .iter()
                    .find(|v| v.state == GenerationState::Kept && v.file.is_some());
                let old = older.ok_or_else(|| {
                    format!("there is no other version of {zone} to compare with")
                })?;
                Ok(Pair { old, new: current })
            }
        }
    }
}

/// Compares two versions: for people line by line to stdout, for scripts as the returned value.
///
/// # Errors
/// There are no such versions, or they cannot be read.
pub async fn compare(
    server: &Located,
    zone: &Name,
    a: Option<u32>,
    b: Option<u32>,
    as_json: bool,
) -> Result<Option<Value>, Fault> {
    let list = list(server, zone).await?;
    let pair = Pair::choose(&list, zone, a, b)?;
    let (old, new) = (open(pair.old)?, open(pair.new)?);
    let mut counts = Counts::default();
    if as_json {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for change in diff(&old.image, &new.image) {
            counts.add(change.kind);
            let lines = match change.kind {
                ChangeKind::Removed => &mut removed,
                ChangeKind::Added => &mut added,
            };
            if lines.len() < LINES_MAX {
                lines.push(present::record(&change.record));
            }
        }
        let complete = counts.removed.max(counts.added) <= LINES_MAX as u64;
        let side = |v: &Version| {
            let told = v.told.clone();
            ComparedVersion {
                serial: told.serial,
                state: told.state,
                digest: told.digest,
                verdict: told.verdict,
                records: told.records,
                delegations: told.delegations,
            }
        };
        return Ok(Some(serde_json::to_value(Compared {
            zone: zone.to_string(),
            old: side(&old),
            new: side(&new),
            removed_count: counts.removed,
            added_count: counts.added,
            complete,
            removed,
            added,
        })?));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let written = (|| {
        for (mark, version) in [("---", &old), ("+++", &new)] {
            let told = &version.told;
            writeln!(out, "{mark} serial {} ({})", told.serial, told.verdict)?;
        }
        for change in diff(&old.image, &new.image) {
            counts.add(change.kind);
            let mark = match change.kind {
                ChangeKind::Removed => '-',
                ChangeKind::Added => '+',
            };
            writeln!(out, "{mark}{}", present::record(&change.record))?;
        }
        let (before, after) = (&old.told, &new.told);
        writeln!(
            out,
            "{} records removed, {} added; delegations {} before, {} after",
            counts.removed, counts.added, before.delegations, after.delegations
        )?;
        out.flush()
    })();
    match written {
        // A reader that has seen enough is no fault.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(None),
    }
}

#[derive(Default)]
struct Counts {
    removed: u64,
    added: u64,
}

impl Counts {
    fn add(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::Removed => self.removed += 1,
            ChangeKind::Added => self.added += 1,
        }
    }
}
