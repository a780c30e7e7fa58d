//! One NSD per site, in the foreground, as a child whose life ends with the lab's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::net::{Net, SITES};
use crate::process;
use crate::zones::{Placed, Zones};

/// Addresses of a site that are left to the test programs.
const RESERVED: &str = "10.53.4.66";
const STOP_MAX: Duration = Duration::from_secs(2);

/// The name servers by site.
pub struct Servers {
    running: BTreeMap<&'static str, Child>,
}

impl Servers {
    /// Starts an NSD for each site that has zones.
    pub fn start(net: &Net, zones: &Zones, dir: &Path) -> io::Result<Servers> {
        let mut servers = Servers {
            running: BTreeMap::new(),
        };
        for site in &SITES {
            let placed: Vec<&Placed> = zones
                .placed
                .iter()
                .filter(|placed| placed.site == site.name)
                .collect();
            if placed.is_empty() {
                continue;
            }
            let home = dir.join(site.name);
            std::fs::create_dir_all(&home)?;
            let file = home.join("nsd.conf");
            let addresses = site
                .hosts
                .iter()
                .map(|host| format!("10.53.{}.{host}", site.subnet));
            std::fs::write(&file, config(&home, addresses, &placed))?;
            let log = std::fs::File::create(home.join("nsd.log"))?;
            let child = net
                .command(site.name, "nsd")
                .arg("-d")
                .arg("-c")
                .arg(&file)
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?;
            process::register(child.id());
            servers.running.insert(site.name, child);
        }
        Ok(servers)
    }

    /// Makes a site's NSD read its changed zone files.
    pub fn reload(&self, site: &str) {
        process::signal(self.running[site].id(), libc::SIGHUP);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in self.running.values() {
            process::signal(child.id(), libc::SIGTERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        for child in self.running.values_mut() {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            process::kill_group(child.id());
            let _ = child.wait();
            process::forget(child.id());
        }
    }
}

fn config(home: &Path, addresses: impl Iterator<Item = String>, placed: &[&Placed]) -> String {
    let home = home.display();
    let mut text = format!(
        "server:\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{home}\"\n  database: \"\"\n  \
         pidfile: \"{home}/nsd.pid\"\n  zonelistfile: \"{home}/zone.list\"\n  xfrdfile: \"{home}/xfrd.state\"\n  \
         xfrdir: \"{home}\"\n  logfile: \"{home}/nsd.log\"\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  \
         tcp-count: 50\n  zonefiles-check: yes\n  ipv4-edns-size: 1232\n"
    );
    for address in addresses.filter(|address| address != RESERVED) {
        let _ = writeln!(text, "  ip-address: {address}");
    }
    text += "remote-control:\n  control-enable: no\n";
    for Placed { zone, file, .. } in placed {
        let file = file.display();
        let _ = write!(
            text,
            "zone:\n  name: \"{zone}\"\n  zonefile: \"{file}\"\n  provide-xfr: 10.53.0.0/16 NOKEY\n"
        );
    }
    text
}
