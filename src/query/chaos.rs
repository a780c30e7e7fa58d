//! What this server says of itself: names of class CH, and its identifier (NSID).
//!
//! Why: where one address is many servers, or one service has many addresses, an operator has to know who has answered (RFC 4892),
//! and a script that speaks nothing but DNS wants to know how the server fares. Who is curious for worse reasons learns no more than
//! the operator lets him: each name can be left out of `server.chaos`.
//!
//! | name | text |
//! |---|---|
//! | `version.bind.`, `version.server.` | program and version |
//! | `id.server.`, `hostname.bind.` | `server.identity` |
//! | `status.holdfast.` | a line for each thing of note, for clients in `access.allow` only |

use std::sync::Arc;

use super::acl::Rights;
use crate::dns::{Class, Name, Question, Record, Rtype};

/// Octets of a character string (RFC 1035 section 3.3).
const STRING_LEN_MAX: usize = 255;
/// Lines that a status has at most; a datagram holds them.
const LINES_MAX: usize = 12;
/// Octets of one of them, more is cut.
const LINE_LEN_MAX: usize = 80;
/// What can be asked for.
pub const VERSION: &str = "version.bind";
/// See [`VERSION`].
pub const ID: &str = "id.server";
/// See [`VERSION`].
pub const STATUS: &str = "status.holdfast";

/// How the server fares, in lines.
pub type Lines = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What is told; nothing by default.
#[derive(Clone, Default)]
pub struct Chaos {
    /// Program and version.
    pub version: Option<String>,
    /// Which of several servers this is.
    pub identity: Option<String>,
    /// How it fares.
    pub status: Option<Lines>,
    /// The identifier for who asks for it with any question (RFC 5001).
    pub nsid: Option<String>,
}

impl Chaos {
    /// The records for a question of class CH; `None` if it is not answered.
    pub(super) fn answer(&self, question: &Question, rights: Rights) -> Option<Vec<Record>> {
        let may_know = rights.recursion || rights.own_zones;
        let lines = match question.name.to_lowercase().to_string().as_str() {
            "version.bind." | "version.server." if may_know => vec![self.version.clone()?],
            "id.server." | "hostname.bind." if may_know => vec![self.identity.clone()?],
            "status.holdfast." if rights.recursion => (self.status.as_ref()?)(),
            _ => return None,
        };
        if !matches!(question.rtype, Rtype::TXT | Rtype::ANY) {
            return Some(Vec::new());
        }
        let lines = lines.iter().take(LINES_MAX);
        Some(lines.map(|line| record(&question.name, line)).collect())
    }
}

/// A TXT record of one string, which no cache may keep.
fn record(name: &Name, line: &str) -> Record {
    const { assert!(LINE_LEN_MAX <= STRING_LEN_MAX) };
    let text = line.as_bytes();
    let text = &text[..text.len().min(LINE_LEN_MAX)];
    let mut rdata = vec![text.len() as u8];
    rdata.extend_from_slice(text);
    Record {
        name: name.clone(),
        rtype: Rtype::TXT,
        class: Class::CH,
        ttl: 0,
        rdata: rdata.into(),
    }
}
