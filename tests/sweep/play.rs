//! Plays a plan: the real resolver in the simulated network, and the oracle beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast::dns::{Ede, Question, Rcode};
use holdfast::resolve::budget::PACKETS_MAX;
use holdfast::resolve::task::Options;
use holdfast::resolve::trace::Trace;
use holdfast::resolve::{LocalTrust, Prefer, Resolution, Security};

use crate::lab::Lab;
use crate::net::Fault;
use crate::oracle::{Failing, Judgement, Oracle, Truth};
use crate::plan::{Act, Change, Plan, ZoneId, show_data};
use crate::publish::{Published, publish, serve};
use crate::stage::stage;

/// How often a question is asked again whose first failure is forgiven, and after what pause: failures are remembered
/// for up to 60 s.
const RETRIES_MAX: usize = 8;
const RETRY_AFTER: Duration = Duration::from_secs(75);
/// A client hears within this (4.5 s, and a little).
const CLIENT_WAIT_MAX: Duration = Duration::from_millis(4600);

/// What a seed's run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub questions: u64,
    pub answered: u64,
    pub secure: u64,
    /// Of these, the ones with a part that had run out.
    pub old: u64,
    /// SERVFAIL, proven right.
    pub failed: u64,
    /// Answered only when asked again.
    pub late: u64,
    /// Packets for first answers to questions asked one after the other, and the most that one cost.
    pub packets: u64,
    pub packets_max: u32,
}

/// A question on which resolver and oracle do not agree.
pub struct Disagreement {
    /// The number of the question in the plan.
    pub index: usize,
    pub text: String,
}

/// Plays the questions with these numbers; all of them if there is no choice.
pub async fn play(plan: &Plan, chosen: Option<&BTreeSet<usize>>) -> Result<Tally, Disagreement> {
    let mut stage = Stage::set(plan);
    let mut tally = Tally::default();
    let mut next_index = 0;
    for act in &plan.acts {
        match act {
            Act::Wait(time) => tokio::time::sleep(*time).await,
            Act::Change(change) => stage.change(change),
            Act::Ask { questions, at_once } => {
                let numbered = questions
                    .iter()
                    .enumerate()
                    .map(|(i, q)| (next_index + i, q));
                let asked: Vec<_> = numbered
                    .filter(|(i, _)| chosen.is_none_or(|c| c.contains(i)))
                    .collect();
                next_index += questions.len();
                if *at_once {
                    stage.ask_at_once(&asked, &mut tally).await?;
                } else {
                    for (index, question) in asked {
                        stage.ask(index, question, &mut tally).await?;
                    }
                }
            }
        }
    }
    Ok(tally)
}

struct Stage {
    plan: Plan,
    lab: Lab,
    zones: Vec<Published>,
    oracle: Oracle,
}

impl Stage {
    fn set(plan: &Plan) -> Stage {
        let zones: Vec<Published> = (0..plan.zones.len()).map(|id| publish(plan, id)).collect();
        let lab = stage(plan, &zones, |s| {
            // The reference resolver has no memory: what is found without a parent is the matter of tests/sim/harvest.rs.
            s.retained.enabled = false;
            s.stale.enabled = plan.stale.is_some();
            s.stale.age_max_s = plan.stale.map_or(0, |age_max| age_max.as_secs());
            s.prefetch = false;
        });
        for (ip, delay) in &plan.delays {
            lab.net.set_delay(&ip.to_string(), *delay);
        }
        if plan.stale.is_some() {
            tokio::spawn(lab.resolver.clone().keep_fresh());
        }
        let mut stage = Stage {
            plan: plan.clone(),
            oracle: Oracle::new(plan.clone()),
            lab,
            zones,
        };
        stage.tell_oracle();
        stage
    }

    fn set_faults(&mut self, faults: &[(std::net::IpAddr, Fault)]) {
        for (ip, fault) in faults {
            self.lab.net.set(&ip.to_string(), *fault);
            self.plan.faults.insert(*ip, *fault);
        }
    }

    fn tell_oracle(&mut self) {
        let now = self.lab.clock.now();
        let facts = self.zones.iter().map(|z| z.facts.clone()).collect();
        self.oracle.begin(&self.plan, facts, now.mono, now.wall_s);
    }

    fn change(&mut self, change: &Change) {
        let now = self.lab.clock.now();
        match change {
            Change::Faults(faults) => self.set_faults(faults),
            Change::Records(id, records) => {
                self.plan.zones[*id].records.clone_from(records);
                self.publish(*id);
            }
            Change::Servers(id, servers) => {
                self.plan.zones[*id].servers.clone_from(servers);
                self.publish(*id);
                self.publish_parent(*id);
            }
            Change::Signing(id, signing) => {
                self.plan.zones[*id].signing = Some(signing.clone());
                self.oracle.unsettle(&self.plan.zones[*id].apex, now.mono);
                self.publish(*id);
                self.publish_parent(*id);
            }
            Change::Clock(step_s) => {
                let wall_s = now.wall_s.saturating_add_signed(*step_s);
                self.lab.clock.set_wall(Duration::from_secs(wall_s));
            }
        }
        self.tell_oracle();
    }

    fn publish_parent(&mut self, id: ZoneId) {
        if let Some(parent) = self.plan.zones[id].parent {
            self.publish(parent);
        }
    }

    /// Serves a zone anew; a copy of it is refreshed at once.
    fn publish(&mut self, id: ZoneId) {
        self.plan.zones[id].serial += 1;
        self.zones[id] = publish(&self.plan, id);
        let image = &self.zones[id].image;
        serve(&self.plan, id, image, &self.lab.net);
        if self.plan.mirrors.contains(&id) {
            (self.lab.copies).hold(image.clone(), Prefer::Hedge, LocalTrust::Secure);
        }
    }

    async fn ask(
        &mut self,
        index: usize,
        question: &Question,
        tally: &mut Tally,
    ) -> Result<(), Disagreement> {
        let before = self.lab.clock.now().mono;
        self.lab.net.take_packets();
        let mut got = self.resolve(index, question).await;
        let took = self.lab.clock.now().mono - before;
        let judged = self.oracle.judge(question, before);
        tally.questions += 1;
        tally.packets += u64::from(got.sources.packets);
        tally.packets_max = tally.packets_max.max(got.sources.packets);
        let bounded = took <= CLIENT_WAIT_MAX && got.sources.packets <= PACKETS_MAX;
        if !bounded {
            return Err(self.disagreement(index, question, &judged, &got, "costs too much"));
        }
        for retry in 0..=RETRIES_MAX {
            match verdict(&judged, &got) {
                Ok(Agreed::Answer) => {
                    tally.answered += 1;
                    tally.secure += u64::from(got.security == Security::Secure);
                    tally.old += u64::from(got.sources.stale);
                    tally.late += u64::from(retry > 0);
                    return Ok(());
                }
                Ok(Agreed::Failure) => {
                    tally.failed += 1;
                    return Ok(());
                }
                Ok(Agreed::AskAgain) if retry < RETRIES_MAX => {
                    tokio::time::sleep(RETRY_AFTER).await;
                    self.lab.net.take_packets();
                    got = self.resolve(index, question).await;
                }
                Ok(Agreed::AskAgain) => {
                    return Err(self.disagreement(
                        index,
                        question,
                        &judged,
                        &got,
                        "never answered",
                    ));
                }
                Err(why) => {
                    return Err(self.disagreement(index, question, &judged, &got, why));
                }
            }
        }
        Ok(())
    }

    async fn ask_at_once(
        &mut self,
        asked: &[(usize, &Question)],
        tally: &mut Tally,
    ) -> Result<(), Disagreement> {
        let before = self.lab.clock.now().mono;
        let tasks: Vec<_> = (asked.iter())
            .map(|(_, question)| {
                let (resolver, question) = (self.lab.resolver.clone(), (*question).clone());
                tokio::spawn(async move { resolver.resolve(question, Options::default()).await })
            })
            .collect();
        for ((index, question), task) in asked.iter().zip(tasks) {
            let got = task.await.expect("no panic");
            let judged = self.oracle.judge(question, before);
            tally.questions += 1;
            match verdict(&judged, &got) {
                Ok(Agreed::Answer) => {
                    tally.answered += 1;
                    tally.secure += u64::from(got.security == Security::Secure);
                }
                Ok(_) => tally.failed += 1,
                Err(why) => return Err(self.disagreement(*index, question, &judged, &got, why)),
            }
        }
        Ok(())
    }

    async fn resolve(&self, index: usize, question: &Question) -> Resolution {
        let (resolver, question) = (&self.lab.resolver, question.clone());
        let is_traced = std::env::var("SWEEP_TRACE")
            .is_ok_and(|which| which.parse().is_ok_and(|i: usize| i == index) || which == "all");
        if !is_traced {
            return resolver.resolve(question, Options::default()).await;
        }
        let trace = Trace::recording(self.lab.clock.now());
        eprintln!("{question}");
        let resolved = resolver.resolve_traced(question, Options::default(), &trace);
        let resolved = resolved.await;
        for event in trace.events().0 {
            eprintln!("{:6} {:?}", event.at_ms, event.what);
        }
        resolved
    }

    fn disagreement(
        &self,
        index: usize,
        question: &Question,
        judged: &Judgement,
        got: &Resolution,
        why: &str,
    ) -> Disagreement {
        let now = self.lab.clock.now();
        let mut text = self.plan.describe().unwrap_or_default();
        text += &format!(
            "at {:?}, {}\n",
            now.mono,
            holdfast::clock::format_utc(now.wall_s)
        );
        text += &format!("question {index}: {question}: {why}\n");
        for truth in &judged.truths {
            text += &format!("  right: {}\n", show(truth));
        }
        text += &format!("  SERVFAIL: {:?}\n", judged.failing);
        text += &format!("  given: {}", show(&given(got)));
        for error in &got.errors {
            text += &format!("; {} {}", error.code, error.text);
        }
        text += &format!(" ({} packets)\n", got.sources.packets);
        for p in self.lab.net.take_packets() {
            text += &format!(
                "    {:?} ago {} {} {:?}{}\n",
                p.at.elapsed(),
                p.host,
                p.question,
                p.transport,
                if p.edns { "" } else { " no EDNS" }
            );
        }
        Disagreement { index, text }
    }
}

enum Agreed {
    Answer,
    Failure,
    AskAgain,
}

fn verdict(judged: &Judgement, got: &Resolution) -> Result<Agreed, &'static str> {
    if got.rcode == Rcode::SERVFAIL {
        return match judged.failing {
            Failing::Never => Err("SERVFAIL without need"),
            Failing::AtFirst(_) => Ok(Agreed::AskAgain),
            Failing::Proven(_) => Ok(Agreed::Failure),
        };
    }
    let given = given(got);
    let is_old = |e: &Ede| matches!(e.code, Ede::STALE_ANSWER | Ede::STALE_NXDOMAIN);
    if got.errors.iter().any(is_old) {
        return old_verdict(judged, &given);
    }
    if judged.truths.contains(&given) {
        return Ok(Agreed::Answer);
    }
    let but_ad = |t: &&Truth| (t.rcode, &t.answer) == (given.rcode, &given.answer);
    match judged.truths.iter().find(but_ad) {
        Some(truth) if truth.secure => Err("AD is missing"),
        Some(_) => Err("AD is undue"),
        None => Err("wrong answer"),
    }
}

/// Old data is right where it was, within its greatest age, and where there may be no new data. What it was proven by may have run out.
fn old_verdict(judged: &Judgement, given: &Truth) -> Result<Agreed, &'static str> {
    let was = |t: &Truth| (t.rcode, &t.answer) == (given.rcode, &given.answer);
    let was_secure = |t: &Truth| t.secure || !given.secure;
    let Some(old) = &judged.old else {
        return Err("old data, which is switched off");
    };
    match old.truths.iter().any(|t| was(t) && was_secure(t)) {
        false => Err("old data that never was, or too old"),
        true if old.failing == Failing::Never => Err("old data without need"),
        true => Ok(Agreed::Answer),
    }
}

/// The answer of a resolution in the oracle's form.
fn given(resolution: &Resolution) -> Truth {
    let rows = resolution.answer.iter().flat_map(|set| {
        let row = |r: &holdfast::dns::Rdata| (set.name.clone(), set.rtype, r.clone());
        set.rdatas.iter().map(row)
    });
    Truth {
        rcode: resolution.rcode,
        answer: rows.collect(),
        secure: resolution.security == Security::Secure,
    }
}

fn show(truth: &Truth) -> String {
    let rows = truth
        .answer
        .iter()
        .map(|(n, t, r)| format!("{n} {t} {}", show_data(*t, r)));
    let rows: Vec<String> = rows.collect();
    let ad = if truth.secure { " ad" } else { "" };
    format!("{}{ad} {}", truth.rcode, rows.join(", "))
}
