//! Reachability: whether the servers of a mirrored zone can be reached, judged from evidence.
//!
//! Why: a resolver that decides query by query that the root is gone makes every client pay for it,
//! and one that decides once and for all does not find the way back (root servers still marked dead
//! days after a loss of ten minutes). So evidence is pooled here, per mirrored zone, and the way back
//! is a state of its own.
//!
//! Model: the resolver and the probes send [`Signal`]s; [`task`] feeds them to one [`Machine`] per
//! mirrored zone and publishes each zone's [`State`] in [`Reachability`], where the route reads it
//! without a lock. A [`Transition`] is logged with its evidence and told to whoever subscribed.
//!
//! Beside the zones it judges prefixes ([`prefix`]): addresses of all zones, mirrored or not, that are silent together.
//!
//! Failure: if signals come faster than they are handled they are dropped and counted; the next ones
//! say the same. If this task died, routes would go on with the last state and the hedge.

pub mod cut;
pub mod machine;
pub mod pooled;
pub mod prefix;
pub mod probe;
pub mod signal;
pub mod state;
pub mod task;

pub use cut::Cut;
pub use machine::{Machine, State, Transition};
pub use pooled::Prefixes;
pub use prefix::DeadPrefix;
pub use probe::{ProbeOutcome, Prober, SoaProber, ZoneTrust};
pub use signal::{Evidence, Signal};
pub use state::{Reachability, ZoneReach};
