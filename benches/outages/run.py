#!/usr/bin/env python3
"""The outages that holdfast was made for, beside its peers: who answers what can be answered, how fast, and how soon all is well again.

One internet (`world.py`) served by NSD in a network namespace, one namespace for each resolver, all of them under the same load at the same time, so
that every one meets the very same outage. `events.py` has the outages, `network.py` the cuts, `load.py` asks, `judge.py` counts. See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))

from events import EVENTS, PUBLISH_AT_S  # noqa: E402
from judge import Judge, Restart, summary, tables  # noqa: E402
from lab import Programs, busy_s, cargo, end, nsd_conf, processor, put_first, versions  # noqa: E402
from network import RESOLVER, Cut, Network  # noqa: E402
from resolvers import PEERS, PROGRAMS, configure  # noqa: E402
from world import KINDS, ROOTS, TLDS, VERSIONS, World, leaf_addresses, tld_addresses  # noqa: E402

# Each zone is asked about once within this time, so that every resolver has seen every delegation.
SWEEP_S = 15
# How often it is looked whether a restarted resolver listens, and for how long.
LISTEN_EVERY_S, LISTEN_MAX_S = 0.002, 30
# Between the start of the clients and the first question.
LEAD_S = 1.5
LOAD_AFTER_S = 20


def main():
    args = arguments()
    tools = ["ip", "nft", "nsd", "dig", "ldns-signzone", "ldns-keygen", "ldns-key2ds", "dnssec-signzone", *(PROGRAMS[p] for p in args.peers if p in PROGRAMS)]
    missing = [tool for tool in tools if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if os.geteuid() != 0 or missing:
        sys.exit(f"the bench needs root and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    binary = args.binary or cargo("--bin", "holdfast")["holdfast"]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-outages-"))
    os.chmod(directory, 0o755)
    result = {"seed": args.seed, "rate": args.rate, "zones": args.zones, "versions": versions(args.peers, binary), "events": []}
    # An end from outside takes everything down as any other.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        put_first()
        result["where"] = f"{os.cpu_count()} cores ({processor()}); load of the machine before: {os.getloadavg()[0]:.1f}"
        world = World(directory, args.seed, args.zones)
        begun = time.monotonic()
        world.build()
        print(f"{len(world.all)} zones made in {time.monotonic() - begun:.0f} s; {result['where']}", flush=True)
        for event in args.events:
            found = Run(directory / event.name, world, event, args, binary).play()
            result["events"].append(found)
            print(tables(found), flush=True)
            if args.json:
                pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
        print(f"\n{summary(result)}")
    finally:
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", nargs="*", help=f"of {', '.join(event.name for event in EVENTS)}; all without one")
    parser.add_argument("--peers", default=",".join(PEERS), help="the resolvers, all at the same time")
    parser.add_argument("--rate", type=int, default=300, help="questions per second to each resolver")
    parser.add_argument("--zones", type=int, default=400, help="second-level zones")
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the length of all phases; below 0.9 cuts do not outlive all TTLs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", help="the holdfast under test; otherwise it is built, in release form")
    parser.add_argument("--log-level", default="warn", help="of holdfast")
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


class Run:
    """One event: everything is made afresh for it and ends with it."""

    def __init__(self, directory, world, event, args, binary):
        directory.mkdir()
        self.dir, self.world, self.event, self.args, self.binary = directory, world, event, args, binary
        self.network, self.programs = Network(args.peers), Programs(directory)
        self.rng = random.Random(f"{args.seed} {event.name}")
        self.commands, self.resolvers, self.remarks = {}, {}, {}
        self.samples, self.busy, self.restarts, self.clients = [], {}, {}, {}
        self.timeline = self._timeline()
        self.seconds = self.timeline[-1][2]

    def play(self):
        """The event from beginning to end; what was found."""
        print(f"\n{self.event.name}: {self.event.title} ({self.seconds:.0f} s)", flush=True)
        try:
            self._start()
            asked = self._questions()
            t0 = time.monotonic() + LEAD_S
            self.clients = {peer: self._client(peer, t0) for peer in self.args.peers}
            self._follow(t0)
            deadline = time.monotonic() + LOAD_AFTER_S
            for client in self.clients.values():
                client.wait(max(1, deadline - time.monotonic()))
        finally:
            self.programs.stop()
            self.network.stop()
        judge = Judge(self.world, self.event, self.timeline, asked, self.samples)
        found = {peer: judge.judge(peer, self.dir / f"{peer}.results", self.restarts.get(peer)) for peer in self.args.peers}
        return {"name": self.event.name, "title": self.event.title, "remarks": self.remarks, "peers": found,
                "cpu_share": {peer: spent / self.seconds for peer, spent in self.busy.items()}}

    def _timeline(self):
        """(phase, from, to) in seconds from the first question."""
        timeline, at = [], 0.0
        for phase in self.event.phases:
            timeline.append((phase, at, at + phase.seconds * self.args.pace))
            at = timeline[-1][2]
        return timeline

    def _start(self):
        self.network.make()
        self._publish(VERSIONS[0])
        world = self.network.world
        tld = [a for _, _, region, number in TLDS for pair in tld_addresses(region, number) for a in pair if a]
        sites = {"root": ([a for pair in ROOTS for a in pair if a], [self.world.root]), "tld": (tld, self.world.tlds), "leaf": (leaf_addresses(), self.world.zones)}
        for site, (addresses, zones) in sites.items():
            command = nsd_conf(site, self.dir, addresses, [(zone.name, self._file(zone)) for zone in zones], server="  ip-transparent: yes\n",
                               zone_lines="  provide-xfr: 172.30.0.0/16 NOKEY\n")
            process = self.programs.run(world, f"nsd-{site}", command)
            if site == "leaf":
                self.leaf = process
            for address in addresses[:1] + addresses[-1:]:
                self.programs.wait(world, address)
        odd = self.programs.run(world, "odd", [sys.executable, str(HERE / "odd.py")], pipes=True)
        odd.stdout.readline()
        for peer in self.args.peers:
            self.commands[peer], remark = configure(peer, self.dir / peer, self.world, self.binary, self.args.log_level)
            if remark:
                self.remarks[peer] = remark
            self._resolver(peer)
        for peer in self.args.peers:
            self.programs.wait(self.network.spaces[peer], RESOLVER, self.resolvers[peer])

    def _file(self, zone):
        return self.dir / "live" / f"{zone.name}zone" if zone.site == "leaf" else self.world.dir / zone.file

    def _publish(self, version):
        """Puts a version of all second-level zones where NSD reads them."""
        live = self.dir / "live"
        live.mkdir(exist_ok=True)
        for zone in self.world.zones:
            made = live / f"{zone.name}new"
            shutil.copyfile(self.world.dir / f"v{version}" / f"{zone.name}zone", made)
            made.replace(live / f"{zone.name}zone")

    def _resolver(self, peer):
        before = self.resolvers.get(peer)
        watch = None
        if before is not None:
            self.busy[peer] = self.busy.get(peer, 0) + busy_s(before)
            restart = self.restarts[peer] = Restart(told=time.monotonic() - self.t0)
            watch = threading.Thread(target=self._watch, args=(peer, restart))
            watch.start()
            end(before)
            restart.ended = time.monotonic() - self.t0
        self.resolvers[peer] = self.programs.run(self.network.spaces[peer], peer, self.commands[peer])
        if watch is not None:
            watch.join()

    def _watch(self, peer, restart):
        """Notes when nobody listened for questions any more, and when somebody did again."""
        sockets = pathlib.Path(f"/proc/{self.clients[peer].pid}/net/udp")
        deadline = time.monotonic() + LISTEN_MAX_S
        while time.monotonic() < deadline and restart.opened is None:
            # Local addresses are the second word of each line: HEX:PORT.
            listens = any(line.split()[1].endswith(":0035") for line in sockets.read_text().splitlines()[1:])
            if restart.closed is None and not listens:
                restart.closed = time.monotonic() - self.t0
            elif restart.closed is not None and listens:
                restart.opened = time.monotonic() - self.t0
            time.sleep(LISTEN_EVERY_S)

    def _questions(self):
        """Draws all questions of the event, the same for every resolver; writes them down and returns (second, name)."""
        kinds = list(KINDS)
        shares = [KINDS[kind][0] for kind in kinds]
        weights = {kind: [1 / (rank + 1) for rank in range(len(self.world.names_by_kind[kind]))] for kind in kinds}
        # Bounded before drawing: that many exponential gaps, and what lies beyond the end is left out.
        count = int(self.args.rate * self.seconds * 1.1) + 100
        drawn = {kind: iter(self.rng.choices(self.world.names_by_kind[kind], weights[kind], k=count)) for kind in kinds}
        at, asked = 0.0, []
        for kind in self.rng.choices(kinds, shares, k=count):
            at += self.rng.expovariate(self.args.rate)
            asked.append((at, next(drawn[kind])))
        sweep = [zone.names[0] for zone in self.world.zones if zone.kind in KINDS]
        asked += [(SWEEP_S * self.args.pace * n / len(sweep), name) for n, name in enumerate(sweep)]
        asked = sorted(((at, name) for at, name in asked if at < self.seconds), key=lambda row: row[0])
        (self.dir / "questions").write_text("".join(f"{int(at * 1e6)} {name.number} {int(name.exists)} {name.text}\n" for at, name in asked))
        return asked

    def _client(self, peer, t0):
        command = [sys.executable, str(HERE / "load.py"), RESOLVER, str(self.dir / "questions"), str(self.dir / f"{peer}.results"), str(t0)]
        return self.programs.run(self.network.spaces[peer], f"load-{peer}", command)

    def _follow(self, t0):
        """Does what the timeline says when it is time, and counts packets each second."""
        self.t0 = t0
        steps = [(n, self._sample) for n in range(int(self.seconds) + 1)]
        for phase, begin, until in self.timeline:
            if phase.flap:
                cut_s, period_s = phase.flap
                for n in range(int((until - begin) / period_s)):
                    steps.append((begin + n * period_s, lambda p=phase: self.network.cut(p.cut)))
                    steps.append((begin + n * period_s + cut_s, lambda: self.network.cut(Cut())))
            else:
                steps.append((begin, lambda p=phase: self.network.cut(p.cut)))
            if phase.restart:
                steps.append((begin, self._restart))
            if phase.publish:
                steps.append((begin + PUBLISH_AT_S * self.args.pace, self._renew))
        for at, step in sorted(steps, key=lambda row: row[0]):
            time.sleep(max(0, t0 + at - time.monotonic()))
            step()
        time.sleep(max(0, t0 + self.seconds - time.monotonic()))
        self._sample()
        for peer, process in self.resolvers.items():
            self.busy[peer] = self.busy.get(peer, 0) + busy_s(process)

    def _sample(self):
        self.samples.append((time.monotonic() - self.t0, self.network.counts()))

    def _renew(self):
        self._publish(VERSIONS[1])
        # Reads again what has changed.
        self.leaf.send_signal(signal.SIGHUP)

    def _restart(self):
        threads = [threading.Thread(target=self._resolver, args=(peer,)) for peer in self.args.peers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
