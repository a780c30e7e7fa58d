//! Delegations kept past their TTL, for when their parent cannot be reached.
//!
//! Why: most top level zones cannot be mirrored, because nobody may transfer them. When a country is cut off from `com`, the
//! servers of `example.com` may well stand inside it, and all that is missing is the way to them: the NS set and glue that `com`
//! gave an hour ago, the DS set that goes with it, and the addresses of servers that are *named* abroad. So these are kept, the
//! most used first, for up to `retained.age_max`.
//!
//! Model: an [`Entry`](entry::Entry) is what servers of a parent said of one zone: NS set and glue as they came in a matched answer (a
//! parent never signs them), and what validation has proven of the DS set ([`Cut`]). A [`Host`](entry::Host) is the addresses of a name
//! server that were looked up, for delegations of any origin. Both steer questions and are never answers. An entry belongs to the zone
//! whose servers gave it, and is used only at that zone's step of an iteration:
//!
//! ```text
//!               a step fails, or nobody answers within 2 s            a server of the zone answers anything of use
//!   answers  ------------------------------------------------> gone --------------------------------------------> answers
//!   asked first, always                                        entries are used at once; one question in a second asks
//! ```
//!
//! Ghost domains (CVE-2012-1033): an entry is changed by every referral of its parent, and dropped with everything below it by a denial that
//! validation did not find bogus, from whichever question it came. A zone whose parent still answers is therefore found as the
//! parent has it; only a deletion that nobody could see during the outage stays unseen until its end. Nothing here denies a name.
//!
//! Rivals: NS sets of a parent are not signed, so whoever stands in its place may name his own servers, and then see to it that the
//! parent falls silent. Where the zone is signed, a parent's word that names nobody who was known before is therefore a *rival*
//! (`rival`): it steers as long as it lives, and takes the place of what is kept with the first answer of the zone that validates.
//!
//! Trust: below an entry everything validates as always, from the kept DS set on. When the signatures of that set have run out, the
//! answer is secure-as-of (ARCHITECTURE.md); when its proof was that there is no DS, the zone is insecure, as it was. A proof serves past
//! its signatures only while its parent is gone, and not if they had run out when that was last heard: a zone that has been
//! signed since must not pass for unsigned because somebody keeps its DS away.
//!
//! Failure: both tables are bounded in entries and together in bytes. A full one forgets the least used eighth, so that a flood
//! of names that nobody asks for twice pushes out itself.

mod doubt;
mod entry;
mod rival;
pub mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::entry::{AS_OF_TTL_MAX_S, Expiry};
use crate::clock::Now;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::RetainedNote;
use crate::resolve::delegation::{Delegation, DelegationOrigin, TableStats};

pub use entry::Cut;
use entry::{Entry, Host, Uses};

/// Bytes of both tables.
const BYTES_MAX: usize = 96 << 20;
/// Larger entries are not kept: a delegation of 13 servers with both addresses has 1 KiB.
const ENTRY_BYTES_MAX: usize = 8 << 10;
/// A full table forgets one in so many, the least used.
const FORGET_SHARE: usize = 8;
/// Zones whose servers are known to be gone.
const GONE_MAX: usize = 4096;
/// Entries that are copied without letting others in.
const COPIED_AT_ONCE: usize = 256;
/// One question in this time asks the servers of a zone that are known to be gone.
const EXPLORE_EVERY: Duration = Duration::from_secs(1);
/// How long nobody may answer before an entry is used, while the servers are not known to be gone.
pub const LATE_AFTER: Duration = Duration::from_millis(2000);
/// How long a question waits for rows that are being read.
pub const READ_AFTER: Duration = Duration::from_millis(50);
/// How long an entry is used before its parent's step is taken again, seconds.
pub const USE_TTL_S: u32 = AS_OF_TTL_MAX_S;
/// Answers that were found through an entry are kept no longer, seconds: at the end of an outage they may be another's.
pub const ANSWER_TTL_MAX_S: u32 = 300;
/// Time between two searches for addresses of a server that could not be looked up.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Denials that are remembered while rows are read from disk.
const EARLY_MAX: usize = 10_000;
/// What is asked for once waits so long for its place on disk, in seconds: a flood of such names is forgotten before.
const WRITE_AFTER_S: u64 = 5;

/// `[retained]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Anything is kept at all.
    pub enabled: bool,
    /// How long since the parent confirmed it, in seconds.
    pub age_max_s: u64,
    /// Delegations, and as many servers.
    pub entries_max: usize,
}

impl Default for Settings {
    /// The configuration's defaults.
    fn default() -> Settings {
        Settings {
            enabled: true,
            age_max_s: 90 * 86_400,
            entries_max: 100_000,
        }
    }
}

/// When an entry is used at its parent's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once: the parent's servers are known to be gone.
    Now,
    /// They are, and this question looks whether they are back; with the shortest delay.
    Explore,
    /// When they have failed, or nobody has answered for [`LATE_AFTER`].
    Late,
    /// Rows are still being read from disk: what they say is known in [`READ_AFTER`].
    Reading,
}

/// What is kept of the way to a zone, for its validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCut {
    /// What its parent is proven to have said of its DS.
    pub cut: Cut,
    /// Which delegation this is.
    pub note: RetainedNote,
    /// The parent's servers are known to be gone, or the entry is in use.
    pub needed: bool,
}

/// A zone whose servers are known to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The zone.
    pub zone: Name,
    /// Since when, seconds since 1970.
    pub since_s: u64,
}

/// What is kept, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Delegations.
    pub zones: TableStats,
    /// Addresses of servers.
    pub hosts: TableStats,
    /// Zones whose servers are known to be gone.
    pub gone: usize,
}

/// Everything that is kept.
#[derive(Debug)]
pub struct Retained {
    settings: Settings,
    tables: Mutex<Tables>,
    /// When an answer last validated, seconds since 1970.
    good_s: AtomicU64,
    /// Of a copy for a drill: the original, which hears what parents really say.
    original: Option<Arc<Retained>>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Shared with copies until one of them changes it.
    zones: BTreeMap<Name, Arc<Entry>>,
    /// As above.
    hosts: HashMap<Name, Arc<Host>>,
    zones_bytes: usize,
    hosts_bytes: usize,
    gone: HashMap<Name, State>,
    /// What differs from the disk.
    unwritten: BTreeSet<Key>,
    killed: u64,
    /// A copy, of which nothing is written.
    unwritable: bool,
    /// While rows are still being read from disk: denials that must reach them, too.
    denied_early: Option<Vec<(Name, Question)>>,
}

#[derive(Debug)]
struct State {
    since_s: u64,
    /// When it was last known to be, seconds since 1970, as the disk has it; 0 where it has nothing.
    written_s: u64,
    explored: Duration,
    /// Something was accepted as of its verification meanwhile.
    as_of: bool,
}

/// A row on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A delegation.
    Zone(Name),
    /// Addresses of a server.
    Host(Name),
    /// A zone whose servers are gone.
    Parent(Name),
}

/// What became of a zone that was thought to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    /// Since when it was gone, seconds since 1970.
    pub since_s: u64,
    /// Something was accepted as of its verification meanwhile, and must go.
    pub as_of: bool,
}

/// Kept addresses of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAddresses {
    /// The addresses; none if it is known to have none.
    pub list: Vec<IpAddr>,
    /// They could not be looked up the last time.
    pub failing: bool,
    /// The asker is to look whether they can be again.
    pub look: bool,
}

impl Retained {
    /// Nothing yet.
    pub fn new(settings: Settings) -> Retained {
        Retained {
            settings,
            tables: Mutex::default(),
            good_s: AtomicU64::new(0),
            original: None,
        }
    }

    /// Another one that keeps the same now, and thinks that no zone is gone. What it learns of use and failure stays in it. With
    /// `tells`, what parents say of their delegations is told to the original too: that is true, whatever is being rehearsed.
    /// Shares each entry until either of them changes it. Takes its lock for a moment at a time.
    pub fn copy(self: &Arc<Self>, tells: bool) -> Retained {
        let mut made = Tables {
            unwritable: true,
            ..Tables::default()
        };
        let mut from = Bound::Unbounded;
        loop {
            let tables = self.tables();
            let rest = tables
                .zones
                .range::<Name, _>((from.as_ref(), Bound::Unbounded));
            let some: Vec<(Name, Arc<Entry>)> = rest
                .take(COPIED_AT_ONCE)
                .map(|(zone, entry)| (zone.clone(), entry.clone()))
                .collect();
            drop(tables);
            let Some((last, _)) = some.last() else {
                break;
            };
            from = Bound::Excluded(last.clone());
            for (zone, entry) in some {
                made.put_zone(zone, entry);
            }
        }
        let hosts: Vec<Name> = self.tables().hosts.keys().cloned().collect();
        for some in hosts.chunks(COPIED_AT_ONCE) {
            let tables = self.tables();
            for host in some {
                if let Some(known) = tables.hosts.get(host) {
                    made.put_host(host.clone(), known.clone());
                }
            }
        }
        Retained {
            settings: self.settings,
            tables: Mutex::new(made),
            good_s: AtomicU64::new(self.good_s.load(Ordering::Relaxed)),
            original: tells.then(|| self.clone()),
        }
    }

    // --- learning ----------------------------------------------------------------------------------

    /// Servers of `parent` referred to a zone below, in a matched answer.
    pub fn learn(&self, delegation: &Delegation, parent: &Name, now: Now) {
        if !self.settings.enabled || !delegation.zone.is_below(parent) {
            return;
        }
        if let Some(original) = &self.original {
            original.learn(delegation, parent, now);
        }
        let zone = &delegation.zone;
        let mut tables = self.tables();
        let known = tables.zones.get(zone);
        let mut entry = Entry::new(delegation, parent, now.wall_s);
        let mut changed = true;
        if known.is_none() && tables.unwritten.contains(&Key::Zone(zone.clone())) {
            // An older one is still to be removed from the disk.
            entry.written_s = 1;
        } else if let Some(known) = known {
            entry.uses = known.uses;
            // What a former parent proved is another's word. And a proof that has run out where its parent can be heard is to be had
            // anew, or is none any more.
            if known.parent_labels == entry.parent_labels && !known.cut.has_run_out(now.wall_s) {
                entry.cut.clone_from(&known.cut);
            }
            if known.holds_back(&entry, now) {
                return tables.hold_back(zone, entry, now);
            }
            entry.written_s = known.written_s;
            entry.follow(known, known.names_others(&entry), self.good_s());
            changed = known.differs(&entry);
            if known.is_moved(&entry) {
                tables.remove_below(zone);
            }
        }
        entry.uses.count(now.wall_s);
        if entry.bytes(zone) > ENTRY_BYTES_MAX {
            tables.remove_zone(zone);
            return;
        }
        changed |= entry.confirmed_s.saturating_sub(entry.written_s) >= entry::REWRITE_AFTER_S;
        tables.put_zone(zone.clone(), Arc::new(entry));
        if changed {
            tables.unwritten.insert(Key::Zone(zone.clone()));
        }
        tables.make_room(&self.settings, now);
    }

    /// Addresses of a name server were looked up, and found or denied.
    pub fn learn_addresses(&self, host: &Name, rtype: Rtype, list: &[IpAddr], now: Now) {
        if !self.settings.enabled {
            return;
        }
        let mut tables = self.tables();
        let known = tables.hosts.get(host);
        let mut known = known.map_or_else(Host::default, |known| Host::clone(known));
        // A name without any address serves nobody.
        if list.is_empty() && known.is_empty() {
            return;
        }
        let before = known.clone();
        let mut changed = known.learn(rtype, list);
        if changed {
            known.date(&before, now.wall_s, self.good_s());
        }
        known.seen_s = now.wall_s;
        known.failing = false;
        known.uses.count(now.wall_s);
        changed |= known.seen_s.saturating_sub(known.written_s) >= entry::REWRITE_AFTER_S;
        match known.is_empty() {
            true => tables.remove_host(host),
            false => {
                tables.put_host(host.clone(), Arc::new(known));
                if changed {
                    tables.unwritten.insert(Key::Host(host.clone()));
                }
            }
        }
        tables.make_room(&self.settings, now);
    }

    /// Validation has proven, with what its parent says now, whether `zone` has a DS set.
    pub fn learn_cut(&self, zone: &Name, cut: &Cut) {
        let mut tables = self.tables();
        let known = tables.zones.get(zone);
        let Some(known) = known.filter(|entry| entry.cut != *cut) else {
            return;
        };
        let mut entry = Entry::clone(known);
        // A later end of the same proof is not worth a write each time.
        let worth = !entry.cut.says_as(cut) || cut.until_s() >= entry.cut.until_s() + 3600;
        entry.cut = cut.clone();
        if matches!(cut, Cut::Unsigned { .. }) && entry.take_rival() {
            // Nothing below will ever prove who serves it.
            tables.remove_below(zone);
        }
        if entry.bytes(zone) > ENTRY_BYTES_MAX {
            tables.remove_zone(zone);
            return;
        }
        tables.put_zone(zone.clone(), Arc::new(entry));
        if worth {
            tables.unwritten.insert(Key::Zone(zone.clone()));
        }
    }

    /// A question begins at this zone.
    pub fn used(&self, zone: &Name, now: Now) {
        if let Some(entry) = self.tables().zone_mut(zone) {
            entry.uses.count(now.wall_s);
        }
    }

    /// The zone `by` has denied the question, and validation did not find that bogus: what it once delegated on the way to that
    /// name is no more, nor is anything below. Returns how many entries went.
    pub fn denied(&self, by: &Name, question: &Question) -> usize {
        if let Some(original) = &self.original {
            original.denied(by, question);
        }
        let mut tables = self.tables();
        if let Some(early) = tables.denied_early.as_mut().filter(|e| e.len() < EARLY_MAX) {
            early.push((by.clone(), question.clone()));
        }
        let Some(zone) = tables.child(by, question) else {
            return 0;
        };
        let gone = 1 + tables.remove_below(&zone);
        tables.remove_zone(&zone);
        tables.killed += gone as u64;
        gone
    }

    // --- use ---------------------------------------------------------------------------------------

    /// Whether something is kept for the step of `parent` towards the question, and when it is used. While rows are still being
    /// read from disk, something may be.
    pub fn when(&self, parent: &Name, question: &Question, now: Now) -> Option<When> {
        let mut tables = self.tables();
        if tables.child(parent, question).is_none() {
            return tables.denied_early.is_some().then_some(When::Reading);
        }
        let Some(state) = tables.gone.get_mut(parent) else {
            return Some(When::Late);
        };
        if now.mono < state.explored + EXPLORE_EVERY {
            return Some(When::Now);
        }
        state.explored = now.mono;
        Some(When::Explore)
    }

    /// Whether the servers of the zone are known to be gone.
    pub fn is_gone(&self, zone: &Name) -> bool {
        self.tables().gone.contains_key(zone)
    }

    /// Whether something is kept that leads the question past the servers of `zone`.
    pub fn leads_past(&self, zone: &Name, question: &Question) -> bool {
        self.tables().child(zone, question).is_some()
    }

    /// How long ago servers of `parent` said what is kept of them towards the question, in seconds.
    pub fn age_s(&self, parent: &Name, question: &Question, now: Now) -> Option<u64> {
        let tables = self.tables();
        let entry = tables.zones.get(&tables.child(parent, question)?)?;
        Some(now.wall_s.saturating_sub(entry.confirmed_s))
    }

    /// Whether it is time that a question asks the parent of `zone` again, although the entry is in use.
    pub fn is_parent_due(&self, zone: &Name, now: Now) -> bool {
        let tables = self.tables();
        let parent = tables.zones.get(zone).map(|entry| entry.parent(zone));
        let state = parent.and_then(|parent| tables.gone.get(&parent));
        state.is_none_or(|state| now.mono >= state.explored + EXPLORE_EVERY)
    }

    /// The delegation that servers of `parent` gave last on the way to the question. It counts as in use from now on.
    pub fn take(
        &self,
        parent: &Name,
        question: &Question,
        now: Now,
    ) -> Option<(Delegation, RetainedNote)> {
        let mut tables = self.tables();
        let zone = tables.child(parent, question)?;
        let entry = tables.zones.get(&zone)?;
        let age_s = now.wall_s.saturating_sub(entry.confirmed_s);
        if age_s > self.settings.age_max_s {
            tables.remove_zone(&zone);
            return None;
        }
        let entry = tables.zone_mut(&zone)?;
        entry.taken_until = now.mono + Duration::from_secs(USE_TTL_S.into());
        let delegation = Delegation {
            servers: entry.servers(),
            expiry: Some(Expiry::after(now, USE_TTL_S)),
            origin: DelegationOrigin::Retained,
            zone: zone.clone(),
        };
        let note = RetainedNote {
            zone,
            parent: parent.clone(),
            age_s,
        };
        Some((delegation, note))
    }

    /// Every server of the zone has failed at a question. True when that is news, and delegations of the zone are kept.
    pub fn failed(&self, zone: &Name, now: Now) -> bool {
        let mut tables = self.tables();
        if tables.gone.contains_key(zone) || !tables.delegates(zone) {
            return false;
        }
        if tables.gone.len() >= GONE_MAX {
            let oldest = tables.gone.iter().min_by_key(|(_, s)| s.explored);
            let oldest = oldest.map(|(zone, _)| zone.clone());
            if let Some(zone) = oldest {
                tables.remove_gone(&zone);
            }
        }
        let state = State {
            since_s: now.wall_s,
            written_s: 0,
            explored: now.mono,
            as_of: false,
        };
        tables.gone.insert(zone.clone(), state);
        tables.unwritten.insert(Key::Parent(zone.clone()));
        true
    }

    /// A server of the zone has said something of use. `Some` when it was thought to be gone: what was found through its
    /// delegations is to be found anew.
    pub fn heard(&self, zone: &Name) -> Option<Back> {
        let mut tables = self.tables();
        if tables.gone.is_empty() {
            return None;
        }
        let state = tables.remove_gone(zone)?;
        tables.end_use(zone);
        Some(Back {
            since_s: state.since_s,
            as_of: state.as_of,
        })
    }

    /// The entry that an answer of `zone` was found through: the deepest one in use at or above it.
    pub fn through(&self, zone: &Name, now: Now) -> Option<RetainedNote> {
        let tables = self.tables();
        let used = |labels| {
            let at = zone.suffix(labels);
            let entry = tables.zones.get(&at)?;
            (entry.taken_until > now.mono).then(|| entry.note(&at, now))
        };
        (1..=zone.label_count()).rev().find_map(used)
    }

    /// What is kept of the cuts on the way to `home`, from the top. A proof that has run out is none but while its parent is gone.
    pub fn cuts(&self, home: &Name, now: Now) -> Vec<KeptCut> {
        let tables = self.tables();
        if tables.zones.is_empty() {
            return Vec::new();
        }
        let kept = |labels| {
            let zone = home.suffix(labels);
            let entry = tables.zones.get(&zone)?;
            let note = entry.note(&zone, now);
            if entry.cut == Cut::NotTold || note.age_s > self.settings.age_max_s {
                return None;
            }
            let needed = entry.taken_until > now.mono || tables.gone.contains_key(&note.parent);
            (needed || !entry.cut.has_run_out(now.wall_s)).then(|| KeptCut {
                cut: entry.cut.clone(),
                needed,
                note,
            })
        };
        (1..=home.label_count()).filter_map(kept).collect()
    }

    /// Something was accepted as of its verification because `parent` is gone.
    pub fn note_as_of(&self, parent: &Name) {
        if let Some(state) = self.tables().gone.get_mut(parent) {
            state.as_of = true;
        }
    }

    /// Addresses of a name server from an earlier search.
    pub fn addresses(&self, host: &Name, rtype: Rtype, now: Now) -> Option<KeptAddresses> {
        let mut tables = self.tables();
        let is_below_gone = tables.gone_above(host).is_some();
        let known = tables.hosts.get(host)?;
        if now.wall_s.saturating_sub(known.seen_s) > self.settings.age_max_s {
            tables.remove_host(host);
            return None;
        }
        let list = known.list(rtype)?.to_vec();
        let known = tables.host_mut(host)?;
        known.uses.count(now.wall_s);
        if is_below_gone && !known.failing {
            // The way to it leads through memory at best: it is looked for beside.
            (known.failing, known.look_at) = (true, now.mono);
        }
        let look = known.failing && known.look_at <= now.mono;
        if look {
            known.look_at = now.mono + LOOK_EVERY;
        }
        Some(KeptAddresses {
            list,
            failing: known.failing,
            look,
        })
    }

    /// Whether addresses of this name server are kept.
    pub fn knows_host(&self, host: &Name) -> bool {
        self.tables().hosts.contains_key(host)
    }

    /// Addresses of a name server could not be looked up.
    pub fn lookup_failed(&self, host: &Name, now: Now) {
        if let Some(known) = self.tables().host_mut(host)
            && !known.failing
        {
            known.failing = true;
            known.look_at = now.mono + LOOK_EVERY;
        }
    }

    // --- upkeep ------------------------------------------------------------------------------------

    /// The most used entries that their parent has not confirmed for `older_than_s`, at most `count`, while it is not gone.
    pub fn due(&self, older_than_s: u64, uses_min: u16, count: usize, now: Now) -> Vec<Name> {
        let tables = self.tables();
        let is_due = |(zone, entry): &(&Name, &Arc<Entry>)| {
            now.wall_s.saturating_sub(entry.confirmed_s) >= older_than_s
                && entry.uses.now(now.wall_s) >= uses_min
                && !tables.gone.contains_key(&entry.parent(zone))
        };
        let due = tables.zones.iter().filter(is_due);
        let mut due: Vec<_> = due.map(|(z, e)| (e.uses.now(now.wall_s), z)).collect();
        due.sort_by_key(|(uses, _)| std::cmp::Reverse(*uses));
        due.truncate(count);
        due.into_iter().map(|(_, zone)| zone.clone()).collect()
    }

    /// Forgets the entries at `name`, and with `tree` everything below it; returns how many delegations and servers went.
    pub fn forget(&self, name: &Name, tree: bool) -> (usize, usize) {
        let mut tables = self.tables();
        let before = (tables.zones.len(), tables.hosts.len());
        let goes = |own: &Name| own == name || tree && own.is_within(name);
        let zones: Vec<Name> = tables.zones.keys().filter(|z| goes(z)).cloned().collect();
        let hosts: Vec<Name> = tables.hosts.keys().filter(|h| goes(h)).cloned().collect();
        zones.iter().for_each(|zone| tables.remove_zone(zone));
        hosts.iter().for_each(|host| tables.remove_host(host));
        (before.0 - tables.zones.len(), before.1 - tables.hosts.len())
    }

    /// Everything in numbers.
    pub fn stats(&self) -> Stats {
        let tables = self.tables();
        Stats {
            zones: TableStats {
                entries: tables.zones.len(),
                bytes: tables.zones_bytes,
            },
            hosts: TableStats {
                entries: tables.hosts.len(),
                bytes: tables.hosts_bytes,
            },
            gone: tables.gone.len(),
        }
    }

    /// Entries that a denial has ended, since the start.
    pub fn killed(&self) -> u64 {
        self.tables().killed
    }

    /// Zones whose servers are known to be gone, and whose delegations are in use.
    pub fn gone(&self) -> Vec<Gone> {
        let tables = self.tables();
        let mut gone: Vec<Gone> = (tables.gone.iter())
            .map(|(zone, state)| Gone {
                zone: zone.clone(),
                since_s: state.since_s,
            })
            .collect();
        gone.sort_by(|a, b| a.zone.cmp(&b.zone));
        gone
    }

    /// The deepest zone above `name` whose servers are known to be gone.
    pub fn gone_above(&self, name: &Name) -> Option<Name> {
        self.tables().gone_above(name)
    }

    fn good_s(&self) -> u64 {
        self.good_s.load(Ordering::Relaxed)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Sound between any two operations.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// The highest kept zone below `parent` on the way to the question that `parent` itself delegated.
    fn child(&self, parent: &Name, question: &Question) -> Option<Name> {
        if self.zones.is_empty() || !question.name.is_within(parent) {
            return None;
        }
        let above = parent.label_count();
        // RFC 4035 section 3.1.4.1: a DS is the parent's to answer, so no delegation leads to it.
        let deepest = match question.rtype {
            Rtype::DS => question.name.label_count().checked_sub(1)?,
            _ => question.name.label_count(),
        };
        (above + 1..=deepest).find_map(|labels| {
            let zone = question.name.suffix(labels);
            let entry = self.zones.get(&zone)?;
            (usize::from(entry.parent_labels) == above).then_some(zone)
        })
    }

    /// Whether anything below the zone is kept. In canonical order a name is followed by what is below it.
    fn delegates(&self, zone: &Name) -> bool {
        use std::ops::Bound::{Excluded, Unbounded};
        let next = self.zones.range((Excluded(zone), Unbounded)).next();
        next.is_some_and(|(below, _)| below.is_below(zone))
    }

    fn remove_below(&mut self, zone: &Name) -> usize {
        use std::ops::Bound::{Excluded, Unbounded};
        let below = self.zones.range((Excluded(zone), Unbounded));
        let below = below.map(|(name, _)| name);
        let below: Vec<Name> = below.take_while(|n| n.is_below(zone)).cloned().collect();
        below.iter().for_each(|name| self.remove_zone(name));
        below.len()
    }

    /// The zone's servers are back: none of its delegations is in use.
    fn end_use(&mut self, zone: &Name) {
        let labels = zone.label_count();
        let below = self.zones.range_mut(zone..);
        for (_, entry) in below.take_while(|(name, _)| name.is_within(zone)) {
            if usize::from(entry.parent_labels) == labels && !entry.taken_until.is_zero() {
                Arc::make_mut(entry).taken_until = Duration::ZERO;
            }
        }
    }

    /// A zone's entry, to be changed here alone.
    fn zone_mut(&mut self, zone: &Name) -> Option<&mut Entry> {
        self.zones.get_mut(zone).map(Arc::make_mut)
    }

    /// The same of a name server.
    fn host_mut(&mut self, name: &Name) -> Option<&mut Host> {
        self.hosts.get_mut(name).map(Arc::make_mut)
    }

    fn put_zone(&mut self, zone: Name, entry: Arc<Entry>) {
        self.zones_bytes += entry.bytes(&zone);
        if let Some(old) = self.zones.get(&zone) {
            self.zones_bytes -= old.bytes(&zone);
        }
        self.zones.insert(zone, entry);
    }

    fn put_host(&mut self, name: Name, host: Arc<Host>) {
        self.hosts_bytes += host.bytes(&name);
        if let Some(old) = self.hosts.get(&name) {
            self.hosts_bytes -= old.bytes(&name);
        }
        self.hosts.insert(name, host);
    }

    fn gone_above(&self, name: &Name) -> Option<Name> {
        if self.gone.is_empty() {
            return None;
        }
        let above = (1..name.label_count()).rev().map(|n| name.suffix(n));
        let mut gone = above.filter(|zone| self.gone.contains_key(zone));
        gone.next()
    }

    /// The zone is gone no more.
    fn remove_gone(&mut self, zone: &Name) -> Option<State> {
        let state = self.gone.remove(zone)?;
        if state.written_s > 0 {
            self.unwritten.insert(Key::Parent(zone.clone()));
        } else {
            self.unwritten.remove(&Key::Parent(zone.clone()));
        }
        Some(state)
    }

    fn remove_zone(&mut self, zone: &Name) {
        if let Some(old) = self.zones.remove(zone) {
            self.zones_bytes -= old.bytes(zone);
            self.removed(Key::Zone(zone.clone()), old.written_s);
        }
    }

    fn remove_host(&mut self, name: &Name) {
        if let Some(old) = self.hosts.remove(name) {
            self.hosts_bytes -= old.bytes(name);
            self.removed(Key::Host(name.clone()), old.written_s);
        }
    }

    /// What never came to the disk need not be removed from it.
    fn removed(&mut self, key: Key, written_s: u64) {
        match written_s {
            0 => drop(self.unwritten.remove(&key)),
            _ => drop(self.unwritten.insert(key)),
        }
    }

    fn make_room(&mut self, settings: &Settings, now: Now) {
        if self.unwritable {
            self.unwritten.clear();
        }
        let bytes = self.zones_bytes + self.hosts_bytes;
        if self.zones.len() > settings.entries_max || bytes > BYTES_MAX {
            let rank = |(_, e): (&Name, &Arc<Entry>)| (e.uses.now(now.wall_s), e.confirmed_s);
            let least = least_used(self.zones.iter().map(rank).collect());
            let goes = |(_, e): &(&Name, &Arc<Entry>)| {
                least.is_some_and(|least| (e.uses.now(now.wall_s), e.confirmed_s) <= least)
            };
            let gone: Vec<Name> = (self.zones.iter().filter(goes))
                .map(|(zone, _)| zone.clone())
                .collect();
            gone.iter().for_each(|zone| self.remove_zone(zone));
        }
        if self.hosts.len() > settings.entries_max || bytes > BYTES_MAX {
            let rank = |(_, h): (&Name, &Arc<Host>)| (h.uses.now(now.wall_s), h.seen_s);
            let least = least_used(self.hosts.iter().map(rank).collect());
            let goes = |(_, h): &(&Name, &Arc<Host>)| {
                least.is_some_and(|least| (h.uses.now(now.wall_s), h.seen_s) <= least)
            };
            let gone: Vec<Name> = (self.hosts.iter().filter(goes))
                .map(|(host, _)| host.clone())
                .collect();
            gone.iter().for_each(|host| self.remove_host(host));
        }
    }
}

/// The rank up to which entries go, so that the least used share of them does.
fn least_used(mut ranks: Vec<(u16, u64)>) -> Option<(u16, u64)> {
    let at = (ranks.len() / FORGET_SHARE).min(ranks.len().checked_sub(1)?);
    Some(*ranks.select_nth_unstable(at).1)
}

impl Uses {
    /// Whether it is worth a place on disk now.
    fn is_settled(self, since_s: u64, now_s: u64) -> bool {
        self.now(now_s) > 1 || now_s.saturating_sub(since_s) >= WRITE_AFTER_S
    }
}
