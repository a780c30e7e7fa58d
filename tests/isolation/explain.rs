//! Why a question lives that was said to be lost: by what the same cut shows when it is made again.
//!
//! Why: a judgement that is prudent must be so for reasons. A judge puts a question once, as the first who asks for that part of the tree,
//! and what is answered then only sometimes he calls lost. Each of these reasons shows in the cut itself: at the try that was answered, when
//! the question is asked alone, or when what is left to chance falls out otherwise. What none of them shows is a fault of the judge.

use std::fmt;

use holdfast::drill::verdict::Verdict;

use crate::{Luck, Outcome, Seed, insist};

/// So often the cut is made again with other luck.
const OTHER_LUCK: u64 = 4;

/// What explains that a question lives which was said to be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Explanation {
    /// Whoever asked first was told that it fails: a later try was answered, with what the first had found out.
    LaterTry,
    /// Asked alone after the cut, it fails at first: other questions had found the way for it.
    AfterOthers,
    /// With other luck (which server is asked first, when a packet comes) it fails at first, or is judged to survive.
    Chance,
    /// None of these.
    Nothing,
}

impl Explanation {
    /// All of them.
    pub const ALL: [Explanation; 4] = [
        Explanation::LaterTry,
        Explanation::AfterOthers,
        Explanation::Chance,
        Explanation::Nothing,
    ];
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Explanation::LaterTry => "the first try failed",
            Explanation::AfterOthers => "asked alone it fails at first",
            Explanation::Chance => "with other luck it fails at first, or is not called lost",
            Explanation::Nothing => "UNEXPLAINED",
        })
    }
}

/// Explains why question number `index` of a seed was answered in the cut with `outcome`.
pub async fn explain(seed: u64, index: usize, outcome: &Outcome) -> Explanation {
    if outcome.tries > 1 {
        return Explanation::LaterTry;
    }
    let Some(seed) = Seed::new(seed) else {
        return Explanation::Nothing;
    };
    if !is_answered_at_once(&seed, &[index], Luck(0)).await {
        return Explanation::AfterOthers;
    }
    let all: Vec<usize> = (0..=index).collect();
    for luck in (1..=OTHER_LUCK).map(Luck) {
        if !is_answered_at_once(&seed, &all, luck).await
            || !is_called_lost(&seed, index, luck).await
        {
            return Explanation::Chance;
        }
    }
    Explanation::Nothing
}

/// Makes the cut again and asks these questions; whether the last is answered at the first try.
async fn is_answered_at_once(seed: &Seed, asked: &[usize], luck: Luck) -> bool {
    let lab = seed.cut_off(luck).await;
    let mut last = None;
    for index in asked {
        last = Some(insist(&lab.resolver, &seed.country.after[*index]).await);
    }
    last.is_some_and(|outcome| outcome.is_answered() && outcome.tries == 1)
}

/// Judges all questions up to this one again.
async fn is_called_lost(seed: &Seed, index: usize, luck: Luck) -> bool {
    let judged = seed.with_a_past(luck).await;
    let judge = seed.judge(&judged);
    let mut verdict = None;
    for question in &seed.country.after[..=index] {
        verdict = Some(judge.judge(question.clone()).await.verdict);
    }
    matches!(verdict, Some(Verdict::Lost(_)))
}
