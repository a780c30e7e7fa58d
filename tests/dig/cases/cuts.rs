//! Cuts under load: of the roots, of everything abroad, of a mirrored TLD.

use std::time::Duration;

use crate::cases::{Checks, judge_cut};
use crate::lab::Lab;
use crate::load::Load;
use crate::net::{Cut, FAR, HOME_TLD, ROOTS};
use crate::resolver::{HOME_MIRROR, Kind, ROOT_MIRROR, Resolver, Site};
use crate::tools::{delv, dig};
use crate::traffic::{self, PER_SECOND};
use crate::zones::ROOT_TTL_S;

/// Not measured: the first questions find an empty cache.
const WARM: Duration = Duration::from_secs(4);
const STEADY: Duration = Duration::from_secs(12);
const ISOLATED_MAX: Duration = Duration::from_secs(15);

/// The main promise. The cut lasts half as long again as the longest TTL, so nothing of the root is left in any cache.
pub fn roots_silently(lab: &Lab) {
    let site = Site::new(lab, "roots-silently", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    let load = Load::start(&lab.net, PER_SECOND, traffic::world);
    std::thread::sleep(WARM + STEADY);
    let cut_at = load.started.elapsed();
    lab.net.cut(&ROOTS, Cut::Silent);
    expect_isolated(lab, &resolver, ".", &mut checks);
    let end = cut_at + Duration::from_secs(ROOT_TTL_S * 3 / 2);
    std::thread::sleep(end.saturating_sub(load.started.elapsed()));
    judge_cut(&load.finish(), WARM, cut_at, &mut checks);
    after_every_ttl(lab, &mut checks);
    checks.end();
}

/// What a user and a validator see once nothing of the root can be in a cache.
fn after_every_ttl(lab: &Lab, checks: &mut Checks) {
    for (question, ad, data) in [
        ("www.bank.home A", true, "192.0.2.80"),
        ("www.s39 A", true, "192.0.2.80"),
        ("www.u39 A", false, "192.0.2.80"),
        ("www.q39.home A", true, "192.0.2.80"),
        ("www.gov.home A", true, "192.0.2.80"),
    ] {
        let answer = dig(lab, &format!("{question} +dnssec"));
        let right = answer.flag("ad") == ad && answer.has("A", data) && !answer.flag("aa");
        checks.that(
            right,
            format!(
                "inside the cut {question}: want AD={ad} {data}, got\n{}",
                answer.text
            ),
        );
    }
    let absent = dig(lab, "nosuch-in-the-cut A +dnssec");
    let right = absent.status == "NXDOMAIN" && absent.flag("ad");
    checks.that(
        right,
        format!(
            "a name that the root denies, inside the cut:\n{}",
            absent.text
        ),
    );
    let said = delv(lab, "www.s38 A");
    checks.that(
        said.contains("; fully validated"),
        format!("delv www.s38 inside the cut:\n{said}"),
    );
}

/// The same with the router saying so at once.
pub fn roots_icmp(lab: &Lab) {
    let site = Site::new(lab, "roots-icmp", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    let load = Load::start(&lab.net, PER_SECOND, traffic::world);
    std::thread::sleep(WARM + Duration::from_secs(4));
    let cut_at = load.started.elapsed();
    lab.net.cut(&ROOTS, Cut::Icmp);
    std::thread::sleep(Duration::from_secs(12));
    expect_isolated(lab, &resolver, ".", &mut checks);
    judge_cut(&load.finish(), WARM, cut_at, &mut checks);
    checks.end();
}

/// A national cut-off: names whose servers stand inside go on, the others fail in bounded time and do not drag them down.
pub fn abroad(lab: &Lab) {
    let site = Site::new(lab, "abroad", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    let load = Load::start(&lab.net, PER_SECOND, traffic::domestic);
    std::thread::sleep(WARM + Duration::from_secs(4));
    let cut_at = load.started.elapsed();
    lab.net.cut(&ROOTS, Cut::Silent);
    lab.net.cut(&FAR, Cut::Silent);
    let foreign = Load::start(&lab.net, 5, |n| traffic::fresh_tld(n as u32));
    std::thread::sleep(Duration::from_secs(15));
    foreign.finish();
    judge_cut(&load.finish(), WARM, cut_at, &mut checks);
    // Unbound takes longer than dig's 5 s to give up.
    if lab.kind == Kind::Holdfast {
        let gone = dig(lab, "h0001.news.far A");
        let told = gone.ede.iter().any(|code| [22, 23].contains(code));
        let right = gone.status == "SERVFAIL" && told;
        checks.that(
            right,
            format!(
                "a foreign name never asked before: want SERVFAIL, EDE 22 or 23:\n{}",
                gone.text
            ),
        );
    }
    checks.end();
}

/// A mirrored TLD: zones below it that nobody has asked for are found in the mirror.
pub fn tld(lab: &Lab) {
    let site = Site::new(lab, "tld", &[ROOT_MIRROR, HOME_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    resolver.wait_mirrored("home.");
    let mut checks = Checks::default();
    let load = Load::start(&lab.net, PER_SECOND, traffic::domestic);
    std::thread::sleep(WARM + Duration::from_secs(4));
    let cut_at = load.started.elapsed();
    lab.net.cut(&HOME_TLD, Cut::Silent);
    expect_isolated(lab, &resolver, "home.", &mut checks);
    // Past the 20 s of the TLD's TTL.
    let end = cut_at + Duration::from_secs(26);
    std::thread::sleep(end.saturating_sub(load.started.elapsed()));
    judge_cut(&load.finish(), WARM, cut_at, &mut checks);
    let answer = dig(lab, "www.q38.home A +dnssec");
    checks.that(
        answer.flag("ad") && answer.has("A", "192.0.2.80"),
        format!("www.q38.home:\n{}", answer.text),
    );
    checks.end();
}

fn expect_isolated(lab: &Lab, resolver: &Resolver, zone: &str, checks: &mut Checks) {
    if lab.kind != Kind::Holdfast {
        return;
    }
    let isolated = resolver.wait_mirror(zone, Duration::from_secs(60), |status| {
        status["state"] == "isolated"
    });
    println!("   isolated after {isolated:?}");
    match isolated {
        Ok(took) => checks.within("isolation", took, ISOLATED_MAX),
        Err(why) => checks.that(false, format!("{zone} is not isolated {why}")),
    }
}
