//! holdfast: an authoritative and caching DNS server that keeps verified local copies of critical
//! zones and goes on answering from them when their servers are unreachable.
//!
//! ARCHITECTURE.md tells the life of a query, of a mirrored zone and of an outage. This is the tour of
//! the modules, in three parts.
//!
//! **What happens to a query.** [`listen`] owns the sockets. [`query`] is the pipeline: access list, own
//! zones, cache, route, reply. [`cache`] holds validated answers. [`resolve`] walks from the root to an
//! answer and validates it, step by step; at each step `query::route` says whether a mirror may answer
//! instead. [`upstream`] is the one way out to other servers.
//!
//! **What goes on beside it.** [`mirror`] fetches, verifies and keeps versions of zones. [`reach`] judges from
//! evidence whether a mirrored zone's servers can be reached. [`anchors`] follows the rolls of the keys that validation
//! ends in. [`notify`] tells secondaries of new versions. [`alert`] tells the operator what cannot wait. [`drill`] judges what a cut-off would leave. [`timekeeper`] keeps a floor under the clock. [`store`] is the ledger on disk. [`control`] is the
//! operator's way in, [`cli`] the command line, [`convert`] the way here from other programs. [`engine`] ties resolver, mirrors and reachability together, which know nothing of each other.
//!
//! **What all of them stand on.** [`dns`]: names, records, messages. [`dnssec`]: signatures, denial, ZONEMD, as pure
//! functions. [`zone`]: one zone as an immutable run of octets. [`catalog`]: zones that list zones. [`config`]: what the operator asked for, checked.
//! [`clock`]: the one clock, handed in everywhere. [`tls`]: certificates and keys. [`metrics`]: counters. [`news`]: what an operator is told of. [`prefix_set`]: sets of addresses. [`future`]: a type's name. `tests/tidy.rs`
//! holds the modules to their edges.
//!
//! The binary adds arguments, start, reload and stop (`main.rs`, `run.rs`).
#![warn(missing_docs)]

// Test helpers under tests/ are shared with unit tests and name the crate from outside.
extern crate self as holdfast;

pub mod catalog;
pub mod clock;
pub mod config;
pub mod future;
pub mod lines;
pub mod metrics;
pub mod news;
pub mod places;
pub mod prefix_set;
pub mod tls;

pub mod dns;
pub mod dnssec;
pub mod zone;

pub mod listen;
pub mod query;

pub mod alert;
pub mod anchors;
pub mod cache;
pub mod drill;
pub mod mirror;
pub mod notify;
pub mod reach;
pub mod resolve;
pub mod store;
pub mod timekeeper;
pub mod upstream;

pub mod cli;
pub mod control;
pub mod convert;
pub mod engine;

/// Signs zones for unit tests.
#[cfg(test)]
#[path = "../tests/sim/signer.rs"]
mod signer;
