//! One response against one zone: is what it says the zone's own word?
//!
//! Every RRset that answers must be signed; what was made from a wildcard needs the proof that nothing closer
//! exists; a CNAME made from a DNAME follows from the DNAME and needs no signature; an absence needs
//! its proof, and the SOA beside it must be signed too. What the question did not call for is left out.
//!
//! Failure: an [`Ede`] that says which set failed and how. Whether that makes the answer bogus is for
//! the walk to say: the zone may not be the right one.

use std::collections::HashMap;

use super::Lifetime;
use super::budget::NSEC3_ROUNDS_MAX;
use super::denial::{Claim, Denial, Proof};
use super::signed::{Checked, Court, bogus, is_denial, what};
use crate::cache::entry::negative_ttl_s;
use crate::dns::rdata::single_name;
use crate::dns::{Ede, Name, Question, Rcode, RrSet, Rtype};
use crate::dnssec::nsec3::{Hash, nsec3_hash};
use crate::resolve::Response;

/// RRsets of an answer that are checked: more only come with ANY.
const ANSWER_SETS_MAX: usize = 64;
/// NSEC and NSEC3 sets that are checked: no proof needs more than three, some servers send one twice.
const DENIAL_SETS_MAX: usize = 8;

/// A response that is the zone's own word.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) shape: Shape,
    /// Checked sets of the answer section.
    pub(super) answer: Vec<RrSet>,
    /// Checked sets of the authority section: SOA and denial records.
    pub(super) authority: Vec<RrSet>,
    /// How long all of it holds.
    pub(super) life: Lifetime,
    /// Why it is not secure all the same, when it is not.
    pub(super) insecure: Option<Insecure>,
}

/// A signed answer that proves nothing.
#[derive(Debug, Clone)]
pub(super) enum Insecure {
    /// RFC 5155 section 9.2.
    OptOut,
    /// RFC 9276 section 3.2: too many iterations; extended error 27.
    Iterations(Ede),
}

/// What a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The set asked for.
    Answer { expanded: bool },
    /// A CNAME at the name.
    Alias { expanded: bool },
    /// A DNAME above the name.
    Dname,
    /// The name exists without the type.
    NoData { delegation: bool },
    /// The name does not exist, and neither does anything below it.
    NoName,
    /// The denial records leave it open.
    Open,
}

/// What is demanded of the SOA beside a denial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SoaRule {
    /// A valid signature: it is handed out.
    Signed,
    /// Nothing: only what is proven matters.
    Any,
}

impl Court<'_> {
    /// Judges `response` as the zone's answer to `question`.
    pub(super) fn judge(
        &mut self,
        question: &Question,
        response: &Response,
    ) -> Result<Judged, Ede> {
        let claims: &[Claim] = match response.rcode {
            Rcode::NXDOMAIN => &[Claim::NxDomain],
            Rcode::NOERROR => &[Claim::NoData(question.rtype)],
            _ => &[],
        };
        self.judge_as(question, response, claims, SoaRule::Signed)
    }

    /// Judges `response` as a link of a chain. What its records prove counts, not the response code: some
    /// servers say NXDOMAIN for empty non-terminals. Nor does the SOA, which a referral's denial has not got.
    pub(super) fn judge_link(
        &mut self,
        question: &Question,
        response: &Response,
    ) -> Result<Judged, Ede> {
        let claims = [Claim::NoData(question.rtype), Claim::NxDomain];
        self.judge_as(question, response, &claims, SoaRule::Any)
    }

    fn judge_as(
        &mut self,
        question: &Question,
        response: &Response,
        claims: &[Claim],
        soa_rule: SoaRule,
    ) -> Result<Judged, Ede> {
        let relevant: Vec<&RrSet> = response
            .answer
            .iter()
            .filter(|set| !set.rdatas.is_empty() && answers(set, question))
            .collect();
        if !question.name.is_within(self.zone) {
            return Err(bogus(format!("{question} is not in zone {}", self.zone)));
        }
        match relevant.is_empty() {
            false => self.positive(question, response, &relevant),
            true => self.negative(question, response, claims, soa_rule),
        }
    }

    fn positive(
        &mut self,
        question: &Question,
        response: &Response,
        relevant: &[&RrSet],
    ) -> Result<Judged, Ede> {
        if relevant.len() > ANSWER_SETS_MAX {
            return Err(bogus(format!("{question}: too many sets")));
        }
        let shape = positive_shape(question, relevant);
        check_rcode(question, response.rcode, shape, relevant)?;
        let mut judged = Judged::empty(shape, self);
        let mut expanded = None;
        for set in relevant {
            // A section holds a set once.
            if judged.holds(set) {
                continue;
            }
            if let Some(dname) = synthesised_from(set, relevant) {
                check_synthesis(set, dname)?;
                judged.answer.push(RrSet {
                    sigs: Vec::new(),
                    ..(*set).clone()
                });
                continue;
            }
            let checked = self.check(set)?;
            if checked.expanded.is_some() {
                // RFC 6672 section 3.3: a DNAME at a wildcard is no DNAME for what it matches.
                if set.name != question.name {
                    return Err(bogus(format!("{} from a wildcard", what(set))));
                }
                expanded = checked.expanded;
            }
            judged.life = judged.life.and(checked.life);
            judged.answer.push(checked.set);
        }
        judged.cut_synthesised_ttl();
        if let Some(labels) = expanded {
            judged.shape = match shape {
                Shape::Alias { .. } => Shape::Alias { expanded: true },
                Shape::Answer { .. } => Shape::Answer { expanded: true },
                other => other,
            };
            // RFC 4035 section 5.3.4, RFC 5155 section 8.8.
            self.deny(question, response, &[Claim::Expansion(labels)], &mut judged)?;
        }
        Ok(judged)
    }

    fn negative(
        &mut self,
        question: &Question,
        response: &Response,
        claims: &[Claim],
        soa_rule: SoaRule,
    ) -> Result<Judged, Ede> {
        if claims.is_empty() {
            let rcode = response.rcode;
            return Err(bogus(format!("{question}: {rcode} cannot be proven")));
        }
        let mut judged = Judged::empty(Shape::Open, self);
        for set in response.authority.iter().filter(|s| s.rtype == Rtype::SOA) {
            // RFC 2308 section 5: the SOA is the zone's own; its TTL and its MINIMUM field bound the answer's life.
            if set.name != *self.zone {
                return Err(bogus(format!(
                    "{} beside the zone {}",
                    what(set),
                    self.zone
                )));
            }
            let checked = match self.check(set) {
                Err(_) if soa_rule == SoaRule::Any => continue,
                checked => checked?,
            };
            let negative = Lifetime::seconds(self.now, negative_ttl_s(&checked.set));
            judged.life = judged.life.and(checked.life).and(negative);
            judged.authority.push(checked.set);
        }
        if let Some(proof) = self.deny(question, response, claims, &mut judged)? {
            judged.shape = match proof {
                Proof::NoData { delegation } => Shape::NoData { delegation },
                Proof::NxDomain | Proof::WildcardNoData => Shape::NoName,
                Proof::OptOut | Proof::Expansion => Shape::Open,
            };
        }
        Ok(judged)
    }

    /// Proves one of `claims` of the question's name with the response's denial records. `Ok(None)` when they are
    /// the zone's own but prove nothing, which makes the answer insecure.
    fn deny(
        &mut self,
        question: &Question,
        response: &Response,
        claims: &[Claim],
        judged: &mut Judged,
    ) -> Result<Option<Proof>, Ede> {
        let (sets, complaint) = self.denial_sets(response, judged);
        let (zone, limit) = (self.zone, self.ctx.nsec3_iterations_max);
        let nsec3 = Denial::nsec3(&sets, zone);
        if let Some(Denial::Nsec3(records)) = &nsec3
            && records.iterations > limit
        {
            judged.authority.extend(sets.iter().cloned());
            judged.insecure = Some(Insecure::Iterations(Ede::new(
                Ede::UNSUPPORTED_NSEC3_ITERATIONS,
                format!("{} NSEC3 iterations in zone {zone}", records.iterations),
            )));
            return Ok(None);
        }
        let mut exhausted = false;
        let mut hashed: HashMap<Name, Hash> = HashMap::new();
        let mut hasher = |name: &Name, iterations: u16, salt: &[u8]| {
            if let Some(hash) = hashed.get(name) {
                return Some(*hash);
            }
            exhausted |= !self.budget.pay_nsec3(iterations);
            let hash = (!exhausted).then(|| nsec3_hash(name, salt, iterations))?;
            hashed.insert(name.clone(), hash);
            Some(hash)
        };
        let found = [Denial::nsec(&sets, zone), nsec3];
        let found = || found.iter().flatten();
        let proof = (claims
            .iter()
            .flat_map(|claim| found().map(move |d| (d, claim))))
        .find_map(|(d, claim)| d.prove(zone, &question.name, *claim, &mut hasher));
        let Some(proof) = proof else {
            let what = missing(zone, question, claims);
            return Err(match exhausted {
                true => bogus(format!(
                    "{what}: too many NSEC3 hashes, over {NSEC3_ROUNDS_MAX} rounds"
                )),
                false => complaint.unwrap_or_else(|| Ede::new(Ede::NSEC_MISSING, what)),
            });
        };
        judged.authority.extend(sets.iter().cloned());
        if proof == Proof::OptOut {
            judged.insecure = Some(Insecure::OptOut);
        }
        Ok(Some(proof))
    }

    /// The response's denial sets that are the zone's own, and the first complaint about others.
    fn denial_sets(
        &mut self,
        response: &Response,
        judged: &mut Judged,
    ) -> (Vec<RrSet>, Option<Ede>) {
        let mut complaint = None;
        let mut good = Vec::new();
        let sets = response.authority.iter();
        let sets = sets.filter(|s| is_denial(s) && !s.rdatas.is_empty());
        for set in sets.take(DENIAL_SETS_MAX) {
            match self.check(set) {
                // What a wildcard expands to says nothing of its new owner name.
                Ok(Checked {
                    expanded: Some(_), ..
                }) => {
                    complaint
                        .get_or_insert_with(|| bogus(format!("{} from a wildcard", what(set))));
                }
                Ok(checked) => {
                    judged.life = judged.life.and(checked.life);
                    good.push(checked.set);
                }
                Err(ede) => {
                    complaint.get_or_insert(ede);
                }
            }
        }
        (good, complaint)
    }
}

impl Judged {
    fn empty(shape: Shape, court: &Court<'_>) -> Judged {
        Judged {
            shape,
            answer: Vec::new(),
            authority: Vec::new(),
            life: Lifetime::seconds(court.now, u32::MAX),
            insecure: None,
        }
    }

    fn holds(&self, set: &RrSet) -> bool {
        let mut held = self.answer.iter();
        held.any(|s| s.rtype == set.rtype && s.name == set.name)
    }

    /// A CNAME made from a DNAME lives no longer than the DNAME (RFC 6672 section 3.1).
    fn cut_synthesised_ttl(&mut self) {
        let dname = self.answer.iter().find(|s| s.rtype == Rtype::DNAME);
        let Some(ttl) = dname.map(|s| s.ttl) else {
            return;
        };
        for set in &mut self.answer {
            if set.rtype == Rtype::CNAME {
                set.ttl = set.ttl.min(ttl);
            }
        }
    }
}

/// What there is no proof for.
fn missing(zone: &Name, question: &Question, claims: &[Claim]) -> String {
    let name = &question.name;
    let what = match claims {
        [Claim::NxDomain] => format!("{name} does not exist"),
        [Claim::Expansion(_)] => format!("nothing is closer to {name} than its wildcard"),
        _ => format!("there is no {question}"),
    };
    format!("no proof in zone {zone} that {what}")
}

/// Whether the set belongs to the answer of this question.
fn answers(set: &RrSet, question: &Question) -> bool {
    if set.rtype == Rtype::DNAME && question.name.is_below(&set.name) {
        return true;
    }
    let wanted = set.rtype == question.rtype || question.rtype == Rtype::ANY;
    set.name == question.name && (wanted || set.rtype == Rtype::CNAME)
}

fn positive_shape(question: &Question, relevant: &[&RrSet]) -> Shape {
    let own = |set: &&RrSet| set.name == question.name;
    let asked = |set: &RrSet| set.rtype == question.rtype || question.rtype == Rtype::ANY;
    if relevant.iter().any(|s| !own(s)) {
        Shape::Dname
    } else if relevant.iter().any(|s| asked(s)) {
        Shape::Answer { expanded: false }
    } else {
        Shape::Alias { expanded: false }
    }
}

/// The response code must fit. Beside an alias it may already speak of the target (RFC 6604 section 3).
fn check_rcode(
    question: &Question,
    rcode: Rcode,
    shape: Shape,
    relevant: &[&RrSet],
) -> Result<(), Ede> {
    let fits = match (rcode, shape) {
        (Rcode::NOERROR, _) => true,
        (Rcode::NXDOMAIN, Shape::Alias { .. } | Shape::Dname) => true,
        // RFC 6672 section 2.2: the new name would be too long.
        (Rcode::YXDOMAIN, Shape::Dname) => relevant.iter().any(|set| {
            let target = set.rdatas.first().and_then(|r| single_name(r));
            target.is_some_and(|to| question.name.replace_suffix(&set.name, &to).is_err())
        }),
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(bogus(format!("{question}: {rcode} beside an answer"))),
    }
}

/// The DNAME from which an unsigned CNAME may have been made.
fn synthesised_from<'s>(set: &RrSet, relevant: &[&'s RrSet]) -> Option<&'s RrSet> {
    if set.rtype != Rtype::CNAME {
        return None;
    }
    let mut dnames = relevant.iter().filter(|d| d.rtype == Rtype::DNAME);
    dnames.find(|d| set.name.is_below(&d.name)).copied()
}

fn check_synthesis(cname: &RrSet, dname: &RrSet) -> Result<(), Ede> {
    let follows = match (&cname.rdatas[..], &dname.rdatas[..]) {
        ([from], [to]) => single_name(to)
            .and_then(|to| cname.name.replace_suffix(&dname.name, &to).ok().flatten())
            .is_some_and(|made| single_name(from) == Some(made)),
        _ => false,
    };
    match follows {
        true => Ok(()),
        false => Err(bogus(format!(
            "{} does not follow from {}",
            what(cname),
            what(dname)
        ))),
    }
}

/// The zones that claim to have signed parts of the response: hints, no more.
pub(super) fn signers(response: &Response) -> impl Iterator<Item = Name> + '_ {
    let sets = response.answer.iter().chain(&response.authority);
    sets.flat_map(|set| &set.sigs)
        .filter_map(|sig| crate::dns::Rrsig::parse(sig))
        .map(|sig| sig.signer)
}
