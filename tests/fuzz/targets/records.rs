//! Names and record data, in wire form and as text.

use holdfast::dns::name::NAME_LEN_MAX;
use holdfast::dns::{
    Class, Dnskey, Ds, Name, Nsec, Nsec3, Record, Rrsig, Rtype, Soa, TypeBitmap, rdata,
};
use holdfast::dnssec::zonemd::Zonemd;
use holdfast::zone::{parse, present};

/// A name has at most 255 octets and comes back the same from wire form and from text; order and kinship agree with
/// each other. Input: an octet that says where in the rest the first name starts; a second one follows it.
pub fn name(data: &[u8]) -> bool {
    let Some((&at, rest)) = data.split_first() else {
        return false;
    };
    if let Ok(name) = String::from_utf8_lossy(rest).parse::<Name>() {
        name_holds(&name);
    }
    let Ok((first, next)) = Name::parse(rest, at.into()) else {
        return false;
    };
    assert!(next <= rest.len());
    name_holds(&first);
    let Ok((second, _)) = Name::parse(rest, next) else {
        return true;
    };
    assert_eq!(first.cmp(&second), second.cmp(&first).reverse());
    assert_eq!(first == second, first.cmp(&second).is_eq());
    let ancestor = first.common_ancestor(&second);
    assert!(first.is_within(&ancestor) && second.is_within(&ancestor));
    assert_eq!(first.is_within(&second), ancestor == second);
    // RFC 6672 section 2.2, and back again.
    if let Ok(Some(moved)) = first.replace_suffix(&ancestor, &second) {
        let back = moved.replace_suffix(&second, &ancestor);
        assert_eq!(back, Ok(Some(first)));
    }
    true
}

fn name_holds(name: &Name) {
    assert!((1..=NAME_LEN_MAX).contains(&name.wire().len()));
    let again = Name::from_wire(name.wire()).expect("wire form is read");
    assert!(again.eq_case(name));
    let again: Name = name.to_string().parse().expect("text is read");
    assert!(again.eq_case(name));
    assert_eq!(name.to_lowercase(), *name);
    assert_eq!(name.suffix(name.label_count()), *name);
    assert_eq!(name.labels().count(), name.label_count());
    if let Some(parent) = name.parent() {
        assert!(name.is_below(&parent) && parent < *name);
        let label = name.labels().next().expect("a label");
        assert_eq!(parent.child(label).as_ref(), Ok(name));
    }
}

/// Data that is accepted checks, has a canonical form that is its own canonical form, and comes back the same from its
/// zone file text. Readers of single types take or leave it. Input: the type, then the data, which may point into itself.
pub fn rdata(data: &[u8]) -> bool {
    let Some((&[high, low], raw)) = data.split_first_chunk() else {
        return false;
    };
    let rtype = Rtype(u16::from_be_bytes([high, low]));
    read_all(raw);
    let Ok(parsed) = rdata::parse(raw, 0, raw.len().min(usize::from(u16::MAX)), rtype) else {
        return false;
    };
    assert_eq!(rdata::check(&parsed, rtype), Ok(()));
    let canonical = rdata::canonical(&parsed, rtype);
    assert!(canonical.eq_ignore_ascii_case(&parsed));
    assert_eq!(rdata::canonical(&canonical, rtype), canonical);
    let mut pieces = Vec::new();
    rdata::for_each_piece(&parsed, rtype, |piece, _, _| {
        pieces.extend_from_slice(piece)
    });
    assert_eq!(pieces, *parsed);
    read_all(&parsed);
    // No zone has such records, and zone files no text for them.
    if rtype.is_meta() || rtype.0 == 0 {
        return true;
    }
    let record = Record {
        name: r"\000.Example.".parse().expect("a name"),
        rtype,
        class: Class::IN,
        ttl: 7,
        rdata: parsed,
    };
    let text = present::record(&record);
    let again: Result<Vec<Record>, _> = parse::records(text.as_bytes(), "text", None).collect();
    assert_eq!(again, Ok(vec![record]), "{text}");
    true
}

/// Every reader of one type, whatever type the data are of.
fn read_all(data: &[u8]) {
    let _ = (rdata::single_name(data), rdata::address(data));
    let _ = (Soa::parse(data), Zonemd::parse(data), Ds::parse(data));
    if let Some(key) = Dnskey::parse(data) {
        let _ = (key.key_tag(), key.is_zone_key());
    }
    if let Some(sig) = Rrsig::parse(data) {
        assert_eq!(sig.prefix.len() + sig.signature.len(), data.len());
    }
    let bitmaps = [
        Some(TypeBitmap(data)),
        Nsec::parse(data).map(|n| n.types),
        Nsec3::parse(data).map(|n| n.types),
    ];
    for bitmap in bitmaps.into_iter().flatten() {
        let types: Vec<Rtype> = bitmap.types().collect();
        if bitmap.is_well_formed() {
            assert!(types.is_sorted() && types.iter().all(|t| bitmap.contains(*t)));
            let written = rdata::type_bitmap(&types);
            assert!(TypeBitmap(&written).types().eq(types));
        }
    }
}
