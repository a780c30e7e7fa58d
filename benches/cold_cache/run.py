#!/usr/bin/env python3
"""Cold caches beside each other: holdfast, unbound, knot-resolver and pdns-recursor resolve the same names from nothing.

Why: what a resolver is worth shows when its cache is empty, for then every name costs packets, waiting and signatures. So the same
questions go to each, freshly started, over servers that are 5 ms away, in rounds that take turns, so that whatever the machine does
besides hits all alike. Then, with `memory`, what a cached RRset costs in the memory of the whole process.

Everything runs in one network namespace in which all of 10.0.0.0/8 is local. NSD serves root, TLDs and leaves at port 5300; the relay
stands at port 53 of the same addresses and adds the round trip. The resolver has one core for itself; relay, servers and clients share
the other. See benches/README.md.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT_DIR = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT_DIR / "benches" / "shared"))

from lab import Programs, busy_s, cargo, end, nsd_conf, processor, put_first, versions  # noqa: E402
from names import FILL, LEAVES, Names  # noqa: E402
from peers import PROGRAMS, configure  # noqa: E402

SITES = {"root": ["10.0.0.1", "10.0.0.2"], "tld": ["10.1.0.1", "10.1.0.2"], "leaf": LEAVES}
ADDRESSES = {"holdfast": "10.255.0.3", "unbound": "10.255.0.1", "kresd": "10.255.0.2", "pdns": "10.255.0.4"}
BACKEND_PORT = 5300
ASK_MAX_S = 150
RESOLVER_CORE, WORLD_CORE = 0, 1
MEMORY_PEERS = ["holdfast", "unbound", "pdns"]


def main():
    args = arguments()
    tools = ["ip", "nsd", "dig", "taskset", "ldns-signzone", "ldns-keygen", "ldns-key2ds", "dnssec-signzone", *(PROGRAMS[p] for p in args.peers if p in PROGRAMS)]
    missing = [tool for tool in tools if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if os.geteuid() != 0 or missing:
        sys.exit(f"the bench needs root and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    if os.cpu_count() < 2:
        sys.exit("the bench needs two cores: one for the resolver, one for everything else")
    programs = build(args)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    os.chmod(directory, 0o755)
    lab = Lab(directory, args, programs)
    try:
        lab.make()
        first = put_first()
        lab.start()
        result = {"what": args.what, "where": where(first), "rtt_ms": args.rtt, "zones": args.zones, "seed": args.seed, "versions": versions(args.peers, programs["holdfast"])}
        print(result["where"])
        result |= cold(lab, args) if args.what == "cold" else memory(lab, args)
    finally:
        lab.stop()
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))
    return 1 if result["faults"] else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["cold", "memory"], default="cold", help="cold caches, or memory per cached RRset")
    parser.add_argument("--names", type=int, default=20_000, help="cold: questions of one run")
    parser.add_argument("--zones", type=int, default=2500, help="second-level zones they lie in")
    parser.add_argument("--signed", type=float, default=0.5, help="part of the zones that is signed")
    parser.add_argument("--rtt", type=float, default=5.0, help="round trip to every server, ms")
    parser.add_argument("--windows", default="50,400", help="questions outstanding, one run for each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rrsets", type=int, default=200_000, help="memory: RRsets to fill the caches with")
    parser.add_argument("--peers", default="holdfast,unbound,kresd,pdns", help="who takes part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", help="the holdfast under test; built when absent")
    parser.add_argument("--keep", action="store_true", help="keep zones, configurations and logs")
    parser.add_argument("--json", help="write the results to this file instead of the last line")
    parser.add_argument("--profile", help="run holdfast under this command, such as 'perf record -o /tmp/perf.data'")
    args = parser.parse_args()
    args.peers = args.peers.split(",")
    unknown = set(args.peers) - set(ADDRESSES)
    if unknown:
        parser.error(f"unknown peer {', '.join(sorted(unknown))}")
    args.windows = [int(window) for window in args.windows.split(",")]
    return args


def build(args):
    """The paths of holdfast and of the bench's own program."""
    # Apart, because together the server would get the features that only tests want of its libraries.
    programs = cargo("--bench", "cold_cache")
    return programs | ({"holdfast": str(pathlib.Path(args.binary).resolve())} if args.binary else cargo("--bin", "holdfast"))


def where(first):
    return (f"{os.cpu_count()} cores ({processor()}); core {RESOLVER_CORE}: the resolver under test alone; core {WORLD_CORE}: relay, three NSD, clients; "
            f"load of the machine before: {os.getloadavg()[0]:.1f}; {'before' if first else 'beside'} all other work")


class Lab:
    """The namespace, the servers, the relay: all that stays while resolvers come and go."""

    def __init__(self, directory, args, programs):
        self.dir, self.args, self.programs = directory, args, programs
        self.space = f"hfbench{os.getpid()}"
        self.children = Programs(directory)
        self.relay = None
        self.serial = 0
        self.internet = Names(directory, args.seed, args.zones, args.names, args.signed)

    def make(self):
        begun = time.monotonic()
        self.internet.build()
        signed = sum(zone.denial is not None for zone in self.internet.all)
        print(f"{len(self.internet.all)} zones made, {signed} of them signed, in {time.monotonic() - begun:.0f} s", flush=True)
        self.questions = self.dir / "questions"
        self.questions.write_text("".join(f"{name} {rcode} {ad} {address}\n" for name, rcode, ad, address in self.internet.asked))

    def start(self):
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo"):
            subprocess.run(["ip", "netns", "exec", self.space, *command.split()], check=True)
        for site, addresses in SITES.items():
            self._nsd(site, addresses)
        every = [address for addresses in SITES.values() for address in addresses]
        self.relay = self.children.run(self.space, "relay", [self.programs["cold_cache"], "relay", str(self.args.rtt), str(BACKEND_PORT), *every], core=WORLD_CORE, pipes=True)
        for address in every:
            self.children.wait(self.space, address)

    def stop(self):
        self.children.stop()
        subprocess.run(["ip", "netns", "del", self.space], check=False)

    def _nsd(self, site, addresses):
        zones = [(zone.name, zone.file) for zone in self.internet.all if zone.site == site]
        command = nsd_conf(site, self.dir, addresses, zones, port=BACKEND_PORT, server="  do-ip6: no\n")
        self.children.run(self.space, f"nsd-{site}", command, core=WORLD_CORE)

    def resolver(self, peer):
        """A freshly started resolver; its directory, and so any cache on disk, is new."""
        self.serial += 1
        name = f"{peer}-{self.serial}"
        command = configure(peer, self.dir / name, ADDRESSES[peer], self.internet, self.programs["holdfast"])
        if peer == "holdfast" and self.args.profile:
            command = self.args.profile.split() + command
        process = self.children.run(self.space, name, command, core=RESOLVER_CORE)
        self.children.wait(self.space, ADDRESSES[peer], process)
        return process

    def relayed(self):
        """What the relay passed since the last call."""
        self.relay.stdin.write("\n")
        self.relay.stdin.flush()
        return json.loads(self.relay.stdout.readline())

    def ask(self, peer, window, questions):
        done = subprocess.run(["ip", "netns", "exec", self.space, "taskset", "-c", str(WORLD_CORE), self.programs["cold_cache"], "ask", ADDRESSES[peer],
                               str(window), str(questions)], capture_output=True, text=True, timeout=ASK_MAX_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{peer}: {done.stderr}")
        return json.loads(done.stdout)


def core_busy_s(core):
    """Seconds that a core of the machine was not idle."""
    line = next(line for line in open("/proc/stat") if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, *_ = (int(word) for word in line.split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


# Cold caches


def cold(lab, args):
    """Rounds in which all take turns; the one who begins changes."""
    runs, faults = [], 0
    for number in range(args.rounds):
        for window in args.windows:
            turn = args.peers[number % len(args.peers):] + args.peers[:number % len(args.peers)]
            for peer in turn:
                run = one_cold(lab, peer, window) | {"peer": peer, "round": number + 1, "window": window}
                faults += run["wrong"] + run["lost"] if peer == "holdfast" else 0
                runs.append(run)
                print(f"round {number + 1} window {window:4} {peer:9} {run['qps']:7} q/s  p50 {run['p50_ms']:7.2f}  p99 {run['p99_ms']:7.2f} ms  wrong {run['wrong']}, "
                      f"lost {run['lost']}  {run['packets_per_name']:.2f} packets/name  {run['cpu_us_per_name']:.0f} us cpu/name  {run['core_share']:.0%} of its core (cores {run['cores']})  relay late p99 "
                      f"{run['relay']['late_us_p99']} us, dropped {run['relay']['dropped']}  {'; '.join(run['examples'][:2])}", flush=True)
    table = [row for window in args.windows for row in cold_table([run for run in runs if run["window"] == window], args, window)]
    return {"names": args.names, "runs": runs, "table": table, "faults": faults}


def one_cold(lab, peer, window):
    process = lab.resolver(peer)
    lab.relayed()
    cpu, cores, begun = busy_s(process), [core_busy_s(0), core_busy_s(1)], time.monotonic()
    run = lab.ask(peer, window, lab.questions)
    time_s = time.monotonic() - begun
    cpu = busy_s(process) - cpu
    run["cores"] = " ".join(f"{(core_busy_s(core) - before) / time_s:.0%}" for core, before in enumerate(cores))
    run["core_share"] = cpu / time_s
    run["relay"] = lab.relayed()
    run["packets_per_name"] = run["relay"]["answered"] / run["questions"]
    run["cpu_us_per_name"] = cpu / run["questions"] * 1e6
    end(process)
    return run


def cold_table(runs, args, window):
    """Medians, and the medians of holdfast's ratio to the best peer of each round."""
    rows = []
    print(f"\n{args.names} names, {args.rtt:g} ms, {window} outstanding: medians of {args.rounds} rounds")
    print(f"  {'':9} {'q/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'packets/name':>13} {'us cpu/name':>12} {'of core':>8} {'wrong':>6} {'lost':>5}")
    for peer in args.peers:
        mine = [run for run in runs if run["peer"] == peer]
        row = {key: statistics.median(run[key] for run in mine) for key in ("qps", "p50_ms", "p99_ms", "packets_per_name", "cpu_us_per_name", "core_share")}
        row |= {"peer": peer, "window": window, "wrong": sum(run["wrong"] for run in mine), "lost": sum(run["lost"] for run in mine)}
        rows.append(row)
        print(f"  {peer:9} {row['qps']:8.0f} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f} {row['packets_per_name']:13.2f} {row['cpu_us_per_name']:12.0f} "
              f"{row['core_share']:8.0%} "
              f"{row['wrong']:6} {row['lost']:5}")
    if "holdfast" in args.peers and len(args.peers) > 1:
        faulty = [row["peer"] for row in rows[1:] if row["lost"] or row["wrong"]]
        if faulty:
            print(f"  {', '.join(faulty)}: questions lost or answered wrong, so no measure for the others")
        for key, best, sense in (("qps", max, "more is better"), ("p50_ms", min, "less is better"), ("p99_ms", min, "less is better")):
            ratios = []
            for number in range(1, args.rounds + 1):
                turn = {run["peer"]: run[key] for run in runs if run["round"] == number and run["peer"] not in faulty}
                ours = turn.pop("holdfast")
                ratios.append(ours / best(turn.values()) if turn else math.nan)
            rows[0][f"{key}_to_best"] = statistics.median(ratios)
            print(f"  {key} to the best peer of the round: {statistics.median(ratios):.2f} ({sense}; rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    return rows


# Memory


def memory(lab, args):
    """Distinct small RRsets through the real server; the difference in memory, divided."""
    expected = "0 0 192.0.2.1\n"
    warm, fill, again = (lab.dir / name for name in ("warm", "fill", "again"))
    warm.write_text("".join(f"warm{n}.wild.{FILL} {expected}" for n in range(2000)))
    fill.write_text("".join(f"host{n:07}.wild.{FILL} {expected}" for n in range(args.rrsets)))
    again.write_text("".join(f"host{n:07}.wild.{FILL} {expected}" for n in range(0, args.rrsets, max(1, args.rrsets // 5000))))
    rows, faults = [], 0
    print(f"\n{args.rrsets} RRsets of one A record, each at a name of its own of about 30 octets")
    for peer in (peer for peer in args.peers if peer in MEMORY_PEERS):
        process = lab.resolver(peer)
        lab.ask(peer, 100, warm)
        before = footprint(process)
        filled = lab.ask(peer, 400, fill)
        after = footprint(process)
        lab.relayed()
        kept = lab.ask(peer, 100, again)
        asked_anew = lab.relayed()["answered"]
        row = {"peer": peer, "wrong": filled["wrong"] + filled["lost"] + kept["wrong"] + kept["lost"], "asked_anew": asked_anew, "looked_up_again": kept["questions"]}
        for key in ("pss", "rss"):
            row |= {f"{key}_before": before[key], f"{key}_after": after[key], f"{key}_per_rrset": (after[key] - before[key]) / args.rrsets}
        rows.append(row)
        # What has left the cache makes the rest look cheap.
        faults += asked_anew > kept["questions"] // 100
        faults += row["wrong"] if peer == "holdfast" else 0
        print(f"  {peer:9} {row['pss_per_rrset']:6.0f} octets of PSS per RRset, {row['rss_per_rrset']:6.0f} of RSS  ({before['pss'] >> 20} -> {after['pss'] >> 20} MiB); of "
              f"{kept['questions']} asked again {asked_anew} had left the cache; wrong or lost {row['wrong']}", flush=True)
        end(process)
    return {"rrsets": args.rrsets, "table": rows, "faults": faults}


def footprint(process):
    """Octets of memory of the resolver."""
    rollup = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    found = {line.split(":")[0].lower(): int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith(("Pss:", "Rss:"))}
    return found


if __name__ == "__main__":
    sys.exit(main())
