//! Retained delegations at work: learned, used, refreshed, and kept on disk.
//!
//! What is kept and when it is used is decided in `resolve::retained` and `resolve::iterate`. Here is what needs to wait: the search
//! for addresses that may be in vain, the one writer that brings changes to the ledger, and the loop that asks the parents of the most
//! used zones anew, so that what an outage finds here is not older than need be.
//!
//! Failure: rows that cannot be written are written later; a row that does not check is dropped by the ledger and learned again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::raw::RawAsk;
use super::{Options, Resolver, Shared};
use crate::cache::Occasion;
use crate::clock::format_utc;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::retained::rows::{HostRow, ParentRow, Unwritten, ZoneRow};
use crate::resolve::retained::{Cut, Key, USE_TTL_S};
use crate::resolve::trace::What;
use crate::resolve::validate::{Validation, Verdict};
use crate::resolve::{Response, Security};
use crate::store::{
    Changes, Durability, GoneRow, Ledger, RetainedHostRow, RetainedRow, hex, unhex,
};

/// How long addresses of a name server are looked for before those found earlier are used.
const ADDRESS_WAIT: Duration = Duration::from_millis(1000);
/// When a zone was gone for so long, in seconds, failures are forgotten at its return.
const FORGET_FAILURES_AFTER_S: u64 = 5;
/// Zones with so many labels are not everybody's to have: the root and the top level.
const TOP_LABELS_MAX: usize = 1;
/// Time between two looks for changes to write, while there are some and while there are none.
const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITE_IDLE: Duration = Duration::from_secs(5);
/// Rows in one transaction.
const ROWS_PER_WRITE_MAX: usize = 2000;
/// Time between two looks for what is to be refreshed.
const REFRESH_LOOK_EVERY: Duration = Duration::from_secs(60);
/// A delegation is refreshed when its parent has not confirmed it for so long, in seconds.
const REFRESH_AFTER_S: u64 = 12 * 3600;
/// Only what is used so often is refreshed.
const REFRESH_USES_MIN: u16 = 2;
/// Refreshes per look, spread over the time to the next: one a second.
const REFRESHES_PER_LOOK_MAX: usize = 60;
const REFRESH_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    // --- learning and use --------------------------------------------------------------------------

    /// A server of the zone has answered. If it was thought to be gone, what was found without it is found anew.
    pub(super) fn note_heard(&self, zone: &Name) {
        self.note_zone_back(zone);
        self.failures.heard(zone);
        let Some(back) = self.retained.heard(zone) else {
            return;
        };
        let since = format_utc(back.since_s);
        tracing::info!(%zone, since, "servers of the zone answer again: its retained delegations are put aside");
        self.knowledge.purge_retained(zone);
        // At the top, what failed anywhere may succeed now. Further down a zone is anybody's, who may let it go and come as he
        // likes: it ends only the failures below it, and has no whole cache looked through for what runs out in half a minute.
        let is_top = zone.label_count() <= TOP_LABELS_MAX;
        // Not for a moment's silence: failures are remembered for a reason.
        let gone_s = self.clock.now().wall_s.saturating_sub(back.since_s);
        match gone_s >= FORGET_FAILURES_AFTER_S {
            true if is_top => self.failures.forget_all(self.clock.now()),
            true => drop(self.failures.forget(zone, true)),
            false => {}
        }
        if back.as_of && is_top {
            self.cache.purge_as_of();
            if let Some(validator) = &self.validator {
                validator.purge_as_of();
            }
        }
        self.show_retained();
    }

    /// A denial that is not bogus ends what its zone once delegated on the way to the name. One without SOA may be another zone's.
    pub(super) fn note_denial(&self, question: &Question, response: &Response, verdict: &Verdict) {
        let sound = matches!(verdict.security, Security::Secure | Security::Insecure);
        let own = |s: &crate::dns::RrSet| s.rtype == Rtype::SOA && s.name == response.zone;
        if sound && response.answer.is_empty() && response.authority.iter().any(own) {
            let gone = self.retained.denied(&response.zone, question);
            if gone > 0 {
                // It may be in use, and would make a denial by the zone above it look misplaced.
                self.knowledge.purge_retained(&response.zone);
            }
            self.metrics.retained_denied_total.add(gone as u64);
        }
    }

    /// What a validation has proven of the cuts on its way, and what it had to take as it was.
    pub(super) fn note_cuts(&self, validation: &Validation) {
        for proven in validation.proven_cuts() {
            self.retained.learn_cut(&proven.zone, &proven.cut);
            self.keep_ds(proven);
        }
        for proven in validation.proven_keys() {
            self.keep_keys(proven);
        }
        if let Some(note) = validation.accepted_as_of() {
            self.retained.note_as_of(&note.parent);
        }
    }

    /// Addresses of a name server: looked up, or where that fails or takes too long as they were found last.
    pub(super) async fn addresses(
        self: &Arc<Self>,
        ask: RawAsk,
        anew: bool,
        budget: &Arc<Budget>,
    ) -> Result<Vec<IpAddr>, String> {
        let (name, rtype) = (ask.question.name.clone(), ask.question.rtype);
        let kept = self.retained.addresses(&name, rtype, self.clock.now());
        let Some(kept) = kept else {
            return self.find_addresses(ask, anew, budget).await;
        };
        let trace = ask.trace.clone();
        if kept.failing {
            if kept.look {
                self.look_anew(RawAsk::new(ask.question));
            }
        } else {
            match timeout(ADDRESS_WAIT, self.find_addresses(ask, anew, budget)).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(_)) | Err(_) => self.retained.lookup_failed(&name, self.clock.now()),
            }
        }
        let now = self.clock.now();
        trace.note(now, || What::RetainedAddresses {
            name: name.to_string(),
            addresses: kept.list.len(),
        });
        self.metrics.retained_addresses_total.inc();
        (self.knowledge).learn_addresses(&name, rtype, kept.list.clone(), None, USE_TTL_S, now);
        Ok(kept.list)
    }

    /// Looks up addresses beside the question that wanted them.
    fn look_anew(self: &Arc<Self>, mut ask: RawAsk) {
        let shared = self.clone();
        ask.depth = 1;
        tokio::spawn(async move {
            let budget = Arc::new(Budget::new(shared.clock.now()));
            let _ = shared.find_addresses(ask, true, &budget).await;
        });
    }

    fn show_retained(&self) {
        let stats = self.retained.stats();
        let metrics = &self.metrics;
        metrics.retained_entries.set(stats.zones.entries as u64);
        metrics.retained_servers.set(stats.hosts.entries as u64);
        let bytes = stats.zones.bytes + stats.hosts.bytes;
        metrics.retained_bytes.set(bytes as u64);
        metrics.retained_parents_gone.set(stats.gone as u64);
    }

    // --- refresh -----------------------------------------------------------------------------------

    /// Asks the parent of `zone` for its delegation, and validates what it says of the DS set.
    async fn refresh_delegation(self: &Arc<Self>, zone: &Name) -> bool {
        let budget = Arc::new(Budget::new(self.clock.now()));
        // Past what is known, from the parent.
        let ask = RawAsk {
            from_parent: true,
            ..RawAsk::new(Question::new(zone.clone(), Rtype::NS))
        };
        let found = self.raw(ask, &budget).await;
        if let Ok(response) = &found
            && response.zone != *zone
        {
            // The parent itself has answered: it does not delegate the name any more.
            let question = Question::new(zone.clone(), Rtype::NS);
            let verdict = self.judge(&question, response, &budget).await;
            self.note_denial(&question, response, &verdict);
        }
        let ds = RawAsk {
            refresh: true,
            ..RawAsk::new(Question::new(zone.clone(), Rtype::DS))
        };
        let options = Options::default();
        let judged = self.link(ds, options, Occasion::Refresh, &budget).await;
        found.is_ok() && judged.is_ok()
    }
}

impl Resolver {
    /// Refreshes the retained delegations that are used most, for as long as it is polled.
    pub async fn refresh_retained(self) {
        let shared = self.0;
        if !shared.settings.retained.enabled {
            return;
        }
        loop {
            sleep(REFRESH_LOOK_EVERY).await;
            shared.show_retained();
            let now = shared.clock.now();
            shared.retained.confirm_gone(now);
            let due = shared.retained.due(
                REFRESH_AFTER_S,
                REFRESH_USES_MIN,
                REFRESHES_PER_LOOK_MAX,
                now,
            );
            for zone in due {
                sleep(REFRESH_EVERY).await;
                shared.metrics.retained_refreshes_total.inc();
                if !shared.refresh_delegation(&zone).await {
                    shared.metrics.retained_refresh_failures_total.inc();
                }
            }
        }
    }

    /// Takes back from the ledger what was retained, and keeps the ledger at what is, for as long as it is polled.
    pub fn keep_retained(self, ledger: Arc<Ledger>) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.0;
        // At once: who asks before this is polled for the first time has to wait for the rows, too.
        shared.retained.begin_restore();
        async move {
            let (reader, from) = (shared.clone(), ledger.clone());
            let _ = tokio::task::spawn_blocking(move || reader.restore(&from)).await;
            shared.retained.end_restore();
            shared.show_retained();
            loop {
                let wrote = shared.clone().write_retained(ledger.clone(), false).await;
                match wrote {
                    0 => sleep(WRITE_IDLE).await,
                    _ => sleep(WRITE_EVERY).await,
                }
            }
        }
    }

    /// Writes everything that the ledger does not have yet. For the end.
    pub async fn save_retained(&self, ledger: &Arc<Ledger>) {
        while self.0.clone().write_retained(ledger.clone(), true).await > 0 {}
    }
}

impl Shared {
    fn restore(&self, ledger: &Ledger) {
        let now = self.clock.now();
        ledger.for_each(RetainedRow::PREFIX, |row: RetainedRow| {
            self.retained.restore_zone(row.into(), now);
        });
        ledger.for_each(RetainedHostRow::PREFIX, |row: RetainedHostRow| {
            self.retained.restore_host(row.into(), now);
        });
        ledger.for_each(GoneRow::PREFIX, |row: GoneRow| {
            self.retained.restore_gone(row.into(), now);
        });
        let stats = self.retained.stats();
        let (delegations, servers, gone) = (stats.zones.entries, stats.hosts.entries, stats.gone);
        if delegations + servers > 0 {
            tracing::info!(
                delegations,
                servers,
                gone,
                "retained delegations were read back"
            );
        }
    }

    /// Writes one transaction; says how many rows it had. Nothing counts as written that was not.
    async fn write_retained(self: Arc<Self>, ledger: Arc<Ledger>, all: bool) -> usize {
        let now = self.clock.now();
        let changes = self.retained.take_unwritten(ROWS_PER_WRITE_MAX, all, now);
        if changes.is_empty() {
            return 0;
        }
        self.show_retained();
        let write = move || {
            let rows = changes.iter().fold(Changes::new(), with_change);
            let done = ledger.commit(rows, Durability::Soon);
            (changes, done)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok((changes, Ok(()))) => changes.len(),
            Ok((changes, Err(error))) => {
                tracing::warn!(%error, "retained delegations could not be written; they are written later");
                self.retained.put_back(&changes);
                0
            }
            Err(_) => 0,
        }
    }
}

fn with_change(rows: Changes, change: &Unwritten) -> Changes {
    match change {
        Unwritten::Zone(row) => rows.put(&RetainedRow::from(row)),
        Unwritten::Host(row) => rows.put(&RetainedHostRow::from(row)),
        Unwritten::Parent(row) => rows.put(&GoneRow::from(row)),
        Unwritten::Gone(Key::Parent(zone)) => rows.remove::<GoneRow>(GoneRow::key_of(zone)),
        Unwritten::Gone(Key::Zone(zone)) => rows.remove::<RetainedRow>(RetainedRow::key_of(zone)),
        Unwritten::Gone(Key::Host(host)) => {
            rows.remove::<RetainedHostRow>(RetainedHostRow::key_of(host))
        }
    }
}

impl From<&ZoneRow> for RetainedRow {
    fn from(row: &ZoneRow) -> RetainedRow {
        let server = |(name, glue): &(Name, Vec<IpAddr>)| (name.to_string(), glue.clone());
        RetainedRow {
            zone: row.zone.clone(),
            parent: row.parent.clone(),
            servers: row.servers.iter().map(server).collect(),
            ds: match &row.cut {
                Cut::NotTold => None,
                Cut::Signed { ds, .. } => Some(ds.iter().map(|rdata| hex(rdata)).collect()),
                Cut::Unsigned { .. } => Some(Vec::new()),
            },
            ds_until_at: row.cut.until_s(),
            confirmed_at: row.confirmed_s,
            uses: row.uses,
            used_at: row.used_s,
        }
    }
}

impl From<RetainedRow> for ZoneRow {
    /// A server whose name is none is left out, and so is a DS set with data that is none.
    fn from(row: RetainedRow) -> ZoneRow {
        let until_s = row.ds_until_at;
        let cut = match row
            .ds
            .map(|list| list.iter().map(|d| unhex(d)).collect::<Option<Vec<_>>>())
        {
            Some(Some(list)) if list.is_empty() => Cut::Unsigned { until_s },
            Some(Some(list)) => Cut::Signed {
                ds: list.into_iter().map(Vec::into_boxed_slice).collect(),
                until_s,
            },
            Some(None) | None => Cut::NotTold,
        };
        let server = |(name, glue): (String, Vec<IpAddr>)| Some((name.parse().ok()?, glue));
        ZoneRow {
            servers: row.servers.into_iter().filter_map(server).collect(),
            zone: row.zone,
            parent: row.parent,
            cut,
            confirmed_s: row.confirmed_at,
            uses: row.uses,
            used_s: row.used_at,
        }
    }
}

impl From<&HostRow> for RetainedHostRow {
    fn from(row: &HostRow) -> RetainedHostRow {
        RetainedHostRow {
            host: row.host.clone(),
            a: row.a.clone(),
            aaaa: row.aaaa.clone(),
            seen_at: row.seen_s,
            uses: row.uses,
            used_at: row.used_s,
        }
    }
}

impl From<RetainedHostRow> for HostRow {
    fn from(row: RetainedHostRow) -> HostRow {
        HostRow {
            host: row.host,
            a: row.a,
            aaaa: row.aaaa,
            seen_s: row.seen_at,
            uses: row.uses,
            used_s: row.used_at,
        }
    }
}

impl From<&ParentRow> for GoneRow {
    fn from(row: &ParentRow) -> GoneRow {
        GoneRow {
            zone: row.zone.clone(),
            since_at: row.since_s,
            seen_at: row.seen_s,
        }
    }
}

impl From<GoneRow> for ParentRow {
    fn from(row: GoneRow) -> ParentRow {
        ParentRow {
            zone: row.zone,
            since_s: row.since_at,
            seen_s: row.seen_at,
        }
    }
}
