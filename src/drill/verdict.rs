//! From the record of a judgement to a verdict: pure.
//!
//! A question *survives* when the world without those who are cut off still answers it, whatever the answer is. What kept it alive is
//! the weakest of what its way was made of ([`Source`]). It is *lost* when that world has no answer and the true one has; the first
//! thing that failed on the way says why ([`Cause`]), and that says what would fix it.
//!
//! What the record means stands in `resolve/trace.rs`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, Question, Rtype, rdata};
use crate::reach::Cut;
use crate::resolve::task::Way;
use crate::resolve::trace::{Event, What};
use crate::resolve::{Resolution, Security};

/// Servers that are named in a loss.
const SERVERS_SHOWN_MAX: usize = 16;
/// Addresses that are shown of each.
const ADDRESSES_SHOWN_MAX: usize = 8;
/// Zones with so many labels are nobody's to ask a favour of: the root and the top level.
const TOP_LABELS_MAX: usize = 1;
/// Failed questions inside each other that are looked into.
const DEPTH_MAX: usize = 8;

/// What kept a question alive, from best to weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Copies that are held here alone.
    Mirror,
    /// Servers that stay reachable.
    Live,
    /// A delegation or addresses kept from before, which live for `retained.age_max`.
    Retained,
    /// Old data, which lives for `stale.age_max`.
    Stale,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 4] = [
        Source::Mirror,
        Source::Live,
        Source::Retained,
        Source::Stale,
    ];

    /// Its name in reports.
    pub fn word(self) -> &'static str {
        match self {
            Source::Mirror => "mirror",
            Source::Live => "live",
            Source::Retained => "retained",
            Source::Stale => "stale",
        }
    }
}

/// What would become of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would be answered.
    Survives(Survival),
    /// It would not.
    Lost(Box<Loss>),
    /// It comes to nothing now, too; why.
    FailsNow(String),
}

impl Verdict {
    /// Its class in reports.
    pub fn class(&self) -> &'static str {
        match self {
            Verdict::Survives(survival) => survival.from.word(),
            Verdict::Lost(_) => "lost",
            Verdict::FailsNow(_) => "fails_now",
        }
    }
}

/// How a question would be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survival {
    /// The weakest of what its way was made of.
    pub from: Source,
    /// It would be answered with addresses, and none of those can be reached.
    pub host_lost: bool,
    /// It takes long past those who are cut off: a client whose question is the first for that part of the tree may hear nothing in time.
    pub slow: bool,
    /// The answer would not be validated any more, though its zone is signed (as-of, or old).
    pub as_of: bool,
}

/// Why a question would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// All servers of the zone are cut off.
    ServersAbroad,
    /// The servers' names lie in a zone that is lost, so that nobody can say where they are.
    NamedAbroad,
    /// All servers of a zone above are cut off, and nothing here says what they would.
    ParentAbroad,
    /// The chain of trust cannot be had.
    NoChain,
    /// Servers that stay reachable have no answer.
    ServersFail,
    /// A way is left that takes too long.
    TooSlow,
    /// None of these; the text says what.
    Other,
}

impl Cause {
    /// Its name in reports, for people.
    pub fn words(self) -> &'static str {
        match self {
            Cause::ServersAbroad => "name servers abroad",
            Cause::NamedAbroad => "name servers are named abroad",
            Cause::ParentAbroad => "parent neither mirrored nor retained",
            Cause::NoChain => "no chain of trust",
            Cause::ServersFail => "servers inside do not answer",
            Cause::TooSlow => "the way that is left takes too long",
            Cause::Other => "other",
        }
    }
}

/// A server of a lost zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostServer {
    /// Its name.
    pub name: String,
    /// Its addresses, as far as known.
    pub addresses: Vec<IpAddr>,
    /// None of them can be reached.
    pub cut: bool,
    /// Those of them that cannot be reached.
    #[serde(default)]
    pub cut_addresses: Vec<IpAddr>,
}

/// Where a question's name lives, as far as the judgement has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The deepest zone on the way to it.
    pub zone: Name,
    /// A copy of that zone is held here.
    pub mirrored: bool,
    /// Its servers.
    pub servers: Vec<LostServer>,
}

/// A verdict, and where the name lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Where the name lives; not known of own zones and of what somebody else found.
    pub place: Option<Place>,
}

/// Why a question would be lost, and what would change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub cause: Cause,
    /// The zone that failed.
    pub zone: Option<Name>,
    /// The name that the question leads to by aliases, where it is that one which is lost.
    pub alias: Option<Name>,
    /// The zone's servers.
    pub servers: Vec<LostServer>,
    /// Why, in a sentence.
    pub text: String,
    /// What would fix it, in a sentence.
    pub fix: String,
}

/// Where a judgement came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAt {
    /// The link of the chain of aliases.
    pub question: Question,
    /// The deepest zone whose servers were to be asked.
    pub zone: Option<Name>,
    /// The zone through whose servers the addresses of that zone's servers would have to be found, where they are not known.
    pub names_in: Option<Name>,
    /// No server of that zone was known well enough to be asked.
    pub unasked: bool,
    /// A server that stays reachable was asked there, without success.
    pub asked: bool,
    /// What it was that failed, of the chain of trust.
    pub chain: bool,
    /// The link of that chain that could not be had, such as `ru. DNSKEY`.
    pub link: Option<String>,
}

/// What a judgement has brought.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// What is cut off.
    pub cut: &'a Cut,
    /// What the world without that has answered.
    pub resolution: &'a Resolution,
    /// How it came to that.
    pub events: &'a [Event],
}

/// The question for a zone's servers.
pub fn ns_question(zone: &Name) -> Question {
    Question::new(zone.clone(), Rtype::NS)
}

impl Evidence<'_> {
    /// What kept the question alive. For a resolution that is an answer.
    pub fn survives(&self) -> Survival {
        let source = |what: &What| match what {
            What::Stale { .. } => Some(Source::Stale),
            What::Retained { .. } | What::RetainedAddresses { .. } => Some(Source::Retained),
            What::Step { learned_from, .. } if learned_from == "retained" => Some(Source::Retained),
            What::Exchange { taken: true, .. } => Some(Source::Live),
            // Somebody else's work, of which this record knows nothing.
            What::Joined { .. } => Some(Source::Live),
            What::Mirror { .. } => Some(Source::Mirror),
            _ => None,
        };
        let sources = self.events.iter().filter_map(|event| source(&event.what));
        let retained = self.resolution.errors.iter();
        let retained = retained
            .filter(|error| error.text.contains("retained delegation of"))
            .map(|_| Source::Retained);
        let stale = self.resolution.sources.stale.then_some(Source::Stale);
        let from = sources.chain(retained).chain(stale).max();
        let sets = self.resolution.answer.iter();
        let addresses: Vec<IpAddr> = sets
            .filter(|set| set.rtype == self.question.rtype)
            .filter(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA))
            .flat_map(|set| &set.rdatas)
            .filter_map(|data| rdata::address(data))
            .collect();
        Survival {
            from: from.unwrap_or(Source::Live),
            host_lost: !addresses.is_empty()
                && addresses.iter().all(|a| self.cut.takes_address(*a)),
            slow: false,
            as_of: self.resolution.security == Security::SecureAsOf,
        }
    }

    /// Whether anybody was asked in vain who is cut off.
    pub fn met_the_cut(&self) -> bool {
        let mut at: Option<Name> = None;
        self.events.iter().any(|event| match &event.what {
            What::Step { zone, .. } => {
                at = zone.parse().ok();
                false
            }
            What::Exchange { server, taken, .. } => {
                let zone = at.as_ref();
                !taken && zone.is_none_or(|zone| self.cut.takes_server(zone, *server))
            }
            // Somebody else may have.
            What::Joined { .. } => true,
            _ => false,
        })
    }

    /// The zone that keeps the question waiting for longest: that with most servers which were asked in vain and are cut off, and how many.
    pub fn waits_at(&self) -> Option<(Name, usize)> {
        let mut at: Option<Name> = None;
        let mut waits: Vec<(Name, usize)> = Vec::new();
        for event in self.events {
            match &event.what {
                What::Step { zone, .. } => at = zone.parse().ok(),
                What::Exchange { server, taken, .. } => {
                    let Some(zone) = at
                        .as_ref()
                        .filter(|zone| !taken && self.cut.takes_server(zone, *server))
                    else {
                        continue;
                    };
                    match waits.iter_mut().find(|(known, _)| known == zone) {
                        Some((_, count)) => *count += 1,
                        None => waits.push((zone.clone(), 1)),
                    }
                }
                _ => {}
            }
        }
        // Of several with as many the first one that was met.
        waits.into_iter().rev().max_by_key(|(_, count)| *count)
    }

    /// Why the question is lost where a way is left that takes longer than the work on a question may take. `servers_of` are the
    /// servers of a zone, as far as known.
    pub fn too_slow(&self, servers_of: impl Fn(&Name) -> Option<Way>) -> Loss {
        let cut = self.cut;
        let (text, fix, zone) = match self.waits_at() {
            Some((zone, count)) => (
                format!(
                    "a way is left, but it takes too long: it leads past servers of {zone} that are cut off ({cut}; {count} were waited for)"
                ),
                match zone.label_count() <= TOP_LABELS_MAX {
                    true => format!("mirror {zone}"),
                    false => format!(
                        "mirror {zone}, or ask its operator for more name servers that stay reachable"
                    ),
                },
                Some(zone),
            ),
            None => (
                format!(
                    "a way is left, but it takes too long: it waits for what others ask of servers that are cut off ({cut})"
                ),
                "mirror the zones above; `holdfast trace` for the name shows them".into(),
                None,
            ),
        };
        let way = zone.as_ref().and_then(servers_of);
        Loss {
            cause: Cause::TooSlow,
            alias: None,
            servers: way.iter().flat_map(|way| self.servers(way)).collect(),
            zone,
            text,
            fix,
        }
    }

    /// The deepest zone on the way to the name itself, and whether a copy of it was asked.
    pub fn home(&self) -> Option<(Name, bool)> {
        let zone = |what: &What| {
            let (zone, mirrored) = match what {
                What::Step { zone, .. } => (zone, false),
                What::Mirror { zone, .. } => (zone, true),
                _ => return None,
            };
            let zone: Name = zone.parse().ok()?;
            let name = &self.question.name;
            (*name == zone || name.is_below(&zone)).then_some((zone, mirrored))
        };
        let zones = self.events.iter().filter_map(|event| zone(&event.what));
        zones.max_by_key(|(zone, mirrored)| (zone.label_count(), *mirrored))
    }

    /// A zone and its servers, as a place.
    pub fn place(&self, way: &Way, mirrored: bool) -> Place {
        Place {
            zone: way.zone.clone(),
            mirrored,
            servers: self.servers(way),
        }
    }

    /// Where the way ended. For a resolution that is none.
    pub fn failed_at(&self) -> FailedAt {
        let question = self.last_link();
        let asks: Vec<&Event> = self.events.iter().filter(|e| failed_ask(e)).collect();
        let top = |chain: bool| {
            let is_it = move |e: &&&Event| is_for_chain(e) == chain && !is_for_address(e);
            asks.iter().rev().find(is_it).copied()
        };
        // The answer itself could not be had; or it could, and not what proves it.
        let answer = asks.iter().rev().find(|e| e.parent == 0).copied();
        let (ask, chain) = match answer {
            Some(ask) => (Some(ask), false),
            None => (top(true), true),
        };
        let chain = chain && matches!(self.resolution.security, Security::Bogus(_));
        let Some(ask) = ask else {
            let bad = self.events.iter().rev().find_map(|e| match &e.what {
                What::Link { zone, state, .. } if state == "bad" => zone.parse().ok(),
                _ => None,
            });
            return FailedAt {
                question,
                zone: bad,
                names_in: None,
                unasked: true,
                asked: false,
                chain,
                link: None,
            };
        };
        let link = match &ask.what {
            What::Ask { question, .. } if chain => Some(question.clone()),
            _ => None,
        };
        // What failed without a step, for others had failed at it before, still says of which zone it was.
        let of_link = || link.as_ref()?.split_whitespace().next()?.parse().ok();
        let zone = self.deepest_step(ask.id).or_else(of_link);
        FailedAt {
            question,
            names_in: self.names_in(ask.id),
            unasked: !self.asked_at(ask.id, zone.as_ref()),
            asked: self.asked_inside(ask.id, zone.as_ref()),
            zone,
            chain,
            link,
        }
    }

    /// Why the question is lost. `lost_zone` are the servers of the zone that failed, `zone_now` the deepest zone towards the failed
    /// link as the true world knows it.
    pub fn lost(&self, failed: FailedAt, lost_zone: Option<Way>, zone_now: Way) -> Loss {
        let alias =
            (failed.question.name != self.question.name).then(|| failed.question.name.clone());
        let servers: Vec<LostServer> = lost_zone.iter().flat_map(|way| self.servers(way)).collect();
        let zone = failed.zone.clone();
        let parent = zone.as_ref().filter(|zone| zone_now.zone.is_below(zone));
        let stays = |way: &Way| {
            self.servers(way)
                .iter()
                .any(|s| !s.cut && !s.addresses.is_empty())
        };
        // The true world knows where they are, and they were not asked.
        let hidden: Vec<&str> = (servers.iter())
            .filter(|server| !server.cut && !server.addresses.is_empty())
            .map(|server| server.name.as_str())
            .collect();
        let cause = match (&zone, parent) {
            _ if failed.chain => Cause::NoChain,
            (None, _) => Cause::Other,
            _ if failed.asked => Cause::ServersFail,
            _ if failed.names_in.is_some() && failed.unasked => Cause::NamedAbroad,
            (_, Some(_)) => Cause::ParentAbroad,
            _ if !hidden.is_empty() => Cause::NamedAbroad,
            _ => Cause::ServersAbroad,
        };
        let shown =
            |zone: &Option<Name>| zone.as_ref().map_or("a zone".to_owned(), Name::to_string);
        let at = shown(&zone);
        let set = self.cut.to_string();
        let (mut text, fix) = match cause {
            Cause::ServersAbroad => (
                format!("all name servers of {at} are cut off ({set})"),
                match zone
                    .as_ref()
                    .is_some_and(|zone| zone.label_count() <= TOP_LABELS_MAX)
                {
                    true => format!("mirror {at}"),
                    false => format!(
                        "mirror {at}, or ask its operator for a name server that stays reachable"
                    ),
                },
            ),
            Cause::NamedAbroad if !hidden.is_empty() => {
                let others = match servers.len() > hidden.len() {
                    true => format!("; the others are cut off ({set})"),
                    false => String::new(),
                };
                let hidden = hidden.join(", ");
                let (by, home) = match &failed.names_in {
                    Some(home) => (
                        format!(
                            ": their addresses would have to be asked of {home}, which is cut off"
                        ),
                        home.to_string(),
                    ),
                    None => (String::new(), format!("the zone above {at}")),
                };
                (
                    format!(
                        "name servers of {at} stay reachable ({hidden}), but the way to them was not found{by}{others}"
                    ),
                    format!(
                        "mirror {home}, or ask the operator of {at} for a name server with a name inside {at} that stays reachable"
                    ),
                )
            }
            Cause::NamedAbroad => {
                let home = shown(&failed.names_in);
                (
                    format!(
                        "the addresses of the name servers of {at} would have to be asked of {home}, which is cut off"
                    ),
                    format!(
                        "mirror {home}, or ask the operator of {at} for name servers with names inside {at}"
                    ),
                )
            }
            Cause::ParentAbroad => {
                let child = &zone_now.zone;
                let own = match stays(&zone_now) {
                    true => "its own name servers stay reachable",
                    false => "its own name servers are cut off, too",
                };
                let fix = match stays(&zone_now) {
                    true => format!(
                        "mirror {at}, or retain its delegation of {child}: [retained] keeps those that were asked for"
                    ),
                    false => format!(
                        "ask the operator of {child} for a name server that stays reachable, and mirror {at} or retain its delegation"
                    ),
                };
                (
                    format!(
                        "all name servers of {at} are cut off, and nothing here knows its delegation of {child}; {own}"
                    ),
                    fix,
                )
            }
            Cause::NoChain => (
                match &failed.link {
                    Some(link) => format!(
                        "what proves the answer cannot be had: the chain of trust breaks at {at}, which would have to say {link} ({set})"
                    ),
                    None => format!(
                        "what proves the answer cannot be had: the chain of trust breaks at {at} ({set})"
                    ),
                },
                format!("mirror {at}, so that the DS and DNSKEY sets that it has are held here"),
            ),
            Cause::ServersFail => (
                format!("name servers of {at} that stay reachable were asked, and had no answer"),
                format!(
                    "`holdfast trace` for the name shows what they say; ask the operator of {at}"
                ),
            ),
            Cause::TooSlow | Cause::Other => {
                let why = self.resolution.errors.first().map(|e| e.text.clone());
                (
                    why.unwrap_or_else(|| "no answer".into()),
                    "`holdfast trace` for the name shows the way".into(),
                )
            }
        };
        if let Some(alias) = &alias {
            text = format!("an alias of {alias}: {text}");
        }
        Loss {
            cause,
            zone,
            alias,
            servers,
            text,
            fix,
        }
    }

    fn servers(&self, way: &Way) -> Vec<LostServer> {
        let cut = |a: &IpAddr| self.cut.takes_server(&way.zone, *a);
        let server = |(name, addresses): &(Name, Vec<IpAddr>)| {
            let shown: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .take(ADDRESSES_SHOWN_MAX)
                .collect();
            LostServer {
                name: name.to_string(),
                cut: addresses.iter().all(cut),
                cut_addresses: shown.iter().copied().filter(|a| cut(a)).collect(),
                addresses: shown,
            }
        };
        way.servers
            .iter()
            .take(SERVERS_SHOWN_MAX)
            .map(server)
            .collect()
    }

    /// The link of the chain of aliases at which the judgement ended.
    fn last_link(&self) -> Question {
        let to = self
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.what {
                What::Alias { to, .. } => to.parse::<Name>().ok(),
                _ => None,
            });
        Question::new(
            to.unwrap_or_else(|| self.question.name.clone()),
            self.question.rtype,
        )
    }

    fn below(&self, ask: u32) -> impl Iterator<Item = &What> {
        let own = move |event: &&Event| event.parent == ask;
        self.events.iter().filter(own).map(|event| &event.what)
    }

    /// How far down the question came: not the last step, for where a zone's servers fail its parent is asked anew.
    fn deepest_step(&self, ask: u32) -> Option<Name> {
        let steps = self.below(ask).filter_map(|what| match what {
            What::Step { zone, .. } => zone.parse().ok(),
            _ => None,
        });
        steps.max_by_key(Name::label_count)
    }

    /// Whether a server of the zone that is not cut off was asked.
    fn asked_inside(&self, ask: u32, zone: Option<&Name>) -> bool {
        let Some(zone) = zone else {
            return false;
        };
        let mut at: Option<Name> = None;
        let mut asked = false;
        for what in self.below(ask) {
            match what {
                What::Step { zone, .. } => at = zone.parse().ok(),
                What::Exchange { server, .. } if at.as_ref() == Some(zone) => {
                    asked |= !self.cut.takes_server(zone, *server);
                }
                _ => {}
            }
        }
        asked
    }

    /// Whether any server of `zone` was asked.
    fn asked_at(&self, ask: u32, zone: Option<&Name>) -> bool {
        let mut at: Option<Name> = None;
        self.below(ask).any(|what| match what {
            What::Step { zone, .. } => {
                at = zone.parse().ok();
                false
            }
            What::Exchange { .. } => at.as_ref() == zone,
            _ => false,
        })
    }

    /// The zone that would have to say where further servers are: that at which the search for an address of theirs ended.
    fn names_in(&self, ask: u32) -> Option<Name> {
        let mut home = None;
        let mut open = ask;
        for _ in 0..DEPTH_MAX {
            let mut inside = self.events.iter().filter(|e| e.parent == open);
            let search = inside.find(|e| is_for_address(e) && failed_ask(e));
            let Some(search) = search else {
                break;
            };
            home = self.deepest_step(search.id);
            open = search.id;
        }
        home
    }
}

fn failed_ask(event: &Event) -> bool {
    match &event.what {
        What::Ask { outcome, .. } => outcome.as_ref().is_none_or(|o| o.starts_with("failed")),
        _ => false,
    }
}

fn is_for_chain(event: &Event) -> bool {
    matches!(&event.what, What::Ask { purpose, .. } if purpose.starts_with("link of the chain"))
}

fn is_for_address(event: &Event) -> bool {
    matches!(&event.what, What::Ask { purpose, .. } if purpose.starts_with("address"))
}

#[cfg(test)]
mod tests;
