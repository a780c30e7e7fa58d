//! Recovery is tested as hard as failover: the way back to `online`, and to fresh data.

use std::time::Duration;

use crate::cases::Checks;
use crate::lab::Lab;
use crate::load::{Figures, Load, failures};
use crate::net::{Cut, ROOTS};
use crate::resolver::{ROOT_MIRROR, Site};
use crate::tools::dig;
use crate::traffic::{self, PER_SECOND};
use crate::zones::{Fault, SERIAL};

const ONLINE_MAX: Duration = Duration::from_secs(30);
const FRESH_MAX: Duration = Duration::from_secs(20);
/// When waiting has no more sense; the bounds above are what is promised.
const PATIENCE: Duration = Duration::from_secs(90);

/// While the cut lasts the roots move on; once they are back the resolver says so and serves their news, losing nothing.
pub fn roots_back(lab: &Lab) {
    let site = Site::new(lab, "roots-back", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let load = Load::start(&lab.net, PER_SECOND / 2, traffic::world);
    std::thread::sleep(Duration::from_secs(4));
    lab.net.cut(&ROOTS, Cut::Silent);
    let isolated = resolver
        .wait_mirror(".", PATIENCE, |status| status["state"] == "isolated")
        .unwrap_or_else(|why| panic!("not isolated {why}"));
    lab.publish(SERIAL + 1, true, Fault::None);
    let mut checks = Checks::default();
    let before = dig(lab, "www.new A +dnssec");
    let denied = before.status == "NXDOMAIN" && before.flag("ad");
    checks.that(
        denied,
        format!("the mirror does not know new. yet:\n{}", before.text),
    );

    lab.net.restore_all();
    let online = resolver.wait_mirror(".", PATIENCE, |status| status["state"] == "online");
    let fresh = resolver.wait_mirror(".", PATIENCE, |status| status["serial"] == SERIAL + 1);
    println!(
        "   isolated after {isolated:?}, online {online:?} after the roots came back, new serial {fresh:?} after that"
    );
    for (what, outcome, bound) in [
        ("the way back online", online, ONLINE_MAX),
        ("the new serial", fresh, FRESH_MAX),
    ] {
        match outcome {
            Ok(took) => checks.within(what, took, bound),
            Err(why) => checks.that(false, format!("{what}: {why}")),
        }
    }
    // The denial above may be cached for its 5 s.
    std::thread::sleep(Duration::from_secs(6));
    let after = dig(lab, "www.new A +dnssec");
    checks.that(
        after.has("A", "192.0.2.80"),
        format!("fresh root data is served:\n{}", after.text),
    );
    let samples = load.finish();
    let figures = Figures::of(samples.iter());
    println!("   cut and recovery {figures}");
    let failed = figures.wrong + figures.lost;
    checks.that(
        failed == 0,
        format!("{failed} failed:\n  {}", failures(&samples).join("\n  ")),
    );
    checks.end();
}
