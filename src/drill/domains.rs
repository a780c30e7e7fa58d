//! Verdicts added up by registrable name, and by the zones that they depend on: pure.
//!
//! Why: whom to ask for a name server inside, and what to mirror, is a matter of zones and of those who hold names, not of single
//! questions; and of a name with a thousand others below it a thousand losses say no more than one.
//!
//! Model: where registrations happen is nowhere written in the DNS, and lists of it (public suffixes) come from a web site and grow old
//! in silence. So a *registrable name* is taken from the zone cuts that the judgement has seen: it is the deepest zone on the way to the
//! name, for that is what one party holds, serves and can mend. Names that stand in the root or in a top-level zone itself are taken by
//! their label below it. `co.uk` thus needs no list, and a part of a domain that was delegated on, to other servers, counts for itself.

use std::collections::BTreeMap;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::verdict::{Judged, LostServer, Place, Verdict};
use crate::dns::{Name, Question};

/// Registrable names that are listed.
const DOMAINS_MAX: usize = 200;
/// Zones that are listed.
const ZONES_MAX: usize = 200;
/// Questions that are listed with where they live, whatever becomes of them.
const ASKED_MAX: usize = 200;

/// What is asked of a registrable name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DomainRow {
    pub domain: String,
    pub names: u64,
    pub queries: f64,
    pub lost_names: u64,
    pub lost_queries: f64,
}

/// A zone that names live in or are lost with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ZoneRow {
    pub zone: String,
    pub mirrored: bool,
    pub names: u64,
    pub queries: f64,
    pub lost_queries: f64,
    pub servers: Vec<LostServer>,
}

/// A question that is asked, and where its name lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AskedRow {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub queries: f64,
    pub share: f64,
    pub class: String,
    pub zone: Option<String>,
    /// The zone that it is lost with, where that is another one.
    pub lost_with: Option<String>,
}

/// How many registrable names there are, and how many of them lose anything.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Domains {
    pub all: u64,
    pub with_losses: u64,
}

/// The registrable name of a name that lives in this zone.
pub fn registrable(name: &Name, zone: Option<&Name>) -> Name {
    let labels = match zone {
        Some(zone) if zone.label_count() > 1 => zone.label_count(),
        Some(zone) => zone.label_count() + 1,
        // Own zones, and what another question found: two labels are a guess.
        None => 2,
    };
    name.suffix(labels.min(name.label_count()))
}

type Row = (Question, f64, Judged);

/// By registrable name, those that lose most first, then the most used.
pub fn domains(rows: &[Row]) -> (Domains, Vec<DomainRow>) {
    let mut by_name: BTreeMap<Name, DomainRow> = BTreeMap::new();
    for (question, queries, judged) in rows {
        if matches!(judged.verdict, Verdict::FailsNow(_)) {
            continue;
        }
        let zone = judged.place.as_ref().map(|place| &place.zone);
        let domain = registrable(&question.name, zone);
        let row = by_name.entry(domain.clone()).or_insert_with(|| DomainRow {
            domain: domain.to_string(),
            names: 0,
            queries: 0.0,
            lost_names: 0,
            lost_queries: 0.0,
        });
        row.names += 1;
        row.queries += queries;
        if matches!(judged.verdict, Verdict::Lost(_)) {
            row.lost_names += 1;
            row.lost_queries += queries;
        }
    }
    let mut list: Vec<DomainRow> = by_name.into_values().collect();
    list.sort_by(|a, b| {
        (b.lost_queries.total_cmp(&a.lost_queries)).then_with(|| b.queries.total_cmp(&a.queries))
    });
    let with_losses = list.iter().filter(|row| row.lost_names > 0).count() as u64;
    let all = list.len() as u64;
    list.truncate(DOMAINS_MAX);
    (Domains { all, with_losses }, list)
}

/// The zones that names live in, and those that they are lost with, most used first.
pub fn zones(rows: &[Row]) -> Vec<ZoneRow> {
    let mut by_zone: HashMap<String, ZoneRow> = HashMap::new();
    for (_, queries, judged) in rows {
        let lost = lost_with(judged);
        for place in judged.place.iter().chain(&lost) {
            let zone = place.zone.to_string();
            let row = by_zone.entry(zone.clone()).or_insert_with(|| ZoneRow {
                zone,
                mirrored: false,
                names: 0,
                queries: 0.0,
                lost_queries: 0.0,
                servers: Vec::new(),
            });
            row.names += 1;
            row.queries += queries;
            row.mirrored |= place.mirrored;
            if row.servers.len() < place.servers.len() {
                row.servers.clone_from(&place.servers);
            }
            let is_at_fault = match &lost {
                Some(lost) => lost.zone == place.zone,
                None => matches!(judged.verdict, Verdict::Lost(_)),
            };
            if is_at_fault {
                row.lost_queries += queries;
            }
        }
    }
    let mut list: Vec<ZoneRow> = by_zone.into_values().collect();
    list.sort_by(|a, b| (b.queries.total_cmp(&a.queries)).then_with(|| a.zone.cmp(&b.zone)));
    list.truncate(ZONES_MAX);
    list
}

/// The zone that a lost question is lost with, where its name lives in another one.
fn lost_with(judged: &Judged) -> Option<Place> {
    let Verdict::Lost(loss) = &judged.verdict else {
        return None;
    };
    let zone = loss.zone.as_ref()?;
    let lives = judged.place.as_ref().map(|place| &place.zone);
    (lives != Some(zone)).then(|| Place {
        zone: zone.clone(),
        mirrored: false,
        servers: loss.servers.clone(),
    })
}

/// The most asked questions; `all` is how often all are asked that do not fail now.
pub fn asked(rows: &[Row], all: f64) -> Vec<AskedRow> {
    let row = |(question, queries, judged): &Row| AskedRow {
        name: question.name.to_string(),
        rtype: question.rtype.to_string(),
        queries: *queries,
        share: match &judged.verdict {
            Verdict::FailsNow(_) => 0.0,
            _ if all > 0.0 => queries / all,
            _ => 0.0,
        },
        class: judged.verdict.class().to_owned(),
        zone: judged.place.as_ref().map(|place| place.zone.to_string()),
        lost_with: lost_with(judged).map(|place| place.zone.to_string()),
    };
    rows.iter().take(ASKED_MAX).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rtype;
    use crate::drill::verdict::{Cause, Loss, Source, Survival};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_registrable_name_is_a_zone_cut_below_the_top() {
        let check = |text: &str, zone: Option<&str>, expected: &str| {
            let zone = zone.map(name);
            let found = registrable(&name(text), zone.as_ref());
            assert_eq!(found, name(expected), "{text} in {zone:?}");
        };
        check(
            "a.b.example.co.uk.",
            Some("example.co.uk."),
            "example.co.uk.",
        );
        check("www.example.com.", Some("example.com."), "example.com.");
        check(
            "x.eu.cdn.example.",
            Some("eu.cdn.example."),
            "eu.cdn.example.",
        );
        check("deep.below.info.home.", Some("home."), "info.home.");
        check("home.", Some("home."), "home.");
        check("a.b.nowhere.", Some("."), "nowhere.");
        check(".", Some("."), ".");
        check("a.b.own.lan.", None, "own.lan.");
        check("lan.", None, "lan.");
    }

    #[test]
    fn what_is_lost_counts_for_whom_it_lives_with_and_is_lost_with() {
        let place = |zone: &str| {
            Some(Place {
                zone: name(zone),
                mirrored: zone == "x.",
                servers: Vec::new(),
            })
        };
        let row = |text: &str, queries, verdict, zone: &str| {
            let question = Question::new(name(text), Rtype::A);
            let place = place(zone);
            (question, queries, Judged { verdict, place })
        };
        let lives = || {
            Verdict::Survives(Survival {
                from: Source::Live,
                host_lost: false,
                slow: false,
                as_of: false,
            })
        };
        let lost = |zone: &str| {
            Verdict::Lost(Box::new(Loss {
                cause: Cause::ServersAbroad,
                zone: Some(name(zone)),
                alias: None,
                servers: Vec::new(),
                text: String::new(),
                fix: String::new(),
            }))
        };
        let rows = [
            row("a.good.x.", 10.0, lives(), "good.x."),
            row("b.good.x.", 5.0, lost("cdn.y."), "good.x."),
            row("a.bad.x.", 3.0, lost("bad.x."), "bad.x."),
            row("b.bad.x.", 90.0, Verdict::FailsNow(String::new()), "bad.x."),
        ];
        let (count, list) = domains(&rows);
        assert_eq!((count.all, count.with_losses), (2, 2));
        let shown: Vec<_> = (list.iter())
            .map(|row| (row.domain.as_str(), row.names, row.lost_queries))
            .collect();
        assert_eq!(shown, [("good.x.", 2, 5.0), ("bad.x.", 1, 3.0)]);
        let zones = zones(&rows);
        let of = |zone: &str| zones.iter().find(|row| row.zone == zone).unwrap();
        assert_eq!(
            (of("good.x.").queries, of("good.x.").lost_queries),
            (15.0, 0.0)
        );
        assert_eq!(
            (of("cdn.y.").queries, of("cdn.y.").lost_queries),
            (5.0, 5.0)
        );
        assert_eq!(of("bad.x.").lost_queries, 3.0);
        let asked = asked(&rows, 18.0);
        assert_eq!(asked[1].lost_with.as_deref(), Some("cdn.y."));
        assert_eq!(
            (asked[2].lost_with.as_deref(), asked[2].class.as_str()),
            (None, "lost")
        );
        assert_eq!(
            (asked[3].share, asked[3].class.as_str()),
            (0.0, "fails_now")
        );
    }
}
