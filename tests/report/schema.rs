//! As much of JSON Schema (draft 2020-12) as the schemas in `docs` use, and one thing more: what the schema does not know is a fault,
//! so that no key of a report can be left undocumented.

use serde_json::{Map, Value};

/// Keywords that say something about a value; others must be known to say nothing.
const SILENT: &[&str] = &["$schema", "title", "description", "$defs"];

pub struct Schema(Value);

impl Schema {
    pub fn load() -> Schema {
        Schema::parse(include_str!("../../docs/report.schema.json"))
    }

    pub fn parse(text: &str) -> Schema {
        Schema(serde_json::from_str(text).unwrap())
    }

    /// What is wrong with a value for `#/$defs/NAME`; each fault begins with its place.
    pub fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        self.faults_at(&["$defs", name], value)
    }

    /// What is wrong with a value for the schema at that place; each fault begins with the value's place.
    pub fn faults_at(&self, place: &[&str], value: &Value) -> Vec<String> {
        let schema = place.iter().fold(&self.0, |schema, key| &schema[*key]);
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = schema.as_object().expect("a schema is an object");
        let mut fault = |what: String| faults.push(format!("{at}: {what}"));
        let mut inner: Vec<(&Value, &Value, String)> = Vec::new();
        for (keyword, rule) in schema {
            match keyword.as_str() {
                word if SILENT.contains(&word) => {}
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    inner.push((&self.0["$defs"][name], value, at.to_owned()));
                }
                "type" if !is_of_type(rule, value) => fault(format!("{value} is no {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    fault(format!("{value} is none of {rule}"));
                }
                "minimum" if value.as_f64().is_some_and(|n| Some(n) < rule.as_f64()) => {
                    fault(format!("{value} < {rule}"))
                }
                "maximum" if value.as_f64() > rule.as_f64() => fault(format!("{value} > {rule}")),
                "type" | "enum" | "minimum" | "maximum" => {}
                "required" => {
                    for key in rule.as_array().unwrap() {
                        if value.get(key.as_str().unwrap()).is_none() {
                            fault(format!("{key} is missing"));
                        }
                    }
                }
                "properties" => {
                    let known = rule.as_object().unwrap();
                    for (key, value) in value.as_object().unwrap_or(&Map::new()) {
                        match known.get(key) {
                            Some(_) => {}
                            None => fault(format!("{key} is not documented: {value}")),
                        }
                    }
                    for (key, rule) in known {
                        if let Some(value) = value.get(key) {
                            inner.push((rule, value, format!("{at}/{key}")));
                        }
                    }
                }
                "additionalProperties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        inner.push((rule, value, format!("{at}/{key}")));
                    }
                }
                "oneOf" => {
                    let forms = rule.as_array().unwrap().iter().map(|form| {
                        let mut faults = Vec::new();
                        self.check(form, value, at, &mut faults);
                        faults
                    });
                    let forms: Vec<Vec<String>> = forms.collect();
                    if forms.iter().filter(|faults| faults.is_empty()).count() != 1 {
                        fault(format!("not exactly one of the forms fits: {forms:?}"));
                    }
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        inner.push((rule, item, format!("{at}/{n}")));
                    }
                }
                other => panic!("{other} is not understood here"),
            }
        }
        for (schema, value, at) in inner {
            self.check(schema, value, &at, faults);
        }
    }
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    let is = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("{other} is no type"),
    };
    match rule {
        Value::Array(words) => words.iter().any(|word| is(word.as_str().unwrap())),
        word => is(word.as_str().unwrap()),
    }
}
