//! How much a proven NXDOMAIN denies.
//!
//! Why: the proof that `a.b.example.` does not exist mostly shows that `b.example.` does not either, and with it nothing below that
//! (RFC 8020). Kept under the shorter name it answers a whole flood of random names.
//!
//! The proof must have been validated; here it is only read.

use super::nsec::NsecRecord;
use super::nsec3::{Nsec3Record, nsec3_hash};
use crate::dns::{Name, RrSet, Rtype};

/// Rounds of NSEC3 hashes that the reading may cost; the proof is not read further where it would be more.
const ROUNDS_MAX: usize = 1024;

/// The highest name at or above `name` that the proof in `authority` shows not to exist: the closest encloser and one label. The name
/// itself where nothing more can be read.
pub fn denied_name(name: &Name, authority: &[RrSet]) -> Name {
    let encloser = by_nsec(name, authority).or_else(|| by_nsec3(name, authority));
    match encloser {
        Some(encloser) if name.is_below(&encloser) => name.suffix(encloser.label_count() + 1),
        _ => name.clone(),
    }
}

/// RFC 4035 section 5.4: the record that covers the name shows its closest encloser.
fn by_nsec(name: &Name, authority: &[RrSet]) -> Option<Name> {
    let mut records = authority.iter().filter_map(NsecRecord::of);
    let covering = records.find(|r| r.covers(name))?;
    Some(covering.closest_encloser(name))
}

/// RFC 5155 section 8.3: the deepest ancestor that a record matches, when the name below it is covered.
fn by_nsec3(name: &Name, authority: &[RrSet]) -> Option<Name> {
    let zone = &authority.iter().find(|s| s.rtype == Rtype::SOA)?.name;
    let records: Vec<Nsec3Record<'_>> = (authority.iter())
        .filter_map(|set| Nsec3Record::of(set, zone))
        .collect();
    let data = &records.first()?.data;
    let depth = name.label_count().checked_sub(zone.label_count())?;
    if (depth + 1) * (usize::from(data.iterations) + 1) > ROUNDS_MAX {
        return None;
    }
    let hash = |count| nsec3_hash(&name.suffix(count), data.salt, data.iterations);
    let mut below = hash(name.label_count());
    for count in (zone.label_count()..name.label_count()).rev() {
        let at = hash(count);
        if records.iter().any(|r| r.matches(&at)) {
            let covered = records.iter().any(|r| r.covers(&below));
            return covered.then(|| name.suffix(count));
        }
        below = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::group;
    use crate::dnssec::nsec3::hash_label;
    use crate::signer::{name, rrs};

    #[test]
    fn nsec_shows_the_closest_encloser() {
        // Types: A and RRSIG.
        let nsec = |owner: &str, next: &str| {
            let wire: String = name(next)
                .wire()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let rdata = format!("{wire}0006400000000002");
            group(&rrs(&format!(
                "{owner} 60 NSEC \\# {} {rdata}",
                rdata.len() / 2
            )))
        };
        for (owner, next, asked, denied) in [
            ("a.example.", "d.example.", "b.example.", "b.example."),
            ("a.example.", "d.example.", "x.y.b.example.", "b.example."),
            (
                "a.example.",
                "b.a.example.",
                "x.a.a.example.",
                "a.a.example.",
            ),
            (
                "a.example.",
                "x.b.example.",
                "a.c.b.example.",
                "c.b.example.",
            ),
            // Not covered: nothing is read from it.
            ("a.example.", "d.example.", "x.e.example.", "x.e.example."),
        ] {
            let found = denied_name(&name(asked), &nsec(owner, next));
            assert_eq!(found, name(denied), "{owner} {next} {asked}");
        }
        assert_eq!(denied_name(&name("a.b."), &[]), name("a.b."));
    }

    #[test]
    fn nsec3_shows_it_by_hashes() {
        // One record that matches the apex and, as the only one, covers everything else. Type: SOA.
        let hash = nsec3_hash(&name("example."), &[], 0);
        let next: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        let owner = String::from_utf8(hash_label(&hash).to_vec()).unwrap();
        let lines = format!(
            "example. 60 SOA n.example. h.example. 1 2 3 4 5
             {owner}.example. 60 NSEC3 \\# 29 010000000014{next}000102"
        );
        let authority = group(&rrs(&lines));
        for (asked, denied) in [
            ("a.b.c.example.", "c.example."),
            ("c.example.", "c.example."),
        ] {
            assert_eq!(denied_name(&name(asked), &authority), name(denied));
        }
        // Another zone's records say nothing.
        assert_eq!(
            denied_name(&name("a.b.other."), &authority),
            name("a.b.other.")
        );
    }
}
