//! What must hold for every parser of outside bytes, whatever the bytes are.
//!
//! Why: network, disk, operator and control socket may say anything, and holdfast must neither fall over nor grow nor
//! stall. Each function of [`TARGETS`] takes octets, gives them to one parser the way the program does, and asserts
//! what its docstring says. No panic is part of all of them: arithmetic overflows panic too in the builds that run this.
//!
//! Two drivers share the functions: `fuzz_targets/` for libFuzzer, which finds new input by watching the coverage, and
//! `tests/fuzz_seeded.rs` for `cargo test`, which replays `regressions/` and mutates real input from a fixed seed.

mod dnssec;
mod frames;
mod fronts;
mod network;
mod records;
mod sealed;
mod signatures;
mod stored;
mod streams;
mod texts;

/// A parser with what must hold for it.
pub struct Target {
    /// Its name in `fuzz_targets/` and `regressions/`.
    pub name: &'static str,
    /// Panics when something does not hold; says whether the parser took the octets for what it reads.
    pub check: fn(&[u8]) -> bool,
}

/// All of them, outermost boundary first.
pub const TARGETS: &[Target] = &[
    target("frame", frames::frame),
    target("message", network::message),
    target("hickory", network::hickory),
    target("request", network::request),
    target("plain", network::plain),
    target("transfer", network::transfer),
    target("cookie", network::cookie),
    target("https", fronts::https),
    target("quic", fronts::quic),
    target("stream", fronts::stream),
    target("proxy", fronts::proxy),
    target("response", network::response),
    target("tsig", signatures::tsig),
    target("notify", signatures::notify),
    target("axfr", streams::axfr),
    target("spool", stored::spool),
    target("url", texts::url),
    target("ixfr", streams::ixfr),
    target("name", records::name),
    target("rdata", records::rdata),
    target("dnssec", dnssec::signed_sets),
    target("zone_file", stored::zone_file),
    target("include", stored::include),
    target("catalog", stored::catalog),
    target("image", stored::image),
    target("note", stored::note),
    target("ledger", stored::ledger),
    target("answer", stored::answer),
    target("config", texts::config),
    target("unbound", texts::unbound),
    target("anchors", texts::anchors),
    target("clock", texts::clock),
    target("certificate", texts::certificate),
    target("prefixes", texts::prefixes),
    target("names", texts::names),
    target("control_request", streams::control_request),
    target("control_response", streams::control_response),
    target("collector", streams::collector),
];

const fn target(name: &'static str, check: fn(&[u8]) -> bool) -> Target {
    Target { name, check }
}

/// Runs the target of that name; says whether the octets were taken.
///
/// # Panics
/// There is none, or something does not hold.
pub fn check(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a name in TARGETS").check)(data)
}
