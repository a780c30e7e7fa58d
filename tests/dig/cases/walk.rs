//! A plain client that walks down the tree by itself: what it gets without RD, and `dig +trace`.

use std::process::Stdio;

use crate::cases::Checks;
use crate::lab::Lab;
use crate::resolver::{ADDRESS, ROOT_MIRROR, Site};
use crate::tools::{Dig, dig};

/// Zones on the way of `dig +trace`, and what is at its end.
const WAYS: [(&str, &[&str], &str); 3] = [
    ("www.bank.home", &[".", "home.", "bank.home."], "192.0.2.80"),
    ("www.shop.home", &[".", "home.", "shop.home."], "192.0.2.80"),
    ("www.news.far", &[".", "far.", "news.far."], "192.0.2.80"),
];

/// With a copy of the root and without: the root's servers, referrals, and the whole way.
pub fn down_the_tree(lab: &Lab) {
    let mut checks = Checks::default();
    for (test, mirrors) in [("walk-mirror", &[ROOT_MIRROR][..]), ("walk-plain", &[])] {
        let site = Site::new(lab, test, mirrors);
        let resolver = site.start();
        if !mirrors.is_empty() {
            resolver.wait_mirrored(".");
        }
        without_rd(lab, !mirrors.is_empty(), &mut checks);
        for (name, zones, address) in WAYS {
            let text = trace(lab, &site, name);
            for zone in zones {
                let told = rows(&text).any(|row| row[0] == *zone && row[3] == "NS");
                checks.that(
                    told,
                    format!("dig +trace {name}: no NS of {zone} in\n{text}"),
                );
            }
            let found = rows(&text).any(|row| row[3] == "A" && row[4] == address);
            let began = text.contains(&format!("from {ADDRESS}#53"));
            checks.that(
                found && began,
                format!("dig +trace {name}: want {address}, beginning at {ADDRESS}, got\n{text}"),
            );
        }
    }
    checks.end();
}

fn without_rd(lab: &Lab, mirrored: bool, checks: &mut Checks) {
    let root = dig(lab, ". NS +norec");
    let right = root.status == "NOERROR" && root.has("NS", "a.root-servers.far.");
    checks.that(
        right && !root.flag("aa"),
        format!("the root's servers without RD:\n{}", root.text),
    );
    let first = dig(lab, "www.u00 A +norec");
    let right = match mirrored {
        true => refers_to(&first, "u00."),
        false => first.status == "REFUSED" && first.ede.contains(&20),
    };
    checks.that(
        right,
        format!(
            "a name that nobody has asked for, without RD:\n{}",
            first.text
        ),
    );
    // What resolution has learned is told.
    dig(lab, "www.shop.home A");
    let known = dig(lab, "www.shop.home A +norec");
    checks.that(
        known.has("A", "192.0.2.80"),
        format!("a cached answer without RD:\n{}", known.text),
    );
    let beside = dig(lab, "nosuch.shop.home A +norec");
    checks.that(
        refers_to(&beside, "shop.home."),
        format!(
            "a name below a known delegation, without RD:\n{}",
            beside.text
        ),
    );
}

fn refers_to(dig: &Dig, zone: &str) -> bool {
    let mut authority = dig.authority.iter().map(|line| words(line));
    let ns = authority.any(|row| row.first() == Some(&zone) && row.get(3) == Some(&"NS"));
    dig.status == "NOERROR" && dig.answer.is_empty() && ns && !dig.flag("aa") && !dig.flag("ad")
}

/// `dig +trace` asks the machine's resolver for the addresses of name servers; that is the one under test, too.
fn trace(lab: &Lab, site: &Site, name: &str) -> String {
    let resolv_conf = site.path("resolv.conf");
    site.write("resolv.conf", &format!("nameserver {ADDRESS}\n"));
    let output = lab
        .net
        .command("client", "unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/resolv.conf && exec dig \"$@\"")
        .arg(&resolv_conf)
        .args(["-r", &format!("@{ADDRESS}"), "+trace", "+dnssec"])
        .args(["+time=5", "+tries=1", name])
        .stdin(Stdio::null())
        .output()
        .expect("dig runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The words of each record that dig printed.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let records = text.lines().filter(|line| !line.starts_with(';'));
    records.map(words).filter(|row| row.len() >= 5)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
