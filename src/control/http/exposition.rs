//! All numbers for Prometheus: OpenMetrics text, version 1.0.
//!
//! A counter or gauge has its own name behind `holdfast_`; seconds, octets and shares are named as Prometheus names units. What
//! belongs to one mirror has its zone as a label, what belongs to an interface that is served past the kernel the interface.

use std::fmt::Write;

use super::super::status::{MirrorStatus, PastKernelStatus, Status};
use crate::metrics::{BOUNDS_MS, Times};

/// Mirrors that have rows of their own; a catalog can have very many, and a row is kept for each by whoever collects them.
const MIRRORS_MAX: usize = 1000;
/// The states of a mirror.
const STATES: [&str; 4] = ["online", "suspect", "isolated", "recovering"];

/// The whole text.
pub fn text(metrics: &[(&str, &str, u64)], waits: &Times, status: &Status) -> String {
    let mut out = String::new();
    family(&mut out, "build", "info", "The version that runs.");
    let version = label(&status.version);
    let _ = writeln!(out, "holdfast_build_info{{version=\"{version}\"}} 1");
    family(&mut out, "uptime_seconds", "gauge", "Seconds since start.");
    let _ = writeln!(out, "holdfast_uptime_seconds {}", status.uptime_s);
    for (name, help, value) in metrics {
        // A counter's family has the name without `_total`, and two families may not share one.
        let has_twin = metrics
            .iter()
            .any(|(other, ..)| other.strip_suffix("_total") == Some(name));
        match has_twin {
            true => plain(&mut out, &format!("{name}_now"), help, *value),
            false => plain(&mut out, name, help, *value),
        }
    }
    histogram(&mut out, waits);
    mirrors(&mut out, &status.mirrors);
    past_kernel(&mut out, &status.past_kernel);
    out.push_str("# EOF\n");
    out
}

/// The lines that begin a family of rows.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
    let _ = writeln!(out, "# TYPE holdfast_{name} {kind}");
    if let Some(unit) = unit(name) {
        let _ = writeln!(out, "# UNIT holdfast_{name} {unit}");
    }
    let _ = writeln!(out, "# HELP holdfast_{name} {help}");
}

/// The unit at the end of a name.
fn unit(name: &str) -> Option<&str> {
    ["seconds", "bytes", "ratio"]
        .into_iter()
        .find(|unit| name.ends_with(&format!("_{unit}")))
}

fn plain(out: &mut String, name: &str, help: &str, value: u64) {
    if let Some(counted) = name.strip_suffix("_total") {
        family(out, counted, "counter", help);
        let _ = writeln!(out, "holdfast_{name} {value}");
    } else if let Some(part) = name.strip_suffix("_permille") {
        let name = format!("{part}_ratio");
        family(out, &name, "gauge", help);
        let _ = writeln!(out, "holdfast_{name} {}", value as f64 / 1000.0);
    } else {
        let name = match name.strip_suffix("_s") {
            Some(what) => format!("{what}_seconds"),
            None => name.to_owned(),
        };
        family(out, &name, "gauge", help);
        let _ = writeln!(out, "holdfast_{name} {value}");
    }
}

fn histogram(out: &mut String, waits: &Times) {
    const NAME: &str = "wait_seconds";
    let help = "How long clients' questions waited that could not be answered at once.";
    family(out, NAME, "histogram", help);
    let mut sum = 0;
    let bounds = BOUNDS_MS.iter().map(|ms| (*ms as f64 / 1000.0).to_string());
    let bounds = bounds.chain([String::from("+Inf")]);
    for (bound, count) in bounds.zip(waits.counts) {
        sum += count;
        let _ = writeln!(out, "holdfast_{NAME}_bucket{{le=\"{bound}\"}} {sum}");
    }
    let _ = writeln!(out, "holdfast_{NAME}_sum {}", waits.sum_us as f64 / 1e6);
    let _ = writeln!(out, "holdfast_{NAME}_count {sum}");
}

/// What is said of each mirror.
type Said = fn(&MirrorStatus) -> Option<u64>;

fn mirrors(out: &mut String, mirrors: &[MirrorStatus]) {
    let mirrors = &mirrors[..mirrors.len().min(MIRRORS_MAX)];
    let help = "1 for the state that the mirror's zone is in.";
    family(out, "mirror_state", "gauge", help);
    for mirror in mirrors {
        let zone = label(&mirror.mirror.zone);
        for state in STATES {
            let is = u8::from(mirror.state == state);
            let _ = writeln!(
                out,
                "holdfast_mirror_state{{zone=\"{zone}\",state=\"{state}\"}} {is}"
            );
        }
    }
    let rows: [(&str, &str, Said); 6] = [
        (
            "mirror_serial",
            "Serial of the version that the mirror has.",
            |m| m.mirror.serial.map(u64::from),
        ),
        (
            "mirror_age_seconds",
            "Seconds since the mirror's version was last known to be right.",
            |m| m.mirror.age_s,
        ),
        (
            "mirror_usable",
            "1 if the mirror may answer from its version: it has one, and it is not past age_max.",
            |m| {
                let usable = m.mirror.usable.as_deref();
                Some(u64::from(usable.is_some_and(|usable| usable != "too old")))
            },
        ),
        (
            "mirror_bootstrap",
            "1 if the mirror has its bundled snapshot alone.",
            |m| Some(u64::from(m.mirror.bootstrap)),
        ),
        (
            "mirror_held",
            "1 if a newer version waits for the operator.",
            |m| Some(u64::from(m.mirror.held.is_some())),
        ),
        (
            "mirror_escalation_ratio",
            "The part of its signatures' time or of SOA expire that is gone, in quarters.",
            |m| Some(m.mirror.escalation.as_ref().map_or(0, |e| e.percent)),
        ),
    ];
    for (name, help, said) in rows {
        family(out, name, "gauge", help);
        for mirror in mirrors {
            let Some(value) = said(mirror) else { continue };
            let zone = label(&mirror.mirror.zone);
            let _ = match unit(name) {
                Some("ratio") => {
                    let value = value as f64 / 100.0;
                    writeln!(out, "holdfast_{name}{{zone=\"{zone}\"}} {value}")
                }
                _ => writeln!(out, "holdfast_{name}{{zone=\"{zone}\"}} {value}"),
            };
        }
    }
}

/// What is said of each interface of `server.xdp`.
type Counted = fn(&PastKernelStatus) -> u64;

fn past_kernel(out: &mut String, interfaces: &[PastKernelStatus]) {
    if interfaces.is_empty() {
        return;
    }
    let help = "1 while the interface is served by AF_XDP, 0 while sockets do it all.";
    family(out, "xdp_on", "gauge", help);
    for of in interfaces {
        let (name, is_on) = (label(&of.interface), u8::from(of.mode != "sockets"));
        let _ = writeln!(out, "holdfast_xdp_on{{interface=\"{name}\"}} {is_on}");
    }
    let rows: [(&str, &str, Counted); 3] = [
        (
            "xdp_received",
            "Datagrams that came past the kernel.",
            |of| of.received,
        ),
        (
            "xdp_answered",
            "Answers that went back past the kernel.",
            |of| of.answered,
        ),
        (
            "xdp_passed_on",
            "Queries that came past the kernel and were handed over to sockets.",
            |of| of.passed_on,
        ),
    ];
    for (name, help, count) in rows {
        family(out, name, "counter", help);
        for of in interfaces {
            let (interface, n) = (label(&of.interface), count(of));
            let _ = writeln!(
                out,
                "holdfast_{name}_total{{interface=\"{interface}\"}} {n}"
            );
        }
    }
    let help = "Packets that came past the kernel and were dropped.";
    family(out, "xdp_dropped", "counter", help);
    for of in interfaces {
        let interface = label(&of.interface);
        for (reason, n) in &of.dropped {
            let _ = writeln!(
                out,
                "holdfast_xdp_dropped_total{{interface=\"{interface}\",reason=\"{reason}\"}} {n}"
            );
        }
    }
}

/// A label's value; names of zones can hold anything.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror;

    #[test]
    fn the_form_is_that_of_open_metrics() {
        let status = Status {
            version: "1.2.3".into(),
            uptime_s: 7,
            mirrors: vec![MirrorStatus {
                mirror: mirror::MirrorStatus {
                    zone: "a\"b\\034.".into(),
                    serial: Some(9),
                    usable: Some("fresh".into()),
                    ..mirror::MirrorStatus::default()
                },
                state: "isolated".into(),
                ..MirrorStatus::default()
            }],
            past_kernel: vec![PastKernelStatus {
                interface: "eth0".into(),
                mode: "generic".into(),
                answered: 6,
                dropped: [("source".into(), 3)].into(),
                ..PastKernelStatus::default()
            }],
            ..Status::default()
        };
        let metrics = [
            ("queries_udp_total", " Queries received over UDP.", 5),
            ("tls_certificate_left_s", " Seconds.", 60),
            ("readiness_lost_permille", " Lost.", 25),
            ("cache_bytes", " Bytes.", 11),
        ];
        let mut waits = Times::default();
        waits.counts[0] = 2;
        waits.counts[12] = 1;
        waits.sum_us = 7_500_000;
        let text = text(&metrics, &waits, &status);
        for line in [
            "# TYPE holdfast_build info",
            "holdfast_build_info{version=\"1.2.3\"} 1",
            "# TYPE holdfast_queries_udp counter",
            "# HELP holdfast_queries_udp Queries received over UDP.",
            "holdfast_queries_udp_total 5",
            "# UNIT holdfast_tls_certificate_left_seconds seconds",
            "holdfast_tls_certificate_left_seconds 60",
            "holdfast_readiness_lost_ratio 0.025",
            "# UNIT holdfast_cache_bytes bytes",
            "holdfast_wait_seconds_bucket{le=\"0.001\"} 2",
            "holdfast_wait_seconds_bucket{le=\"5\"} 2",
            "holdfast_wait_seconds_bucket{le=\"+Inf\"} 3",
            "holdfast_wait_seconds_sum 7.5",
            "holdfast_wait_seconds_count 3",
            "holdfast_mirror_state{zone=\"a\\\"b\\\\034.\",state=\"isolated\"} 1",
            "holdfast_mirror_state{zone=\"a\\\"b\\\\034.\",state=\"online\"} 0",
            "holdfast_mirror_serial{zone=\"a\\\"b\\\\034.\"} 9",
            "holdfast_mirror_usable{zone=\"a\\\"b\\\\034.\"} 1",
            "holdfast_xdp_on{interface=\"eth0\"} 1",
            "# TYPE holdfast_xdp_answered counter",
            "holdfast_xdp_answered_total{interface=\"eth0\"} 6",
            "holdfast_xdp_dropped_total{interface=\"eth0\",reason=\"source\"} 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        // What is not known has no row.
        assert!(!text.contains("holdfast_mirror_age_seconds{"));
        assert_families_are_unique(&text);
    }

    #[test]
    fn no_two_metrics_share_a_family() {
        let metrics = crate::metrics::Metrics::default().snapshot();
        let text = super::text(&metrics, &Times::default(), &Status::default());
        assert!(
            text.contains("\nholdfast_tls_connections_now 0\n"),
            "{text}"
        );
        assert_families_are_unique(&text);
    }

    #[track_caller]
    fn assert_families_are_unique(text: &str) {
        let mut families: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        families.sort_unstable();
        let all = families.len();
        families.dedup();
        assert_eq!(families.len(), all);
    }
}
