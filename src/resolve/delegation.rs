//! What is known of who serves a zone: delegations, and addresses of name servers.
//!
//! Why: NS sets and glue of a parent are hints, never answers. They steer questions and are validated by what the
//! servers then say, so they live apart from the answer cache, and reach a client only as a referral (`task/without_rd`).
//!
//! Model: a [`Delegation`] is what a parent (by network or mirror) said about one zone. The deepest live
//! one above a name is where its iteration starts. [`Knowledge`] also keeps addresses of name servers that were asked
//! for by name, and the DS answers that came along with referrals, so that validation need not ask for them again.
//!
//! A delegation stands only as long as the one of the zone that gave it does. A zone that its parent no longer delegates could
//! otherwise live on below itself, each of its subzones with a fresh TTL (ghost and phoenix domains, CVE-2022-30698 and CVE-2022-30699).
//! What a zone's own servers say of its NS set is an answer for clients and prolongs nothing, but for the root's.
//!
//! Failure: every table is bounded, in entries and in bytes, and forgets its soonest-dead half when full; forgetting costs
//! packets only.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::account::{arc_bytes, block_bytes, table_bytes};
use crate::cache::entry::{AS_OF_TTL_MAX_S, Expiry};
use crate::clock::Now;
use crate::dns::{Name, Question, Rdata, RrSet, Rrsig, Rtype};
use crate::resolve::{LocalTrust, Origin, Response};

/// Entries of each table.
const TABLE_MAX: usize = 200_000;
/// Bytes of each table with all that it holds: strangers decide how many an entry has.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// Larger entries are not kept: a DNSKEY answer may have the size of a TCP message.
const ENTRY_BYTES_MAX: usize = 16 << 10;
/// Name servers of one delegation that are looked at; more are ignored.
pub const NAMES_MAX: usize = 32;
/// Addresses of one name server that are looked at.
pub const ADDRESSES_PER_NAME_MAX: usize = 8;
/// How long a delegation may be kept, seconds, whatever its TTL says.
pub const DELEGATION_TTL_MAX_S: u32 = 86_400;
/// How long it is remembered that at a name nobody is referred on, seconds: no zone begins there, or one with the same servers.
/// Nothing goes wrong when that changes: a question for more of the name is referred on just as well.
const UNCUT_TTL_S: u32 = 300;
/// Time between two searches for addresses of a name server while known ones lead nowhere: questions for a dead zone must not
/// become questions to those who know its servers' addresses.
const NEW_LOOK_EVERY: Duration = Duration::from_secs(30);

/// Who named the servers of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegationOrigin {
    /// The root hints of the configuration.
    Hints,
    /// A `[[forward]]` or `[[stub]]` table: these servers answer for the zone whoever's it is.
    Forward,
    /// A server of the parent.
    Network,
    /// A mirror of the parent, trusted so far.
    Mirror(LocalTrust),
    /// A server of the parent, earlier: the parent cannot be reached.
    Retained,
}

/// The servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The zone.
    pub zone: Name,
    /// Its name servers, each with the addresses that came along.
    pub servers: Vec<(Name, Vec<IpAddr>)>,
    /// When this must be asked for again; `None` for hints.
    pub expiry: Option<Expiry>,
    /// Who said so.
    pub origin: DelegationOrigin,
}

impl Delegation {
    /// The delegation of the root by hints.
    pub fn hints(servers: Vec<(Name, Vec<IpAddr>)>) -> Delegation {
        Delegation {
            zone: Name::root(),
            servers,
            expiry: None,
            origin: DelegationOrigin::Hints,
        }
    }
}

/// A delegation, and the zone whose servers gave it; `None` where that needs no delegation of its own to be believed.
#[derive(Debug, Clone)]
struct Known {
    delegation: Arc<Delegation>,
    parent: Option<Name>,
    /// In monotonic time.
    learned_at: Duration,
}

/// Whether the zone whose servers gave a delegation is still delegated itself, up to the root.
fn stands(all: &Entries<Name, Known>, known: &Known, now: Now) -> bool {
    let mut parent = known.parent.as_ref();
    while let Some(zone) = parent.filter(|zone| !zone.is_root()) {
        let Some((known, _)) = all.live(zone, now) else {
            return false;
        };
        parent = known.parent.as_ref();
        // Always upwards, or it does not end.
        if parent.is_some_and(|above| !zone.is_below(above)) {
            return false;
        }
    }
    true
}

/// A table in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Entries held, dead ones included.
    pub entries: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

/// Addresses of a name server, in one family.
#[derive(Debug, Clone)]
struct Addresses {
    list: Vec<IpAddr>,
    /// Nobody vouches for them: who gave them may have lied.
    from: Option<IpAddr>,
    /// Monotonic time before which they are not looked for anew.
    look_at: Duration,
    learned_at: Duration,
}

/// What resolution has learned about the way to data, as opposed to data.
#[derive(Debug)]
pub struct Knowledge {
    hints: Arc<Delegation>,
    delegations: Table<Name, Known>,
    addresses: Table<(Name, Rtype), Addresses>,
    raw: Table<(Name, Rtype), Response>,
    /// Names at which nobody is referred on, and since when that is known.
    uncut: Table<Name, Duration>,
}

impl Knowledge {
    /// Nothing but the root hints.
    pub fn new(root_hints: Vec<(Name, Vec<IpAddr>)>) -> Knowledge {
        Knowledge {
            hints: Arc::new(Delegation::hints(root_hints)),
            delegations: Table::default(),
            addresses: Table::default(),
            raw: Table::default(),
            uncut: Table::default(),
        }
    }

    /// Another one that knows the same now.
    pub fn copy(&self) -> Knowledge {
        Knowledge {
            hints: self.hints.clone(),
            delegations: self.delegations.copy(),
            addresses: self.addresses.copy(),
            raw: self.raw.copy(),
            uncut: self.uncut.copy(),
        }
    }

    /// The deepest live delegation that serves the question: at or above its name, for DS strictly
    /// above it (RFC 4035 section 3.1.4.1). The root's by hints if there is no other.
    pub fn deepest(&self, question: &Question, now: Now) -> Arc<Delegation> {
        let mut at = match question.rtype {
            Rtype::DS => question.name.parent(),
            _ => Some(question.name.clone()),
        };
        let known = self.delegations.lock();
        while let Some(name) = at {
            if let Some((found, _)) = known.live(&name, now)
                && stands(&known, found, now)
            {
                return found.delegation.clone();
            }
            at = name.parent();
        }
        self.hints.clone()
    }

    /// Keeps a delegation until its expiry. `parent` is the zone whose servers gave it; `None` for what stands by itself.
    pub fn learn(&self, delegation: Arc<Delegation>, parent: Option<Name>, now: Now) {
        if let Some(expiry) = delegation.expiry {
            let key = delegation.zone.clone();
            let known = Known {
                delegation,
                parent,
                learned_at: now.mono,
            };
            self.delegations.put(key, known, expiry, now);
        }
    }

    /// Drops the delegation of `zone`: its servers turned out not to serve it.
    pub fn forget(&self, zone: &Name) {
        self.delegations.remove(zone);
    }

    /// Servers of a zone above this name denied that it has data, and referred nobody on.
    pub fn learn_uncut(&self, name: &Name, now: Now) {
        let expiry = Expiry::after(now, UNCUT_TTL_S);
        self.uncut.put(name.clone(), now.mono, expiry, now);
    }

    /// Whether servers of a zone above answer for what is below this name, as was seen a short time ago.
    pub fn is_uncut(&self, name: &Name, now: Now) -> bool {
        self.uncut.lock().live(name, now).is_some()
    }

    /// Addresses of a name server, if they were asked for. An empty list is a known denial.
    pub fn addresses(&self, name: &Name, rtype: Rtype, now: Now) -> Option<Vec<IpAddr>> {
        let known = self.addresses.lock();
        let (known, _) = known.live(&(name.clone(), rtype), now)?;
        Some(known.list.clone())
    }

    /// Who gave the addresses of a name server, if there are any.
    pub fn addresses_from(&self, name: &Name, rtype: Rtype, now: Now) -> Option<IpAddr> {
        let known = self.addresses.live(&(name.clone(), rtype), now)?;
        known.from.filter(|_| !known.list.is_empty())
    }

    /// Whether addresses that lead nowhere are to be looked for anew before they run out: at once when they are new, later
    /// now and then. Who asks is expected to do so.
    pub fn claim_new_look(&self, name: &Name, rtype: Rtype, now: Now) -> bool {
        let key = (name.clone(), rtype);
        let due = |(known, _): &(Addresses, Expiry)| known.look_at <= now.mono;
        let Some((mut known, expiry)) = self.addresses.live_until(&key, now).filter(due) else {
            return false;
        };
        known.look_at = now.mono + NEW_LOOK_EVERY;
        self.addresses.put(key, known, expiry, now);
        true
    }

    /// Keeps addresses of a name server, and who gave them.
    pub fn learn_addresses(
        &self,
        name: &Name,
        rtype: Rtype,
        list: Vec<IpAddr>,
        from: Option<IpAddr>,
        ttl_s: u32,
        now: Now,
    ) {
        let expiry = Expiry::after(now, ttl_s);
        let key = (name.clone(), rtype);
        let look_at = match self.addresses.live(&key, now) {
            // Who waited for the same search tells the same, and has not looked anew.
            Some(known) if known.list == list && known.from == from => known.look_at,
            Some(_) => now.mono + NEW_LOOK_EVERY,
            None => now.mono,
        };
        let learned = Addresses {
            list,
            from,
            look_at,
            learned_at: now.mono,
        };
        self.addresses.put(key, learned, expiry, now);
    }

    /// The name server of a delegation that has this address, for people.
    pub fn server_name(&self, of: &Delegation, address: IpAddr, now: Now) -> Option<Name> {
        let learned = |name: &Name| {
            [Rtype::A, Rtype::AAAA].into_iter().any(|rtype| {
                let found = self.addresses(name, rtype, now);
                found.is_some_and(|a| a.contains(&address))
            })
        };
        let mut servers = of.servers.iter();
        let found = servers.find(|(name, glue)| glue.contains(&address) || learned(name));
        found.map(|(name, _)| name.clone())
    }

    /// A DS or DNSKEY answer that came earlier, not validated; its TTLs are what is left of them.
    pub fn raw(&self, question: &Question, now: Now) -> Option<Response> {
        let key = (question.name.clone(), question.rtype);
        let (mut response, expiry) = self.raw.live_until(&key, now)?;
        let left_s = expiry.left_s(now);
        for set in response.answer.iter_mut().chain(&mut response.authority) {
            set.ttl = set.ttl.min(left_s);
        }
        Some(response)
    }

    /// Whether the zone has a DS set, as far as is known; not validated.
    pub fn has_ds(&self, zone: &Name, now: Now) -> bool {
        let known = self.raw.lock();
        let known = known.live(&(zone.clone(), Rtype::DS), now);
        known.is_some_and(|(response, _)| response.answer.iter().any(|s| s.rtype == Rtype::DS))
    }

    /// Keeps a DS or DNSKEY answer for validation, no longer than its signatures are good for.
    pub fn learn_raw(&self, question: &Question, response: Response, ttl_s: u32, now: Now) {
        let ttl_s = match &response.origin {
            origin if is_as_of(origin) => ttl_s.min(AS_OF_TTL_MAX_S),
            _ => ttl_s.min(signatures_left_s(&response, now)),
        };
        let key = (question.name.clone(), question.rtype);
        self.raw.put(key, response, Expiry::after(now, ttl_s), now);
    }

    /// Drops everything that rests on as-of validation.
    pub fn purge_as_of(&self) {
        self.delegations.remove_if(|_, d| {
            d.delegation.origin == DelegationOrigin::Mirror(LocalTrust::SecureAsOf)
        });
        self.raw.remove_if(|_, r| is_as_of(&r.origin));
    }

    /// Drops the retained delegations of zones below `parent`: it can be asked again.
    pub fn purge_retained(&self, parent: &Name) {
        self.delegations.remove_if(|zone, d| {
            d.delegation.origin == DelegationOrigin::Retained && zone.is_below(parent)
        });
    }

    /// Forgets what was learned of the ways to servers since that monotonic time: who serves which zone, and where.
    pub fn forget_ways(&self, since: Duration) {
        self.uncut.remove_if(|_, at| *at >= since);
        self.delegations.remove_if(|_, d| d.learned_at >= since);
        self.addresses.remove_if(|_, a| a.learned_at >= since);
    }

    /// Forgets what is known of `name`, and with `tree` of everything below it; returns how many delegations, addresses, and
    /// DS or DNSKEY answers went. The hints stay.
    pub fn forget_under(&self, name: &Name, tree: bool) -> (usize, usize, usize) {
        let goes = |own: &Name| own == name || tree && own.is_within(name);
        self.uncut.remove_if(|own, _| goes(own));
        (
            self.delegations.remove_if(|zone, _| goes(zone)),
            self.addresses.remove_if(|(host, _), _| goes(host)),
            self.raw.remove_if(|(owner, _), _| goes(owner)),
        )
    }

    /// Delegations with the names at which there is none, addresses, DS and DNSKEY answers in numbers.
    pub fn stats(&self) -> [TableStats; 3] {
        let (cuts, uncut) = (self.delegations.stats(), self.uncut.stats());
        [
            TableStats {
                entries: cuts.entries + uncut.entries,
                bytes: cuts.bytes + uncut.bytes,
            },
            self.addresses.stats(),
            self.raw.stats(),
        ]
    }
}

/// How long the signatures of a response allow it to be kept: of each signed set, the longest that one of its
/// signatures allows (RFC 4035 section 5.3.3: no longer than the original TTL and the rest of its validity).
/// Nothing is verified here, so which signature counts is not known; once all have run out the set is of no use.
fn signatures_left_s(response: &Response, now: Now) -> u32 {
    // RFC 4034 section 3.1.5: serial number arithmetic.
    let left_s = |sig: Rrsig<'_>| {
        let left_s = sig.expiration.wrapping_sub(now.wall_s as u32) as i32;
        sig.original_ttl.min(u32::try_from(left_s).unwrap_or(0))
    };
    let sets = response.answer.iter().chain(&response.authority);
    let of_sets = sets.filter_map(|set| {
        let sigs = set.sigs.iter().filter_map(|rdata| Rrsig::parse(rdata));
        sigs.map(left_s).max()
    });
    of_sets.min().unwrap_or(u32::MAX)
}

fn is_as_of(origin: &Origin) -> bool {
    matches!(origin, Origin::Mirror(note) if note.trust == LocalTrust::SecureAsOf)
}

/// What an entry of a table costs.
trait Weigh {
    /// Bytes on the heap, about.
    fn bytes(&self) -> usize;
}

impl Weigh for Name {
    fn bytes(&self) -> usize {
        block_bytes(self.wire().len())
    }
}

impl Weigh for Duration {
    fn bytes(&self) -> usize {
        0
    }
}

impl Weigh for (Name, Rtype) {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Weigh for Vec<IpAddr> {
    fn bytes(&self) -> usize {
        block_bytes(self.len() * size_of::<IpAddr>())
    }
}

impl Weigh for Addresses {
    fn bytes(&self) -> usize {
        self.list.bytes()
    }
}

impl Weigh for Known {
    fn bytes(&self) -> usize {
        let delegation = &self.delegation;
        let servers = &delegation.servers;
        let server = |(n, a): &(Name, Vec<IpAddr>)| n.bytes() + a.bytes();
        arc_bytes(size_of::<Delegation>())
            + delegation.zone.bytes()
            + self.parent.as_ref().map_or(0, Weigh::bytes)
            + block_bytes(servers.capacity() * size_of::<(Name, Vec<IpAddr>)>())
            + servers.iter().map(server).sum::<usize>()
    }
}

impl Weigh for Response {
    fn bytes(&self) -> usize {
        let list = |l: &Vec<Rdata>| {
            let own = block_bytes(l.capacity() * size_of::<Rdata>());
            own + l.iter().map(|r| block_bytes(r.len())).sum::<usize>()
        };
        let set = |s: &RrSet| s.name.bytes() + list(&s.rdatas) + list(&s.sigs);
        let section = |sets: &Vec<RrSet>| {
            let own = block_bytes(sets.capacity() * size_of::<RrSet>());
            own + sets.iter().map(set).sum::<usize>()
        };
        self.zone.bytes() + section(&self.answer) + section(&self.rest) + section(&self.authority)
    }
}

/// A bounded map whose values die.
#[derive(Debug)]
struct Table<K, V>(Mutex<Entries<K, V>>);

#[derive(Debug, Clone)]
struct Entries<K, V> {
    map: HashMap<K, (V, Expiry)>,
    bytes: usize,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table(Mutex::new(Entries {
            map: HashMap::new(),
            bytes: 0,
        }))
    }
}

impl<K: Eq + Hash + Weigh, V: Clone + Weigh> Table<K, V> {
    fn live(&self, key: &K, now: Now) -> Option<V> {
        let (value, _) = self.live_until(key, now)?;
        Some(value)
    }

    fn live_until(&self, key: &K, now: Now) -> Option<(V, Expiry)> {
        self.lock().live(key, now).cloned()
    }

    fn put(&self, key: K, value: V, expiry: Expiry, now: Now) {
        let mut entries = self.lock();
        entries.remove(&key);
        let size = weight(&key, &value);
        if size > ENTRY_BYTES_MAX {
            return;
        }
        while !entries.map.is_empty()
            && (entries.map.len() >= TABLE_MAX || entries.total_bytes() + size > TABLE_BYTES_MAX)
        {
            entries.make_room(now);
        }
        entries.bytes += size;
        entries.map.insert(key, (value, expiry));
    }

    fn remove(&self, key: &K) {
        self.lock().remove(key);
    }

    fn copy(&self) -> Table<K, V>
    where
        K: Clone,
    {
        Table(Mutex::new(self.lock().clone()))
    }

    fn remove_if(&self, dead: impl Fn(&K, &V) -> bool) -> usize {
        let mut entries = self.lock();
        let before = entries.map.len();
        entries.retain(|k, v, _| !dead(k, v));
        before - entries.map.len()
    }

    fn stats(&self) -> TableStats {
        let entries = self.lock();
        TableStats {
            entries: entries.map.len(),
            bytes: entries.total_bytes(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Weigh, V: Weigh> Entries<K, V> {
    fn live(&self, key: &K, now: Now) -> Option<&(V, Expiry)> {
        self.map.get(key).filter(|(_, e)| e.is_live(now))
    }

    /// What the entries hold, and the table itself.
    fn total_bytes(&self) -> usize {
        self.bytes + table_bytes(self.map.capacity(), size_of::<(K, (V, Expiry))>())
    }

    fn remove(&mut self, key: &K) {
        if let Some((value, _)) = self.map.remove(key) {
            self.bytes -= weight(key, &value);
        }
    }

    fn retain(&mut self, keep: impl Fn(&K, &V, &Expiry) -> bool) {
        let bytes = &mut self.bytes;
        self.map.retain(|k, (v, e)| {
            let kept = keep(k, v, e);
            if !kept {
                *bytes -= weight(k, v);
            }
            kept
        });
    }

    /// Forgets the half that dies first.
    fn make_room(&mut self, now: Now) {
        let mut left: Vec<u32> = self.map.values().map(|(_, e)| e.left_s(now)).collect();
        let middle = left.len() / 2;
        let (_, &mut median, _) = left.select_nth_unstable(middle);
        self.retain(|_, _, e| e.left_s(now) > median);
    }
}

fn weight(key: &impl Weigh, value: &impl Weigh) -> usize {
    key.bytes() + value.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rcode;
    use crate::resolve::MirrorNote;
    use std::time::Duration;

    fn delegation(zone: &str, ttl_s: u32, origin: DelegationOrigin) -> Arc<Delegation> {
        Arc::new(Delegation {
            zone: zone.parse().unwrap(),
            servers: Vec::new(),
            expiry: Some(Expiry::after(Now::default(), ttl_s)),
            origin,
        })
    }

    #[test]
    fn the_deepest_live_delegation_wins_and_ds_is_asked_above() {
        let k = Knowledge::new(Vec::new());
        let start = Now::default();
        k.learn(
            delegation("com.", 100, DelegationOrigin::Network),
            Some(Name::root()),
            start,
        );
        k.learn(
            delegation("a.com.", 10, DelegationOrigin::Network),
            Some("com.".parse().unwrap()),
            start,
        );
        let later = Now::new(Duration::from_secs(50), 50);
        for (name, rtype, now, expected) in [
            ("www.a.com.", Rtype::A, start, "a.com."),
            ("a.com.", Rtype::A, start, "a.com."),
            ("a.com.", Rtype::DS, start, "com."),
            ("www.a.com.", Rtype::DS, start, "a.com."),
            ("www.a.com.", Rtype::A, later, "com."),
            ("www.org.", Rtype::A, start, "."),
            (".", Rtype::DS, start, "."),
        ] {
            let question = Question::new(name.parse().unwrap(), rtype);
            let found = k.deepest(&question, now);
            assert_eq!(found.zone.to_string(), expected, "{question}");
        }
    }

    #[test]
    fn addresses_are_looked_for_anew_at_once_and_then_now_and_then() {
        let k = Knowledge::new(Vec::new());
        let host: Name = "ns.a.com.".parse().unwrap();
        let later = |s| Now::new(Duration::from_secs(s), s);
        let learn = |last: u8, giver: u8, now| {
            let (found, from) = ([192, 0, 2, last].into(), [192, 0, 2, giver].into());
            k.learn_addresses(&host, Rtype::A, vec![found], Some(from), 3600, now);
        };
        let claim = |now| k.claim_new_look(&host, Rtype::A, now);
        assert!(!claim(later(0)));
        learn(1, 101, later(0));
        // Another question waited for the same search.
        learn(1, 101, later(0));
        assert!(claim(later(0)));
        // Of two that would look, one does.
        assert!(!claim(later(0)));
        learn(2, 102, later(1));
        assert!(!claim(later(2)));
        assert!(claim(later(31)));
    }

    #[test]
    fn ways_that_were_learned_since_go_and_older_ones_stay() {
        let k = Knowledge::new(Vec::new());
        let later = |s| Now::new(Duration::from_secs(s), s);
        for (zone, s) in [("a.", 1), ("b.", 2)] {
            let name: Name = zone.parse().unwrap();
            let at = later(s);
            k.learn(delegation(zone, 600, DelegationOrigin::Network), None, at);
            k.learn_uncut(&name, at);
            k.learn_addresses(&name, Rtype::A, Vec::new(), None, 600, at);
        }
        k.forget_ways(Duration::from_secs(2));
        for (zone, stays) in [("a.", true), ("b.", false)] {
            let name: Name = zone.parse().unwrap();
            let question = Question::new(name.clone(), Rtype::A);
            let is_known = k.deepest(&question, later(3)).zone == name;
            let is_found = k.addresses(&name, Rtype::A, later(3)).is_some();
            let all = (is_known, is_found, k.is_uncut(&name, later(3)));
            assert_eq!(all, (stays, stays, stays), "{zone}");
        }
    }

    #[test]
    fn names_without_a_zone_are_remembered_for_a_while() {
        let k = Knowledge::new(Vec::new());
        let name: Name = "b.a.com.".parse().unwrap();
        let later = |s| Now::new(Duration::from_secs(s), s);
        k.learn_uncut(&name, later(0));
        for (asked, now, expected) in [
            ("b.a.com.", later(1), true),
            ("c.b.a.com.", later(1), false),
            ("a.com.", later(1), false),
            ("b.a.com.", later(u64::from(UNCUT_TTL_S) + 1), false),
        ] {
            assert_eq!(
                k.is_uncut(&asked.parse().unwrap(), now),
                expected,
                "{asked}"
            );
        }
        assert_eq!(k.stats()[0].entries, 1);
        k.forget_under(&"a.com.".parse().unwrap(), true);
        assert!(!k.is_uncut(&name, later(1)));
    }

    /// CVE-2022-30698: what a zone says of the zones below it is worth nothing once its own delegation has run out.
    #[test]
    fn a_delegation_stands_only_on_living_ones() {
        let start = Now::default();
        let later = |s| Now::new(Duration::from_secs(s), s);
        let zone = |n: &str| -> Name { n.parse().unwrap() };
        let k = Knowledge::new(Vec::new());
        let network = DelegationOrigin::Network;
        k.learn(delegation("com.", 1000, network), Some(zone(".")), start);
        k.learn(
            delegation("ghost.com.", 100, network),
            Some(zone("com.")),
            start,
        );
        // The ghost's own servers delegate as often and as long as they like.
        k.learn(
            delegation("a.ghost.com.", 900, network),
            Some(zone("ghost.com.")),
            start,
        );
        k.learn(
            delegation("b.a.ghost.com.", 900, network),
            Some(zone("a.ghost.com.")),
            start,
        );
        // No zone is delegated by itself or from below.
        k.learn(
            delegation("x.com.", 900, network),
            Some(zone("y.x.com.")),
            start,
        );
        k.learn(
            delegation("y.x.com.", 900, network),
            Some(zone("x.com.")),
            start,
        );
        // A mirror's word stands by itself, and carries what its zones' servers say.
        k.learn(
            delegation("m.net.", 900, DelegationOrigin::Mirror(LocalTrust::Secure)),
            None,
            start,
        );
        k.learn(
            delegation("s.m.net.", 900, network),
            Some(zone("m.net.")),
            start,
        );
        let deepest = |name: &str, now| {
            let question = Question::new(zone(name), Rtype::A);
            k.deepest(&question, now).zone.to_string()
        };
        for (name, before, after) in [
            ("www.b.a.ghost.com.", "b.a.ghost.com.", "com."),
            ("www.a.ghost.com.", "a.ghost.com.", "com."),
            ("www.y.x.com.", "com.", "com."),
            ("www.s.m.net.", "s.m.net.", "s.m.net."),
        ] {
            assert_eq!(deepest(name, later(99)), before, "{name}");
            assert_eq!(deepest(name, later(100)), after, "{name}");
        }
        // Delegated again, what is below counts again.
        k.learn(
            delegation("ghost.com.", 300, network),
            Some(zone("com.")),
            later(100),
        );
        assert_eq!(deepest("www.b.a.ghost.com.", later(100)), "b.a.ghost.com.");
        let gone = k.forget_under(&zone("ghost.com."), false);
        assert_eq!(gone, (1, 0, 0));
        assert_eq!(deepest("www.b.a.ghost.com.", later(100)), "com.");
        assert_eq!(k.forget_under(&zone("ghost.com."), true), (2, 0, 0));
        assert_eq!(k.forget_under(&Name::root(), true), (5, 0, 0));
    }

    /// An answer that was kept for validation must not live twice when a client asks for it.
    #[test]
    fn links_come_back_with_the_ttl_that_is_left() {
        let k = Knowledge::new(Vec::new());
        let question = Question::new("a.".parse().unwrap(), Rtype::DS);
        let set = RrSet::single(question.name.clone(), Rtype::DS, 600, vec![0; 36].into());
        let response = Response {
            zone: Name::root(),
            rcode: Rcode::NOERROR,
            answer: vec![set],
            rest: Vec::new(),
            authority: Vec::new(),
            origin: Origin::Network([192, 0, 2, 1].into()),
        };
        k.learn_raw(&question, response, 600, Now::default());
        let later = Now::new(Duration::from_secs(500), 500);
        assert_eq!(k.raw(&question, later).unwrap().answer[0].ttl, 100);
    }

    // Anybody may ask for the DNSKEY sets of a zone of his own, as large as messages can be.
    #[test]
    fn large_answers_do_not_fill_the_memory() {
        let k = Knowledge::new(Vec::new());
        let now = Now::default();
        let put = |n: u32, bytes: usize| {
            let zone: Name = format!("n{n}.test.").parse().unwrap();
            let set = RrSet::single(zone.clone(), Rtype::DNSKEY, 60, vec![0; bytes].into());
            let response = Response {
                zone: zone.clone(),
                rcode: crate::dns::Rcode::NOERROR,
                answer: vec![set],
                rest: Vec::new(),
                authority: Vec::new(),
                origin: Origin::Network([192, 0, 2, 1].into()),
            };
            let question = Question::new(zone, Rtype::DNSKEY);
            k.learn_raw(&question, response, 60 + n, now);
            k.raw(&question, now).is_some()
        };
        assert!(!put(0, 60_000));
        for n in 0..12_000 {
            assert!(put(n, 10_000));
            assert!(k.stats()[2].bytes <= TABLE_BYTES_MAX);
        }
        assert!(k.raw.lock().map.len() > 1000);
        k.forget_under(&Name::root(), true);
        assert_eq!(k.raw.lock().bytes, 0);
    }

    #[test]
    fn links_out_of_as_of_copies_live_half_a_minute() {
        for (trust, live) in [(LocalTrust::SecureAsOf, false), (LocalTrust::Secure, true)] {
            let k = Knowledge::new(Vec::new());
            let question = Question::new("a.".parse().unwrap(), Rtype::DS);
            let note = MirrorNote {
                zone: Name::root(),
                serial: 1,
                age_s: 0,
                trust,
            };
            let response = Response {
                zone: Name::root(),
                rcode: Rcode::NOERROR,
                answer: Vec::new(),
                rest: Vec::new(),
                authority: Vec::new(),
                origin: Origin::Mirror(note),
            };
            k.learn_raw(&question, response, 3600, Now::default());
            let later = |s| Now::new(Duration::from_secs(s), s);
            assert!(k.raw(&question, later(29)).is_some());
            assert_eq!(k.raw(&question, later(30)).is_some(), live, "{trust:?}");
        }
    }

    /// RFC 4035 section 5.3.3: the least of the TTL, the original TTL and the rest of the signature's validity; and what is
    /// handed out later has aged.
    #[test]
    fn signed_links_live_no_longer_than_their_signatures() {
        use crate::signer::{Key, Signer, ZSK};
        let mut signer = Signer::new("a.", 1);
        let now = Now::new(Duration::ZERO, u64::from(crate::signer::INCEPTION) + 100);
        let later = |s| Now::new(Duration::from_secs(s), now.wall_s + s);
        let question = Question::new("b.a.".parse().unwrap(), Rtype::DS);
        for (original_s, validity_s, ttl_s, lives_s) in [
            (600, 86_400, 3600, 600),
            (3600, 86_400, 600, 600),
            (3600, 150, 3600, 50),
            (3600, 100, 3600, 0),
            (3600, 50, 3600, 0),
        ] {
            signer.expiration = signer.inception + validity_s;
            let ds = Key::ed25519(2, ZSK).ds(&question.name);
            let mut set = signer.signed_set(&question.name, Rtype::DS, original_s, vec![ds]);
            set.ttl = ttl_s;
            let response = Response {
                rest: Vec::new(),
                zone: signer.apex.clone(),
                rcode: Rcode::NOERROR,
                answer: vec![set],
                authority: Vec::new(),
                origin: Origin::Network([192, 0, 2, 1].into()),
            };
            let k = Knowledge::new(Vec::new());
            k.learn_raw(&question, response, ttl_s, now);
            let case = (original_s, validity_s, ttl_s);
            assert!(k.raw(&question, later(lives_s)).is_none(), "{case:?}");
            if lives_s > 0 {
                let aged = k.raw(&question, later(lives_s - 1)).unwrap();
                assert_eq!(aged.answer[0].ttl, 1, "{case:?}");
            }
        }
    }

    #[test]
    fn as_of_delegations_are_purged() {
        let k = Knowledge::new(Vec::new());
        let mirror = |trust| DelegationOrigin::Mirror(trust);
        k.learn(
            delegation("a.", 9, mirror(LocalTrust::SecureAsOf)),
            None,
            Now::default(),
        );
        k.learn(
            delegation("b.", 9, mirror(LocalTrust::Secure)),
            None,
            Now::default(),
        );
        k.purge_as_of();
        assert_eq!(k.stats()[0].entries, 1);
    }
}
