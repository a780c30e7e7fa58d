//! Mirrors of a server that does not run: what is stored, and a file taken up.
//!
//! Why: an operator prepares a machine inside an outage, or wants to look at what a stopped server has kept. The ledger can be
//! open in one process only, so a running server is asked instead (`control`), and this is for when there is none. Nothing
//! here asks the network.
//!
//! Failure: a [`StoreError`] where a server runs after all; otherwise what the same work in the server fails with.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::source::spool::Handed;
use super::status::{self, GenerationInfo};
use super::store::{CurrentRow, Ledger, MirrorStore, StoreError, zone_key};
use super::{
    BoxFuture, CommandError, Deps, DsAnswer, Generation, Lookup, Mirror, Shared, TcpConnect, task,
};
use crate::clock::Clock;
use crate::config::{Config, MirrorConfig};
use crate::dns::Name;
use crate::metrics::Metrics;

/// The stored versions of a zone, newest first. Blocks.
///
/// # Errors
/// A server runs, or the ledger cannot be read.
pub fn versions(data_dir: &Path, zone: &Name) -> Result<Vec<GenerationInfo>, StoreError> {
    // Nothing is made where no server has ever run.
    if !data_dir.exists() {
        return Ok(Vec::new());
    }
    let (ledger, _) = Ledger::open(data_dir, Arc::default())?;
    let ledger = Arc::new(ledger);
    let current: Option<CurrentRow> = ledger.get(&zone_key(zone));
    let current = current.as_ref().map(|c| (c.serial, &*c.digest));
    let store = MirrorStore::new(data_dir, ledger);
    Ok(status::generations(&store, zone, current))
}

/// Takes up a zone file for a mirror; what it becomes is what the server will serve when it starts.
///
/// # Errors
/// A server runs, or the file does not verify, is not newer, or is held by a brake.
pub async fn import(
    config: &Config,
    mirror: &MirrorConfig,
    file: &Path,
    clock: Clock,
) -> Result<Arc<Generation>, CommandError> {
    let metrics: Arc<Metrics> = Arc::default();
    let (ledger, _) = Ledger::open(&config.server.data_dir, metrics.clone())?;
    let deps = Deps {
        clock,
        ledger: Arc::new(ledger),
        lookup: Arc::new(Nobody),
        connect: Arc::new(TcpConnect::default()),
        metrics,
        anchors: Arc::new(ArcSwap::from_pointee(config.resolver.anchors.clone())),
        clock_is_unset: || false,
        seed: 0,
    };
    let shared = Shared::new(config, deps);
    let (commands, _) = mpsc::channel(1);
    let mirror = Arc::new(Mirror::new(mirror.clone(), commands));
    let spool = shared
        .store
        .spool(&mirror.config.zone, mirror.config.bytes_max);
    let handed = spool.and_then(|spool| Handed::read(file, spool));
    let handed = handed.map_err(|error| CommandError::Refused(error.to_string()))?;
    task::import_stopped(&mirror, &shared, handed).await?;
    mirror.current().ok_or(CommandError::Stopped)
}

/// Knows nothing of the world.
struct Nobody;

impl Lookup for Nobody {
    fn ds<'a>(&'a self, _zone: &'a Name) -> BoxFuture<'a, DsAnswer> {
        let why = "no server runs that could ask for it; start it and import then";
        Box::pin(async { DsAnswer::Unavailable(why.to_owned()) })
    }

    fn addresses<'a>(&'a self, _host: &'a Name) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async { Err("no server runs".to_owned()) })
    }
}
