//! Starts and watches the program under test.
//!
//! `HOLDFAST_LAB_RESOLVER=unbound` puts unbound with its own root mirror in its place and `=unbound-plain` unbound without
//! one: the first proves that the lab is sound, the second that its cuts are real.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::process;

pub const ADDRESS: &str = "10.53.0.2";
pub const HEDGE_MIN_MS: u64 = 20;
const READY_MAX: Duration = Duration::from_secs(60);

/// Which program stands in the resolver's namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Holdfast,
    Unbound,
    UnboundPlain,
}

impl Kind {
    pub fn from_env() -> Kind {
        match std::env::var("HOLDFAST_LAB_RESOLVER").as_deref() {
            Ok("unbound") => Kind::Unbound,
            Ok("unbound-plain") => Kind::UnboundPlain,
            Ok("holdfast") | Err(_) => Kind::Holdfast,
            Ok(other) => {
                panic!("HOLDFAST_LAB_RESOLVER={other}: holdfast, unbound or unbound-plain")
            }
        }
    }
}

/// A mirror table of the configuration.
pub struct Mirror {
    pub zone: &'static str,
    pub sources: &'static [&'static str],
    /// A zone file of the lab, copied beside the configuration.
    pub bootstrap: Option<&'static str>,
}

pub const ROOT_MIRROR: Mirror = Mirror {
    zone: ".",
    sources: &["axfr:10.53.4.1"],
    bootstrap: None,
};

pub const HOME_MIRROR: Mirror = Mirror {
    zone: "home.",
    sources: &["axfr:10.53.11.1", "axfr:10.53.11.2"],
    bootstrap: None,
};

/// A directory with a configuration; the resolver may be started in it several times.
pub struct Site<'a> {
    lab: &'a Lab,
    pub dir: PathBuf,
    /// Zone and first source of each mirror.
    mirrors: Vec<(&'static str, &'static str)>,
}

impl<'a> Site<'a> {
    /// Writes hints, anchor, own zone and configuration to a new directory.
    pub fn new(lab: &'a Lab, name: &str, mirrors: &[Mirror]) -> Site<'a> {
        let dir = lab.dir.join(name);
        let first = |mirror: &Mirror| (mirror.zone, mirror.sources[0]);
        let mirrors_of = mirrors.iter().map(first).collect();
        let site = Site {
            lab,
            dir,
            mirrors: mirrors_of,
        };
        site.write("root.hints", &lab.zones.hints());
        site.write(
            "root.key",
            &lab.zones.anchor_ds().expect("the root has a key"),
        );
        site.write("lab.test.zone", OWN_ZONE);
        for mirror in mirrors {
            if let Some(file) = mirror.bootstrap {
                std::fs::copy(lab.zones.path(file), site.dir.join(file))
                    .expect("the snapshot is copied");
            }
        }
        site.write("config.toml", &config(mirrors));
        site
    }

    /// Writes a file beside the configuration.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::create_dir_all(&self.dir).expect("a directory for the resolver");
        std::fs::write(self.dir.join(file), text).expect("a file for the resolver");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Starts the resolver and waits until it says that it is ready.
    pub fn start(&self) -> Resolver<'a> {
        let mut resolver = self.launch();
        resolver.wait_ready();
        resolver
    }

    /// Starts the resolver without waiting.
    pub fn launch(&self) -> Resolver<'a> {
        let mut command = match self.lab.kind {
            Kind::Holdfast => holdfast(self.lab, &self.dir.join("config.toml")),
            Kind::Unbound => unbound(self.lab, &self.dir, &self.mirrors),
            Kind::UnboundPlain => unbound(self.lab, &self.dir, &[]),
        };
        let started = Instant::now();
        let mut child = command
            .current_dir(&self.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the resolver starts");
        process::register(child.id());
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("stderr.log"));
        std::thread::spawn(move || keep_lines(stderr, &kept, file.ok()));
        Resolver {
            lab: self.lab,
            config: self.dir.join("config.toml"),
            child,
            log,
            started,
        }
    }
}

const OWN_ZONE: &str = "$ORIGIN lab.test.\n$TTL 60\n@ SOA ns ops 1 3600 600 86400 60\n@ NS ns\nns A 10.53.0.2\nwww A 192.0.2.53\n";

fn config(mirrors: &[Mirror]) -> String {
    let mut text = format!(
        "[server]\nlisten = [\"{ADDRESS}:53\"]\ndata_dir = \"data\"\n\n\
         [access]\nallow = [\"127.0.0.0/8\", \"10.53.0.0/16\"]\n\n\
         [resolver]\nroot_hints = \"root.hints\"\ntrust_anchor = \"root.key\"\nhedge_min_ms = {HEDGE_MIN_MS}\n\n\
         [[zone]]\nname = \"lab.test.\"\nfile = \"lab.test.zone\"\n\n\
         [control]\nhttp = \"\"\n"
    );
    for mirror in mirrors {
        let sources: Vec<String> = mirror
            .sources
            .iter()
            .map(|source| format!("\"{source}\""))
            .collect();
        text += &format!(
            "\n[[mirror]]\nzone = \"{}\"\nsources = [{}]\nverify = \"dnssec\"\nbytes_max = \"8MiB\"\ntransfer_time_max_s = 4\n",
            mirror.zone,
            sources.join(", ")
        );
        if let Some(file) = mirror.bootstrap {
            text += &format!("bootstrap = \"{file}\"\n");
        }
    }
    text
}

/// The program under test: the one that cargo built beside this test, or the one that `HOLDFAST_LAB_BINARY` names.
fn binary() -> PathBuf {
    let named = std::env::var_os("HOLDFAST_LAB_BINARY");
    named.map_or_else(|| env!("CARGO_BIN_EXE_holdfast").into(), PathBuf::from)
}

fn holdfast(lab: &Lab, config: &Path) -> Command {
    let mut command = lab.net.command("resolver", binary());
    command.arg("run").arg("--config").arg(config);
    command
}

fn unbound(lab: &Lab, dir: &Path, mirrors: &[(&str, &str)]) -> Command {
    let mut text = format!(
        "server:\n directory: \"{dir}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
         interface: {ADDRESS}\n access-control: 10.53.0.0/16 allow\n root-hints: root.hints\n trust-anchor-file: root.key\n \
         ede: yes\n local-zone: \"test.\" nodefault\n verbosity: 1\n do-ip6: no\n so-rcvbuf: 0\n so-sndbuf: 0\n \
         module-config: \"validator iterator\"\nremote-control:\n control-enable: no\n\
         auth-zone:\n name: lab.test.\n zonefile: lab.test.zone\n for-upstream: no\n",
        dir = dir.display()
    );
    for (zone, source) in mirrors {
        let primary = source.trim_start_matches("axfr:");
        text += &format!(
            "auth-zone:\n name: \"{zone}\"\n primary: {primary}\n for-downstream: no\n for-upstream: yes\n fallback-enabled: yes\n \
             zonemd-check: yes\n zonefile: \"{zone}mirror\"\n"
        );
    }
    let file = dir.join("unbound.conf");
    std::fs::write(&file, text).expect("unbound's configuration");
    let mut command = lab.net.command("resolver", "unbound");
    command.arg("-d").arg("-c").arg(file);
    command
}

/// Keeps what the resolver prints, in memory and in a file for the person who looks afterwards.
fn keep_lines(from: impl std::io::Read, log: &Mutex<Vec<String>>, mut file: Option<std::fs::File>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if let Some(file) = &mut file {
            use std::io::Write;
            let _ = writeln!(file, "{line}");
        }
        log.lock().unwrap().push(line);
    }
}

/// A running resolver; dropping it kills it.
pub struct Resolver<'a> {
    lab: &'a Lab,
    config: PathBuf,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub started: Instant,
}

impl Resolver<'_> {
    /// Waits for `holdfast ready`; returns the time since exec. Panics with the log if it does not come.
    pub fn wait_ready(&mut self) -> Duration {
        let ready = match self.lab.kind {
            Kind::Holdfast => "holdfast ready",
            _ => "start of service",
        };
        while self.started.elapsed() < READY_MAX {
            if self
                .log
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains(ready))
            {
                return self.started.elapsed();
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "the resolver ended before it was ready, {status}:\n{}",
                    self.tail()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("not ready within {READY_MAX:?}:\n{}", self.tail());
    }

    pub fn signal(&self, signal: i32) {
        process::signal(self.child.id(), signal);
    }

    /// Waits for the end; `None` if it does not come in time.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of the log.
    pub fn tail(&self) -> String {
        let log = self.log.lock().unwrap();
        log[log.len().saturating_sub(25)..].join("\n")
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// One mirror's object in `holdfast status --json`; `None` while the control socket or the mirror is not there.
    pub fn mirror_status(&self, zone: &str) -> Option<serde_json::Value> {
        let output = Command::new(binary())
            .args(["status", "--json", "--config"])
            .arg(&self.config)
            .output()
            .ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let mirrors = status.get("mirrors")?.as_array()?;
        mirrors
            .iter()
            .find(|mirror| mirror["zone"] == zone)
            .cloned()
    }

    /// Waits until the mirror's status satisfies `wanted`; returns the time it took, or what the status was instead.
    pub fn wait_mirror(
        &self,
        zone: &str,
        limit: Duration,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<Duration, String> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < limit {
            last = self.mirror_status(zone);
            if last.as_ref().is_some_and(&wanted) {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let last = last.map_or("no status".to_owned(), |status| status.to_string());
        Err(format!("after {limit:?}: {last}\n{}", self.tail()))
    }

    /// Waits for a first generation of the mirror; gives the stand-in time to fetch its own.
    pub fn wait_mirrored(&self, zone: &str) {
        if self.lab.kind == Kind::Holdfast {
            self.wait_mirror(zone, Duration::from_secs(60), |status| {
                status["serial"].is_u64()
            })
            .unwrap_or_else(|why| panic!("no generation of {zone} {why}"));
        } else {
            std::thread::sleep(Duration::from_secs(2));
        }
    }
}

impl Drop for Resolver<'_> {
    fn drop(&mut self) {
        process::kill_group(self.child.id());
        let _ = self.child.wait();
        process::forget(self.child.id());
    }
}
