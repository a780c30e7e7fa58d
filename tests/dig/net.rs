//! The lab's network: one router namespace, one namespace per site, nothing shared with the machine's own network.
//!
//! ```text
//!   resolver 10.53.0.2 --+               +-- root-a .1.1   root-b .2.1   root-c .3.1   xfr .4.1 .4.66
//!   client 10.53.100.2 --+--- router ----+-- home-tld .11.1 .11.2   home-host .12.1 .12.2   (domestic)
//!                                        +-- far-tld  .21.1 .21.2   far-host  .22.1 .22.2   (foreign)
//! ```
//! A cut is a host route in the router: `blackhole` drops silently, `unreachable` answers with ICMP. Both need nothing but
//! iproute2 and act on the next packet. The names of the namespaces carry the process id of their owner, so that a run can
//! sweep up what a killed one has left.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A namespace with its subnet `10.53.<subnet>.0/24` and the host numbers that live in it.
pub struct Site {
    pub name: &'static str,
    pub subnet: u8,
    pub hosts: &'static [u8],
}

const fn site(name: &'static str, subnet: u8, hosts: &'static [u8]) -> Site {
    Site {
        name,
        subnet,
        hosts,
    }
}

pub const SITES: [Site; 10] = [
    site("resolver", 0, &[2]),
    site("client", 100, &[2]),
    site("root-a", 1, &[1]),
    site("root-b", 2, &[1]),
    site("root-c", 3, &[1]),
    site("xfr", 4, &[1, 66]),
    site("home-tld", 11, &[1, 2]),
    site("home-host", 12, &[1, 2]),
    site("far-tld", 21, &[1, 2]),
    site("far-host", 22, &[1, 2]),
];

/// The root servers and the host that lets the root zone be transferred.
pub const ROOTS: [&str; 5] = [
    "10.53.1.1",
    "10.53.2.1",
    "10.53.3.1",
    "10.53.4.1",
    "10.53.4.66",
];
pub const HOME_TLD: [&str; 2] = ["10.53.11.1", "10.53.11.2"];
/// Everything abroad except the roots.
pub const FAR: [&str; 4] = ["10.53.21.1", "10.53.21.2", "10.53.22.1", "10.53.22.2"];

const ROUTER: &str = "router";
const NETNS_DIR: &str = "/var/run/netns";

/// How a cut looks from inside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Packets vanish.
    Silent,
    /// The router answers with ICMP host unreachable.
    Icmp,
}

impl Cut {
    fn route(self) -> &'static str {
        match self {
            Cut::Silent => "blackhole",
            Cut::Icmp => "unreachable",
        }
    }
}

/// The namespaces; dropping it deletes them.
pub struct Net {
    prefix: String,
}

impl Net {
    /// Builds every namespace, link, address and route. On failure what was built is removed.
    pub fn build() -> io::Result<Net> {
        sweep();
        let net = Net {
            prefix: format!("hf{}-", std::process::id()),
        };
        net.create()?;
        Ok(net)
    }

    fn create(&self) -> io::Result<()> {
        let router = self.space(ROUTER);
        let mut links = format!("netns add {router}\n");
        let mut router_side = String::from("link set lo up\n");
        for site in &SITES {
            let (space, subnet) = (self.space(site.name), site.subnet);
            links += &format!("netns add {space}\n");
            links += &format!(
                "link add to{subnet} netns {router} type veth peer name eth0 netns {space}\n"
            );
            router_side +=
                &format!("addr add 10.53.{subnet}.254/24 dev to{subnet}\nlink set to{subnet} up\n");
        }
        ip(&["-batch", "-"], &links)?;
        ip(&["-n", &router, "-batch", "-"], &router_side)?;
        for site in &SITES {
            let mut lines = String::from("link set lo up\nlink set eth0 up\n");
            for host in site.hosts {
                lines += &format!("addr add 10.53.{}.{host}/24 dev eth0\n", site.subnet);
            }
            lines += &format!("route add default via 10.53.{}.254\n", site.subnet);
            ip(&["-n", &self.space(site.name), "-batch", "-"], &lines)?;
        }
        let forward = self
            .command(ROUTER, "sh")
            .args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
            .status()?;
        if forward.success() {
            Ok(())
        } else {
            Err(io::Error::other(
                "cannot switch on forwarding in the router namespace",
            ))
        }
    }

    /// The full name of a site's namespace, for `ip netns exec`.
    pub fn space(&self, site: &str) -> String {
        format!("{}{site}", self.prefix)
    }

    /// Cuts the hosts off.
    pub fn cut(&self, hosts: &[&str], how: Cut) {
        let lines: String = hosts
            .iter()
            .map(|host| format!("route replace {} {host}/32\n", how.route()))
            .collect();
        ip(&["-n", &self.space(ROUTER), "-batch", "-"], &lines).expect("the router takes a route");
    }

    /// Takes back every cut.
    pub fn restore_all(&self) {
        for how in [Cut::Silent, Cut::Icmp] {
            let _ = Command::new("ip")
                .args([
                    "-n",
                    &self.space(ROUTER),
                    "route",
                    "flush",
                    "type",
                    how.route(),
                ])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// A command that runs inside a site and dies with this process.
    pub fn command(&self, site: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let space = self.open(site);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only async-signal-safe system calls are made; `space` is moved in and stays open.
        unsafe {
            command.pre_exec(move || {
                unblock_signals();
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                enter(&space)
            });
        }
        command
    }

    /// Runs `work` on a thread of its own inside a site.
    pub fn thread<T: Send + 'static>(
        &self,
        site: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let space = self.open(site);
        std::thread::spawn(move || {
            enter(&space).expect("a thread enters a namespace of the lab");
            work()
        })
    }

    fn open(&self, site: &str) -> File {
        let path = format!("{NETNS_DIR}/{}", self.space(site));
        File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        remove_spaces(&self.prefix);
    }
}

/// Deletes the namespaces of this process; for the way out on a signal, where no destructor runs.
pub fn remove_own() {
    remove_spaces(&format!("hf{}-", std::process::id()));
}

fn remove_spaces(prefix: &str) {
    for space in spaces().filter(|space| space.starts_with(prefix)) {
        let _ = ip(&["netns", "del", &space], "");
    }
}

/// Removes what runs that were killed have left behind.
fn sweep() {
    for space in spaces() {
        let owner = space
            .strip_prefix("hf")
            .and_then(|rest| rest.split_once('-'));
        let Some((pid, _)) = owner else { continue };
        if pid.parse::<u32>().is_ok_and(|pid| !is_alive(pid)) {
            let _ = ip(&["netns", "del", &space], "");
        }
    }
}

/// A zombie that nobody reaps counts as dead.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

fn spaces() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(NETNS_DIR).ok();
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect::<Vec<_>>()
        .into_iter()
}

fn enter(space: &File) -> io::Result<()> {
    // SAFETY: setns takes a descriptor that `space` keeps open; it changes the calling thread only.
    match unsafe { libc::setns(space.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The runner blocks its own signals to sweep up on them; its children must not inherit that.
fn unblock_signals() {
    // SAFETY: both calls only touch the local set and the calling thread's mask.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

fn ip(arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "ip {}: {}",
        arguments.join(" "),
        said.trim()
    )))
}
