//! Names without regard to the case of their letters, eight octets at a time.
//!
//! Why: the name of every query is hashed and compared in lower case, and a copy of it in lower case would cost more than both. Lengths of labels are no
//! letters, so a name in wire form is folded as it stands.

/// Eight octets of a name.
const WORD_LEN: usize = 8;
const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x80 * EACH;

/// The same octets with `A` to `Z` in lower case.
fn lower(word: u64) -> u64 {
    // Without their top bits nothing is carried from one octet to the next; the top bit of a sum says that the octet is no less than that letter.
    let low = word & !TOP;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let after_z = low + (0x80 - b'Z' as u64 - 1) * EACH;
    let capital = from_a & !after_z & !word & TOP;
    // 0x20 is what tells them apart.
    word | capital >> 2
}

/// Fewer octets than a word has, and zeros.
fn part(octets: &[u8]) -> u64 {
    let len = octets.len();
    if let (Some(first), Some(last)) = (octets.first_chunk::<4>(), octets.last_chunk::<4>()) {
        // Where they overlap they are the same.
        let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
        return first | last << (8 * (len - 4));
    }
    let at = |at: usize| {
        octets
            .get(at)
            .map_or(0, |octet| u64::from(*octet) << (8 * at))
    };
    at(0) | at(1) | at(2)
}

/// The octets in lower case, a word at a time, and how many octets each has.
pub fn words(octets: &[u8]) -> impl Iterator<Item = (u64, usize)> {
    let (words, rest) = octets.as_chunks::<WORD_LEN>();
    let words = words
        .iter()
        .map(|word| (lower(u64::from_le_bytes(*word)), WORD_LEN));
    let last = (!rest.is_empty()).then(|| (lower(part(rest)), rest.len()));
    words.chain(last)
}

/// Whether a word that has so many octets has one below 2, which no letter is.
pub fn has_below_2(word: u64, len: usize) -> bool {
    let filled = match len {
        WORD_LEN.. => word,
        _ => word | u64::MAX << (8 * len),
    };
    filled.wrapping_sub(2 * EACH) & !filled & TOP != 0
}

/// The last octets of a name, of which `rest` is what makes no whole word: the last eight where there are so many, some of them for the second time.
fn last_word(name: &[u8], rest: &[u8]) -> u64 {
    match name.last_chunk::<WORD_LEN>() {
        Some(last) => u64::from_le_bytes(*last),
        None => part(rest),
    }
}

/// Goes over the octets of a name in lower case, in words that are the same for names that are, provided that their lengths are.
pub fn fold<T>(name: &[u8], begin: T, mut with: impl FnMut(T, u64) -> T) -> T {
    let (words, rest) = name.as_chunks::<WORD_LEN>();
    let mut folded = begin;
    for word in words {
        folded = with(folded, lower(u64::from_le_bytes(*word)));
    }
    if !rest.is_empty() {
        folded = with(folded, lower(last_word(name, rest)));
    }
    folded
}

/// Whether two names are the same; `known` is in lower case.
pub fn is_same(asked: &[u8], known: &[u8]) -> bool {
    if asked.len() != known.len() {
        return false;
    }
    let ((words, rest), (others, other_rest)) =
        (asked.as_chunks::<WORD_LEN>(), known.as_chunks::<WORD_LEN>());
    let differ = words.iter().zip(others).fold(0, |differ, (word, other)| {
        differ | (lower(u64::from_le_bytes(*word)) ^ u64::from_le_bytes(*other))
    });
    let differ_at_end = match rest.is_empty() {
        true => 0,
        false => lower(last_word(asked, rest)) ^ last_word(known, other_rest),
    };
    differ | differ_at_end == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    #[test]
    fn each_octet_is_folded_as_alone() {
        for octet in 0..=255u8 {
            for at in 0..WORD_LEN {
                // Neighbours at both ends of what an octet can be.
                for other in [0, 0x40, b'Z', 0xFF] {
                    let mut octets = [other; WORD_LEN];
                    octets[at] = octet;
                    let expected = octets.map(|octet| octet.to_ascii_lowercase());
                    let folded = lower(u64::from_le_bytes(octets)).to_le_bytes();
                    assert_eq!(folded, expected, "{octet} at {at}");
                }
            }
        }
    }

    #[test]
    fn words_hold_all_octets_in_order() {
        let mut rng = SmallRng::seed_from_u64(8);
        for len in 0..40 {
            for _ in 0..200 {
                let octets: Vec<u8> = (0..len).map(|_| rng.random_range(0..90)).collect();
                let mut read = Vec::new();
                let mut is_below_2 = false;
                for (word, len) in words(&octets) {
                    read.extend_from_slice(&word.to_le_bytes()[..len]);
                    is_below_2 |= has_below_2(word, len);
                }
                assert_eq!(read, octets.to_ascii_lowercase());
                assert_eq!(is_below_2, octets.iter().any(|octet| *octet < 2));
            }
        }
    }

    #[test]
    fn names_are_the_same_but_for_case_and_nothing_else() {
        let mut rng = SmallRng::seed_from_u64(7);
        let words = |name: &[u8]| {
            fold(name, Vec::new(), |mut words, word| {
                words.push(word);
                words
            })
        };
        for len in 0..40 {
            for _ in 0..200 {
                let asked: Vec<u8> = (0..len).map(|_| rng.random()).collect();
                let known = asked.to_ascii_lowercase();
                assert!(is_same(&asked, &known));
                assert_eq!(words(&asked), words(&known));
                if len > 0 {
                    let mut other = known.clone();
                    let at = rng.random_range(0..len);
                    other[at] ^= 1 << rng.random_range(0..8);
                    let is_same_still = other.to_ascii_lowercase() == known;
                    assert_eq!(is_same(&other, &known), is_same_still);
                    assert_eq!(words(&other) == words(&known), is_same_still);
                    assert!(!is_same(&asked[1..], &known));
                }
            }
        }
    }
}
