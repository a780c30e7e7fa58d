//! Keys whose feature this version does not have yet.
//!
//! Why: an operator who asks for a status page and gets none, silently, learns it in the middle of an outage.
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
    /// Only an empty string.
    EmptyText,
}

/// All of them.
pub(super) const UNBUILT: &[Unbuilt] = &[row("control.http", Off::EmptyText)];

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
            Off::EmptyText => value.as_str() == Some(""),
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            Off::EmptyText => "only \"\"",
        }
    }
}
