//! Questions of unusual types through the whole resolver.

use holdfast::dns::{Rcode, Rtype};
use holdfast::resolve::Security;

use crate::build::Builder;
use crate::lab::Lab;

/// A signed root and `a.com.` two cuts below.
fn lab() -> Lab {
    let internet = Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .signed()
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .signed()
        .zone("a.com.")
        .server("ns.a.com.", &["203.0.113.1"])
        .signed()
        .record("www A 203.0.113.80")
        .record("www TXT words")
        .record("www TYPE65400 \\# 3 010203")
        .record("alias CNAME www")
        .build();
    Lab::new(internet)
}

/// Owner, type, and how many signatures, of each set of the answer.
async fn sets(
    lab: &Lab,
    owner: &str,
    rtype: Rtype,
) -> (Rcode, Security, Vec<(String, usize, usize)>) {
    let found = lab.ask(owner, rtype).await;
    let set = |s: &holdfast::dns::RrSet| {
        (
            format!("{} {}", s.name, s.rtype),
            s.rdatas.len(),
            s.sigs.len(),
        )
    };
    (
        found.rcode,
        found.security,
        found.answer.iter().map(set).collect(),
    )
}

// RFC 8482 leaves ANY to the server: what it gives is passed on, validated.
#[tokio::test(start_paused = true)]
async fn any_gets_what_the_zone_gives() {
    let lab = lab();
    let (rcode, security, mut found) = sets(&lab, "www.a.com.", Rtype::ANY).await;
    found.sort();
    found.retain(|(set, ..)| !set.ends_with("NSEC"));
    let expected = ["A", "TXT", "TYPE65400"].map(|t| (format!("www.a.com. {t}"), 1, 1));
    assert_eq!(
        (rcode, security, found),
        (Rcode::NOERROR, Security::Secure, expected.into())
    );
    let (rcode, _, found) = sets(&lab, "none.a.com.", Rtype::ANY).await;
    assert_eq!((rcode, found.len()), (Rcode::NXDOMAIN, 0));
    // RFC 1034 section 3.6.2: no alias is followed for it.
    let (_, _, found) = sets(&lab, "alias.a.com.", Rtype::ANY).await;
    assert_eq!(found[0].0, "alias.a.com. CNAME");
    assert!(found.iter().all(|(set, ..)| set.starts_with("alias.")));
}

// RFC 4035 section 3.1: signatures that are asked for by name. They are not signed themselves, so nothing vouches for them.
#[tokio::test(start_paused = true)]
async fn signatures_can_be_asked_for() {
    let lab = lab();
    for _ in ["network", "cache"] {
        let (rcode, security, found) = sets(&lab, "www.a.com.", Rtype::RRSIG).await;
        assert_eq!((rcode, security), (Rcode::NOERROR, Security::Insecure));
        assert!(
            found
                .iter()
                .any(|(set, data, sigs)| set == "www.a.com. A" && *data == 0 && *sigs == 1),
            "{found:?}"
        );
    }
}

// RFC 3597 section 2.
#[tokio::test(start_paused = true)]
async fn unknown_types_are_resolved_and_validated() {
    let lab = lab();
    let expected = vec![("www.a.com. TYPE65400".to_string(), 1, 1)];
    let found = sets(&lab, "www.a.com.", Rtype(65_400)).await;
    assert_eq!(found, (Rcode::NOERROR, Security::Secure, expected));
    let found = sets(&lab, "www.a.com.", Rtype(65_401)).await;
    assert_eq!(found, (Rcode::NOERROR, Security::Secure, Vec::new()));
}
