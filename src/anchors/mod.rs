//! Trust anchors that follow their zones' key rolls (RFC 5011).
//!
//! Why: a resolver whose anchors are those of its configuration stops validating on the day a zone retires the last
//! of them. RFC 5011 lets the keys in force announce their successors: a new key that stays in the validly signed
//! DNSKEY set for 30 days becomes an anchor, and a key that signs its own revocation ceases to be one at once.
//!
//! Model: each zone with configured anchors is a [`TrustPoint`]; its keys go through the states of [`KeyState`].
//! What the network shows is an observation, judged by [`point`] with nothing but the anchors in force: what the
//! validator has cached, and the pending keys themselves, vouch for nothing. The set in force is
//! [`config::Anchors`](crate::config::Anchors) behind an `ArcSwap`, which the validator, the mirrors and the probes
//! read. [`task`] asks, keeps the state in the ledger and publishes it.
//!
//! Failure: an observation that does not check, and one made while the zone is isolated, changes nothing and is tried
//! again. State that cannot be read, or that belongs to other configured anchors, is begun anew from the configured
//! ones. A zone whose every key was revoked keeps its configured anchors, with an error that the operator has to act on:
//! its data turns bogus, never silently insecure.

pub mod machine;
pub mod point;
pub mod task;
pub mod timing;

pub use machine::KeyState;
pub use point::{PointStatus, TrustPoint};
