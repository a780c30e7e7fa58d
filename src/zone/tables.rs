//! What the sets of a zone have in common, kept once: their *shapes* and *shared data*.
//!
//! A registry's zone repeats itself: a million NS sets have one TTL and two records each, and most name the servers of some
//! thousand operators. So a set begins with the number of its shape (type, TTL, how many records and signatures), and
//! data that came up before is the number of an entry instead of its octets. Both tables are specified at the top of
//! [`super::image`]; what is read from them is borrowed like everything else in an image.
//!
//! They are filled as nodes are written, in canonical order and with fixed limits, so equal zones get equal tables.

use std::collections::HashMap;

use crate::dns::Rtype;

/// Shapes in the table; sets of further shapes carry theirs themselves.
const SHAPES_MAX: usize = 1 << 14;
/// Shapes that are found at once; arrays of so many have a default.
const SHAPES_LATELY: usize = 32;
/// Entries of shared data.
const SHARED_MAX: usize = 1 << 18;
/// Octets of all shared data.
const SHARED_BYTES_MAX: usize = 16 << 20;
/// Data shorter than this is not worth a number.
const SHARED_LEN_MIN: usize = 5;
/// Data longer than this is not looked up.
const SHARED_LEN_MAX: usize = 255;
/// Places for data that came up once. A power of two.
const RECENT_PLACES: usize = 1 << 16;
/// No data has this hash. Nor is it zero: of fresh pages that are read first and then written, each write would interrupt all other threads
/// (the system has to take back the page of zeros that it lent).
const NO_HASH: u64 = 1;
/// Octets of a shape in the table.
pub const SHAPE_LEN: usize = 14;
/// Octets of an offset in the table of shared data.
pub const OFFSET_LEN: usize = 4;

/// What a set is but for its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Type (of the covered set, where only signatures are held).
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    /// How many records.
    pub records: u32,
    /// How many signatures.
    pub sigs: u32,
}

/// The tables of an image.
#[derive(Clone, Copy, Default)]
pub struct Tables<'a> {
    shapes: &'a [u8],
    offsets: &'a [u8],
    shared: &'a [u8],
}

impl<'a> Tables<'a> {
    /// Tables over their octets: shapes, the offsets at which entries of shared data end, and these entries.
    pub fn new(shapes: &'a [u8], offsets: &'a [u8], shared: &'a [u8]) -> Tables<'a> {
        Tables {
            shapes,
            offsets,
            shared,
        }
    }

    /// The shape with this number.
    pub fn shape(self, number: usize) -> Option<Shape> {
        let octets = self.shapes.get(number.checked_mul(SHAPE_LEN)?..)?;
        let octets: &[u8; SHAPE_LEN] = octets.first_chunk()?;
        let word = |at: usize| [octets[at], octets[at + 1], octets[at + 2], octets[at + 3]];
        Some(Shape {
            rtype: Rtype(u16::from_be_bytes([octets[0], octets[1]])),
            ttl: u32::from_be_bytes(word(2)),
            records: u32::from_le_bytes(word(6)),
            sigs: u32::from_le_bytes(word(10)),
        })
    }

    /// The shared data with this number.
    pub fn shared(self, number: usize) -> Option<&'a [u8]> {
        let start = match number.checked_sub(1) {
            None => 0,
            Some(before) => self.end(before)?,
        };
        let data = self.shared.get(start..self.end(number)?)?;
        // A small block must not make large answers.
        (data.len() <= SHARED_LEN_MAX).then_some(data)
    }

    fn end(self, number: usize) -> Option<usize> {
        let octets = self.offsets.get(number.checked_mul(OFFSET_LEN)?..)?;
        Some(u32::from_le_bytes(*octets.first_chunk()?) as usize)
    }
}

/// Fills the tables while an image is written.
#[derive(Default)]
pub struct TablesWriter {
    numbers_of_shapes: HashMap<Shape, u32>,
    /// The numbers that were asked for last, found without a hash.
    lately: [Option<(Shape, u32)>; SHAPES_LATELY],
    shapes: Vec<u8>,
    /// By hash. Data whose hash another entry has is written in full.
    numbers_of_shared: HashMap<u64, u32>,
    offsets: Vec<u8>,
    shared: Vec<u8>,
    /// Hashes of data that came up once, in the place that the hash leads to.
    recent: Vec<u64>,
}

impl TablesWriter {
    /// The number of a shape, unless the table is full.
    pub fn shape(&mut self, shape: Shape) -> Option<u32> {
        // Nearly all sets have one of a few shapes.
        let place = (shape.rtype.0 as usize ^ (shape.records as usize) << 3) % SHAPES_LATELY;
        match self.lately[place] {
            Some((same, number)) if same == shape => return Some(number),
            _ => {}
        }
        let number = self.number_of_shape(shape)?;
        self.lately[place] = Some((shape, number));
        Some(number)
    }

    fn number_of_shape(&mut self, shape: Shape) -> Option<u32> {
        if let Some(number) = self.numbers_of_shapes.get(&shape) {
            return Some(*number);
        }
        let number = self.numbers_of_shapes.len();
        if number >= SHAPES_MAX {
            return None;
        }
        self.numbers_of_shapes.insert(shape, number as u32);
        self.shapes.extend_from_slice(&shape.rtype.0.to_be_bytes());
        self.shapes.extend_from_slice(&shape.ttl.to_be_bytes());
        self.shapes.extend_from_slice(&shape.records.to_le_bytes());
        self.shapes.extend_from_slice(&shape.sigs.to_le_bytes());
        Some(number as u32)
    }

    /// The number of shared data, if this came up often enough.
    pub fn shared(&mut self, rtype: Rtype, data: &[u8]) -> Option<u32> {
        if !may_be_shared(rtype) || !(SHARED_LEN_MIN..=SHARED_LEN_MAX).contains(&data.len()) {
            return None;
        }
        let hash = hash(data);
        if let Some(&number) = self.numbers_of_shared.get(&hash) {
            let tables = Tables::new(&[], &self.offsets, &self.shared);
            return (tables.shared(number as usize) == Some(data)).then_some(number);
        }
        if self.recent.is_empty() {
            self.recent = vec![NO_HASH; RECENT_PLACES];
        }
        let place = &mut self.recent[hash as usize % RECENT_PLACES];
        if *place != hash {
            *place = hash;
            return None;
        }
        let number = self.numbers_of_shared.len();
        if number >= SHARED_MAX || self.shared.len() + data.len() > SHARED_BYTES_MAX {
            return None;
        }
        self.numbers_of_shared.insert(hash, number as u32);
        self.shared.extend_from_slice(data);
        let end = self.shared.len() as u32;
        self.offsets.extend_from_slice(&end.to_le_bytes());
        Some(number as u32)
    }

    /// Octets of the tables so far.
    pub fn len_bytes(&self) -> usize {
        self.shapes.len() + self.offsets.len() + self.shared.len()
    }

    /// Shapes, offsets and shared data.
    pub fn finish(self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        (self.shapes, self.offsets, self.shared)
    }
}

/// Types whose data names servers that many names have in common.
fn may_be_shared(rtype: Rtype) -> bool {
    matches!(
        rtype,
        Rtype::NS | Rtype::CNAME | Rtype::MX | Rtype::PTR | Rtype::DNAME | Rtype::SRV
    )
}

/// FNV-1a, of words as far as there are; what collides is written in full, so nothing is gained by making it collide.
fn hash(data: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01B3);
    let (words, rest) = data.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|octet| u64::from(*octet));
    let hash = words.chain(rest).fold(0xCBF2_9CE4_8422_2325, step);
    // The low bits choose the place, and FNV's depend on few octets.
    (hash ^ hash >> 32) | 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_up_again_gets_a_number() {
        let mut writer = TablesWriter::default();
        let shape = |ttl| Shape {
            rtype: Rtype::NS,
            ttl,
            records: 2,
            sigs: 0,
        };
        assert_eq!(writer.shape(shape(1)), Some(0));
        assert_eq!(writer.shape(shape(2)), Some(1));
        assert_eq!(writer.shape(shape(1)), Some(0));
        let (one, two) = (b"\x03ns1\x01x\0", b"\x03ns2\x01x\0");
        let mut number = |data: &[u8]| writer.shared(Rtype::NS, data);
        assert_eq!(
            [number(one), number(two), number(one)],
            [None, None, Some(0)]
        );
        assert_eq!(
            [number(two), number(one), number(two)],
            [Some(1), Some(0), Some(1)]
        );
        assert_eq!([number(b"\0"), number(b"\0"), number(b"\0")], [None; 3]);
        for _ in 0..3 {
            assert_eq!(writer.shared(Rtype::TXT, one), None);
        }
        let (shapes, offsets, shared) = writer.finish();
        let tables = Tables::new(&shapes, &offsets, &shared);
        assert_eq!(tables.shape(1), Some(shape(2)));
        assert_eq!(tables.shape(2), None);
        assert_eq!(tables.shared(0), Some(&one[..]));
        assert_eq!(tables.shared(1), Some(&two[..]));
        assert_eq!(tables.shared(2), None);
    }
}
