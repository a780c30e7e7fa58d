//! Canonical form (RFC 4034 section 6) and the octets that a signature covers.
//!
//! A signature is over one particular spelling of an RRset: owner in lower case, or the wildcard that it
//! was made from; the TTL that the zone has, not what a cache left of it; names inside data in lower
//! case; records sorted by their data, each once. Signer and verifier must arrive at the same octets,
//! so the work is done here and nowhere else.

use std::borrow::Cow;

use crate::dns::rdata::canonical_form;
use crate::dns::{Class, Name, RrSet, Rrsig, Rtype};

/// The octets that `sig` signs (RFC 4034 section 3.1.8.1): its own fields, then the set's records.
/// `owner` is the name that was signed, see [`signed_owner`].
pub fn signed_data(set: &RrSet, sig: &Rrsig<'_>, owner: &Name) -> Vec<u8> {
    signed_data_of(set.rtype, set.rdatas.iter().map(|r| &**r), sig, owner)
}

/// The same for a set of this type whose data is lent.
pub fn signed_data_of<'d>(
    rtype: Rtype,
    rdatas: impl Iterator<Item = &'d [u8]>,
    sig: &Rrsig<'_>,
    owner: &Name,
) -> Vec<u8> {
    let forms = canonical_forms(rtype, rdatas);
    let record_len = owner.wire().len() + 10;
    let len = sig.prefix.len() + forms.iter().map(|f| f.len() + record_len).sum::<usize>();
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(sig.prefix);
    // The signer's name ends the prefix and is the only name in it.
    let signer_at = sig.prefix.len() - sig.signer.wire().len();
    out[signer_at..].make_ascii_lowercase();
    for form in &forms {
        push_record(&mut out, owner, rtype, sig.original_ttl, form);
    }
    out
}

/// The name that was signed: the owner itself, or the wildcard that an answer was made from when the
/// signature counts fewer labels (RFC 4035 section 5.3.2). `None` when it counts more labels than the
/// owner has.
pub fn signed_owner<'a>(owner: &'a Name, sig: &Rrsig<'_>) -> Option<Cow<'a, Name>> {
    let labels = usize::from(sig.labels);
    match labels.cmp(&owner_labels(owner)) {
        std::cmp::Ordering::Equal => Some(Cow::Borrowed(owner)),
        std::cmp::Ordering::Less => owner.suffix(labels).wildcard().ok().map(Cow::Owned),
        std::cmp::Ordering::Greater => None,
    }
}

/// How many labels an RRSIG over this owner's own data counts: not the root, not a leading `*`
/// (RFC 4034 section 3.1.3).
pub fn owner_labels(owner: &Name) -> usize {
    owner.label_count() - usize::from(owner.is_wildcard())
}

/// The data of a set's records in canonical form, sorted (RFC 4034 section 6.3), each once.
pub fn canonical_rdatas(set: &RrSet) -> Vec<Cow<'_, [u8]>> {
    canonical_forms(set.rtype, set.rdatas.iter().map(|r| &**r))
}

fn canonical_forms<'d>(rtype: Rtype, rdatas: impl Iterator<Item = &'d [u8]>) -> Vec<Cow<'d, [u8]>> {
    let mut forms: Vec<Cow<'_, [u8]>> = rdatas.map(|r| canonical_form(r, rtype)).collect();
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Appends one record in canonical form (RFC 4034 section 6.2); `rdata` already is. Data longer than a
/// record can hold is cut, which no signature or digest will match.
pub fn push_record(out: &mut Vec<u8>, owner: &Name, rtype: Rtype, ttl_s: u32, rdata: &[u8]) {
    push_record_of(out, owner.wire(), rtype, ttl_s, rdata);
}

/// The same for an owner in wire form.
pub fn push_record_of(out: &mut Vec<u8>, owner: &[u8], rtype: Rtype, ttl_s: u32, rdata: &[u8]) {
    let rdata = &rdata[..rdata.len().min(usize::from(u16::MAX))];
    let at = out.len();
    out.extend_from_slice(owner);
    out[at..].make_ascii_lowercase();
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&Class::IN.0.to_be_bytes());
    out.extend_from_slice(&ttl_s.to_be_bytes());
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(rdata);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rdata;
    use crate::signer::name;

    fn rrsig(rtype: Rtype, labels: u8, signer: &str) -> Vec<u8> {
        let mut rdata = rtype.0.to_be_bytes().to_vec();
        rdata.extend([15, labels]);
        rdata.extend(3600u32.to_be_bytes());
        rdata.extend([0; 10]);
        rdata.extend(name(signer).wire());
        rdata.push(1);
        rdata
    }

    // RFC 4034 sections 3.1.8.1, 6.2 and 6.3.
    #[test]
    fn signed_data_is_in_canonical_form() {
        let mx = |preference: u8, host: &str| -> Rdata {
            [&[0, preference], name(host).wire()].concat().into()
        };
        let set = RrSet {
            name: name("WWW.Example."),
            rtype: Rtype::MX,
            ttl: 7,
            rdatas: vec![
                mx(20, "b.Example."),
                mx(10, "A.example."),
                mx(10, "a.EXAMPLE."),
            ],
            sigs: Vec::new(),
        };
        let rdata = rrsig(Rtype::MX, 2, "Example.");
        let sig = Rrsig::parse(&rdata).unwrap();
        let mut expected = rrsig(Rtype::MX, 2, "example.");
        expected.pop();
        for (preference, host) in [(10, "a.example."), (20, "b.example.")] {
            expected.extend(b"\x03www\x07example\x00\x00\x0f\x00\x01\x00\x00\x0e\x10\x00\x0d");
            expected.extend(&*mx(preference, host));
        }
        assert_eq!(signed_data(&set, &sig, &set.name), expected);
    }

    // RFC 4035 section 5.3.2.
    #[test]
    fn labels_tell_the_wildcard() {
        for (owner, labels, signed) in [
            ("a.b.example.", 3, Some("a.b.example.")),
            ("a.b.example.", 2, Some("*.b.example.")),
            ("a.b.example.", 1, Some("*.example.")),
            ("a.b.example.", 0, Some("*.")),
            ("a.b.example.", 4, None),
            ("*.b.example.", 2, Some("*.b.example.")),
            ("*.b.example.", 1, Some("*.example.")),
            ("*.b.example.", 3, None),
            (".", 0, Some(".")),
            (".", 1, None),
        ] {
            let rdata = rrsig(Rtype::A, labels, "example.");
            let sig = Rrsig::parse(&rdata).unwrap();
            let owner = name(owner);
            let found = signed_owner(&owner, &sig).map(Cow::into_owned);
            assert_eq!(found, signed.map(name), "{owner} {labels}");
        }
    }
}
