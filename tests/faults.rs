//! Faults of this machine while a mirror takes up new versions: the program is killed at every step, the disk fills up at
//! every write, the clock jumps. The real binary on loopback, its primary in the test.
//!
//! Whatever happens, what is served afterwards is one of the published versions, whole, and none older than one that was
//! served before.

#[path = "faults/clocks.rs"]
mod clocks;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/primary.rs"]
mod primary;
#[path = "faults/served.rs"]
mod served;
#[path = "sim/signer.rs"]
mod signer;
