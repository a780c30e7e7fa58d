//! What cannot be reached any more: a cut-off, as a plain value.
//!
//! Why: drills, shadow drills and the readiness report must mean the same thing by "cut off". This is that meaning, asked with a zone
//! and an address wherever packets leave (`upstream::Severed`) and wherever a report says what lies abroad.
//!
//! Model: a [`Cut`] takes away the servers of one zone, asked as such; or a list of prefixes; or everything but a set of prefixes. Nothing
//! is exempt by itself, private and loopback addresses neither: a forwarder at 10.0.0.1 is as far away as the list says.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::dns::Name;
use crate::prefix_set::PrefixSet;

/// What cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The servers of this zone, when they are asked as its servers.
    Zone(Name),
    /// Whatever lies in these prefixes.
    Prefixes {
        /// The prefixes.
        set: Arc<PrefixSet>,
        /// What the operator calls them.
        name: String,
    },
    /// Whatever does not lie in these prefixes.
    Isolation {
        /// What stays.
        domestic: Arc<PrefixSet>,
        /// What the operator calls it.
        name: String,
    },
}

impl Cut {
    /// All that is left is in this set.
    ///
    /// # Errors
    /// The set is empty: everything would be cut off, which is nobody's question.
    pub fn isolation(name: &str, domestic: &PrefixSet) -> Result<Cut, String> {
        if domestic.is_empty() {
            return Err(format!(
                "the set \"{name}\" is empty, so nothing would stay reachable: list what is domestic in reachability.domestic \
                 or [reachability.sets]"
            ));
        }
        Ok(Cut::Isolation {
            domestic: Arc::new(domestic.clone()),
            name: name.to_owned(),
        })
    }

    /// Nothing in this set can be reached.
    ///
    /// # Errors
    /// The set is empty: nothing would be cut off.
    pub fn prefixes(name: &str, set: PrefixSet) -> Result<Cut, String> {
        if set.is_empty() {
            return Err(format!(
                "{name}: no prefix in it, so nothing would be cut off"
            ));
        }
        Ok(Cut::Prefixes {
            set: Arc::new(set),
            name: name.to_owned(),
        })
    }

    /// Whether a server at `address` that is asked as one of `zone` cannot be reached.
    pub fn takes_server(&self, zone: &Name, address: IpAddr) -> bool {
        match self {
            Cut::Zone(cut) => zone == cut,
            _ => self.takes_address(address),
        }
    }

    /// Whether any host at the address cannot be reached.
    pub fn takes_address(&self, address: IpAddr) -> bool {
        match self {
            Cut::Zone(_) => false,
            Cut::Prefixes { set, .. } => set.contains(address),
            Cut::Isolation { domestic, .. } => !domestic.contains(address),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Zone(zone) => write!(f, "the servers of {zone}"),
            Cut::Prefixes { name, .. } => write!(f, "the prefixes of {name}"),
            Cut::Isolation { name, .. } => write!(f, "everything outside of {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_what_it_says() {
        let set: PrefixSet = ["192.0.2.0/24".parse().unwrap()].into_iter().collect();
        let zone = |text: &str| -> Name { text.parse().unwrap() };
        let (inside, outside): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [10, 0, 0, 1].into());
        let of_zone = Cut::Zone(zone("com."));
        let prefixes = Cut::prefixes("list", set.clone()).unwrap();
        let isolation = Cut::isolation("domestic", &set).unwrap();
        for (cut, at, address, server, host) in [
            (&of_zone, "com.", inside, true, false),
            (&of_zone, "example.com.", inside, false, false),
            (&prefixes, "com.", inside, true, true),
            (&prefixes, "com.", outside, false, false),
            (&isolation, "com.", inside, false, false),
            (&isolation, "com.", outside, true, true),
        ] {
            assert_eq!(
                cut.takes_server(&zone(at), address),
                server,
                "{cut}: {at} {address}"
            );
            assert_eq!(cut.takes_address(address), host, "{cut}: {address}");
        }
        let empty = PrefixSet::default();
        assert!(
            Cut::isolation("domestic", &empty)
                .unwrap_err()
                .contains("is empty")
        );
        assert!(
            Cut::prefixes("list", empty)
                .unwrap_err()
                .contains("no prefix")
        );
    }
}
