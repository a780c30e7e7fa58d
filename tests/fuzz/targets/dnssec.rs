//! Signatures, delegation digests, denial and zone digests over data from strangers.

use holdfast::dns::{Dnskey, Ds, Message, Name, Nsec3, RrSet, Rrsig, Rtype, group, rdata};
use holdfast::dnssec::canonical::{canonical_rdatas, signed_data, signed_owner};
use holdfast::dnssec::ds::{ds_matches, usable};
use holdfast::dnssec::nsec::NsecRecord;
use holdfast::dnssec::nsec3::{ITERATIONS_MAX, Nsec3Record, hash_label, label_hash, nsec3_hash};
use holdfast::dnssec::verify::verify_rrset;
use holdfast::dnssec::zonemd::{self, Hasher};

/// Signatures that one input may have tried; the callers in the program have their own budgets.
const TRIES_MAX: usize = 16;

/// Whatever signs, denies or digests is judged without a panic; what verifies goes on verifying with its names in other
/// case and its records in another order (RFC 4034 section 6). Input: a DNS message.
pub fn signed_sets(data: &[u8]) -> bool {
    let Ok(message) = Message::parse(data) else {
        return false;
    };
    let mut sets = group(&message.answer);
    sets.extend(group(&message.authority));
    let zone = message.question.map_or(Name::root(), |q| q.name);
    let keys: Vec<RrSet> = (sets.iter().filter(|s| s.rtype == Rtype::DNSKEY).cloned()).collect();
    let (mut tries, mut taken) = (0, false);
    for set in &sets {
        for sig in set.sigs.iter().filter_map(|s| Rrsig::parse(s)) {
            if let Some(owner) = signed_owner(&set.name, &sig) {
                assert!(signed_data(set, &sig, &owner).starts_with(&sig.prefix[..2]));
            }
            for key in keys
                .iter()
                .flat_map(|k| &k.rdatas)
                .filter_map(|k| Dnskey::parse(k))
            {
                tries += 1;
                if tries > TRIES_MAX {
                    break;
                }
                taken |= verified(set, &sig, &key);
            }
        }
        denial(set, &zone);
        delegation(set, &keys);
    }
    digest(&zone, &sets);
    taken
}

fn verified(set: &RrSet, sig: &Rrsig<'_>, key: &Dnskey<'_>) -> bool {
    let check = |set: &RrSet| verify_rrset(set, sig, key, &sig.signer, sig.inception.into());
    let Ok(signed) = check(set) else {
        return false;
    };
    let mut other = set.clone();
    other.name = other.name.with_case(|| true);
    other.rdatas.reverse();
    assert_eq!(canonical_rdatas(&other), canonical_rdatas(set));
    assert_eq!(check(&other), Ok(signed));
    let mut more = set.clone();
    more.rdatas.push([255; 3].into());
    assert!(check(&more).is_err());
    true
}

fn delegation(set: &RrSet, keys: &[RrSet]) {
    for sha1 in [false, true] {
        assert!(usable(&set.rdatas, sha1).len() <= set.rdatas.len());
    }
    for ds in set.rdatas.iter().filter_map(|r| Ds::parse(r)) {
        for key in keys.iter().flat_map(|k| k.rdatas.iter().take(TRIES_MAX)) {
            let _ = Dnskey::parse(key).map(|key| ds_matches(&ds, &set.name, &key));
        }
    }
}

fn denial(set: &RrSet, name: &Name) {
    if let Some(nsec) = NsecRecord::of(set) {
        assert!(!(nsec.matches(name) && nsec.covers(name)));
        assert!(name.is_within(&nsec.closest_encloser(name)));
        let _ = (nsec.proves_empty(name), nsec.is_delegation());
    }
    for data in set.rdatas.iter().filter_map(|r| Nsec3::parse(r)) {
        // Whoever asks for more rounds is not followed (CVE-2023-50868).
        let hash = nsec3_hash(name, data.salt, data.iterations.min(ITERATIONS_MAX));
        assert_eq!(label_hash(&hash_label(&hash)), Some(hash));
        let above = set.name.parent().unwrap_or_else(Name::root);
        if let Some(record) = Nsec3Record::of(set, &above) {
            assert!(!(record.matches(&hash) && record.covers(&hash)));
            let _ = record.is_delegation();
        }
    }
}

fn digest(apex: &Name, sets: &[RrSet]) {
    for set in sets.iter().filter(|s| s.rtype == Rtype::ZONEMD) {
        let mut hasher = Hasher::new(apex, &zonemd::hashes_of(&set.rdatas));
        for set in sets {
            hasher.push(&set.name, std::slice::from_ref(set));
        }
        let serial = sets.iter().filter(|s| s.rtype == Rtype::SOA);
        let serial = serial
            .flat_map(|s| &s.rdatas)
            .find_map(|r| rdata::Soa::parse(r));
        let _ = zonemd::check(
            &set.rdatas,
            serial.map_or(0, |s| s.serial),
            &hasher.finish(),
        );
    }
}
