//! Access lists in which the most specific entry decides, as lists of what is allowed.

use ipnet::IpNet;

/// Entries, and prefixes that they come to; a refusal inside an allowed prefix splits it.
pub(super) const PREFIXES_MAX: usize = 4000;

/// The prefixes that are allowed when of all entries that hold an address the longest one decides, and what no entry holds is
/// refused. `None` if there are more than [`PREFIXES_MAX`] of either.
pub(super) fn allowed(entries: &[(IpNet, bool)]) -> Option<Vec<IpNet>> {
    if entries.len() > PREFIXES_MAX {
        return None;
    }
    let mut entries: Vec<_> = entries.iter().map(|(net, is)| (net.trunc(), *is)).collect();
    // Of two for one prefix the later one decides, as in Unbound.
    entries.sort_by_key(|(net, _)| net.prefix_len());
    let mut list: Vec<IpNet> = Vec::new();
    for (net, is_allowed) in entries {
        let mut rest = Vec::with_capacity(list.len());
        for other in list {
            match () {
                () if net.contains(&other) => {}
                () if other.contains(&net) && is_allowed => {
                    rest.push(other);
                }
                () if other.contains(&net) => without(other, net, &mut rest),
                () => rest.push(other),
            }
        }
        if is_allowed && !rest.iter().any(|other| other.contains(&net)) {
            rest.push(net);
        }
        list = rest;
        if list.len() > PREFIXES_MAX {
            return None;
        }
    }
    list.sort();
    Some(list)
}

/// Adds what is left of `whole` without `part`, which lies in it.
fn without(whole: IpNet, part: IpNet, list: &mut Vec<IpNet>) {
    let mut whole = whole;
    while whole != part {
        let Ok(mut halves) = whole.subnets(whole.prefix_len() + 1) else {
            return;
        };
        let (Some(low), Some(high)) = (halves.next(), halves.next()) else {
            return;
        };
        let (with, other) = match low.contains(&part) {
            true => (low, high),
            false => (high, low),
        };
        list.push(other);
        whole = with;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_entry_decides() {
        let check = |entries: &[(&str, bool)], expected: &[&str]| {
            let entries: Vec<_> = (entries.iter())
                .map(|(net, is)| (net.parse().unwrap(), *is))
                .collect();
            let shown: Vec<_> = allowed(&entries)
                .unwrap()
                .iter()
                .map(IpNet::to_string)
                .collect();
            assert_eq!(shown, expected, "{entries:?}");
        };
        check(&[("10.0.0.0/8", true)], &["10.0.0.0/8"]);
        check(
            &[("0.0.0.0/0", false), ("10.0.0.0/8", true)],
            &["10.0.0.0/8"],
        );
        check(
            &[("10.0.0.0/8", true), ("10.0.0.0/9", false)],
            &["10.128.0.0/9"],
        );
        check(
            &[("10.0.0.0/9", false), ("10.0.0.0/8", true)],
            &["10.128.0.0/9"],
        );
        check(
            &[
                ("10.0.0.0/8", true),
                ("10.0.0.0/10", false),
                ("10.0.0.1/32", true),
            ],
            &["10.0.0.1/32", "10.64.0.0/10", "10.128.0.0/9"],
        );
        check(&[("::/0", true), ("::/0", false)], &[]);
        check(
            &[
                ("::1/128", true),
                ("127.0.0.0/8", true),
                ("127.0.0.1/32", true),
            ],
            &["127.0.0.0/8", "::1/128"],
        );
        let v6 = [("2001:db8::/126", true), ("2001:db8::2/128", false)];
        check(&v6, &["2001:db8::/127", "2001:db8::3/128"]);
    }
}
