//! How often a zone's keys are looked at, and how long a key has to wait (RFC 5011 sections 2.3, 2.4). Pure.

/// A new key waits at least this long, in seconds (RFC 5011 section 2.4.1: 30 days).
pub const ADD_HOLD_DOWN_S: u64 = 30 * 86_400;
/// A revoked key is remembered as such this long before it counts as removed, in seconds (section 2.4.2: 30 days).
pub const REMOVE_HOLD_DOWN_S: u64 = 30 * 86_400;
/// No zone is asked more often, in seconds (section 2.3: an hour).
pub const QUERY_INTERVAL_MIN_S: u64 = 3600;
/// Nor more seldom, in seconds (section 2.3: 15 days).
pub const QUERY_INTERVAL_MAX_S: u64 = 15 * 86_400;
/// The longest wait after a failure, in seconds (section 2.3: a day).
pub const RETRY_TIME_MAX_S: u64 = 86_400;

const _: () = assert!(QUERY_INTERVAL_MIN_S <= RETRY_TIME_MAX_S);
const _: () = assert!(RETRY_TIME_MAX_S <= QUERY_INTERVAL_MAX_S);
// A key that waits is looked at more than once.
const _: () = assert!(2 * QUERY_INTERVAL_MAX_S <= ADD_HOLD_DOWN_S);

/// What the intervals follow from: a valid signature over the DNSKEY set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetTimes {
    /// Original TTL of the set, seconds.
    pub original_ttl_s: u64,
    /// From when it was fetched until its signature runs out, seconds.
    pub left_s: u64,
}

impl SetTimes {
    /// RFC 5011 section 2.3: queryInterval = MAX(1 hr, MIN(15 days, 1/2*OrigTTL, 1/2*RRSigExpirationInterval)).
    pub fn query_interval_s(self) -> u64 {
        let half_s = self.original_ttl_s.min(self.left_s) / 2;
        half_s.clamp(QUERY_INTERVAL_MIN_S, QUERY_INTERVAL_MAX_S)
    }

    /// RFC 5011 section 2.3: retryTime = MAX(1 hour, MIN(1 day, .1*origTTL, .1*expireInterval)).
    pub fn retry_time_s(self) -> u64 {
        let tenth_s = self.original_ttl_s.min(self.left_s) / 10;
        tenth_s.clamp(QUERY_INTERVAL_MIN_S, RETRY_TIME_MAX_S)
    }

    /// RFC 5011 section 2.4.1: 30 days, or the TTL of the set that first had the key if that is longer.
    pub fn add_hold_down_s(self) -> u64 {
        self.original_ttl_s.max(ADD_HOLD_DOWN_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    /// RFC 5011 section 2.3, with floor and ceiling.
    #[test]
    fn intervals() {
        for (ttl, left, query, retry) in [
            // The root: two days of TTL, signatures of three weeks.
            (2 * DAY, 21 * DAY, DAY, 17_280),
            (2 * DAY, DAY, DAY / 2, 8640),
            (60, 21 * DAY, 3600, 3600),
            (2 * DAY, 10, 3600, 3600),
            (60 * DAY, 60 * DAY, 15 * DAY, DAY),
            (0, 0, 3600, 3600),
        ] {
            let times = SetTimes {
                original_ttl_s: ttl,
                left_s: left,
            };
            let found = (times.query_interval_s(), times.retry_time_s());
            assert_eq!(found, (query, retry), "{ttl} {left}");
        }
    }

    /// RFC 5011 section 2.4.1.
    #[test]
    fn hold_down() {
        for (ttl, expected) in [(DAY, 30 * DAY), (30 * DAY, 30 * DAY), (40 * DAY, 40 * DAY)] {
            let times = SetTimes {
                original_ttl_s: ttl,
                left_s: DAY,
            };
            assert_eq!(times.add_hold_down_s(), expected);
        }
    }
}
