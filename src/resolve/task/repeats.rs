//! Which questions are asked more than once, told without keeping them.
//!
//! Why: an answer that is made from a wildcard and its proofs (RFC 8198) costs nothing and is not kept, for a flood of random names must not
//! fill the cache. But when wildcard and proofs have run out and the zone cannot be reached, there would be nothing old for names
//! that are asked for every day. Those are asked twice; random ones are not.
//!
//! Model: a table of marks, one per question in a place that its hash gives. A question that finds its own mark was asked before.
//!
//! Failure: a mark that was overwritten, or is another question's by chance, costs one entry more or less in the cache.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::dns::Question;

/// Marks: 256 KiB.
const PLACES: usize = 1 << 16;

/// The marks; made with the first question.
#[derive(Debug, Default)]
pub(super) struct Repeats(OnceLock<Box<[AtomicU32]>>);

impl Repeats {
    /// Whether the question was asked before, as far as is known. It is from now on.
    pub fn was_asked(&self, question: &Question) -> bool {
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let hash = hasher.finish();
        let made = || (0..PLACES).map(|_| AtomicU32::new(0)).collect();
        let place = &self.0.get_or_init(made)[hash as usize % PLACES];
        let mark = (hash >> 32) as u32 | 1;
        place.swap(mark, Ordering::Relaxed) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rtype;

    #[test]
    fn what_is_asked_twice_is_told_from_a_flood() {
        let repeats = Repeats::default();
        let asked = |name: &str| {
            let question = Question::new(name.parse().unwrap(), Rtype::A);
            repeats.was_asked(&question)
        };
        assert!(!asked("www.example."));
        assert!(asked("WWW.example."));
        let flood = (0..20_000).filter(|n| asked(&format!("x{n}.example.")));
        assert_eq!(flood.count(), 0);
        let again = (0..1000).filter(|n| asked(&format!("x{}.example.", 19_000 + n)));
        assert!(again.count() > 900);
    }
}
