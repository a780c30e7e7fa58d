#!/usr/bin/env python3
"""Answers per second beside a bare echo: holdfast, other resolvers, dnsdist, NSD and Knot, each on one core, fed by a generator on another.

Why: what a server may reach is what the kernel's UDP path leaves, and that differs from machine to machine and from minute to minute. So everyone is measured
in rounds that take turns with an echo that makes the same system calls and sends answers of the same size, and what counts is the ratio within a round.

Everything runs in one network namespace in which all of 10.0.0.0/8 is local. See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT_DIR = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "shared"))
sys.path.insert(0, str(HERE))

import instructions  # noqa: E402
import soak  # noqa: E402
from lab import Programs, end, processor, put_first, times_s, tree, versions  # noqa: E402
from servers import ADDRESSES, BUFFER_BYTES, CLIENT_CORE, PROGRAMS, SERVER_CORE, behind, configure  # noqa: E402
from world import LEAF, ROOTS, WORKLOADS, World  # noqa: E402

# Warming asks everything once, again while something is lost or wrong.
WARM_PASSES_MAX, WARM_MAX_S, WARM_SECONDS = 20, 60, 3
HALF_LOAD = 0.5
# Sockets of programs that set nothing themselves.
DEFAULTS = [pathlib.Path(f"/proc/sys/net/core/{which}mem_default") for which in "rw"]


def main():
    args = arguments()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    tools = ["ip", "nsd", "dig", "taskset", "ldns-signzone", "ldns-keygen", "ldns-key2ds", *(PROGRAMS[p] for p in args.peers if p in PROGRAMS)]
    missing = [tool for tool in tools if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        sys.exit(f"the bench needs root and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    if os.cpu_count() < 2:
        sys.exit("the bench needs two cores: one for the server, one for the generator")
    programs = build(args)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-wire-"))
    os.chmod(directory, 0o755)
    # An end from outside takes everything down as any other.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(directory, args, programs)
    try:
        first = not args.nice and put_first()
        lab.make()
        result = {"where": where(first), "versions": versions([peer for peer in args.peers if peer != "echo"], programs["holdfast"]), "workloads": {}}
        print(result["where"], flush=True)
        if args.instructions:
            result["instructions"] = instructions.measure(lab, args)
        elif args.soak:
            result["soak"] = soak.run(lab, args)
        else:
            lab.start()
            result["workloads"] = {workload: measure(lab, workload, args) for workload in args.workloads}
    finally:
        lab.stop()
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(found["faults"] for found in [*(result[what] for what in ("instructions", "soak") if what in result), *result["workloads"].values()]) else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default="abc", help="; ".join(f"{letter}: {text}" for letter, text in WORKLOADS.items()).replace("%", "%%"))
    parser.add_argument("--peers", default="holdfast,unbound,kresd,pdns,bind,dnsdist,nsd,knot", help="who takes part")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each in a round")
    parser.add_argument("--window", type=int, default=1024, help="questions outstanding")
    parser.add_argument("--threads", type=int, default=1, help="of holdfast and of the echo, all on the one core: what sharing costs")
    parser.add_argument("--half", type=float, default=10, help="seconds at half of the measured rate, after the rounds; 0 = none")
    parser.add_argument("--instructions", action="store_true", help="instead of rounds: the server's own instructions for each answer, by callgrind, with one thread and with two")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="instead of rounds: so long 70 %% of what holdfast reaches, with new zones, drills and reloads every minute")
    parser.add_argument("--binary", help="the holdfast under test; otherwise it is built, in release form")
    parser.add_argument("--wire", help="the bench's own program; otherwise it is built")
    parser.add_argument("--nice", action="store_true", help="do not go before the machine's other work")
    parser.add_argument("--keep", action="store_true", help="keep zones, configurations and logs")
    parser.add_argument("--json", help="write everything to this file")
    args = parser.parse_args()
    args.peers = args.peers.split(",")
    if unknown := set(args.peers) - set(ADDRESSES) | set(args.workloads) - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return args


def build(args):
    """The paths of holdfast and of the bench's own program."""
    # Apart, because together the server would get the features that only tests want of its libraries.
    programs = {"wire": args.wire} if args.wire else cargo("--bench", "wire")
    return programs | ({"holdfast": str(pathlib.Path(args.binary).resolve())} if args.binary else cargo("--bin", "holdfast"))


def cargo(*wanted):
    """Builds; name and path of each program made."""
    done = subprocess.run(["cargo", "build", "--release", *wanted, "--message-format", "json"], cwd=ROOT_DIR, stdout=subprocess.PIPE, check=True, text=True)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in made if m["reason"] == "compiler-artifact" and m["executable"]}


def where(first):
    return (f"{os.cpu_count()} cores ({processor()}), Linux {os.uname().release}; core {SERVER_CORE}: the server under test; core {CLIENT_CORE}: the generator and what is behind the resolvers; "
            f"load of the machine before: {os.getloadavg()[0]:.1f}; {'before' if first else 'beside'} all other work")


class Lab:
    """The namespace, the servers, and what is behind them."""

    def __init__(self, directory, args, programs):
        self.dir, self.args, self.programs = directory, args, programs
        self.space = f"hfwire{os.getpid()}"
        self.children = Programs(directory)
        self.world = World(directory)
        self.processes, self.defaults = {}, {}
        # Random names of a run are those of no other.
        self.seed = time.time_ns() & 0xFFFFFFFFFFFF

    def make(self):
        begun = time.monotonic()
        self.world.build()
        for file in DEFAULTS:
            self.defaults[file] = file.read_text()
            file.write_text(str(BUFFER_BYTES))
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        # BIND listens at addresses that an interface has.
        for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo", *(f"ip address add {address}/32 dev lo" for address in ADDRESSES.values())):
            subprocess.run(["ip", "netns", "exec", self.space, *command.split()], check=True)
        for (name, address), command in zip({"roots": ROOTS[0], "leaf": LEAF}.items(), behind(self.dir / "behind", self.world)):
            self.processes[name] = self.children.run(self.space, name, command, core=CLIENT_CORE)
            self.children.wait(self.space, address, self.processes[name])
        print(f"zones made in {time.monotonic() - begun:.0f} s", flush=True)

    def start(self):
        """Starts everyone; they stay for all workloads."""
        for peer in self.args.peers:
            command = configure(peer, self.dir / peer, self.world, self.programs["holdfast"], self.args.threads)
            self.processes[peer] = self.children.run(self.space, peer, command, core=SERVER_CORE)
            self.children.wait(self.space, ADDRESSES[peer], self.processes[peer])

    def stop(self):
        for process in self.processes.values():
            for pid in tree(process):
                os.kill(pid, signal.SIGCONT)
        self.children.stop()
        if self.defaults:
            subprocess.run(["ip", "netns", "del", self.space], check=False)
        for file, text in self.defaults.items():
            file.write_text(text)

    def echo(self, size):
        """An echo whose answers have this size."""
        process = self.children.run(self.space, "echo", [self.programs["wire"], "echo", f"{ADDRESSES['echo']}:53", str(size), f"threads={self.args.threads}"], core=SERVER_CORE)
        self.children.wait(self.space, ADDRESSES["echo"], process)
        return process

    def load(self, peer, workload, *options):
        """One run of the generator; what it says."""
        done = subprocess.run(self.asking(peer, workload, *options), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{peer}: {done.stderr}")
        return json.loads(done.stdout)

    def asking(self, peer, workload, *options):
        """The command of a run of the generator."""
        self.seed += 1
        command = [self.programs["wire"], "load", f"{ADDRESSES[peer]}:53", str(self.dir / f"questions.{workload}"), f"seed={self.seed}", *options]
        return self.inside(*command, *(["any"] if peer == "echo" else []))

    def inside(self, *command):
        """A command in the namespace, beside the generator."""
        return ["ip", "netns", "exec", self.space, "taskset", "-c", str(CLIENT_CORE), *command]

    def alone(self, peer):
        """Nobody else but this server runs: what others still have to do after their turn would take its time."""
        for other, process in self.processes.items():
            if other in ADDRESSES:
                for pid in tree(process):
                    os.kill(pid, signal.SIGCONT if other == peer else signal.SIGSTOP)

    def timed(self, peer, workload, *options):
        """The same with the processor time of the server for each answer, in microseconds: of its own, and of the kernel for it."""
        self.alone(peer)
        before = times_s(self.processes[peer])
        run = self.load(peer, workload, *options)
        user, system = (after - earlier for after, earlier in zip(times_s(self.processes[peer]), before))
        answered = max(1, run["answered"])
        return run | {"user_us": user / answered * 1e6, "system_us": system / answered * 1e6, "core": (user + system) / run["seconds"]}

    def warm(self, peer, workload, max_s=WARM_MAX_S, *options):
        """Asks everything once, again until nothing is lost or wrong; the last run."""
        deadline = time.monotonic() + max_s
        for _ in range(WARM_PASSES_MAX):
            run = self.load(peer, workload, "each", f"seconds={max_s}", "window=64", "burst=1", *options)
            if run["lost"] + run["wrong"] == 0 or time.monotonic() > deadline:
                break
        return run


def measure(lab, workload, args):
    """Rounds in which all take turns, the one who begins changes; then half of the load."""
    print(f"\n{workload}: {WORKLOADS[workload]}", flush=True)
    sizes = {}
    for peer in args.peers:
        lab.alone(peer)
        once, run = lab.warm(peer, workload), lab.load(peer, workload, f"seconds={WARM_SECONDS}", f"window={args.window}")
        sizes[peer] = run["octets_mean"]
        if once["lost"] + once["wrong"] + run["wrong"]:
            print(f"  {peer} after warming: lost {once['lost']}, wrong {once['wrong']} and {run['wrong']}; {'; '.join((once['examples'] + run['examples'])[:2])}", flush=True)
    size = round(sizes.get("holdfast", statistics.median(sizes.values())))
    lab.processes["echo"] = lab.echo(size)
    everyone, runs = ["echo", *args.peers], []
    for number in range(args.rounds):
        for peer in everyone[number % len(everyone):] + everyone[:number % len(everyone)]:
            run = lab.timed(peer, workload, f"seconds={args.seconds}", f"window={args.window}") | {"peer": peer, "round": number + 1}
            runs.append(run)
            print(f"  round {number + 1} {peer:9} {run['qps']:8.0f} q/s  user {run['user_us']:.2f} system {run['system_us']:.2f} us  {run['core']:4.0%} of its core  p99 {run['p99_us'] / 1000:.1f} ms  lost {run['lost']} wrong {run['wrong']}"
                  f"  {'; '.join(run['examples'][:1])}", flush=True)
    rows = table(runs, everyone, args, size)
    faults = sum(run["wrong"] for run in runs if run["peer"] == "holdfast")
    if args.half:
        faults += half(lab, workload, rows, args)
    end(lab.processes.pop("echo"))
    return {"echo_octets": size, "table": rows, "runs": runs, "faults": faults}


def table(runs, everyone, args, size):
    """Medians, and the medians of the ratios to the echo of the same round."""
    of = lambda peer, key: [run[key] for run in sorted(runs, key=lambda run: run["round"]) if run["peer"] == peer]
    spread = lambda values: f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    rows = []
    print(f"  {args.rounds} rounds of {args.seconds:g} s, echo of {size} octets; ratios within a round: median (least-most)")
    print(f"  {'':9} {'q/s':>8} {'to echo':>17} {'cpu to echo':>17} {'user us':>8} {'system us':>9} {'octets':>7} {'p99 ms':>7} {'lost':>6} {'wrong':>6}")
    busy = {peer: [user + system for user, system in zip(of(peer, "user_us"), of(peer, "system_us"))] for peer in everyone}
    for peer in everyone:
        ratios = quotients(of(peer, "qps"), of("echo", "qps"))
        # By processor time: what other work of the machine took does not count.
        by_cpu = quotients(busy["echo"], busy[peer])
        row = {key: statistics.median(of(peer, key)) for key in ("qps", "user_us", "system_us", "octets_mean", "p99_us")}
        row |= {"peer": peer, "to_echo": statistics.median(ratios), "cpu_to_echo": statistics.median(by_cpu), "lost": sum(of(peer, "lost")), "wrong": sum(of(peer, "wrong"))}
        rows.append(row)
        print(f"  {peer:9} {row['qps']:8.0f} {spread(ratios):>17} {spread(by_cpu):>17} {row['user_us']:8.2f} {row['system_us']:9.2f} {row['octets_mean']:7.0f} {row['p99_us'] / 1000:7.1f} {row['lost']:6} "
              f"{row['wrong']:6}")
    if "holdfast" in everyone:
        for peer in ("unbound", "nsd"):
            if peer in everyone:
                ratios, by_cpu = quotients(of("holdfast", "qps"), of(peer, "qps")), quotients(busy[peer], busy["holdfast"])
                print(f"  holdfast to {peer}: {spread(ratios)}, by cpu {spread(by_cpu)}")
    return rows


def quotients(over, under):
    """Of each round; a round in which the machine stood still is nobody's and counts as 0."""
    return [a / b if b else 0 for a, b in zip(over, under)]


def half(lab, workload, rows, args):
    """Half of what each reached, on schedule: nothing may be lost."""
    lost = 0
    for row in rows:
        lab.alone(row["peer"])
        run = lab.load(row["peer"], workload, f"seconds={args.half}", f"rate={row['qps'] * HALF_LOAD:.0f}")
        row["half"] = run
        lost += run["lost"] if row["peer"] == "holdfast" else 0
        print(f"  half load {row['peer']:9} {run['qps']:8.0f} q/s  p50 {run['p50_us'] / 1000:.2f} p99 {run['p99_us'] / 1000:.2f} ms  lost {run['lost']} wrong {run['wrong']} unsent {run['unsent']}", flush=True)
    return lost


if __name__ == "__main__":
    sys.exit(main())
