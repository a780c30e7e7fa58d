//! How long data lives: TTL arithmetic, and one cached answer.
//!
//! Why: a TTL must run out by whichever clock moves further. The monotonic clock is right while the
//! machine runs; the wall clock is what a laboratory moves by hand and what a suspended laptop wakes up
//! with. So an [`Expiry`] holds both, and data is dead as soon as one of them says so: a clock that is
//! set back never makes old data young.
//!
//! Failure: there is none; a TTL of 0 is usable by the question that fetched it and by nobody else.

use std::time::Duration;

use crate::clock::Now;
use crate::dns::{Ede, Name, Rcode, RrSet, Rtype, Soa};

/// RFC 2308 section 5: denials live for at most three hours.
pub const NEGATIVE_TTL_MAX_S: u32 = 3 * 3600;
/// Longest life of everything that rests on signatures accepted as of their verification, seconds (ARCHITECTURE.md, as-of validation).
pub const AS_OF_TTL_MAX_S: u32 = 30;

/// The moment at which data dies, in both measures of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    mono_ms: u64,
    wall_s: u64,
}

/// Where the monotonic clock begins for an [`Expiry`], in milliseconds: what ran out before the program was started has one, too.
const MONO_BASE_MS: u64 = 1 << 42;

impl Expiry {
    /// So many seconds ago.
    pub fn before(now: Now, ago_s: u64) -> Expiry {
        Expiry {
            mono_ms: mono_ms(now).saturating_sub(ago_s.saturating_mul(1000)),
            wall_s: now.wall_s.saturating_sub(ago_s),
        }
    }

    /// `ttl_s` seconds from now.
    pub fn after(now: Now, ttl_s: u32) -> Expiry {
        Expiry {
            mono_ms: mono_ms(now) + u64::from(ttl_s) * 1000,
            wall_s: now.wall_s + u64::from(ttl_s),
        }
    }

    /// Whole seconds left; 0 when dead.
    pub fn left_s(self, now: Now) -> u32 {
        // A started second counts, so that data just stored has its whole TTL.
        let mono_s = self.mono_ms.saturating_sub(mono_ms(now)).div_ceil(1000);
        let wall_s = self.wall_s.saturating_sub(now.wall_s);
        u32::try_from(mono_s.min(wall_s)).unwrap_or(u32::MAX)
    }

    /// Whether the data may still be used.
    pub fn is_live(self, now: Now) -> bool {
        self.left_s(now) > 0
    }

    /// Seconds since the data died, by whichever clock says more; 0 while it lives.
    pub fn dead_s(self, now: Now) -> u64 {
        let mono_s = mono_ms(now).saturating_sub(self.mono_ms) / 1000;
        mono_s.max(now.wall_s.saturating_sub(self.wall_s))
    }

    /// A measure of when data of this TTL was stored: larger is later.
    pub fn stored_ms(self, ttl_s: u32) -> u64 {
        self.mono_ms.saturating_sub(u64::from(ttl_s) * 1000)
    }

    /// Whether data of this TTL was stored at that monotonic time or later.
    pub fn was_stored_since(self, ttl_s: u32, since: Duration) -> bool {
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 4);
        self.stored_ms(ttl_s) >= MONO_BASE_MS + since_ms
    }

    /// When it dies, seconds since 1970.
    pub fn wall_s(self) -> u64 {
        self.wall_s
    }
}

/// Milliseconds are fine enough, and half the size.
fn mono_ms(now: Now) -> u64 {
    MONO_BASE_MS + u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX / 4)
}

/// The security status of data (RFC 4035 section 4.3, and as-of validation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// A chain of valid signatures leads to a trust anchor.
    Secure,
    /// As secure, through a link that is accepted as of when it was verified.
    SecureAsOf,
    /// Proven to be unsigned, or below no trust anchor, or validation is off.
    Insecure,
    /// Validation failed; why.
    Bogus(Ede),
}

/// What became of one question at its zone: one link of a chain, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// NOERROR, NXDOMAIN or YXDOMAIN.
    pub rcode: Rcode,
    /// The set asked for, or a CNAME, or a DNAME and its CNAME. TTLs as they were when it was stored.
    pub answer: Vec<RrSet>,
    /// SOA and proofs of a denial, proofs of a wildcard.
    pub authority: Vec<RrSet>,
    /// What validation said.
    pub security: Security,
    /// What a client is told of it (RFC 8914).
    pub errors: Vec<Ede>,
}

/// TTL floor and ceiling of the configuration, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlLimits {
    /// `cache.ttl_min_s`
    pub min_s: u32,
    /// `cache.ttl_max_s`
    pub max_s: u32,
}

impl Entry {
    /// Where the chain goes on, if this entry is an alias.
    pub fn alias(&self, question_type: Rtype) -> Option<Name> {
        if !follows_alias(question_type) {
            return None;
        }
        let last = self.answer.last().filter(|s| s.rtype == Rtype::CNAME)?;
        crate::dns::rdata::single_name(last.rdatas.first()?)
    }

    /// Seconds that the entry may be kept: the shortest TTL in it, within the limits. A denial lives as
    /// long as its SOA says (RFC 2308 section 5) and not at all without one.
    pub fn ttl_s(&self, limits: TtlLimits) -> u32 {
        let denial = self.answer.is_empty();
        let sets = self.answer.iter().chain(&self.authority);
        let shortest = sets.map(|s| s.ttl).min().unwrap_or(0);
        let ttl = if denial {
            let soa = self.authority.iter().find(|s| s.rtype == Rtype::SOA);
            let Some(negative) = soa.map(negative_ttl_s) else {
                return 0;
            };
            negative.min(shortest).min(NEGATIVE_TTL_MAX_S)
        } else {
            shortest
        };
        ttl.clamp(limits.min_s.min(limits.max_s), limits.max_s)
    }

    /// The entry with every TTL set to the seconds that it has left to live.
    pub fn with_ttl(mut self, left_s: u32) -> Entry {
        for set in self.answer.iter_mut().chain(&mut self.authority) {
            set.ttl = left_s;
        }
        self
    }
}

/// Whether an alias at the name answers for this type: not for types that stand beside a CNAME
/// (RFC 1034 section 3.6.2, RFC 4034 sections 3 and 4).
pub fn follows_alias(rtype: Rtype) -> bool {
    !matches!(
        rtype,
        Rtype::CNAME | Rtype::ANY | Rtype::NSEC | Rtype::RRSIG
    )
}

/// Whether an alias that was found for one type is one for this type, too. Not for DS: it is the parent's, while a
/// CNAME at the top of a zone, wrong as it is, is the child's.
pub fn shares_alias(rtype: Rtype) -> bool {
    follows_alias(rtype) && rtype != Rtype::DS
}

/// RFC 2308 section 5: the lesser of the SOA's TTL and its MINIMUM field.
pub fn negative_ttl_s(soa: &RrSet) -> u32 {
    let minimum = soa.rdatas.first().and_then(|r| Soa::parse(r));
    minimum.map_or(0, |s| s.minimum_s.min(soa.ttl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(mono_s: u64, wall_s: u64) -> Now {
        Now::new(Duration::from_secs(mono_s), wall_s)
    }

    #[test]
    fn data_dies_by_whichever_clock_moved_further() {
        let expiry = Expiry::after(at(10, 1000), 60);
        for (now, left) in [
            (at(10, 1000), 60),
            (at(40, 1030), 30),
            (at(11, 1059), 1),
            (at(11, 5000), 0),
            (at(40, 0), 30),
            (at(70, 0), 0),
        ] {
            assert_eq!(expiry.left_s(now), left, "{now:?}");
        }
    }

    #[test]
    fn life_ends_with_the_last_second_however_it_began() {
        for start_ms in [0, 1, 499, 999] {
            let at = |ms: u64| Now::new(Duration::from_millis(ms), ms / 1000);
            let expiry = Expiry::after(at(start_ms), 2);
            for (later_ms, left) in [(0, 2), (999, 2), (1000, 1), (1999, 1), (2000, 0)] {
                // The wall clock may say so up to a second earlier, for it counts whole ones.
                let now = Now::new(Duration::from_millis(start_ms + later_ms), 0);
                assert_eq!(expiry.left_s(now), left, "{start_ms} + {later_ms}");
            }
        }
    }

    #[test]
    fn the_dead_are_as_old_as_the_clock_that_moved_further_says() {
        let expiry = Expiry::after(at(10, 1000), 60);
        for (now, dead) in [
            (at(10, 1000), 0),
            (at(70, 1060), 0),
            (at(100, 1090), 30),
            (at(100, 1000), 30),
            (at(71, 5060), 4000),
        ] {
            assert_eq!(expiry.dead_s(now), dead, "{now:?}");
        }
        // Before the program began.
        let old = Expiry::before(at(5, 9000), 7000);
        assert_eq!(
            (old.dead_s(at(5, 9000)), old.left_s(at(5, 9000))),
            (7000, 0)
        );
        assert_eq!(old.dead_s(at(15, 9010)), 7010);
        assert!(old.stored_ms(60) < expiry.stored_ms(60));
    }

    fn soa(ttl: u32, minimum: u32) -> RrSet {
        let mut rdata = vec![0, 0];
        for n in [1, 2, 3, 4, minimum] {
            rdata.extend_from_slice(&u32::to_be_bytes(n));
        }
        RrSet::single(Name::root(), Rtype::SOA, ttl, rdata.into())
    }

    fn entry(answer: Vec<RrSet>, authority: Vec<RrSet>) -> Entry {
        Entry {
            rcode: Rcode::NOERROR,
            answer,
            authority,
            security: Security::Insecure,
            errors: Vec::new(),
        }
    }

    #[test]
    fn ttl_follows_the_shortest_part_and_the_limits() {
        let a = |ttl| RrSet::single(Name::root(), Rtype::A, ttl, [0; 4].into());
        let limits = |min_s, max_s| TtlLimits { min_s, max_s };
        for (e, l, expected) in [
            (entry(vec![a(300)], vec![]), limits(0, 86400), 300),
            (entry(vec![a(300), a(20)], vec![]), limits(0, 86400), 20),
            (entry(vec![a(20)], vec![]), limits(60, 86400), 60),
            (entry(vec![a(300)], vec![]), limits(0, 100), 100),
            (entry(vec![], vec![soa(900, 60)]), limits(0, 86400), 60),
            (entry(vec![], vec![soa(30, 60)]), limits(0, 86400), 30),
            // RFC 2308 section 5: a denial without SOA is not cached, whatever the floor.
            (entry(vec![], vec![]), limits(60, 86400), 0),
            (
                entry(vec![], vec![soa(99999, 99999)]),
                limits(0, 86400),
                10800,
            ),
        ] {
            assert_eq!(e.ttl_s(l), expected, "{e:?}");
        }
    }
}
