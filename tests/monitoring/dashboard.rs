//! The dashboard's file, held to what Grafana makes of one: there is none here to open it.

use std::collections::BTreeSet;

use serde_json::Value;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// The version of the model: that of Grafana 10.4 and 11.
const SCHEMA_VERSION: u64 = 39;
/// Kinds of panels, and units, that are used; all are Grafana's own.
const KINDS: [&str; 3] = ["stat", "timeseries", "state-timeline"];
const UNITS: [&str; 6] = ["short", "percentunit", "reqps", "pps", "s", "bytes"];

/// A question that a panel asks.
pub struct Target {
    pub panel: String,
    pub legend: String,
    pub expr: String,
}

pub fn load() -> Value {
    let text = std::fs::read_to_string("docs/monitoring/dashboard.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// All questions of all panels.
pub fn targets(dashboard: &Value) -> Vec<Target> {
    let of = |panel: &Value| {
        let title = text(&panel["title"]);
        let asked = list(&panel["targets"]).iter();
        let asked = asked.map(|target| Target {
            panel: title.clone(),
            legend: text(&target["legendFormat"]),
            expr: text(&target["expr"]),
        });
        asked.collect::<Vec<_>>()
    };
    list(&dashboard["panels"]).iter().flat_map(of).collect()
}

#[test]
fn its_form_is_that_of_the_model() {
    let dashboard = load();
    assert_eq!(dashboard["schemaVersion"], SCHEMA_VERSION);
    for key in ["title", "uid", "refresh"] {
        assert!(!text(&dashboard[key]).is_empty(), "{key}");
    }
    let variables = list(&dashboard["templating"]["list"]);
    let named: BTreeSet<_> = variables.iter().map(|v| text(&v["name"])).collect();
    assert_eq!(
        named,
        BTreeSet::from(["datasource".into(), "instance".into()])
    );
    for variable in variables {
        match variable["type"].as_str() {
            Some("datasource") => assert_eq!(variable["query"], "prometheus"),
            // Its values are asked for when the dashboard opens, and all of them are no list of none.
            Some("query") => {
                assert!(variable["refresh"].as_u64() >= Some(1), "{variable}");
                assert_eq!(variable["allValue"], ".*");
                assert_eq!(variable["datasource"]["uid"], "${datasource}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id");
        assert!(
            KINDS.contains(&panel["type"].as_str().unwrap()),
            "{title}: its type"
        );
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        assert!(UNITS.contains(&unit.as_str().unwrap()), "{title}: {unit}");
        assert_eq!(panel["datasource"]["type"], "prometheus", "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title}: {x} {w}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another at {cell:?}");
        }
        let references: BTreeSet<_> = list(&panel["targets"])
            .iter()
            .map(|t| text(&t["refId"]))
            .collect();
        assert!(
            !references.is_empty() && references.len() == list(&panel["targets"]).len(),
            "{title}"
        );
    }
    for Target { panel, expr, .. } in targets(&dashboard) {
        let filters = expr.matches('{').count();
        assert!(
            filters > 0 && expr.matches("{instance=~\"$instance\"").count() == filters,
            "{panel}: {expr}"
        );
        // Nothing else is filled in by Grafana.
        let rest = expr
            .replace("$instance", "")
            .replace("$__rate_interval", "");
        assert!(!rest.contains('$'), "{panel}: {expr}");
    }
}
