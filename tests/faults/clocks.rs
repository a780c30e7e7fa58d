//! The clock jumps while a refresh is under way.

use holdfast::clock::format_utc;
use holdfast::dns::{Edns, Rtype};

use crate::daemon::{Daemon, eventually, query};
use crate::primary::{MARKER, Primary};
use crate::served::{check, refresh, signer, start_in};
use crate::signer::{EXPIRATION, INCEPTION, Signer};

const DAY_S: u32 = 86_400;
const LAB: &str = "[lab]\nclock_file = \"clock\"\n";

fn set(directory: &std::path::Path, at: u32) {
    let text = format_utc(u64::from(at)).replace('T', " ").replace('Z', "");
    std::fs::write(directory.join("clock.new"), format!("@{text}")).unwrap();
    std::fs::rename(directory.join("clock.new"), directory.join("clock")).unwrap();
}

/// Whether an answer from the zone is marked as authentic; it must be there in any case.
fn is_authentic(daemon: &Daemon) -> bool {
    let mut question = query(MARKER, Rtype::TXT);
    question.recursion_desired = true;
    question.edns = Some(Edns::new(1232, true));
    let answer = daemon.udp(&question);
    assert!(!answer.answer.is_empty(), "{answer:?}\n{}", daemon.log());
    answer.authentic_data
}

#[test]
fn a_clock_that_jumps_in_a_refresh_costs_no_version() {
    let mut signer: Signer = signer(14);
    (signer.inception, signer.expiration) = (INCEPTION, EXPIRATION);
    let primary = Primary::start(signer);
    let directory = tempfile::tempdir().unwrap();
    let good = INCEPTION + DAY_S;
    set(directory.path(), good);
    let mut daemon = start_in(directory, &primary, LAB);
    let (mut serial, mut before) = (0, good);
    // Where the clock jumps to, and what a refresh that meets it there must say; nothing: it must be taken.
    let jumps = [
        (good, ""),
        (EXPIRATION + DAY_S, "expired"),
        (good, ""),
        (INCEPTION - DAY_S, "not yet valid"),
        (good + 3600, ""),
        (EXPIRATION + 60 * DAY_S, "expired"),
        (INCEPTION - 400 * DAY_S, "not yet valid"),
        (good, ""),
    ];
    for (at, expected) in jumps {
        let what = format!("at {}", format_utc(u64::from(at)));
        // The refresh is under way: the mirror waits for its primary.
        let asked = std::thread::scope(|scope| {
            let refreshed = scope.spawn(|| refresh(&daemon));
            eventually("the mirror asks", || primary.is_asked().then_some(()));
            set(daemon.directory.path(), at);
            let minute = &format_utc(u64::from(at))[..16];
            let followed = format!("file={} now=\"{minute}", daemon.file("clock").display());
            eventually("the clock jumps", || {
                (at == before || daemon.log().contains(&followed)).then_some(())
            });
            before = at;
            primary.go_on(1);
            refreshed.join().unwrap()
        });
        match asked {
            Ok(()) => {
                assert_eq!(expected, "", "{what}: taken");
                serial = primary.newest();
            }
            Err(error) => {
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{what}: {error}"
                );
            }
        }
        assert_eq!(check(&daemon, &primary).unwrap().serial, serial, "{what}");
        assert_eq!(
            is_authentic(&daemon),
            expected.is_empty(),
            "{what}\n{}",
            daemon.log()
        );
        // A start under this clock has the same version.
        let directory = crate::served::kill(daemon);
        daemon = start_in(directory, &primary, LAB);
        assert_eq!(
            check(&daemon, &primary).unwrap().serial,
            serial,
            "{what}, started again"
        );
    }
}
