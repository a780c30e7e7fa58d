//! Keys whose feature this version does not have yet.
//!
//! Why: an operator who asks for response rate limiting and gets none, silently, learns it in the middle of a flood.
//! So a value that switches such a key off is accepted (and an absent key means off), and every other one is refused.
//! Building a feature ends with deleting its row here and giving its key the intended default.

use toml::de::DeValue;

/// A key that may only be written in its "off" form.
pub(super) struct Unbuilt {
    /// The path of the key as in `resolver.cookies`; for a table its name.
    pub key: &'static str,
    /// The form that is accepted.
    pub off: Off,
}

/// The accepted form of an unbuilt key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// Only 0.
    Zero,
    /// Only an empty list.
    EmptyList,
}

/// All of them.
pub(super) const UNBUILT: &[Unbuilt] = &[
    row("server.tls.doh", Off::EmptyList),
    row("server.tls.doq", Off::EmptyList),
    row("limits.exempt", Off::EmptyList),
    row("limits.queries_per_prefix_s", Off::Zero),
    row("limits.responses_per_s", Off::Zero),
];

const fn row(key: &'static str, off: Off) -> Unbuilt {
    Unbuilt { key, off }
}

/// What is wrong with `value` for `key`, when the key is not built and the value asks for it.
pub(super) fn refusal(key: &str, value: &DeValue<'_>) -> Option<String> {
    let row = UNBUILT.iter().find(|row| row.key == key)?;
    if row.off.accepts(value) {
        return None;
    }
    Some(format!(
        "not built in this version; allowed is {}",
        row.off.allowed()
    ))
}

impl Off {
    fn accepts(self, value: &DeValue<'_>) -> bool {
        match self {
            Off::Zero => value
                .as_integer()
                .is_some_and(|number| number.as_str() == "0"),
            Off::EmptyList => value.as_array().is_some_and(|list| list.is_empty()),
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Off::Zero => "only 0",
            Off::EmptyList => "only []",
        }
    }
}
