//! From what is trusted to the keys of the zone (RFC 4035 section 5.2).

use super::early::Checked;
use super::signatures::{Judge, Key, Outcome};
use super::{Fault, Faults, Policy, Problem, Trust};
use crate::dns::{Dnskey, Rdata, RrSet, Rtype};
use crate::dnssec::{algorithms, ds};
use crate::zone::ZoneImage;

/// The zone's keys that may sign and whose algorithm is supported, once a trusted one among them has
/// signed the set.
pub fn zone_keys(
    image: &ZoneImage,
    trust: &Trust,
    at: u64,
    policy: &Policy,
) -> Result<Vec<Key>, Fault> {
    let fault = |problem| Fault {
        owner: image.apex().clone(),
        rtype: Some(Rtype::DNSKEY),
        problem,
    };
    if trust.is_empty() {
        return Err(fault(Problem::NoTrust));
    }
    let set = image.find(image.apex(), Rtype::DNSKEY);
    let set = set
        .filter(|s| !s.rdatas.is_empty())
        .ok_or_else(|| fault(Problem::NoKeys))?;
    let trusted = trusted_keys(&set, trust, policy).map_err(fault)?;
    check_signed(&set, trusted, image, at)?;
    let keys = usable_keys(&set.rdatas, policy);
    if keys.is_empty() {
        return Err(fault(Problem::UnsupportedKeys));
    }
    Ok(keys)
}

/// The zone's keys that may sign and whose algorithm is supported, whoever signed them.
pub fn usable(image: &ZoneImage, policy: &Policy) -> Vec<Key> {
    let set = image.find(image.apex(), Rtype::DNSKEY);
    usable_keys(&set.map_or_else(Vec::new, |s| s.rdatas), policy)
}

/// Those among DNSKEY data that may sign and whose algorithm is supported.
pub fn usable_keys(rdatas: &[Rdata], policy: &Policy) -> Vec<Key> {
    let keys = rdatas.iter().filter_map(Key::new);
    keys.filter(|k| algorithms::supported(k.algorithm, policy.sha1))
        .collect()
}

fn trusted_keys(set: &RrSet, trust: &Trust, policy: &Policy) -> Result<Vec<Key>, Problem> {
    let digests = ds::usable(&trust.ds, policy.sha1);
    let keys = usable_keys(&trust.dnskey, policy);
    if digests.is_empty() && keys.is_empty() {
        return Err(Problem::UnsupportedTrust);
    }
    let named = |rdata: &&Rdata| {
        keys.iter().any(|k| k.rdata == **rdata)
            || Dnskey::parse(rdata)
                .is_some_and(|key| digests.iter().any(|d| ds::ds_matches(d, &set.name, &key)))
    };
    let trusted: Vec<Key> = set
        .rdatas
        .iter()
        .filter(named)
        .filter_map(Key::new)
        .collect();
    if trusted.is_empty() {
        let mut tags: Vec<u16> = digests.iter().map(|d| d.key_tag).collect();
        tags.extend(keys.iter().map(|k| k.tag));
        let tags: Vec<String> = tags.iter().map(u16::to_string).collect();
        return Err(Problem::UntrustedKeys(tags.join(", ")));
    }
    Ok(trusted)
}

/// One of the trusted keys must have signed the set. Signatures by its other keys are judged with the
/// rest of the zone.
fn check_signed(set: &RrSet, trusted: Vec<Key>, image: &ZoneImage, at: u64) -> Result<(), Fault> {
    let faults = Faults::new();
    let judge = Judge {
        zone: image.apex(),
        keys: &trusted,
        at,
        faults: &faults,
        checked: &Checked::default(),
    };
    match judge.outcome(set) {
        Outcome::Valid { .. } => Ok(()),
        Outcome::Invalid(problem) => Err(Fault {
            owner: set.name.clone(),
            rtype: Some(set.rtype),
            problem: match problem {
                Problem::Unsigned => Problem::KeysUnsigned,
                other => other,
            },
        }),
    }
}
