//! What nobody can verify a zone without: one public-key operation for each of its signatures, and nothing else.
//!
//! `cargo bench --bench registry -- ZONE` reads the zone, puts together for each signature the octets that it signs, and then
//! measures the operations alone, by keys that are ready: the processor's time on one thread, and the wall's with a thread per core. One line,
//! `key=value`: the least times of some rounds in milliseconds. `run.py` puts it beside what whole verifications take.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast::dns::{Dnskey, Rrsig, Rtype};
use holdfast::dnssec::verify::{Claim, PublicKey, Signee};
use holdfast::zone::{Room, ZONE_BYTES_MAX, load_file};

/// Rounds, of which the least counts.
const ROUNDS: usize = 7;
/// Signatures that a thread takes at a time.
const BATCH: usize = 16;

/// A signature, ready to be checked.
struct Ready {
    /// Number of its key.
    key: usize,
    message: Vec<u8>,
    signature: Vec<u8>,
}

fn main() {
    // `cargo bench` passes --bench.
    let file = std::env::args().skip(1).find(|word| word != "--bench");
    let file = file.expect("a zone file");
    let room = Room::beside(&std::env::temp_dir());
    let zone = load_file(Path::new(&file), None, ZONE_BYTES_MAX, &room).expect("a zone");
    let image = zone.image;
    let keys = image
        .find(image.apex(), Rtype::DNSKEY)
        .expect("a signed zone")
        .rdatas;
    let keys: Vec<(Dnskey<'_>, PublicKey)> = (keys.iter().filter_map(|rdata| Dnskey::parse(rdata)))
        .filter_map(|key| {
            let public = PublicKey::new(key.algorithm, key.public_key).ok()?;
            Some((key, public))
        })
        .collect();
    let mut all = Vec::new();
    for set in image.nodes().flat_map(|node| node.sets) {
        let rdatas: Vec<&[u8]> = set.rdatas.iter().map(|rdata| &**rdata).collect();
        let signee = Signee {
            name: &set.name,
            rtype: set.rtype,
            rdatas: &rdatas,
        };
        for sig in set.sigs.iter().filter_map(|rdata| Rrsig::parse(rdata)) {
            let made = |(key, _): &(Dnskey<'_>, PublicKey)| key.key_tag() == sig.key_tag;
            let Some(key) = keys.iter().position(made) else {
                continue;
            };
            if let Ok(claim) = Claim::new(signee, &sig, &keys[key].0, image.apex()) {
                all.push(Ready {
                    key,
                    message: claim.message(),
                    signature: sig.signature.to_vec(),
                });
            }
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let least = |threads: usize, clock: libc::clockid_t| {
        let rounds = (0..ROUNDS).map(|_| round(&all, &keys, threads, clock));
        rounds.min().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let cpu = least(1, libc::CLOCK_PROCESS_CPUTIME_ID);
    let wall = least(cores, libc::CLOCK_MONOTONIC);
    println!(
        "signatures={} cores={cores} cpu_ms={cpu:.1} wall_ms={wall:.1}",
        all.len()
    );
}

fn round(
    all: &[Ready],
    keys: &[(Dnskey<'_>, PublicKey)],
    threads: usize,
    clock: libc::clockid_t,
) -> Duration {
    let next = AtomicUsize::new(0);
    let begun = now(clock);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(BATCH, Ordering::Relaxed);
                    let Some(rest) = all.get(from..) else { return };
                    for ready in rest.iter().take(BATCH) {
                        let public = &keys[ready.key].1;
                        let good = public.verify(&ready.message, &ready.signature);
                        good.expect("a signature of the zone's");
                    }
                }
            });
        }
    });
    now(clock) - begun
}

fn now(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills a plain C struct of ours.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
