//! Makes checksums right again, so that damage reaches what lies behind them.
//!
//! Written from the formats' descriptions in `zone/image.rs`, `mirror/store/image_file.rs` and `store/value.rs`, not with
//! their code: a change of format that the description does not tell shows as seeds that no longer open.

use std::ops::Range;

const HEADER_LEN_MIN: usize = 149;
const CRC_LEN: usize = 4;

/// Recomputes the checksums of a zone image as far as its header and indexes can be followed.
pub fn image(octets: &mut [u8]) {
    let _ = try_image(octets);
}

fn try_image(octets: &mut [u8]) -> Option<()> {
    let header = number(octets, 12, 4)?;
    if header < HEADER_LEN_MIN {
        return None;
    }
    seal_tail(octets, 0..header)?;
    let mut at = header;
    for (len_at, count_at) in [(88, 96), (104, 112)] {
        let blocks_end = at.checked_add(number(octets, len_at, 8)?)?;
        let offsets_len = number(octets, count_at, 8)?.checked_mul(8)?;
        let index_end = blocks_end.checked_add(offsets_len)?.checked_add(CRC_LEN)?;
        seal_tail(octets, blocks_end..index_end)?;
        let offsets = octets.get(blocks_end..index_end - CRC_LEN)?;
        let offsets: Vec<usize> = (0..offsets.len() / 8)
            .filter_map(|i| number(offsets, i * 8, 8))
            .collect();
        for (i, offset) in offsets.iter().enumerate() {
            let end = offsets.get(i + 1).copied().unwrap_or(blocks_end - at);
            let block = at.checked_add(*offset)?..at.checked_add(end)?;
            seal_head(octets.get_mut(block)?)?;
        }
        at = index_end;
    }
    for (count_at, len) in [(120, 14), (128, 4), (136, 1)] {
        let table_len = number(octets, count_at, 8)?.checked_mul(len)?;
        let end = at.checked_add(table_len)?.checked_add(CRC_LEN)?;
        seal_tail(octets, at..end)?;
        at = end;
    }
    Some(())
}

/// Recomputes the checksum in the tail of a version's file.
pub fn note(octets: &mut [u8]) {
    let _ = try_note(octets);
}

fn try_note(octets: &mut [u8]) -> Option<()> {
    let tail = octets.len().checked_sub(24)?;
    let image_len = number(octets, tail, 8)?;
    let note = octets.get(image_len..tail + 12)?;
    let crc = crc32fast::hash(note).to_le_bytes();
    octets[tail + 12..tail + 16].copy_from_slice(&crc);
    Some(())
}

/// A ledger value: body with its version and checksum.
pub fn value(tree: &str, key: &[u8], version: u8, body: &[u8]) -> Vec<u8> {
    let mut summed = [
        tree.as_bytes(),
        &[0],
        &(key.len() as u32).to_le_bytes(),
        key,
    ]
    .concat();
    summed.push(version);
    summed.extend_from_slice(body);
    let crc = crc32fast::hash(&summed).to_le_bytes();
    [&[version], &crc[..], body].concat()
}

fn number(octets: &[u8], at: usize, len: usize) -> Option<usize> {
    let octets = octets.get(at..at + len)?;
    let value = octets
        .iter()
        .rev()
        .fold(0u64, |n, b| n << 8 | u64::from(*b));
    usize::try_from(value).ok()
}

/// Puts the checksum of what is before it at the end of a range.
fn seal_tail(octets: &mut [u8], range: Range<usize>) -> Option<()> {
    let (summed, crc) = octets.get_mut(range)?.split_last_chunk_mut::<CRC_LEN>()?;
    *crc = crc32fast::hash(summed).to_le_bytes();
    Some(())
}

/// Puts the checksum of what follows at the start.
fn seal_head(block: &mut [u8]) -> Option<()> {
    let (crc, summed) = block.split_first_chunk_mut::<CRC_LEN>()?;
    *crc = crc32fast::hash(summed).to_le_bytes();
    Some(())
}
