//! Random damage never turns into trust.
//!
//! Each round takes a right answer out of a signed zone, damages it or its links or both in random
//! places, partly with sets out of other right answers, and validates it with a cold cache. Whatever
//! comes out as secure must be what the zone says, and nothing may come out as insecure.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::right::{LEAF_QUESTIONS, LEAVES};
use super::*;
use crate::dns::Rdata;

const ROUNDS: u64 = 3000;

struct Damage<'a> {
    rng: SmallRng,
    /// Sets of other answers.
    pool: &'a [RrSet],
}

impl Damage<'_> {
    fn pick(&mut self) -> RrSet {
        self.pool[self.rng.random_range(0..self.pool.len())].clone()
    }

    fn apply(&mut self, question: &Question, response: &mut Response) {
        for _ in 0..self.rng.random_range(1..4) {
            self.once(question, response);
        }
    }

    fn once(&mut self, question: &Question, response: &mut Response) {
        let in_answer = self.rng.random_ratio(1, 2);
        let rcodes = [Rcode::NOERROR, Rcode::NXDOMAIN, Rcode::YXDOMAIN];
        let stranger = self.pick();
        let what = self.rng.random_range(0..10);
        let Response {
            answer, authority, ..
        } = response;
        let list = if in_answer { answer } else { authority };
        let at = match list.len() {
            0 => None,
            n => Some(self.rng.random_range(0..n)),
        };
        match (what, at) {
            (0, _) => response.rcode = rcodes[self.rng.random_range(0..3)],
            (1, _) => list.push(stranger),
            (2, _) => list.clear(),
            (3, Some(at)) => drop(list.remove(at)),
            (4, Some(at)) => list[at].sigs.clear(),
            (5, Some(at)) => list[at] = stranger,
            // Under the name that was asked for.
            (6, Some(at)) => {
                list[at] = RrSet {
                    name: question.name.clone(),
                    ..stranger
                }
            }
            (7, Some(at)) => self.octet(&mut list[at].rdatas),
            (8, Some(at)) => self.octet(&mut list[at].sigs),
            (9, Some(at)) => list[at].sigs = stranger.sigs,
            _ => {}
        }
    }

    fn octet(&mut self, list: &mut [Rdata]) {
        if list.is_empty() {
            return;
        }
        let n = self.rng.random_range(0..list.len());
        if !list[n].is_empty() {
            let at = self.rng.random_range(0..list[n].len());
            list[n][at] = self.rng.random();
        }
    }
}

/// Owner, type and sorted data of sets.
fn content(sets: &[RrSet]) -> Vec<(String, Rtype, Vec<Rdata>)> {
    let mut all: Vec<_> = sets
        .iter()
        .map(|s| {
            // The case of names in data is not signed (RFC 4034 section 6.2).
            let canonical = |r: &Rdata| crate::dns::rdata::canonical(r, s.rtype);
            let mut rdatas: Vec<Rdata> = s.rdatas.iter().map(canonical).collect();
            rdatas.sort();
            (s.name.to_lowercase().to_string(), s.rtype, rdatas)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn damage_is_never_secure_nor_insecure() {
    let mut world = World::new();
    let questions: Vec<Question> = LEAVES
        .iter()
        .flat_map(|zone| {
            LEAF_QUESTIONS
                .iter()
                .map(|q| question(&q.replace("ZONE", zone)))
        })
        .filter(|q| q.rtype != Rtype::ANY)
        .collect();
    let pool: Vec<RrSet> = questions
        .iter()
        .map(|q| world.answer(q))
        .chain(
            [
                "none.opt. DS",
                "plain.test. DS",
                "plain.hash. DS",
                "none.hash. A",
                "www.plain.test. A",
            ]
            .map(|q| world.answer(&question(q))),
        )
        .flat_map(|r| r.answer.into_iter().chain(r.authority))
        .collect();
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..ROUNDS {
        let mut damage = Damage {
            rng: SmallRng::seed_from_u64(seed),
            pool: &pool,
        };
        let q = questions[damage.rng.random_range(0..questions.len())].clone();
        let right = world.answer(&q);
        world.ctx = Arc::new(Validator::new(Settings {
            anchors: vec![world.root.ds_record(0)],
            ..Settings::default()
        }));
        let odds = [(1, 1), (0, 1), (1, 4)][damage.rng.random_range(0..3)];
        let mut rcode = right.rcode;
        let verdict = world.validate_tampered(&q, |ask, attempt, response| {
            let hit = match attempt {
                None => odds.0 == 1,
                Some(_) => damage.rng.random_ratio(1, if odds.0 == 0 { 2 } else { 8 }),
            };
            if hit {
                damage.apply(ask, response);
            }
            if attempt.is_none() {
                rcode = response.rcode;
            }
        });
        let found = standing(&verdict);
        *counts.entry(found.clone()).or_default() += 1;
        match found.as_str() {
            "secure" => {
                let mut expected = content(&right.answer);
                let found = content(&verdict.answer);
                // A CNAME that follows from its DNAME may be missing.
                expected.retain(|s| found.contains(s) || s.1 != Rtype::CNAME);
                assert_eq!(found, expected, "seed {seed}: {q}");
                if right.answer.iter().all(|s| s.rtype == q.rtype) {
                    assert_eq!(rcode, right.rcode, "seed {seed}: {q}");
                }
            }
            "insecure" => panic!("seed {seed}: {q}"),
            _ => {}
        }
    }
    // The damage is neither always fatal nor always harmless.
    assert!(counts["secure"] > 100, "{counts:?}");
    let bogus = counts.iter().filter(|(k, _)| k.starts_with("bogus"));
    assert!(
        bogus.map(|(_, n)| n).sum::<u32>() > ROUNDS as u32 / 4,
        "{counts:?}"
    );
}
