//! What a set of NSEC or NSEC3 records proves.
//!
//! The records that come in here are already known to be the zone's own: signed by its keys and no
//! wildcard expansion. What is left is logic over names and type lists (RFC 4035 section 5.4, RFC 5155
//! section 8, RFC 6840 section 4). The questions are few ([`Claim`]), and the answer to each is either a
//! [`Proof`] or nothing.
//!
//! The rule behind most of the checks: a record speaks only for its own zone. At a cut the parent's record
//! (NS without SOA) knows nothing but NS and DS of that name and nothing at all below it, and the
//! child's (with SOA) knows nothing of DS. A DNAME hides what is below it.
//!
//! Failure: no proof. That the zone asks for too much hashing is a proof of nothing as well.

use crate::dns::{Name, RrSet, Rtype, TypeBitmap};
use crate::dnssec::nsec::NsecRecord;
use crate::dnssec::nsec3::{Hash, Nsec3Record};

/// Hashes a name with iterations and salt; `None` when the budget does not allow it.
pub(super) type Hasher<'a> = dyn FnMut(&Name, u16, &[u8]) -> Option<Hash> + 'a;

/// What is to be proven of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The name does not exist, and no wildcard stands for it.
    NxDomain,
    /// The name, or the wildcard that stands for it, exists without this type and without CNAME.
    NoData(Rtype),
    /// The name was made from a wildcard whose parent has so many labels: nothing closer exists.
    Expansion(usize),
}

/// What was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The name does not exist.
    NxDomain,
    /// The name exists without the type.
    NoData {
        /// A zone is delegated there: NS without SOA. Together with absent DS that is an insecure
        /// delegation.
        delegation: bool,
    },
    /// The name does not exist; the wildcard for it lacks the type.
    WildcardNoData,
    /// The wildcard was the closest there is.
    Expansion,
    /// Nobody knows: unsigned delegations are left out of the chain here (RFC 5155 section 6).
    OptOut,
}

/// The denial records of a response, of one kind.
#[derive(Debug)]
pub(super) enum Denial<'a> {
    Nsec(Vec<NsecRecord<'a>>),
    Nsec3(Nsec3Records<'a>),
}

/// NSEC3 records that share their parameters, as those of one response must (RFC 5155 section 8.2).
#[derive(Debug)]
pub(super) struct Nsec3Records<'a> {
    pub(super) iterations: u16,
    salt: &'a [u8],
    records: Vec<Nsec3Record<'a>>,
}

impl<'a> Denial<'a> {
    /// The NSEC records among the sets, if there are any.
    pub(super) fn nsec(sets: &'a [RrSet], zone: &Name) -> Option<Denial<'a>> {
        // Only the last record of the chain leads back, and it leads to the apex.
        let sound = |r: &NsecRecord| {
            let onward = r.data.next > *r.owner && r.data.next.is_within(zone);
            r.owner.is_within(zone) && (onward || r.data.next == *zone)
        };
        let records: Vec<_> = sets
            .iter()
            .filter_map(NsecRecord::of)
            .filter(sound)
            .collect();
        (!records.is_empty()).then_some(Denial::Nsec(records))
    }

    /// The NSEC3 records among the sets, if there are any. Records with other parameters than the first
    /// do not count.
    pub(super) fn nsec3(sets: &'a [RrSet], zone: &Name) -> Option<Denial<'a>> {
        let mut records: Vec<_> = (sets.iter())
            .filter_map(|set| Nsec3Record::of(set, zone))
            .collect();
        let first = &records.first()?.data;
        let (iterations, salt) = (first.iterations, first.salt);
        records.retain(|r| (r.data.iterations, r.data.salt) == (iterations, salt));
        Some(Denial::Nsec3(Nsec3Records {
            iterations,
            salt,
            records,
        }))
    }

    /// What the records prove of `name`, a name within `zone`.
    pub(super) fn prove(
        &self,
        zone: &Name,
        name: &Name,
        claim: Claim,
        hasher: &mut Hasher<'_>,
    ) -> Option<Proof> {
        if !name.is_within(zone) {
            return None;
        }
        match self {
            Denial::Nsec(records) => prove_nsec(records, name, claim),
            Denial::Nsec3(records) => Search {
                records,
                zone,
                hasher,
            }
            .prove(name, claim),
        }
    }
}

/// Whether a name with these types can lack `rtype` for an asker, as seen by this record. `Some(delegation)` if so.
fn lacks(types: TypeBitmap<'_>, name: &Name, rtype: Rtype) -> Option<bool> {
    let has = |t| types.contains(t);
    let delegation = has(Rtype::NS) && !has(Rtype::SOA);
    if has(rtype) || has(Rtype::CNAME) {
        return None;
    }
    match rtype {
        // RFC 6840 section 4.1: the child's apex record does not speak for DS. The root has no parent.
        Rtype::DS if has(Rtype::SOA) && !name.is_root() => return None,
        Rtype::DS => {}
        // Whatever is there answers ANY.
        Rtype::ANY
            if types
                .types()
                .any(|t| !matches!(t, Rtype::NSEC | Rtype::RRSIG)) =>
        {
            return None;
        }
        _ if delegation => return None,
        _ => {}
    }
    Some(delegation)
}

// --- NSEC ---------------------------------------------------------------------------------------

/// Whether `name` stands in the record's gap or is an empty non-terminal in it, and the record may speak for it.
fn speaks_of(record: &NsecRecord<'_>, name: &Name) -> bool {
    let hidden = record.is_delegation() && name.is_below(record.owner);
    !hidden && (record.covers(name) || record.proves_empty(name))
}

fn prove_nsec(records: &[NsecRecord<'_>], name: &Name, claim: Claim) -> Option<Proof> {
    let of_name = |name: &Name| records.iter().find(|r| r.matches(name));
    if let (Claim::NoData(rtype), Some(own)) = (claim, of_name(name)) {
        let delegation = lacks(own.types(), name, rtype)?;
        return Some(Proof::NoData { delegation });
    }
    let cover = records.iter().find(|r| speaks_of(r, name))?;
    if cover.proves_empty(name) {
        return matches!(claim, Claim::NoData(_)).then_some(Proof::NoData { delegation: false });
    }
    let encloser = cover.closest_encloser(name);
    if let Claim::Expansion(labels) = claim {
        return (encloser.label_count() == labels).then_some(Proof::Expansion);
    }
    let wildcard = encloser.wildcard().ok()?;
    let gap = records.iter().find(|r| speaks_of(r, &wildcard));
    match claim {
        Claim::NoData(rtype) => match of_name(&wildcard) {
            // A delegation at a wildcard is undefined (RFC 4592 section 4.2): no proof.
            Some(own) => lacks(own.types(), &wildcard, rtype).filter(|delegation| !delegation),
            // The wildcard itself may be an empty non-terminal (section 2.2.1).
            None => gap.filter(|r| r.proves_empty(&wildcard)).map(|_| false),
        }
        .map(|_| Proof::WildcardNoData),
        _ => gap.filter(|r| r.covers(&wildcard)).map(|_| Proof::NxDomain),
    }
}

// --- NSEC3 --------------------------------------------------------------------------------------

/// One search among NSEC3 records.
struct Search<'s, 'a, 'h> {
    records: &'s Nsec3Records<'a>,
    zone: &'s Name,
    hasher: &'s mut Hasher<'h>,
}

/// The closest encloser of a name that does not exist (RFC 5155 section 8.3).
struct Encloser {
    name: Name,
    /// The gap that holds the next closer name may hold unsigned delegations.
    opt_out: bool,
}

impl<'s, 'a> Search<'s, 'a, '_> {
    fn hash(&mut self, name: &Name) -> Option<Hash> {
        (self.hasher)(name, self.records.iterations, self.records.salt)
    }

    fn matching(&mut self, name: &Name) -> Option<Option<&'s Nsec3Record<'a>>> {
        let hash = self.hash(name)?;
        Some(self.records.records.iter().find(|r| r.matches(&hash)))
    }

    fn covering(&mut self, name: &Name) -> Option<&'s Nsec3Record<'a>> {
        let hash = self.hash(name)?;
        self.records.records.iter().find(|r| r.covers(&hash))
    }

    fn prove(mut self, name: &Name, claim: Claim) -> Option<Proof> {
        match claim {
            // RFC 5155 section 8.8: the expansion itself shows the closest encloser.
            Claim::Expansion(labels) => {
                let next_closer = name.suffix(labels + 1);
                let cover = self.covering(&next_closer)?;
                Some(or_opt_out(Proof::Expansion, cover.data.opt_out()))
            }
            // Section 8.4.
            Claim::NxDomain => {
                let encloser = self.encloser(name)?;
                self.covering(&encloser.name.wildcard().ok()?)?;
                Some(or_opt_out(Proof::NxDomain, encloser.opt_out))
            }
            // Sections 8.5 to 8.7.
            Claim::NoData(rtype) => {
                if let Some(own) = self.matching(name)? {
                    let delegation = lacks(own.data.types, name, rtype)?;
                    return Some(Proof::NoData { delegation });
                }
                let encloser = self.encloser(name)?;
                let wildcard = encloser.name.wildcard().ok()?;
                match self.matching(&wildcard)? {
                    Some(own) if lacks(own.data.types, &wildcard, rtype) == Some(false) => {
                        Some(or_opt_out(Proof::WildcardNoData, encloser.opt_out))
                    }
                    Some(_) => None,
                    // Section 8.6 for DS. For other types an empty non-terminal above unsigned
                    // delegations alone looks so too (errata 3441).
                    None => encloser.opt_out.then_some(Proof::OptOut),
                }
            }
        }
    }

    /// The closest encloser proof for a name that has no record of its own.
    fn encloser(&mut self, name: &Name) -> Option<Encloser> {
        let apex = self.zone.label_count();
        let depth = name.label_count();
        for labels in (apex..=depth).rev() {
            let candidate = name.suffix(labels);
            let Some(own) = self.matching(&candidate)? else {
                continue;
            };
            if labels == depth || own.is_delegation() {
                return None;
            }
            let cover = self.covering(&name.suffix(labels + 1))?;
            return Some(Encloser {
                name: candidate,
                opt_out: cover.data.opt_out(),
            });
        }
        None
    }
}

/// RFC 5155 section 9.2: what an opt-out gap proves is not authentic.
fn or_opt_out(proof: Proof, opt_out: bool) -> Proof {
    if opt_out { Proof::OptOut } else { proof }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata::type_bitmap;
    use crate::dnssec::nsec3::hash_label;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn types(text: &str) -> Vec<u8> {
        let types: Vec<Rtype> = text
            .split_whitespace()
            .map(|t| t.parse().unwrap())
            .collect();
        type_bitmap(&types)
    }

    /// `owner next TYPES...`
    fn nsec(line: &str) -> RrSet {
        let mut words = line.splitn(3, ' ');
        let (owner, next) = (words.next().unwrap(), words.next().unwrap());
        let mut rdata = name(next).wire().to_vec();
        rdata.extend(types(words.next().unwrap_or("")));
        RrSet::single(name(owner), Rtype::NSEC, 60, rdata.into())
    }

    fn check_nsec(records: &[&str], asked: &str, claim: Claim, expected: Option<Proof>) {
        let sets: Vec<RrSet> = records.iter().map(|r| nsec(r)).collect();
        let zone = name("z.");
        let proof = Denial::nsec(&sets, &zone)
            .and_then(|d| d.prove(&zone, &name(asked), claim, &mut |_, _, _| None));
        assert_eq!(proof, expected, "{records:?} {asked} {claim:?}");
    }

    const NO_DATA: Option<Proof> = Some(Proof::NoData { delegation: false });
    const DELEGATION: Option<Proof> = Some(Proof::NoData { delegation: true });

    #[test]
    fn nsec_no_data() {
        use Claim::NoData;
        for (record, asked, rtype, expected) in [
            ("a.z. c.z. A", "a.z.", Rtype::MX, NO_DATA),
            ("a.z. c.z. A", "a.z.", Rtype::A, None),
            ("a.z. c.z. CNAME", "a.z.", Rtype::A, None),
            // The parent's side of a cut speaks of DS alone (RFC 6840 section 4.1) ...
            ("a.z. c.z. NS", "a.z.", Rtype::DS, DELEGATION),
            ("a.z. c.z. NS DS", "a.z.", Rtype::DS, None),
            ("a.z. c.z. NS", "a.z.", Rtype::A, None),
            ("a.z. c.z. A", "a.z.", Rtype::DS, NO_DATA),
            // ... and the child's of anything but DS.
            ("z. c.z. NS SOA", "z.", Rtype::A, NO_DATA),
            ("z. c.z. NS SOA", "z.", Rtype::DS, None),
            // Empty non-terminal.
            ("a.z. x.b.z. A", "b.z.", Rtype::A, NO_DATA),
            ("a.z. x.b.z. A", "c.b.z.", Rtype::A, None),
            ("a.z. c.z. A", "b.z.", Rtype::A, None),
            ("a.z. c.z. A NSEC RRSIG", "a.z.", Rtype::ANY, None),
            ("a.z. c.z. NSEC RRSIG", "a.z.", Rtype::ANY, NO_DATA),
            // Out of the zone, or with a next name that is.
            ("a.y. c.y. A", "a.y.", Rtype::MX, None),
            ("a.z. a.zz. A", "b.z.", Rtype::MX, None),
        ] {
            check_nsec(&[record], asked, NoData(rtype), expected);
        }
        // RFC 4592: a wildcard without the type, or an empty one.
        let wildcard = Some(Proof::WildcardNoData);
        let (gap, own) = ("a.z. c.z. A", "*.z. a.z. A");
        check_nsec(&[gap, own], "b.z.", NoData(Rtype::MX), wildcard);
        check_nsec(&[gap, own], "b.z.", NoData(Rtype::A), None);
        check_nsec(&[gap, "*.z. a.z. NS"], "b.z.", NoData(Rtype::MX), None);
        check_nsec(
            &[gap, "z. x.*.z. SOA NS"],
            "b.z.",
            NoData(Rtype::A),
            wildcard,
        );
        check_nsec(&[own], "b.z.", NoData(Rtype::MX), None);
    }

    #[test]
    fn nsec_name_error_and_expansion() {
        let gone = Some(Proof::NxDomain);
        for (records, asked, expected) in [
            (&["a.z. c.z. A", "z. a.z. SOA NS"][..], "b.z.", gone),
            (&["a.z. c.z. A"], "b.z.", None),
            (&["z. c.z. SOA NS"], "b.z.", gone),
            // The last record.
            (&["c.z. z. A", "z. c.z. SOA NS"], "d.z.", gone),
            (&["z. z. SOA NS"], "d.z.", gone),
            // A loop that does not lead to the apex is no last record.
            (&["c.z. a.z. A", "z. c.z. SOA NS"], "d.z.", None),
            // The wildcard exists.
            (&["a.z. c.z. A", "*.z. a.z. A"], "b.z.", None),
            (&["a.z. c.z. A", "z. x.*.z. SOA NS"], "b.z.", None),
            // Below a cut, below a DNAME.
            (&["a.z. c.z. NS", "z. a.z. SOA NS"], "x.a.z.", None),
            (&["a.z. c.z. DNAME", "z. a.z. SOA NS"], "x.a.z.", None),
            (&["a.z. c.z. A"], "x.a.z.", gone),
            // Empty non-terminal, and the owner itself.
            (&["a.z. x.b.z. A", "z. a.z. SOA NS"], "b.z.", None),
            (&["a.z. c.z. A", "z. a.z. SOA NS"], "a.z.", None),
        ] {
            check_nsec(records, asked, Claim::NxDomain, expected);
        }
        let closest = Some(Proof::Expansion);
        for (record, labels, expected) in [
            ("a.z. c.z. A", 1, closest),
            ("a.z. y.b.z. A", 1, None),
            ("a.z. y.b.z. A", 2, closest),
            ("b.z. c.z. A", 1, None),
            ("b.z. c.z. NS", 2, None),
        ] {
            check_nsec(&[record], "x.b.z.", Claim::Expansion(labels), expected);
        }
    }

    /// Where names stand on the circle of hashes.
    const PLACES: [(&str, u8); 8] = [
        ("z.", 10),
        ("a.z.", 20),
        ("b.z.", 30),
        ("*.z.", 40),
        ("x.a.z.", 50),
        ("*.a.z.", 60),
        ("y.x.a.z.", 70),
        ("c.z.", 200),
    ];

    fn place(asked: &Name) -> Option<Hash> {
        let found = PLACES.iter().find(|(n, _)| name(n) == *asked);
        found.map(|(_, at)| [*at; 20])
    }

    /// `from to flag TYPES...`, with flag `o` for opt-out.
    fn nsec3(line: &str) -> RrSet {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let at = |i: usize| [words[i].parse::<u8>().unwrap(); 20];
        let mut rdata = vec![1, u8::from(words[2] == "o"), 0, 1, 0, 20];
        rdata.extend(at(1));
        rdata.extend(types(words[3]));
        let owner = name("z.").child(&hash_label(&at(0))).unwrap();
        RrSet::single(owner, Rtype::NSEC3, 60, rdata.into())
    }

    fn check_nsec3(records: &[&str], asked: &str, claim: Claim, expected: Option<Proof>) {
        let sets: Vec<RrSet> = records.iter().map(|r| nsec3(r)).collect();
        let zone = name("z.");
        let mut hasher = |n: &Name, iterations: u16, _: &[u8]| {
            assert_eq!(iterations, 1);
            place(n)
        };
        let proof = Denial::nsec3(&sets, &zone)
            .and_then(|d| d.prove(&zone, &name(asked), claim, &mut hasher));
        assert_eq!(proof, expected, "{records:?} {asked} {claim:?}");
    }

    const APEX: &str = "10 11 - SOA NS";

    #[test]
    fn nsec3_name_error() {
        let gone = Some(Proof::NxDomain);
        for (records, asked, expected) in [
            (&[APEX, "15 25 - A", "35 45 - A"][..], "a.z.", gone),
            (&[APEX, "15 45 - A"], "a.z.", gone),
            (&["10 10 - SOA NS"], "a.z.", gone),
            // Without encloser, next closer, wildcard.
            (&["15 25 - A", "35 45 - A"], "a.z.", None),
            (&[APEX, "35 45 - A"], "a.z.", None),
            (&[APEX, "15 25 - A"], "a.z.", None),
            // The wildcard exists; the name exists.
            (&[APEX, "15 25 - A", "40 45 - A"], "a.z.", None),
            (&[APEX, "20 25 - A", "35 45 - A"], "a.z.", None),
            // The encloser is a cut or a DNAME.
            (&["20 21 - NS", "45 65 - A"], "x.a.z.", None),
            (&["20 21 - DNAME", "45 65 - A"], "x.a.z.", None),
            (&["20 21 - A", "45 65 - A"], "x.a.z.", gone),
            // The next closer is x.a, not y.x.a.
            (&["20 21 - A", "65 75 - A", "55 62 - A"], "y.x.a.z.", None),
            (&["20 21 - A", "45 65 - A"], "y.x.a.z.", gone),
            // Opt-out at the next closer, elsewhere.
            (
                &[APEX, "15 25 o A", "35 45 - A"],
                "a.z.",
                Some(Proof::OptOut),
            ),
            (&[APEX, "15 25 - A", "35 45 o A"], "a.z.", gone),
            // Over the end of the circle.
            (&[APEX, "190 5 - A", "35 45 - A"], "c.z.", gone),
        ] {
            check_nsec3(records, asked, Claim::NxDomain, expected);
        }
    }

    #[test]
    fn nsec3_no_data_and_expansion() {
        for (records, asked, rtype, expected) in [
            (&["20 21 - A"][..], "a.z.", Rtype::MX, NO_DATA),
            (&["20 21 - A"], "a.z.", Rtype::A, None),
            (&["20 21 - CNAME"], "a.z.", Rtype::A, None),
            (&["20 21 - "], "a.z.", Rtype::A, NO_DATA),
            (&["20 21 - NS"], "a.z.", Rtype::A, None),
            (&["20 21 o NS"], "a.z.", Rtype::DS, DELEGATION),
            (&["20 21 - NS SOA"], "a.z.", Rtype::DS, None),
            (&[APEX, "15 25 o A"], "a.z.", Rtype::DS, Some(Proof::OptOut)),
            (&[APEX, "15 25 o A"], "a.z.", Rtype::A, Some(Proof::OptOut)),
            (&[APEX, "15 25 - A"], "a.z.", Rtype::DS, None),
            (&["15 25 o A"], "a.z.", Rtype::DS, None),
            (
                &[APEX, "15 25 - A", "40 41 - A"],
                "a.z.",
                Rtype::MX,
                Some(Proof::WildcardNoData),
            ),
            (
                &[APEX, "15 25 o A", "40 41 - A"],
                "a.z.",
                Rtype::MX,
                Some(Proof::OptOut),
            ),
            (&[APEX, "15 25 - A", "40 41 - A"], "a.z.", Rtype::A, None),
            (
                &[APEX, "15 25 - A", "40 41 - CNAME"],
                "a.z.",
                Rtype::A,
                None,
            ),
        ] {
            check_nsec3(records, asked, Claim::NoData(rtype), expected);
        }
        for (records, labels, expected) in [
            (&["15 25 - A"][..], 1, Some(Proof::Expansion)),
            (&["15 25 o A"], 1, Some(Proof::OptOut)),
            (&["45 55 - A"], 1, None),
            (&["45 55 - A"], 2, Some(Proof::Expansion)),
        ] {
            check_nsec3(records, "x.a.z.", Claim::Expansion(labels), expected);
        }
    }

    /// RFC 5155 sections 8.1 and 8.2.
    #[test]
    fn nsec3_records_that_do_not_count() {
        let zone = name("z.");
        let good = [nsec3(APEX), nsec3("15 25 - A"), nsec3("35 45 - A")];
        let spoil: [fn(&mut RrSet); 5] = [
            |s| s.rdatas[0][0] = 2,
            |s| s.rdatas[0][1] = 2,
            |s| s.rdatas[0][3] = 2,
            |s| s.name = name("x.z."),
            |s| {
                s.name = s
                    .name
                    .replace_suffix(&name("z."), &name("y."))
                    .unwrap()
                    .unwrap()
            },
        ];
        for (i, spoil) in spoil.iter().enumerate() {
            let mut sets = good.clone();
            spoil(&mut sets[1]);
            let denial = Denial::nsec3(&sets, &zone).unwrap();
            let mut hasher = |n: &Name, _: u16, _: &[u8]| place(n);
            let proof = denial.prove(&zone, &name("a.z."), Claim::NxDomain, &mut hasher);
            assert_eq!(proof, None, "{i}");
        }
    }
}
