//! The whole lab: network, zones, servers; built once per run.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::net::{Net, SITES};
use crate::resolver::Kind;
use crate::servers::Servers;
use crate::tools;
use crate::zones::{Fault, SERIAL, Zones};

const PROGRAMS: [&str; 8] = [
    "ip",
    "nsd",
    "dig",
    "delv",
    "ldns-keygen",
    "ldns-signzone",
    "ldns-key2ds",
    "dnssec-signzone",
];
const SERVERS_READY_MAX: Duration = Duration::from_secs(20);

/// Fields drop in this order: servers first, then the network they stand in, then the files.
pub struct Lab {
    pub servers: Servers,
    pub net: Net,
    pub zones: Zones,
    pub dir: PathBuf,
    pub kind: Kind,
    dir_guard: tempfile::TempDir,
}

static FILES: OnceLock<PathBuf> = OnceLock::new();

/// Deletes the lab's directory; for the way out on a signal, where no destructor runs.
pub fn remove_files() {
    if let Some(dir) = FILES.get() {
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// What keeps the lab from running here, if anything.
pub fn missing() -> Option<String> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Some("root (network namespaces)".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |program: &&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let absent: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|program| !found(program))
        .collect();
    if !absent.is_empty() {
        return Some(absent.join(", "));
    }
    let probe = format!("hf{}-probe", std::process::id());
    let netns = |verb: &str| {
        let mut command = Command::new("ip");
        let quiet = command.args(["netns", verb, &probe]).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    let able = netns("add");
    netns("del");
    (!able).then(|| "permission to create network namespaces".to_owned())
}

impl Lab {
    pub fn build() -> io::Result<Lab> {
        let begun = Instant::now();
        let guard = tempfile::Builder::new().prefix("holdfast-lab-").tempdir()?;
        let dir = FILES.get_or_init(|| guard.path().to_owned()).clone();
        let zone_dir = dir.join("zones");
        std::fs::create_dir(&zone_dir)?;
        let net = Net::build()?;
        let zones = Zones::build(&zone_dir)?;
        let servers = Servers::start(&net, &zones, &dir)?;
        let lab = Lab {
            servers,
            net,
            zones,
            dir,
            kind: Kind::from_env(),
            dir_guard: guard,
        };
        lab.wait_servers()?;
        println!("lab built in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(lab)
    }

    /// Takes the lab down but leaves its files for a person to read.
    pub fn keep_files(self) -> PathBuf {
        self.dir_guard.keep()
    }

    /// Puts the network and the root zone back to what `build` made, for the next test.
    pub fn reset(&self) {
        self.net.restore_all();
        self.publish(SERIAL, false, Fault::None);
    }

    /// Publishes a root version on the three roots and on the xfr server and waits until all serve it.
    pub fn publish(&self, serial: u32, with_new: bool, fault: Fault) {
        for letter in ["root-a", "root-b", "root-c"] {
            self.publish_at(letter, "root.zone", serial, with_new, fault);
        }
        self.publish_xfr(serial, with_new, fault);
    }

    /// The same on the xfr server alone.
    pub fn publish_xfr(&self, serial: u32, with_new: bool, fault: Fault) {
        self.publish_at("xfr", "xfr.zone", serial, with_new, fault);
    }

    fn publish_at(&self, site: &str, file: &str, serial: u32, with_new: bool, fault: Fault) {
        let server = format!(
            "10.53.{}.1",
            SITES
                .iter()
                .find(|known| known.name == site)
                .expect("a site")
                .subnet
        );
        // Asked from its own site: the road to it may be cut.
        let served = || tools::dig_at(self, site, &server, ". SOA +short").text;
        let done = |text: &str| text.split_whitespace().nth(2) == Some(&serial.to_string());
        if site != "root-b" && site != "root-c" {
            self.zones
                .publish_root(file, serial, with_new, fault)
                .expect("a version of the root zone is signed");
        }
        let begun = Instant::now();
        loop {
            self.servers.reload(site);
            std::thread::sleep(Duration::from_millis(100));
            if done(&served()) {
                return;
            }
            assert!(
                begun.elapsed() < SERVERS_READY_MAX,
                "{site} does not load serial {serial}"
            );
        }
    }

    fn wait_servers(&self) -> io::Result<()> {
        let begun = Instant::now();
        // NSD serves a site's zones all at once, so one of each is enough.
        let mut seen = BTreeSet::new();
        for placed in &self.zones.placed {
            if !seen.insert(placed.site) {
                continue;
            }
            let site = SITES
                .iter()
                .find(|site| site.name == placed.site)
                .expect("a site");
            let server = format!("10.53.{}.1", site.subnet);
            loop {
                let dig = tools::dig_at(
                    self,
                    "client",
                    &server,
                    &format!("{} SOA +norec", placed.zone),
                );
                if dig.status == "NOERROR" && dig.flag("aa") {
                    break;
                }
                if begun.elapsed() > SERVERS_READY_MAX {
                    let why = format!("{server} does not serve {}:\n{}", placed.zone, dig.text);
                    return Err(io::Error::other(why));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}
