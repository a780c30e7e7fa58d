//! Catalog zones (RFC 9432): a zone that lists zones, so that a fleet needs one list. Pure.
//!
//! ```text
//! version.CATALOG        TXT "2"
//! UNIQUE.zones.CATALOG   PTR member.     one node per member; another UNIQUE for the same member means: begin anew
//! coo.UNIQUE.zones...    PTR other.      the member is moving to the catalog `other.`
//! group.UNIQUE.zones...  TXT "..."       whose meaning is the consumer's
//! ```
//!
//! [`Membership::read`] is the consumer's half, [`produce`] the producer's; [`plan`] says what a new list changes.
//!
//! Failure: a catalog that is not exactly of this form is broken as a whole (section 5.1), and whoever follows it keeps what
//! the last good one said. Half a list is worse than an old one.

use std::collections::{BTreeMap, HashMap};

use crate::dns::{Class, Name, Record, Rtype, rdata};
use crate::zone::{BuildError, Builder, ZoneImage};

/// The only version of the format (section 4.2.1).
const VERSION: &[u8] = b"\x012";
/// TTL of records that nobody should ask for (section 4.1), in seconds.
const TTL_S: u32 = 0;
/// SOA timers of a produced catalog, in seconds: refresh, retry, expire, minimum.
const TIMERS_S: [u32; 4] = [3600, 600, 2_419_200, 0];
/// What one catalog lists may take so much memory, in octets, before it is taken for broken: half a million members as a rule.
const LISTED_BYTES_MAX: usize = 64 << 20;
/// What a member or a property takes beside its texts, in octets, about.
const ENTRY_LEN_BYTES: usize = 64;
/// Octets of a digest that a member's label spells; enough that no two members meet.
const LABEL_DIGEST_BYTES: usize = 16;

/// A member of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its node's label, in lower case: a member whose label changes is another zone of the same name.
    pub label: Vec<u8>,
    /// The catalog that it is moving to.
    pub moving_to: Option<Name>,
    /// Its groups; nothing is made of them here but to show them.
    pub groups: Vec<String>,
}

/// What a catalog lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Members by zone, in canonical order.
    pub members: BTreeMap<Name, Member>,
}

/// Why a catalog is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Section 4.2.1: exactly one TXT record, which says 2.
    #[error("its version is not 2, the only one that there is")]
    Version,
    /// Section 4.1: exactly one PTR record.
    #[error("the member node {0} has more than one PTR record")]
    SeveralNames(Name),
    /// Section 4.1: a zone is listed once.
    #[error("{0} is listed twice")]
    Twice(Name),
    /// A list of millions is a mistake, or an attack on whoever follows it.
    #[error("it lists more than is read of one catalog, about half a million zones")]
    TooLarge,
}

impl Membership {
    /// Reads what a catalog lists. Names that the RFC does not speak of are ignored (section 4.4).
    ///
    /// # Errors
    /// It is broken.
    pub fn read(image: &ZoneImage) -> Result<Membership, Broken> {
        Membership::read_within(image, LISTED_BYTES_MAX)
    }

    fn read_within(image: &ZoneImage, bytes_max: usize) -> Result<Membership, Broken> {
        let apex = image.apex();
        let version = apex.child(b"version").ok();
        let version = version.and_then(|name| image.find(&name, Rtype::TXT));
        let is_ours = |rdatas: &[Box<[u8]>]| matches!(rdatas, [one] if **one == *VERSION);
        if !version.is_some_and(|set| is_ours(&set.rdatas)) {
            return Err(Broken::Version);
        }
        let mut found = Membership::default();
        let Ok(zones) = apex.child(b"zones") else {
            return Ok(found);
        };
        let depth = zones.label_count();
        let mut properties: HashMap<Vec<u8>, Member> = HashMap::new();
        let mut names: Vec<(Vec<u8>, Name)> = Vec::new();
        let mut left = bytes_max;
        let mut take = |octets: usize| {
            left = left
                .checked_sub(ENTRY_LEN_BYTES + octets)
                .ok_or(Broken::TooLarge)?;
            Ok(())
        };
        for node in image.nodes().filter(|node| node.name.is_below(&zones)) {
            let labels: Vec<&[u8]> = node.name.labels().collect();
            let data = |rtype| {
                let set = node.sets.iter().find(|set| set.rtype == rtype);
                set.map_or(&[][..], |set| &set.rdatas)
            };
            // One label is the member, two are a property of it; deeper ones belong to others.
            match labels[..labels.len() - depth] {
                [label] => match data(Rtype::PTR) {
                    [] => {}
                    [one] => {
                        take(2 * label.len() + one.len())?;
                        names.extend(rdata::single_name(one).map(|zone| (label.to_vec(), zone)))
                    }
                    _ => return Err(Broken::SeveralNames(node.name)),
                },
                [b"coo", label] => {
                    // Section 4.3.1: more than one means nothing.
                    if let [one] = data(Rtype::PTR) {
                        take(2 * label.len() + one.len())?;
                        let member = properties
                            .entry(label.to_vec())
                            .or_insert_with(|| Member::new(label));
                        member.moving_to = rdata::single_name(one);
                    }
                }
                [b"group", label] => {
                    for text in data(Rtype::TXT) {
                        take(2 * label.len() + text.len())?;
                    }
                    let member = properties
                        .entry(label.to_vec())
                        .or_insert_with(|| Member::new(label));
                    member.groups = data(Rtype::TXT).iter().map(|text| shown(text)).collect();
                }
                _ => {}
            }
        }
        for (label, zone) in names {
            let member = properties
                .remove(&label)
                .unwrap_or_else(|| Member::new(&label));
            let zone = zone.to_lowercase();
            if found.members.insert(zone.clone(), member).is_some() {
                return Err(Broken::Twice(zone));
            }
        }
        Ok(found)
    }
}

impl Member {
    fn new(label: &[u8]) -> Member {
        Member {
            label: label.to_vec(),
            moving_to: None,
            groups: Vec::new(),
        }
    }
}

/// The first string of TXT data, for people.
fn shown(text: &[u8]) -> String {
    let first = text
        .split_first()
        .and_then(|(len, rest)| rest.get(..usize::from(*len)));
    String::from_utf8_lossy(first.unwrap_or_default()).into_owned()
}

/// A member that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The catalog that lists it.
    pub catalog: Name,
    /// As it was listed.
    pub member: Member,
}

/// What is to be done about one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Stop following it.
    Remove(Name),
    /// Forget all that is known of it, and begin anew (section 5.4).
    Reset(Name, Followed),
    /// Begin to follow it.
    Add(Name, Followed),
    /// It goes on as it is; what is listed of it has changed.
    Keep(Name, Followed),
    /// Do not follow it; why.
    Ignore(Name, Ignored),
}

/// Why a listed zone is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Section 4.1: what is there already stays.
    #[error("the configuration has a zone of this name")]
    Configured,
    /// Section 4.3.1: the other catalog does not say that it goes.
    #[error("the catalog {0} lists it too, and does not hand it over")]
    Elsewhere(Name),
    /// There are more than are allowed.
    #[error("members_max is reached")]
    TooMany,
    /// The root or a top-level zone, of which nothing would be verified: whoever writes the catalog could answer for everything.
    #[error("with verify = \"none\" the root and top-level zones need a [[mirror]] of their own")]
    TooHigh,
}

/// What a new list of `catalog` means for what is followed. `refuses` says which zones are not to be; of the catalog's other
/// members, at most `members_max` are followed. Removals come first.
pub fn plan(
    catalog: &Name,
    listed: &Membership,
    followed: &BTreeMap<Name, Followed>,
    refuses: impl Fn(&Name) -> Option<Ignored>,
    members_max: usize,
) -> Vec<Step> {
    let ours = followed.iter().filter(|(_, f)| f.catalog == *catalog);
    let gone = ours.filter(|(zone, _)| !listed.members.contains_key(*zone));
    let mut steps: Vec<Step> = gone.map(|(zone, _)| Step::Remove(zone.clone())).collect();
    let mut count = 0;
    for (zone, member) in &listed.members {
        let new = Followed {
            catalog: catalog.clone(),
            member: member.clone(),
        };
        let step = match followed.get(zone) {
            _ if let Some(why) = refuses(zone) => Err(why),
            Some(old)
                if old.catalog != *catalog && old.member.moving_to.as_ref() != Some(catalog) =>
            {
                Err(Ignored::Elsewhere(old.catalog.clone()))
            }
            _ if count == members_max => Err(Ignored::TooMany),
            None => Ok(Some(Step::Add(zone.clone(), new))),
            // Another label: a new zone of the same name, from the same catalog or from the one that takes it over.
            Some(old) if old.member.label != member.label => {
                Ok(Some(Step::Reset(zone.clone(), new)))
            }
            Some(old) if *old == new => Ok(None),
            Some(_) => Ok(Some(Step::Keep(zone.clone(), new))),
        };
        match step {
            Ok(step) => {
                count += 1;
                steps.extend(step);
            }
            Err(why) => {
                // One of ours that has no place any more.
                if followed
                    .get(zone)
                    .is_some_and(|old| old.catalog == *catalog)
                {
                    steps.push(Step::Remove(zone.clone()));
                }
                steps.push(Step::Ignore(zone.clone(), why));
            }
        }
    }
    steps.sort_by_key(|step| !matches!(step, Step::Remove(_)));
    steps
}

/// The catalog at `apex` that lists `zones`.
///
/// # Errors
/// A name in it would be too long, or it is too large.
pub fn produce<'n>(
    apex: &Name,
    serial: u32,
    zones: impl IntoIterator<Item = &'n Name>,
) -> Result<ZoneImage, BuildError> {
    let record = |name: &Name, rtype, rdata: Vec<u8>| Record {
        name: name.clone(),
        rtype,
        class: Class::IN,
        ttl: TTL_S,
        rdata: rdata.into(),
    };
    let mut builder = Builder::new(apex.clone());
    // Section 4.1: an NS record that leads nowhere.
    let nowhere = b"\x07invalid\x00";
    let mut soa = [&nowhere[..], nowhere].concat();
    soa.extend(serial.to_be_bytes());
    soa.extend(TIMERS_S.iter().flat_map(|timer| timer.to_be_bytes()));
    builder.add(record(apex, Rtype::SOA, soa))?;
    builder.add(record(apex, Rtype::NS, nowhere.to_vec()))?;
    if let Ok(version) = apex.child(b"version") {
        builder.add(record(&version, Rtype::TXT, VERSION.to_vec()))?;
    }
    for zone in zones {
        let node = apex
            .child(b"zones")
            .and_then(|at| at.child(label_of(zone).as_bytes()));
        if let Ok(node) = node {
            builder.add(record(
                &node,
                Rtype::PTR,
                zone.to_lowercase().wire().to_vec(),
            ))?;
        }
    }
    builder.finish()
}

/// The label of a member: always the same for the same zone, so that a restart of the producer resets nobody.
fn label_of(zone: &Name) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, zone.to_lowercase().wire());
    let octets = digest.as_ref().iter().take(LABEL_DIGEST_BYTES);
    octets.map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::name;
    use crate::zone::parse;

    fn image(text: &str) -> ZoneImage {
        let apex = name("cat.test.");
        let text = format!("@ 0 SOA invalid. invalid. 1 1 1 1 0\n@ 0 NS invalid.\n{text}\n");
        let mut builder = Builder::new(apex.clone());
        for record in parse::records(text.as_bytes(), "test", Some(&apex)) {
            builder.add(record.unwrap()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn read(text: &str) -> Result<Membership, Broken> {
        Membership::read(&image(text))
    }

    const TWO: &str = "version 0 TXT 2\n";

    fn listed(text: &str) -> Membership {
        read(&format!("{TWO}{text}")).unwrap()
    }

    /// Members, what they are moving to and their groups count, whether they belong together or not.
    #[test]
    fn a_list_beyond_all_measure_is_broken() {
        for line in [
            "m{}.zones 0 PTR member-{}.example.\n",
            "coo.m{}.zones 0 PTR member-{}.example.\n",
            "group.m{}.zones 0 TXT members-{}-have-groups\n",
            "group.m.zones 0 TXT one-member-{}-has-many-groups-{}\n",
        ] {
            let lines = (0..100).map(|i| line.replace("{}", &i.to_string()));
            let image = image(&format!("{TWO}{}", lines.collect::<String>()));
            let read = |bytes_max| Membership::read_within(&image, bytes_max);
            assert_eq!(read(100 * 64), Err(Broken::TooLarge), "{line}");
            assert!(read(100 * 128).is_ok(), "{line}");
        }
        // What is none of it does not.
        let image = image(&format!("{TWO}x.ext 0 TXT {}", "whatever ".repeat(30)));
        assert!(Membership::read_within(&image, 0).is_ok());
    }

    #[test]
    fn members_and_their_properties_are_read() {
        let found = listed(
            "A1.zones 0 PTR Example.\nb2.zones 0 PTR example.net.\ncoo.b2.zones 0 PTR other.test.\n\
             group.b2.zones 0 TXT signed extra\nx.ext.b2.zones 0 TXT whatever\nx.ext 0 TXT whatever\nc3.zones 0 TXT nothing",
        );
        let expected = [
            ("example.", "a1", None, vec![]),
            (
                "example.net.",
                "b2",
                Some(name("other.test.")),
                vec!["signed".to_owned()],
            ),
        ];
        let brief: Vec<_> = (found.members.iter())
            .map(|(zone, m)| (zone.clone(), m.clone()))
            .collect();
        let expected: Vec<_> = (expected.into_iter())
            .map(|(zone, label, moving_to, groups)| {
                let label = label.as_bytes().to_vec();
                (
                    name(zone),
                    Member {
                        label,
                        moving_to,
                        groups,
                    },
                )
            })
            .collect();
        assert_eq!(brief, expected);
    }

    #[test]
    fn a_broken_catalog_is_broken_as_a_whole() {
        let member = "a.zones 0 PTR a.\n";
        for version in [
            "",
            "version 0 TXT 1\n",
            "version 0 TXT 2 2\n",
            "version 0 TXT 2\nversion 0 TXT 3\n",
            "version 0 A 192.0.2.1\n",
        ] {
            assert_eq!(
                read(&format!("{version}{member}")),
                Err(Broken::Version),
                "{version}"
            );
        }
        let twice = format!("{TWO}{member}b.zones 0 PTR A.\n");
        assert_eq!(read(&twice), Err(Broken::Twice(name("a."))));
        let several = format!("{TWO}{member}a.zones 0 PTR b.\n");
        assert_eq!(
            read(&several),
            Err(Broken::SeveralNames(name("a.zones.cat.test.")))
        );
    }

    fn followed(list: &[(&str, &str, &str, Option<&str>)]) -> BTreeMap<Name, Followed> {
        let one = |(zone, catalog, label, moving_to): &(&str, &str, &str, Option<&str>)| {
            let member = Member {
                moving_to: moving_to.map(name),
                ..Member::new(label.as_bytes())
            };
            let catalog = name(catalog);
            (name(zone), Followed { catalog, member })
        };
        list.iter().map(one).collect()
    }

    /// The steps, each as its first letter and its zone.
    fn steps(text: &str, followed: &BTreeMap<Name, Followed>, members_max: usize) -> Vec<String> {
        let configured = |zone: &Name| (*zone == name("own.")).then_some(Ignored::Configured);
        let plan = plan(
            &name("cat.test."),
            &listed(text),
            followed,
            configured,
            members_max,
        );
        let brief = |step: &Step| match step {
            Step::Remove(zone) => format!("-{zone}"),
            Step::Reset(zone, _) => format!("!{zone}"),
            Step::Add(zone, _) => format!("+{zone}"),
            Step::Keep(zone, _) => format!("={zone}"),
            Step::Ignore(zone, why) => format!("?{zone} {why}"),
        };
        plan.iter().map(brief).collect()
    }

    #[test]
    fn a_new_list_is_followed_step_by_step() {
        let cat = "cat.test.";
        let had = followed(&[
            ("a.", cat, "a", None),
            ("b.", cat, "b", None),
            ("c.", cat, "c", None),
        ]);
        let list = "a.zones 0 PTR a.\nb2.zones 0 PTR b.\nd.zones 0 PTR d.\no.zones 0 PTR own.";
        let expected = [
            "-c.",
            "!b.",
            "+d.",
            "?own. the configuration has a zone of this name",
        ];
        assert_eq!(steps(list, &had, 9), expected);
        // What is listed of a member changes, and it stays.
        let list = "a.zones 0 PTR a.\ngroup.a.zones 0 TXT x\nb.zones 0 PTR b.\nc.zones 0 PTR c.";
        assert_eq!(steps(list, &had, 9), ["=a."]);
        let expected = ["-c.", "=a.", "?c. members_max is reached"];
        assert_eq!(steps(list, &had, 2), expected);
    }

    // RFC 9432 section 4.3.1.
    #[test]
    fn a_member_changes_its_catalog_only_when_it_is_handed_over() {
        let list = "a.zones 0 PTR a.";
        let held = followed(&[("a.", "old.test.", "a", None)]);
        let expected = ["?a. the catalog old.test. lists it too, and does not hand it over"];
        assert_eq!(steps(list, &held, 9), expected);
        let handed = |label| followed(&[("a.", "old.test.", label, Some("cat.test."))]);
        assert_eq!(steps(list, &handed("a"), 9), ["=a."]);
        assert_eq!(steps(list, &handed("other"), 9), ["!a."]);
    }

    #[test]
    fn what_is_produced_can_be_read() {
        let zones = [name("Example."), name("."), name("a.b.c.test.")];
        let image = produce(&name("cat.test."), 7, &zones).unwrap();
        assert_eq!((image.serial(), image.record_count()), (7, 6));
        let found = Membership::read(&image).unwrap();
        let mut expected = zones.clone();
        expected.sort();
        assert_eq!(found.members.into_keys().collect::<Vec<_>>(), expected);
    }
}
