//! How much of a name a server is shown (RFC 9156).
//!
//! A server of `zone` is asked for one label more than `zone`, then one more, until it refers us on or
//! the whole name is shown. Names of very many labels are shown in larger pieces, so that the number of
//! questions stays bounded (RFC 9156 section 2.3).

use crate::dns::Name;

/// RFC 9156 section 2.3: MAX_MINIMISE_COUNT.
pub const MINIMISE_COUNT_MAX: usize = 10;
/// RFC 9156 section 2.3: MINIMISE_ONE_LAB.
pub const MINIMISE_ONE_LABEL: usize = 4;

/// How many labels of a name of `total` labels to show next, when `shown` are known to lead nowhere
/// deeper and `asked` minimised questions were asked for it before.
pub fn next_labels(shown: usize, total: usize, asked: usize) -> usize {
    let left = total.saturating_sub(shown);
    let step = if asked < MINIMISE_ONE_LABEL {
        1
    } else if asked >= MINIMISE_COUNT_MAX {
        left
    } else {
        // Spread what is left over the questions that are left.
        left.div_ceil(MINIMISE_COUNT_MAX - asked)
    };
    (shown + step.max(1)).min(total)
}

/// The name with so many labels.
pub fn shown(name: &Name, labels: usize) -> Name {
    name.suffix(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_stay_bounded_for_any_name() {
        for total in 1..=127 {
            let (mut at, mut asked) = (0, 0);
            while at < total {
                let next = next_labels(at, total, asked);
                assert!(next > at && next <= total);
                at = next;
                asked += 1;
            }
            assert!(asked <= MINIMISE_COUNT_MAX + 1, "{total}: {asked}");
        }
        // RFC 9156 section 2.3's example: 18 labels below the root.
        assert_eq!(next_labels(0, 18, 0), 1);
        assert_eq!(next_labels(4, 18, 4), 7);
    }
}
