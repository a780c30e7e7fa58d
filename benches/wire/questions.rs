//! The questions of a file, ready to be sent.
//!
//! A line is `WEIGHT NAME TYPE EDNS RCODE ANSWERS`: how often it is asked beside the others; the name, in which each `?` becomes a random letter or
//! digit every time, so that such a name is always new; the type's number; `plain`, `edns` or `do`; what is to be answered: the response code and at
//! least so many records. Questions of one length are drawn together, because the kernel cuts a burst into datagrams of one length.

use std::io;

const HEADER_LEN: usize = 12;
/// What a name's `?` become. 32 of them, so that 5 random bits are one.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// As many `?` as one random number has bits for.
const HOLES_MAX: usize = 12;
const EDNS_SIZE: u16 = 1232;

/// What is known of one question, beside the octets to send.
pub struct Expected {
    pub rcode: u8,
    pub answers_min: u16,
    name_end: usize,
    /// Where the random letters are.
    holes: (usize, usize),
}

/// All questions of one length.
struct Bucket {
    len: usize,
    packets: Vec<u8>,
    /// Index of the first among all.
    first: usize,
    draw: Alias,
}

pub struct Questions {
    buckets: Vec<Bucket>,
    draw: Alias,
    expected: Vec<Expected>,
    random: Random,
    /// Where the walk over all of them stands: bucket and index in it.
    walk: (usize, usize),
}

impl Questions {
    /// # Errors
    /// A line that cannot be read is told.
    pub fn read(text: &str, seed: u64) -> io::Result<Questions> {
        let mut lines = Vec::new();
        for line in text.lines() {
            let read = question(line);
            lines.push(read.ok_or_else(|| io::Error::other(format!("no question: {line}")))?);
        }
        lines.sort_by_key(|(_, packet, _)| packet.len());
        let (mut buckets, mut expected, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for same in lines.chunk_by(|(_, a, _), (_, b, _)| a.len() == b.len()) {
            let own: Vec<f64> = same.iter().map(|(weight, ..)| *weight).collect();
            weights.push(own.iter().sum());
            buckets.push(Bucket {
                len: same[0].1.len(),
                packets: same
                    .iter()
                    .flat_map(|(_, packet, _)| packet.clone())
                    .collect(),
                first: expected.len(),
                draw: Alias::new(&own),
            });
            expected.extend(same.iter().map(|(_, _, e)| Expected { ..*e }));
        }
        if buckets.is_empty() {
            return Err(io::Error::other("no questions"));
        }
        Ok(Questions {
            buckets,
            draw: Alias::new(&weights),
            expected,
            random: Random(seed),
            walk: (0, 0),
        })
    }

    /// Writes up to `count` drawn questions of one length, one after the other; returns the length. `indices` has which they are.
    pub fn draw(&mut self, count: usize, bytes: &mut Vec<u8>, indices: &mut Vec<u32>) -> usize {
        let bucket = &self.buckets[self.draw.draw(&mut self.random)];
        for _ in 0..count {
            let index = bucket.draw.draw(&mut self.random);
            bucket.put(index, &self.expected, &mut self.random, bytes, indices);
        }
        bucket.len
    }

    /// As `draw`, but the next ones in order. None once all have been.
    pub fn next(
        &mut self,
        count: usize,
        bytes: &mut Vec<u8>,
        indices: &mut Vec<u32>,
    ) -> Option<usize> {
        let bucket = self.buckets.get(self.walk.0)?;
        let end = (bucket.packets.len() / bucket.len).min(self.walk.1 + count);
        for index in self.walk.1..end {
            bucket.put(index, &self.expected, &mut self.random, bytes, indices);
        }
        self.walk.1 = end;
        if end * bucket.len == bucket.packets.len() {
            self.walk = (self.walk.0 + 1, 0);
        }
        Some(bucket.len)
    }

    /// What is to be answered to a question.
    pub fn expected(&self, index: u32) -> &Expected {
        &self.expected[index as usize]
    }

    /// Whether the answer repeats the question, whatever the letters' case, but for the random ones.
    pub fn repeats(&self, index: u32, answer: &[u8]) -> bool {
        let at = self.buckets.partition_point(|b| b.first <= index as usize) - 1;
        let bucket = &self.buckets[at];
        let packet = &bucket.packets[(index as usize - bucket.first) * bucket.len..][..bucket.len];
        let Expected {
            name_end, holes, ..
        } = *self.expected(index);
        let end = name_end + 4;
        answer.len() >= end
            && (HEADER_LEN..end)
                .filter(|i| !(holes.0..holes.1).contains(i))
                .all(|i| answer[i].eq_ignore_ascii_case(&packet[i]))
    }
}

impl Bucket {
    fn put(
        &self,
        index: usize,
        expected: &[Expected],
        random: &mut Random,
        bytes: &mut Vec<u8>,
        indices: &mut Vec<u32>,
    ) {
        let begin = bytes.len();
        bytes.extend_from_slice(&self.packets[index * self.len..][..self.len]);
        let (from, to) = expected[self.first + index].holes;
        if from < to {
            let mut bits = random.next();
            for letter in &mut bytes[begin + from..begin + to] {
                *letter = LETTERS[(bits & 31) as usize];
                bits >>= 5;
            }
        }
        indices.push((self.first + index) as u32);
    }
}

fn question(line: &str) -> Option<(f64, Vec<u8>, Expected)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [weight, name, rtype, edns, rcode, answers] = words[..] else {
        return None;
    };
    // RFC 1035 section 4.1.1: RD, one question; with EDNS one record more.
    let additional = u8::from(edns != "plain");
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).ok().filter(|len| *len < 64)?);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    let name_end = packet.len();
    let is_hole = |octet: &&u8| **octet == b'?';
    let holes = packet[HEADER_LEN..].iter().filter(is_hole).count();
    let from = HEADER_LEN
        + packet[HEADER_LEN..]
            .iter()
            .position(|o| is_hole(&o))
            .unwrap_or(0);
    if holes > HOLES_MAX || packet[from..from + holes].iter().any(|o| !is_hole(&o)) {
        return None;
    }
    packet.extend_from_slice(&rtype.parse::<u16>().ok()?.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    match edns {
        "plain" => {}
        "edns" | "do" => {
            // RFC 6891 section 6.1.2.
            packet.extend_from_slice(&[0, 0, 41]);
            packet.extend_from_slice(&EDNS_SIZE.to_be_bytes());
            packet.extend_from_slice(&[0, 0, if edns == "do" { 0x80 } else { 0 }, 0, 0, 0]);
        }
        _ => return None,
    }
    let expected = Expected {
        rcode: rcode.parse().ok()?,
        answers_min: answers.parse().ok()?,
        name_end,
        holes: (from, from + holes),
    };
    let weight: f64 = weight.parse().ok()?;
    (weight > 0.0).then_some((weight, packet, expected))
}

/// Draws by weight in one step (Vose's alias method).
struct Alias(Vec<(u32, u32)>);

impl Alias {
    fn new(weights: &[f64]) -> Alias {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|index| shares[*index] < 1.0);
        let mut rows: Vec<(u32, u32)> = (0..shares.len()).map(|i| (u32::MAX, i as u32)).collect();
        while let (Some(less), Some(more)) = (small.pop(), large.pop()) {
            rows[less] = ((shares[less] * f64::from(u32::MAX)) as u32, more as u32);
            shares[more] -= 1.0 - shares[less];
            if shares[more] < 1.0 {
                small.push(more);
            } else {
                large.push(more);
            }
        }
        Alias(rows)
    }

    fn draw(&self, random: &mut Random) -> usize {
        let bits = random.next();
        let index = (((bits >> 32) * self.0.len() as u64) >> 32) as usize;
        let (share, other) = self.0[index];
        if bits as u32 <= share {
            index
        } else {
            other as usize
        }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
