#!/usr/bin/env python3
"""What AF_XDP saves a server: holdfast with it beside holdfast with sockets alone, and an echo with both, at the ends of veth pairs.

Why: issues and papers praise it on network cards whose drivers know it. The question here is what is left of that on veth, where holdfast's containers and tests are. The echo is the bound: it has
no work of its own. holdfast answers from a zone of its own, with access list, both limits (far above the load), cookies and metrics. Everyone has a namespace and a veth pair of his own; the generator is in one more, at the other ends. They take turns in rounds, ratios are of the same round.

Where the kernel takes in what a veth receives decides who pays, so there are two tables:

  sender  as veth has it by itself: on the core that sent. The generator's core carries the questions' way up, the server's core the answers'.
  server  as with a network card whose interrupts go to the server's core, and answers are the other side's: by RPS; with XDP in native mode, which RPS does not reach, by a thread for NAPI.

See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))
sys.path.insert(0, str(HERE))

from lab import Programs, put_first, times_s  # noqa: E402
from run import cargo, quotients, where  # noqa: E402
from servers import CLIENT_CORE, NO_LIMIT_PER_S, SERVER_CORE  # noqa: E402

AF_XDP = 44
ECHOES = {"socket": None, "generic": ["mode=generic"], "native": ["mode=native"]}
HOLDFASTS = {"holdfast": "", "holdfast, AF_XDP": "xdp"}
VARIANTS = [*ECHOES, *HOLDFASTS]
# What each is compared with, of the same round.
BASES = {"generic": "socket", "native": "socket", "holdfast, AF_XDP": "holdfast"}
PLACES = ["sender", "server"]
# A veth's ring has 256 places (VETH_RING_SIZE) and is used with native XDP: with more outstanding, questions would be lost that no server can help.
LOAD = ["window=192", "ports=12", "burst=16"]
NAMES = 10_000


def main():
    args = arguments()
    if os.geteuid() != 0 or os.cpu_count() < 2 or not shutil.which("dig"):
        sys.exit("the bench needs root, two cores and what .ci/setup installs")
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except OSError as error:
        print(f"SKIPPED: no AF_XDP in this kernel ({error})")
        return
    wire = args.wire or cargo("--bench", "wire", "--features", "xdp")["wire"]
    binary = args.binary or cargo("--bin", "holdfast", "--features", "xdp")["holdfast"]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-xdp-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(directory, str(pathlib.Path(wire).resolve()), str(pathlib.Path(binary).resolve()))
    result = []
    try:
        print(where(not args.nice and put_first()), flush=True)
        lab.make()
        for place in args.places.split(","):
            result.append(measure(lab, place, None, args))
            for size in map(int, filter(None, args.sizes.split(","))):
                result.append(measure(lab, place, size, args))
    finally:
        lab.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(PLACES), help="where the kernel takes in packets: sender, server")
    parser.add_argument("--sizes", default="64,1000", help="octets of the echo's answers; \"\" = no echo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each in a round")
    parser.add_argument("--binary", help="a holdfast with the feature xdp; otherwise it is built")
    parser.add_argument("--wire", help="the bench's own program with the feature xdp; otherwise it is built")
    parser.add_argument("--nice", action="store_true", help="do not go before the machine's other work")
    parser.add_argument("--json", help="write everything to this file")
    return parser.parse_args()


class Lab:
    """The generator's namespace, and one for each variant at the other end of a veth pair."""

    def __init__(self, directory, wire, binary):
        self.dir, self.wire, self.binary = directory, wire, binary
        self.children = Programs(directory)
        self.client = f"xdp-{os.getpid()}-client"
        self.spaces = [self.client]

    def make(self):
        (self.dir / "questions").write_text("".join(f"1 h{n:05}.wire. 1 edns 0 1\n" for n in range(NAMES)))
        run("ip", "netns", "add", self.client)
        (self.dir / "own.zone").write_text("$ORIGIN wire.\n$TTL 86400\n@ SOA ns1 ops 1 3600 600 604800 300\n@ NS ns1\nns1 A 192.0.2.1\n" + "".join(f"h{n:05} A 192.0.2.{n % 250}\n" for n in range(NAMES)))
        inside(self.client, "ip link set lo up; ip route add local 10.9.0.0/16 dev lo; ip address add 10.8.0.1/32 dev lo")

    def server(self, variant, place, size):
        """Starts one, at a new veth pair; None where the kernel refuses the mode."""
        server = Server(self, f"xdp-{os.getpid()}-{VARIANTS.index(variant)}", variant)
        self.spaces.append(server.space)
        server.make()
        if variant in HOLDFASTS:
            command = self.holdfast(server)
        elif ECHOES[variant] is None:
            command = [self.wire, "echo", f"{server.address}:53", str(size)]
        else:
            command = [self.wire, "xdp", server.interface, "53", str(size), *ECHOES[variant]]
        server.process = self.children.run(server.space, variant, command, core=SERVER_CORE)
        try:
            self.children.wait(self.client, server.address, server.process)
        except RuntimeError:
            said = (self.dir / f"{variant}.log").read_text().strip().splitlines()
            print(f"SKIPPED {variant}: {said[-1] if said else 'no answer'}", flush=True)
            return None
        server.place(place)
        return server

    def holdfast(self, server):
        """Writes its configuration; the command."""
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.dir))
        xdp = f"xdp = [\"{server.interface}\"]\n" if HOLDFASTS[server.variant] else ""
        (directory / "config.toml").write_text(
            f"[server]\nlisten = [\"{server.address}:53\"]\ndata_dir = \"{directory}\"\nworkers = 1\n{xdp}[access]\nallow = [\"10.0.0.0/8\"]\n"
            f"[limits]\nqueries_per_prefix_s = {NO_LIMIT_PER_S}\nresponses_per_s = {NO_LIMIT_PER_S}\n[[zone]]\nname = \"wire.\"\nfile = \"{self.dir}/own.zone\"\n")
        return [self.binary, "--config", str(directory / "config.toml"), "run"]

    def clear(self):
        self.children.stop()
        for space in self.spaces[1:]:
            run("ip", "netns", "del", space)
        del self.spaces[1:]

    def stop(self):
        self.children.stop()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], check=False)


class Server:
    """One echo and its veth pair."""

    def __init__(self, lab, space, variant):
        self.lab, self.space, self.variant = lab, space, variant
        number = VARIANTS.index(variant)
        self.address = f"10.255.0.{number + 1}"
        # The thread of NAPI has the interface's name, the process table no namespaces.
        self.interface, self.peer = f"x{os.getpid() % 100000}s{number}", f"x{os.getpid() % 100000}c{number}"
        self.process, self.threads = None, []

    def make(self):
        run("ip", "netns", "add", self.space)
        one = ["numrxqueues", "1", "numtxqueues", "1"]
        run("ip", "link", "add", self.interface, "netns", self.space, *one, "type", "veth", "peer", "name", self.peer, "netns", self.lab.client, *one)
        # A burst of the generator goes through its half of the kernel as one; on the wire packets are packets.
        inside(self.lab.client, f"ip link set {self.peer} gso_max_segs 1 up; ip route add {self.address}/32 dev {self.peer} src 10.8.0.1")
        inside(self.space, f"ip link set lo up; ip address add {self.address}/32 dev {self.interface}; ip link set {self.interface} up; "
                           f"ip route add 10.8.0.1/32 dev {self.interface}; ip route add 10.9.0.0/16 via 10.8.0.1")

    def place(self, place):
        """Has the kernel take in packets where `place` says."""
        self.threads = [thread("ksoftirqd/", str(SERVER_CORE))]
        if place == "sender":
            return
        setting(self.lab.client, self.peer, "queues/rx-0/rps_cpus", f"{1 << CLIENT_CORE:x}")
        if self.variant == "native":
            setting(self.space, self.interface, "threaded", "1")
            pid = thread(f"napi/{self.interface}-")
            os.sched_setaffinity(pid, {SERVER_CORE})
            os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0))
            self.threads.append(pid)
        else:
            setting(self.space, self.interface, "queues/rx-0/rps_cpus", f"{1 << SERVER_CORE:x}")

    def way(self):
        """How packets reach it: what the program says first."""
        log = (self.lab.dir / f"{self.variant}.log").read_text()
        if self.variant in HOLDFASTS:
            found = re.search(r"AF_XDP.*mode=\"?(\w+)\"?.*zero_copy=(\w+)", re.sub("\x1b\\[[0-9;]*m", "", log))
            if bool(found) != bool(HOLDFASTS[self.variant]):
                raise RuntimeError(f"not by AF_XDP: {log}")
            return f"{found[1]}, {'zero-copy' if found[2] == 'true' else 'copy'}" if found else ""
        return "" if ECHOES[self.variant] is None else log.splitlines()[0]

    def load(self, seconds, seed):
        """A run of the generator, with the processor time that the server's core spent on each answer, in microseconds."""
        command = ["ip", "netns", "exec", self.lab.client, "taskset", "-c", str(CLIENT_CORE), self.lab.wire, "load", f"{self.address}:53", str(self.lab.dir / "questions"),
                   f"seconds={seconds}", f"seed={seed}", *LOAD, *(["any"] if self.variant in ECHOES else [])]
        before = self.times()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        own, threads, softirq = (after - earlier for after, earlier in zip(self.times(), before))
        answered = max(1, found["answered"])
        return found | {"variant": self.variant, "own_us": own / answered * 1e6, "cpu_us": (own + threads) / answered * 1e6, "softirq_us": softirq / answered * 1e6,
                        "core": (own + threads) / found["seconds"]}

    def times(self):
        """Seconds of the process (the softirqs that hit it are in there), of the kernel's threads that work for it, and of the core in softirqs at all."""
        line = next(line for line in open("/proc/stat") if line.startswith(f"cpu{SERVER_CORE} "))
        return sum(times_s(self.process)), sum(own_s(pid) for pid in self.threads), int(line.split()[7]) / os.sysconf("SC_CLK_TCK")


def measure(lab, place, size, args):
    """Rounds in which all take turns, the one who begins changes."""
    print(f"\nplace {place}, " + (f"an echo of {size} octets" if size else "holdfast"), flush=True)
    servers = [server for server in (lab.server(variant, place, size) for variant in (ECHOES if size else HOLDFASTS)) if server]
    ways = {server.variant: server.way() for server in servers}
    runs = []
    for number in range(args.rounds):
        at = number % len(servers)
        for server in servers[at:] + servers[:at]:
            if server.variant in HOLDFASTS and number == 0:
                # Answers are kept ready from the first time on.
                server.load(args.seconds, 0)
            found = server.load(args.seconds, number + 1) | {"round": number + 1}
            runs.append(found)
            print(f"  round {number + 1} {server.variant:16} {found['qps']:8.0f} q/s  cpu {found['cpu_us']:.2f} us (own {found['own_us']:.2f}; softirqs of the core {found['softirq_us']:.2f})  "
                  f"{found['core']:4.0%} of its core  lost {found['lost']} wrong {found['wrong']}", flush=True)
    lab.clear()
    return {"place": place, "size": size, "ways": ways, "runs": runs, "table": table(runs, ways)}


def table(runs, ways):
    """Medians, and the medians of the ratios to the same server with sockets in the same round; above 1 is better than sockets."""
    of = lambda variant, key: [run[key] for run in sorted(runs, key=lambda run: run["round"]) if run["variant"] == variant]
    spread = lambda values: f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    rows = []
    print(f"  {'':16} {'way':>13} {'q/s':>8} {'to socket':>17} {'by cpu':>17} {'cpu us':>7} {'own us':>7} {'softirq us':>10} {'of core':>8} {'lost':>6}")
    for variant, way in ways.items():
        base = BASES.get(variant, variant)
        ratios = quotients(of(variant, "qps"), of(base, "qps"))
        by_cpu = quotients(of(base, "cpu_us"), of(variant, "cpu_us"))
        row = {key: statistics.median(of(variant, key)) for key in ("qps", "cpu_us", "own_us", "softirq_us", "core")}
        row |= {"variant": variant, "to_socket": statistics.median(ratios), "by_cpu": statistics.median(by_cpu), "lost": sum(of(variant, "lost"))}
        rows.append(row)
        print(f"  {variant:16} {way:>13} {row['qps']:8.0f} {spread(ratios):>17} {spread(by_cpu):>17} {row['cpu_us']:7.2f} {row['own_us']:7.2f} {row['softirq_us']:10.2f} {row['core']:8.0%} {row['lost']:6}", flush=True)
    return rows


def own_s(pid):
    """Processor time of a thread of the kernel, in seconds."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def thread(begin, rest=None):
    """The thread of the kernel with this name."""
    for file in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            name = file.read_text().strip()
        except OSError:
            continue
        if name.startswith(begin) and rest in (None, name[len(begin):]):
            return int(file.parent.name)
    raise RuntimeError(f"no thread {begin}{rest or ''}")


def setting(space, interface, name, value):
    inside(space, f"echo {value} > /sys/class/net/{interface}/{name}")


def inside(space, commands):
    run("ip", "netns", "exec", space, "sh", "-ec", commands)


def run(*command):
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
