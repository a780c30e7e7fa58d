//! Bad versions and bad servers at the transfer source: the current generation goes on serving and the status says why.

use std::time::{Duration, Instant};

use crate::cases::Checks;
use crate::lab::Lab;
use crate::proxy::{self, Mode, Proxy};
use crate::resolver::{Mirror, ROOT_MIRROR, Resolver, Site};
use crate::tools::{dig, dig_at};
use crate::zones::{Fault, SERIAL};

/// The zone's refresh is 4 s, its retry 2 s, a transfer may take 4 s.
const NOTICED_MAX: Duration = Duration::from_secs(60);

/// A step from the current good serial.
const NEXT: i64 = 1;

/// What the source does: the serial it shows, counted from the good one, what is wrong with the zone, how it behaves, and
/// what `last_error` must say, so that no version is refused for another fault than the one meant.
const ROWS: [(&str, i64, Fault, Mode, &str); 7] = [
    (
        "a ZONEMD over other data",
        NEXT,
        Fault::Zonemd,
        Mode::Honest,
        "ZONEMD digest",
    ),
    (
        "a signature that does not verify",
        NEXT,
        Fault::Signature,
        Mode::Honest,
        "signature",
    ),
    (
        "an older serial",
        -100,
        Fault::None,
        Mode::Honest,
        "is older than",
    ),
    (
        "a connection closed early",
        NEXT,
        Fault::None,
        Mode::Truncated,
        "closed before the end",
    ),
    (
        "a connection that stalls",
        NEXT,
        Fault::None,
        Mode::Stalling,
        "transfer_time_max_s",
    ),
    (
        "a stream without end",
        NEXT,
        Fault::None,
        Mode::Endless,
        "bytes_max",
    ),
    (
        "no DNS at all",
        NEXT,
        Fault::None,
        Mode::NotDns,
        "soa query",
    ),
];

pub fn every_kind(lab: &Lab) {
    let proxy = Proxy::start(&lab.net);
    let mirror = Mirror {
        sources: &["axfr:10.53.4.66"],
        ..ROOT_MIRROR
    };
    assert_eq!(mirror.sources, [format!("axfr:{}", proxy::ADDRESS)]);
    let site = Site::new(lab, "bad-transfer", &[mirror]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    let mut good = SERIAL;
    for (what, step, fault, mode, said) in ROWS {
        let serial = u32::try_from(i64::from(good) + step).expect("a serial");
        proxy.set(mode);
        lab.publish_xfr(serial, true, fault);
        refused(lab, &resolver, (what, said), good, &mut checks);
        println!("   {what}: {} connections so far", proxy.connections());
        // Between two faults a good version comes through: that clears the error, and shows that the source is not given up.
        proxy.set(Mode::Honest);
        good += 200;
        lab.publish_xfr(good, false, Fault::None);
        let healed = resolver.wait_mirror(".", NOTICED_MAX, |status| {
            status["serial"] == good && !has_error(status)
        });
        checks.that(
            healed.is_ok(),
            format!("a good version after {what}: {healed:?}"),
        );
    }
    checks.end();
}

/// The bad source itself, judged by dig: a lab that cannot misbehave proves nothing.
pub fn source(lab: &Lab) {
    let proxy = Proxy::start(&lab.net);
    let mut checks = Checks::default();
    for (mode, complete) in [
        (Mode::Honest, true),
        (Mode::Truncated, false),
        (Mode::Stalling, false),
        (Mode::NotDns, false),
    ] {
        proxy.set(mode);
        for kind in ["AXFR", "IXFR=900"] {
            let got = dig_at(
                lab,
                "client",
                proxy::ADDRESS,
                &format!(". {kind} +tcp +time=2 +onesoa"),
            );
            let names = got
                .text
                .lines()
                .filter(|line| line.contains("\tNS\t"))
                .count();
            let right = (names > 160 && got.text.contains("XFR size")) == complete;
            checks.that(right, format!("{mode:?} {kind}:\n{}", got.text));
        }
    }
    proxy.set(Mode::Endless);
    let taken = lab
        .net
        .thread("client", || proxy::read_transfer(1000))
        .join();
    let (first, others) = taken
        .expect("the reading thread ends well")
        .unwrap_or_default();
    checks.that(
        first == 1 && others == 4000 * 999,
        format!("Endless: {first} record first, then {others}"),
    );
    for (serial, fault) in [
        (900, Fault::None),
        (1001, Fault::Zonemd),
        (1002, Fault::Signature),
    ] {
        // Waits until the server shows the serial.
        lab.publish_xfr(serial, true, fault);
    }
    checks.end();
}

fn refused(
    lab: &Lab,
    resolver: &Resolver,
    (what, said): (&str, &str),
    good: u32,
    checks: &mut Checks,
) {
    let begun = Instant::now();
    let noticed = resolver.wait_mirror(".", NOTICED_MAX, |status| {
        status["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(said))
    });
    checks.that(
        noticed.is_ok(),
        format!("{what}: no last_error with {said:?} {noticed:?}"),
    );
    let status = resolver.mirror_status(".").unwrap_or_default();
    println!(
        "   {what}: after {:?} {}",
        begun.elapsed(),
        status["last_error"]
    );
    checks.that(
        status["serial"] == good,
        format!("{what}: {good} must stay current: {status}"),
    );
    let answer = dig(lab, "www.s00 A +dnssec");
    checks.that(
        answer.flag("ad") && answer.has("A", "192.0.2.80"),
        format!("{what}, www.s00:\n{}", answer.text),
    );
}

fn has_error(status: &serde_json::Value) -> bool {
    status["last_error"]
        .as_str()
        .is_some_and(|error| !error.is_empty())
}
