//! What the server says of itself to who asks over DNS (`server.chaos`, NSID).

use std::sync::Arc;

use holdfast::clock::Clock;
use holdfast::config::Server;
use holdfast::engine::Engine;
use holdfast::query::chaos::{Chaos, ID, Lines, STATUS, VERSION};

/// As the configuration allows.
pub fn chaos(config: &Server, engine: &Arc<Engine>, clock: &Clock) -> Chaos {
    let wanted = |what: &str| config.chaos.contains(&what);
    let identity = identity(config);
    let version = format!("holdfast {}", env!("CARGO_PKG_VERSION"));
    Chaos {
        version: wanted(VERSION).then_some(version),
        identity: identity.clone().filter(|_| wanted(ID)),
        status: wanted(STATUS).then(|| status(engine.clone(), clock.clone())),
        nsid: identity.filter(|_| config.nsid),
    }
}

/// What this server is called, where there is a name.
pub fn identity(config: &Server) -> Option<String> {
    match config.identity.is_empty() {
        true => host_name(),
        false => Some(config.identity.clone()),
    }
}

/// The machine's own name; `None` if the kernel does not tell.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty() && name.is_ascii()).then(|| name.to_owned())
}

/// The time that the server has been up, and each mirror.
fn status(engine: Arc<Engine>, clock: Clock) -> Lines {
    let started = clock.now();
    Arc::new(move || {
        let now = clock.now();
        let up_s = now.mono.saturating_sub(started.mono).as_secs();
        let mut lines = vec![format!("up {up_s} s")];
        let mut mirrors = engine.mirrors.all();
        mirrors.sort_by(|a, b| a.zone().cmp(b.zone()));
        lines.extend(mirrors.iter().map(|mirror| {
            let status = mirror.status(now.wall_s);
            let reach = engine.reach.zone(mirror.zone()).unwrap_or_default();
            let serial = status.serial.map_or("none".into(), |s| s.to_string());
            let age = status.age_s.map_or("none".into(), |s| format!("{s} s"));
            let (zone, state) = (mirror.zone(), reach.state);
            format!("mirror {zone} {state} serial {serial} age {age}")
        }));
        lines
    })
}
