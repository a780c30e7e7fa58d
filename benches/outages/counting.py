#!/usr/bin/env python3
"""What counting names and a shadow drill cost: questions per second out of the cache, with and without.

The internet and the network are those of `run.py`. Three variants of holdfast (names not counted, counted, counted with a shadow drill) are started beside each
other and take turns, in rounds: dnsperf asks one of them, from another core, for names that are in its cache, as fast as it can. See benches/README.md.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))
sys.path.insert(0, str(HERE))

import alone  # noqa: E402
import run as outages  # noqa: E402
from events import Event  # noqa: E402
from lab import busy_s  # noqa: E402
from network import RESOLVER, Network  # noqa: E402
from rehearsal import Rehearsal  # noqa: E402
from resolvers import configure  # noqa: E402
from world import KINDS  # noqa: E402

OFF, ON, SHADOW = "off", "on", "shadow"
VARIANTS = (OFF, ON, SHADOW)
NAMES = 2000
# The drill's judgements of all names are over by then.
WARM_ROUNDS = 3


class Counting(Rehearsal):
    """Three of them, each in a namespace of its own."""

    def __init__(self, directory, world, args, binary):
        outages.Run.__init__(self, directory, world, Event("counting", "the cost of counting names"), args, binary)
        self.network = Network(list(VARIANTS))

    def _start(self):
        peers, self.args.peers = self.args.peers, []
        super()._start()
        self.args.peers = peers
        for variant in VARIANTS:
            self.commands[variant], _ = configure("holdfast", self.dir / variant, self.world, self.binary)
            config = self.dir / variant / "config.toml"
            text = re.sub(r"ttl_min_s = \d+\n", "", config.read_text())
            text = text.replace("[cache]\n", "[cache]\nttl_min_s = 3600\n")
            text += f"[reachability]\nprobe = false\ndomestic = [\"10.64.0.0/10\"]\n[names]\nenabled = {'false' if variant == OFF else 'true'}\n"
            config.write_text(text)
            outages.Run._resolver(self, variant)
        for variant in VARIANTS:
            self.programs.wait(self.network.spaces[variant], RESOLVER, self.resolvers[variant])

    def measure(self):
        """Per variant a list of (questions per second, microseconds of processor time per question)."""
        names = [name for kind in KINDS for name in self.world.names_by_kind[kind] if name.exists and not name.zone.denial][:NAMES]
        (self.dir / "names").write_text("".join(f"{name.text} A\n" for name in names))
        found = {variant: [] for variant in VARIANTS}
        try:
            self._start()
            for variant in VARIANTS:
                for _ in range(WARM_ROUNDS):
                    self._ask(variant, 3)
            self.control(SHADOW, "drill", "start", "--isolation", "--shadow", "--for", "1h")
            self._ask(SHADOW, 20)
            for _ in range(self.args.rounds):
                for variant in VARIANTS:
                    found[variant].append(self._ask(variant, self.args.seconds))
            print(self.control(SHADOW, "drill", "report").splitlines()[1].strip())
        finally:
            self.programs.stop()
            self.network.stop()
        return found

    def control(self, variant, *command):
        line = ["ip", "netns", "exec", self.network.spaces[variant], self.binary, "--config", str(self.dir / variant / "config.toml"), *command]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    def _ask(self, variant, seconds):
        process = self.resolvers[variant]
        subprocess.run(["taskset", "-acp", "0", str(process.pid)], capture_output=True, check=True)
        before = busy_s(process)
        line = ["ip", "netns", "exec", self.network.spaces[variant], "taskset", "-c", "1", "dnsperf", "-s", RESOLVER, "-d", str(self.dir / "names"), "-l", str(seconds),
                "-c", "4", "-q", "200"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        completed = int(re.search(r"Queries completed:\s+(\d+)", done.stdout)[1])
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", done.stdout)[1])
        return rate, (busy_s(process) - before) / max(1, completed) * 1e6


def main():
    args = arguments()
    found = alone.in_a_world("counting", args, lambda directory, world, binary: Counting(directory, world, args, binary).measure(), "dnsperf")
    for variant in VARIANTS:
        # Within a round, so that what else the machine does touches all of them.
        ratios = [of[0] / base[0] for of, base in zip(found[variant], found[OFF])]
        rate, cost = (statistics.median(row[n] for row in found[variant]) for n in (0, 1))
        print(f"{variant:<7} {rate:9.0f} q/s  {cost:6.2f} us cpu/question  ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    alone.options(parser, zones=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each variant in a round")
    args = alone.parsed(parser)
    args.rate, args.pace, args.log_level = 100, 1.0, "warn"
    return args


if __name__ == "__main__":
    sys.exit(main())
