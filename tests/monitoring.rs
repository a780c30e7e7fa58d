//! The rules for Prometheus and the dashboard speak of metrics that there are, and show what is to be seen.

#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "serve/namespace.rs"]
mod namespace;
#[path = "monitoring/prometheus.rs"]
mod prometheus;

use std::collections::BTreeSet;
use std::path::Path;

use holdfast::control::http::exposition;
use holdfast::control::status::{MirrorStatus, Status};
use holdfast::metrics::{Metrics, Times};

/// Every name of a metric in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("holdfast_")).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let status = Status {
        mirrors: vec![MirrorStatus::default()],
        ..Status::default()
    };
    let metrics = Metrics::default().snapshot();
    let shown = exposition::text(&metrics, &Times::default(), &status);
    let there = names(&shown);
    for file in ["alerts.yml", "dashboard.json"] {
        let path = Path::new("docs/monitoring").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let used = names(&text);
        assert!(used.len() > 10, "{used:?}");
        let unknown: Vec<_> = used.difference(&there).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
