//! How much memory is free for this process: what the machine has left, and what its control groups do.
//!
//! Why: a service with `MemoryMax=` or a container with a limit is killed at that limit, whatever the machine has beside it.
//!
//! Model: `/proc/self/cgroup` names the group, of version 2 (one tree for all) or 1 (a tree for memory alone). Each group up to the
//! root of its tree may have a limit, and the nearest one counts. In a container the root is often the container's own group, and the name
//! leads nowhere; then the root itself is looked at. What the kernel would give back at once, pages of files that nobody
//! used lately, is free, as in `MemAvailable`.
//!
//! Failure: what cannot be read limits nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the trees are, as systemd(1) and container runtimes mount them.
const GROUPS: &str = "/sys/fs/cgroup";
/// Groups lie no deeper in each other than this; more are not looked at.
const DEPTH_MAX: usize = 64;

/// Octets that the machine, and every control group around this process, has left; `None` where neither is known.
pub(super) fn free_bytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| available(&text));
    let groups = read("/proc/self/cgroup").and_then(|text| groups_free(Path::new(GROUPS), &text));
    [machine, groups].into_iter().flatten().min()
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The files of a version of control groups (cgroups(7); the kernel's cgroup-v2 and cgroup-v1/memory).
struct Version {
    tree: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: pages of files that nobody used lately, of this group and those within it.
    reclaimable: &'static str,
}

const V1: Version = Version {
    tree: "memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};
const V2: Version = Version {
    tree: "",
    limit: "memory.max",
    used: "memory.current",
    reclaimable: "inactive_file",
};

/// What the groups that `/proc/self/cgroup` names have left.
fn groups_free(mount: &Path, named: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match controllers {
            "" => &V2,
            _ if controllers.split(',').any(|name| name == "memory") => &V1,
            _ => return None,
        };
        version.free(mount, path)
    };
    named.lines().filter_map(of_line).min()
}

impl Version {
    fn free(&self, mount: &Path, path: &str) -> Option<u64> {
        let root = mount.join(self.tree);
        let mut group: PathBuf = root.join(path.trim_start_matches('/'));
        let mut least = None;
        for _ in 0..DEPTH_MAX {
            least = [least, self.free_of(&group)].into_iter().flatten().min();
            if group == root || !group.pop() {
                break;
            }
        }
        least
    }

    /// `None` where it has no limit: "max" is no number, and what version 1 says then is more than any machine has.
    fn free_of(&self, group: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit = number(self.limit).filter(|limit| *limit < i64::MAX as u64 / 2)?;
        let used = number(self.used)?;
        let reclaimable = read("memory.stat").and_then(|stat| {
            let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = lines.find(|(name, _)| *name == self.reclaimable)?;
            value.trim().parse::<u64>().ok()
        });
        Some(limit.saturating_sub(used.saturating_sub(reclaimable.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_is_available() {
        let text = "MemFree: 1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }

    /// Trees of groups as files, and what is free in them.
    #[test]
    fn the_nearest_limit_of_either_version_counts() {
        let check = |named: &str, files: &[(&str, &str)], expected: Option<u64>| {
            let mount = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = mount.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let found = groups_free(mount.path(), named);
            assert_eq!(found, expected, "{named} {files:?}");
        };
        let service = "0::/system.slice/holdfast.service\n";
        check(service, &[], None);
        let own = "system.slice/holdfast.service/";
        let with = |name: &str| format!("{own}{name}");
        let (max, current, stat) = (
            &with("memory.max")[..],
            &with("memory.current")[..],
            &with("memory.stat")[..],
        );
        check(service, &[(max, "1000\n"), (current, "400\n")], Some(600));
        check(service, &[(max, "1000\n")], None);
        check(service, &[(max, "max\n"), (current, "400\n")], None);
        check(service, &[(max, "1000"), (current, "1400")], Some(0));
        check(
            service,
            &[
                (max, "1000\n"),
                (current, "900\n"),
                (
                    stat,
                    "anon 300\nfile 600\nactive_file 50\ninactive_file 550\n",
                ),
            ],
            Some(650),
        );
        // A limit around it.
        let (outer_max, outer_current) = ("system.slice/memory.max", "system.slice/memory.current");
        check(
            service,
            &[
                (max, "1000"),
                (current, "400"),
                (outer_max, "2000"),
                (outer_current, "1900"),
            ],
            Some(100),
        );
        // In a container: its own group is the root of what it sees.
        check(
            "0::/\n",
            &[("memory.max", "1000"), ("memory.current", "1")],
            Some(999),
        );
        // Version 1, where version 2 has no controllers.
        let both = "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n1:name=systemd:/x\n0::/x\n";
        let (limit, used) = (
            "memory/docker/abc/memory.limit_in_bytes",
            "memory/docker/abc/memory.usage_in_bytes",
        );
        check(both, &[(limit, "5000\n"), (used, "3000\n")], Some(2000));
        check(
            both,
            &[
                (limit, "5000"),
                (used, "3000"),
                (
                    "memory/docker/abc/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 500\n",
                ),
            ],
            Some(2500),
        );
        check(
            both,
            &[(limit, "9223372036854771712"), (used, "3000")],
            None,
        );
        // Its path is that of the host: what the container sees is the root.
        check(
            both,
            &[
                ("memory/memory.limit_in_bytes", "700"),
                ("memory/memory.usage_in_bytes", "300"),
            ],
            Some(400),
        );
    }
}
