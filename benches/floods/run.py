#!/usr/bin/env python3
"""Honest clients through floods: what they still get, how fast, and what the flood makes the server do to others; beside unbound and BIND.

One internet (`world.py`), one network of three namespaces (`network.py`), one server at a time on a core of its own. Each event (`events.py`) is calm first; then an attack comes that is
88 % of all questions, then one as strong as this machine can send. `limits.py` has what each server is told, `load.py` asks, `main.rs` attacks. See benches/README.md.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))

import peers as shared  # noqa: E402
from events import EVENTS, HONEST_PER_S, PHASES, Udp  # noqa: E402
from lab import Programs, busy_s, cargo, core_busy_s, end, nsd_conf, processor, put_first, self_signed, versions  # noqa: E402
from limits import more  # noqa: E402
from network import BESIDE, BESIDE_CLIENT, HAMMERED_PREFIX, HONEST, SERVER, Network  # noqa: E402
from world import SITES, TRAP, TRAP_SERVERS, TRAP_ZONE, VICTIM_UNSIGNED, World  # noqa: E402

PEERS = ["holdfast", "echo", "unbound", "bind"]
# Octets of the echo's answers: as many as an address and its question take.
ECHO_LEN = 80
BACKEND_PORT = 5300
RTT_MS, WEAK_RTT_MS, WEAK_PER_S = 10, 200, 300
SERVER_CORE, WORLD_CORE = 1, 0
ANY_RCODE = -1
ZONES, NAMES, POPULAR = 400, 14_000, 2000
# Of the honest questions: for names that nobody asked before; for names that exist in the zones of the victims.
UNCACHED_SHARE, VICTIMS_SHARE = 0.2, 0.02
# Questions a second to the echo that nobody attacks.
BESIDE_PER_S = 25
LEAD_S, LOAD_AFTER_S = 1.5, 20
CACHE_MIB = 256
TARGET_RIGHT, TARGET_P99 = 0.999, 3.0


def main():
    args = arguments()
    tools = ["ip", "nft", "nsd", "dig", "openssl", "taskset", "ldns-signzone", "ldns-keygen", "ldns-key2ds", "dnssec-signzone",
             *(shared.PROGRAMS[p] for p in args.peers if p in shared.PROGRAMS)]
    missing = [tool for tool in tools if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if os.geteuid() != 0 or missing or os.cpu_count() < 2:
        sys.exit(f"the bench needs root, two cores and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    binary = args.binary or cargo("--bin", "holdfast")["holdfast"]
    attacker = args.attacker or cargo("--bench", "floods")["floods"]
    echo = args.echo or cargo("--bench", "wire")["wire"]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-floods-"))
    os.chmod(directory, 0o755)
    result = {"seed": args.seed, "honest_per_s": HONEST_PER_S, "versions": versions([peer for peer in args.peers if peer != "echo"], binary), "runs": []}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(directory, args, binary, attacker, echo)
    try:
        put_first()
        result["where"] = (f"{os.cpu_count()} cores ({processor()}); core {SERVER_CORE}: the server under test; core {WORLD_CORE}: all else; "
                           f"load of the machine before: {os.getloadavg()[0]:.1f}")
        print(result["where"], flush=True)
        lab.start()
        for event in args.events:
            for peer in args.peers:
                if peer == "echo" and not isinstance(event.attack, Udp):
                    continue
                run = Run(lab, event, peer).play()
                result["runs"].append(run)
                print("\n".join(lines(run)), flush=True)
                if args.json:
                    pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
        print(f"\n{table(result)}")
    finally:
        lab.stop()
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", nargs="*", help=f"of {', '.join(event.name for event in EVENTS)}; all without one")
    parser.add_argument("--peers", default=",".join(PEERS), help="the servers, one after the other")
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the length of all phases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", help="the holdfast under test; otherwise it is built, in release form")
    parser.add_argument("--attacker", help="the attacking program; otherwise it is built, in release form")
    parser.add_argument("--echo", help="the program of the wire-speed bench, for its echo; otherwise it is built, in release form")
    parser.add_argument("--more", default="", help="further lines of holdfast's configuration")
    parser.add_argument("--keep", action="store_true", help="keep zones, configurations, logs and the outcome of each question")
    parser.add_argument("--json", help="write everything to this file")
    args = parser.parse_args()
    known = {event.name: event for event in EVENTS}
    args.peers = args.peers.split(",")
    if unknown := (set(args.events) - set(known)) | (set(args.peers) - set(PEERS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    args.events = [known[name] for name in args.events] or EVENTS
    args.binary = args.binary and str(pathlib.Path(args.binary).resolve())
    return args


class Lab:
    """Network and authoritative servers: all that stays while servers under test come and go."""

    def __init__(self, directory, args, binary, attacker, echo):
        self.dir, self.args, self.binary, self.attacker, self.echo = directory, args, binary, str(pathlib.Path(attacker).resolve()), str(pathlib.Path(echo).resolve())
        self.network, self.programs = Network(), Programs(directory)
        self.world = World(directory, args.seed, ZONES, NAMES)

    def start(self):
        begun = time.monotonic()
        self.world.build()
        print(f"{len(self.world.all)} zones made in {time.monotonic() - begun:.0f} s", flush=True)
        self.key, self.cert = self_signed(self.dir)
        self.network.make()
        space = self.network.world
        for site, addresses in SITES.items():
            zones = [(zone.name, zone.file) for zone in self.world.all if zone.site == site]
            self.programs.run(space, f"nsd-{site}", nsd_conf(site, self.dir, addresses, zones, port=BACKEND_PORT, server="  do-ip6: no\n"), core=WORLD_CORE)
        near = [address for site, addresses in SITES.items() if site != "weak" for address in addresses]
        for rtt, per_s, addresses in ((RTT_MS, 0, near), (WEAK_RTT_MS, WEAK_PER_S, SITES["weak"])):
            self.programs.run(space, f"relay-{rtt}", [self.attacker, "relay", str(rtt), str(per_s), str(BACKEND_PORT), *addresses], core=WORLD_CORE, pipes=True)
            for address in addresses:
                self.programs.wait(space, address)
        self.programs.run(self.network.server, "beside", [self.echo, "echo", f"{BESIDE}:53", str(ECHO_LEN)], core=WORLD_CORE)
        self.programs.run(space, "trap", [self.attacker, "trap", TRAP, TRAP_ZONE, str(TRAP_SERVERS), VICTIM_UNSIGNED], core=WORLD_CORE)

    def stop(self):
        self.programs.stop()
        self.network.stop()


class Run:
    """One event, one server."""

    def __init__(self, lab, event, peer):
        self.lab, self.event, self.peer = lab, event, peer
        self.dir = lab.dir / event.name / peer
        self.rng = random.Random(f"{lab.args.seed} {event.name}")
        self.phases, at = [], 0.0
        for name, seconds, attack in PHASES:
            self.phases.append((name, at, at + seconds * lab.args.pace, attack))
            at = self.phases[-1][2]
        self.seconds = at

    def play(self):
        """The event from beginning to end; what was found."""
        lab, network = self.lab, self.lab.network
        self.dir.parent.mkdir(exist_ok=True)
        conf = more(self.peer, lab.key, lab.cert)
        if self.peer == "holdfast":
            conf += lab.args.more.replace("\\n", "\n")
        if self.peer == "echo":
            self.dir.mkdir(parents=True)
            command = [lab.echo, "echo", f"{SERVER}:53", str(ECHO_LEN)]
        else:
            command = shared.configure(self.peer, self.dir, SERVER, lab.world, lab.binary, cache_mib=CACHE_MIB, more=conf)
        plan = self.plan()
        questions = self.dir / "questions"
        questions.write_text("".join(f"{int(at * 1e6)} {client} {transport} {self.expected(rcode)} {address} {name}\n" for at, _, client, transport, rcode, address, name in plan))
        server = lab.programs.run(network.server, f"{self.event.name}-{self.peer}", command, core=SERVER_CORE)
        try:
            if self.peer != "echo":
                lab.programs.wait(network.server, SERVER, server)
            t0 = time.monotonic() + LEAD_S
            results = self.dir / "results"
            client = lab.programs.run(network.clients, "load", [sys.executable, str(HERE / "load.py"), SERVER, BESIDE, str(questions), str(results), str(t0)], core=WORLD_CORE)
            samples, attacks = self.follow(t0, server)
            client.wait(LOAD_AFTER_S)
        finally:
            end(server)
        rows = [json.loads(line) for line in results.read_text().splitlines()]
        windows = []
        for n, (name, begin, until, _) in enumerate(self.phases):
            chosen = [(entry, row) for entry, row in zip(plan, rows) if begin <= entry[0] < until]
            windows.append({"phase": name} | outcomes(chosen) | difference(samples[n], samples[n + 1], attacks.get(name)))
        calm = next(w for w in windows if w["phase"] == "calm")
        for window in windows:
            for kind in ("cached", "uncached", "all", "beside"):
                mine, before = window[kind], calm[kind]
                mine["p99_to_calm"] = mine["p99_ms"] / before["p99_ms"] if mine["p99_ms"] and before["p99_ms"] else None
        return {"event": self.event.name, "title": self.event.title, "peer": self.peer, "windows": windows}

    def plan(self):
        """(second, kind, client, transport, rcode, address, name) of each honest question, the same for every server."""
        asked = self.lab.world.asked
        popular, fresh = asked[:POPULAR], iter(asked[POPULAR:])
        weights = [1 / (rank + 1) for rank in range(len(popular))]
        count = int(HONEST_PER_S * self.seconds * 1.1) + 100
        by_zipf = iter(self.rng.choices(popular, weights, k=count))
        over_tls = set(self.rng.sample(HONEST, int(len(HONEST) * self.event.tls)))
        rows, at = [], 0.0
        for _ in range(count):
            at += self.rng.expovariate(HONEST_PER_S)
            if at >= self.seconds:
                break
            draw = self.rng.random()
            if draw < VICTIMS_SHARE:
                kind, (name, rcode, _, address) = "victims", self.rng.choice(self.lab.world.of_victims)
            elif draw < VICTIMS_SHARE + UNCACHED_SHARE:
                kind, (name, rcode, _, address) = "uncached", next(fresh)
            else:
                kind, (name, rcode, _, address) = "cached", next(by_zipf)
            client = self.rng.choice(HONEST)
            draw = self.rng.random()
            transport = "tls" if client in over_tls or draw < self.event.seldom else "tcp" if draw < self.event.tcp else "udp"
            if kind != "victims" and self.event.name == "prefix" and client.startswith(HAMMERED_PREFIX):
                kind = "neighbours"
            rows.append((at, kind, client, transport, rcode, address, name))
        # Every popular name once, so that what is cached is cached.
        warm = self.phases[0][2] * 0.8
        rows += [(warm * n / len(popular), "warming", self.rng.choice(HONEST), "udp", rcode, address, name) for n, (name, rcode, _, address) in enumerate(popular)]
        count = int(BESIDE_PER_S * self.seconds)
        rows += [((n + self.rng.random()) / BESIDE_PER_S, "beside", BESIDE_CLIENT, "beside", ANY_RCODE, "-", popular[0][0]) for n in range(count)]
        return sorted(rows)

    def expected(self, rcode):
        """The response code that the server is held to; an echo is held to none."""
        return ANY_RCODE if self.peer == "echo" else rcode

    def follow(self, t0, server):
        """Attacks when it is time for it; counts at the borders of phases. What each attack says of itself is returned as well."""
        samples, attacks, running = [], {}, []
        for n, (name, begin, until, per_s) in enumerate(self.phases):
            time.sleep(max(0, t0 + begin - time.monotonic()))
            samples.append(self.sample(server))
            if per_s is not None:
                words = self.event.attack.command(round(until - begin - 0.3, 2), per_s, self.lab.args.seed + n)
                running.append((name, self.lab.programs.run(self.lab.network.clients, "attack", ["nice", "-n", "15", self.lab.attacker, *words], core=WORLD_CORE, pipes=True)))
        time.sleep(max(0, t0 + self.phases[-1][2] - time.monotonic()))
        samples.append(self.sample(server))
        for name, process in running:
            said, _ = process.communicate(timeout=LOAD_AFTER_S)
            attacks[name] = json.loads(said)
        return samples, attacks

    def sample(self, server):
        found = self.lab.network.counts() | {"cpu_s": busy_s(server) if server.poll() is None else 0.0, "core_s": core_busy_s(SERVER_CORE)}
        return found | {"at": time.monotonic()}


def outcomes(rows):
    """Shares and latencies by kind; `all` is the honest clients whose target it is: not the names of victims, nor neighbours of the attackers, which stand beside. Of these by transport, too."""
    groups = collections.defaultdict(list)
    for (_, kind, _, transport, *_), row in rows:
        groups[kind].append(row)
        if kind in ("cached", "uncached"):
            groups["all"].append(row)
            groups["udp" if transport == "udp" else "streams"].append(row)
    return {kind: outcome(groups[kind]) for kind in ("all", "cached", "uncached", "udp", "streams", "victims", "neighbours", "beside")}


def outcome(rows):
    count = collections.Counter(row[0] for row in rows)
    right = [row for row in rows if row[0] == "right"]
    ms = sorted(row[1] / 1e3 for row in right)
    at = lambda percent: ms[min(len(ms) - 1, int(len(ms) * percent / 100))] if ms else None
    late = sorted(row[3] / 1e3 for row in rows)
    return {"questions": len(rows), "right": len(right) / len(rows) if rows else None, "at_once": sum(row[2] == 1 for row in right) / len(rows) if rows else None,
            "p50_ms": at(50), "p99_ms": at(99), "late_ms_p99": late[int(len(late) * 0.99)] if late else None,
            **{kind: count[kind] for kind in ("servfail", "wrong", "timeout", "other")}}


def difference(before, after, attack):
    """What happened between two samples, per second where that makes sense."""
    seconds = after["at"] - before["at"]
    of = {key: after[key] - before[key] for key in before}
    found = {"upstream_per_s": of["upstream_packets"] / seconds, "overflowed_per_s": of["overflowed"] / seconds, "sieved_per_s": of["sieved"] / seconds, "cpu_share": of["cpu_s"] / seconds,
             "others_share": max(0.0, of["core_s"] - of["cpu_s"]) / seconds}
    if attack:
        found |= {"attack": attack, "attack_per_s": attack["sent"] / attack["seconds"]}
        if of["asked_octets"]:
            found |= {"amplification": of["told_octets"] / of["asked_octets"], "told_share": of["told_packets"] / of["asked_packets"]}
    return found


def share(value):
    """In percent; never rounded up to 100."""
    return "-" if value is None else "100" if value == 1 else f"{min(value * 100, 99.99):.2f}"


def number(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


HEAD = ["event", "server", "phase", "attack/s", "right %", "at once %", "SERVFAIL / wrong / timeout", "p50 ms", "p99 ms", "p99 cached", "p99 uncached", "p99 UDP", "p99 streams", "p99 to calm", "victims' names %", "neighbours %",
        "upstream/s", "told / asked octets", "lost before the server/s", "sieved/s", "of core", "others there", "beside p99 ms"]


def lines(run):
    """The rows of one run."""
    found = []
    for window in run["windows"]:
        if window["phase"] == "warm":
            continue
        every = window["all"]
        failed = f"{every['servfail']} / {every['wrong'] + every['other']} / {every['timeout']}"
        cells = [run["event"], run["peer"], window["phase"], number(window.get("attack_per_s"), 0), share(every["right"]), share(every["at_once"]), failed, number(every["p50_ms"]),
                 number(every["p99_ms"]), number(window["cached"]["p99_ms"]), number(window["uncached"]["p99_ms"]), number(window["udp"]["p99_ms"]), number(window["streams"]["p99_ms"]), number(every["p99_to_calm"], 2), share(window["victims"]["right"]),
                 share(window["neighbours"]["right"]), number(window["upstream_per_s"], 0), number(window.get("amplification"), 2), number(window["overflowed_per_s"], 0), number(window["sieved_per_s"], 0), f"{window['cpu_share']:.0%}",
                 f"{window['others_share']:.0%}", number(window["beside"]["p99_ms"])]
        found.append(f"| {' | '.join(cells)} |")
    return found


def beside_echo(result):
    """p99 at each attack, and by how much it is more than when it is calm, beside the echo's: what this machine lets any server show."""
    ratios = {(run["event"], window["phase"], run["peer"]): window["all"] for run in result["runs"] for window in run["windows"] if window.get("attack")}
    found = []
    for (event, phase, peer), every in ratios.items():
        echo = ratios.get((event, phase, "echo"))
        if peer != "echo" and echo and every["p99_ms"] and echo["p99_ms"]:
            found.append(f"{event}, {phase}: p99 {number(every['p99_to_calm'], 2)} times the calm one ({number(every['p99_ms'])} ms), with {peer}; "
                         f"{number(echo['p99_to_calm'], 2)} times ({number(echo['p99_ms'])} ms) with the echo")
    return found


def table(result):
    """One table of everything, and what of holdfast misses a target."""
    rows = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    missed = []
    for run in result["runs"]:
        rows += lines(run)
        for window in run["windows"]:
            if run["peer"] == "holdfast" and window.get("attack"):
                every = window["all"]
                if (every["right"] or 0) <= TARGET_RIGHT or (every["p99_to_calm"] or 99) > TARGET_P99:
                    missed.append(f"{run['event']}, {window['phase']}: {share(every['right'])} % right, p99 {number(every['p99_to_calm'], 2)} times the calm one")
    rows += ["", *beside_echo(result)]
    return "\n".join(rows + [""] + (["holdfast misses (over 99.9 % right, p99 within three times the calm one):", *missed] if missed else ["holdfast meets every target"]))


if __name__ == "__main__":
    sys.exit(main())
