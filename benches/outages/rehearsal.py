#!/usr/bin/env python3
"""A national isolation rehearsed and then made: does the shadow drill foretell what the drill shows, and the drill what the cut does?

The internet, the network and the load are those of `run.py`. The same questions at the same pace come four times: calm, during a shadow drill, during a
drill, and after a real cut. Then it is tried whether `drill stop`, a restart and the bound on failures end a drill. See benches/README.md.

Exit code 1: an answer changed in the shadow drill, the three shares lie more than a percent of the queries apart, or a drill did not end.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))
sys.path.insert(0, str(HERE))

import alone  # noqa: E402
import run as outages  # noqa: E402
from events import Event, Phase  # noqa: E402
from load import CLIENT_MAX_S, RECORD, RIGHT  # noqa: E402
from network import Cut, drop  # noqa: E402
from world import SETS  # noqa: E402

PEER = "holdfast"
# What is asked alike in each of them. The first part is left out of the shares: what is cached lives on until its TTL has run out; and the last one, for who
# still waits when the network returns is answered after all.
WINDOW_S, SETTLED_S = 110, 70
REST_S = 25
# Of the real drill, which is not to be given up; and of the one that is.
NEVER, SOON = "100%", "2%"
AGREE_WITHIN = 0.01
JUDGED_WITHIN_S = 240
WINDOWS = ("calm", "shadow", "drill", "cut")
TRIAL_S = 30


def event():
    """Calm, shadow drill, drill, cut, each after a rest; then the trials of ends."""
    cut = Cut(drop("abroad"))
    return Event("rehearsal", "national isolation: in the shadow, rehearsed, and real",
                 Phase("calm", WINDOW_S), Phase("rest 1", REST_S), Phase("shadow", WINDOW_S), Phase("rest 2", REST_S), Phase("drill", WINDOW_S),
                 Phase("rest 3", REST_S + 20), Phase("cut", WINDOW_S, cut, dead=["abroad"]), Phase("rest 4", REST_S + 20),
                 Phase("bound", TRIAL_S + 15), Phase("restart", TRIAL_S))


class Rehearsal(outages.Run):
    """Plays it to holdfast alone."""

    def __init__(self, directory, world, args, binary):
        super().__init__(directory, world, event(), args, binary)
        self.begins = {phase.name: begin for phase, begin, _ in self.timeline}
        self.reports, self.ends, self.faults, self.threads = {}, {}, [], []

    def _resolver(self, peer):
        config = self.dir / peer / "config.toml"
        text = config.read_text()
        if "domestic" not in text:
            # Old answers would save nearly everything; what is to be foretold is what is lost.
            stale = "true" if self.args.stale else "false"
            text = re.sub(r"\[stale\]\nenabled = \w+", f"[stale]\nenabled = {stale}", text)
            text += f"[reachability]\ndomestic = {json.dumps(SETS['home'])}\n[names]\nenabled = {'false' if self.args.no_names else 'true'}\n"
            config.write_text(text)
        super()._resolver(peer)

    def _questions(self):
        """As for any event, but that the windows have the same ones."""
        asked = super()._questions()
        at = self.begins["calm"]
        block = [(second - at, name) for second, name in asked if at <= second < at + self.length()]
        begins = [self.begins[window] for window in WINDOWS]
        outside = [row for row in asked if not any(begin <= row[0] < begin + self.length() for begin in begins)]
        asked = sorted(outside + [(begin + second, name) for begin in begins for second, name in block], key=lambda row: row[0])
        (self.dir / "questions").write_text("".join(f"{int(at * 1e6)} {name.number} {int(name.exists)} {name.text}\n" for at, name in asked))
        return asked

    def length(self):
        return WINDOW_S * self.args.pace

    def _follow(self, t0):
        commands = [
            (self.begins["shadow"], lambda: self.holdfast("drill", "start", "--isolation", "--shadow", "--for", "1h")),
            (self.begins["rest 2"], lambda: self._end("shadow")),
            (self.begins["drill"], lambda: self.holdfast("drill", "start", "--isolation", "--for", "1h", "--abort-at", NEVER)),
            (self.begins["rest 3"], lambda: self._end("drill")),
            (self.begins["bound"], lambda: self.holdfast("drill", "start", "--isolation", "--for", "1h", "--abort-at", SOON)),
            (self.begins["restart"] - 1, lambda: self._note("bound", self.drill_state())),
            (self.begins["restart"], lambda: self.holdfast("drill", "start", "--isolation", "--for", "1h", "--abort-at", NEVER)),
            (self.begins["restart"] + 5, lambda: self._note("before restart", self.drill_state())),
            (self.begins["restart"] + 6, lambda: self._resolver(PEER)),
            (self.begins["restart"] + 9, lambda: self._note("after restart", self.drill_state())),
        ]
        # What takes its time must not hold up the cut.
        aside = threading.Thread(target=self._at, args=(t0, commands))
        aside.start()
        super()._follow(t0)
        aside.join()

    def _at(self, t0, commands):
        for at, command in commands:
            time.sleep(max(0, t0 + at - time.monotonic()))
            try:
                command()
            except (RuntimeError, OSError) as error:
                self.faults.append(f"at {at:.0f} s: {error}")

    def holdfast(self, *command, may_fail=False):
        """A command to the running server; its answer."""
        line = [self.binary, "--config", str(self.dir / PEER / "config.toml"), "--json", *command]
        done = subprocess.run(["ip", "netns", "exec", self.network.spaces[PEER], *line], capture_output=True, text=True, check=False)
        if done.returncode and not may_fail:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def drill_state(self):
        """The last drill, or nothing."""
        found = self.holdfast("drill", "report", may_fail=True)
        return {key: found.get(key) for key in ("running", "ended", "asked", "failed", "failed_share")}

    def _note(self, what, state):
        self.ends[what] = state

    def _end(self, name):
        """Stops the drill, and waits until all is judged."""
        self.ends[name] = self.holdfast("drill", "stop")
        deadline = time.monotonic() + JUDGED_WITHIN_S
        # Only the first one can take that long: the next drill waits for nobody.
        limit = time.monotonic() + (REST_S + (0 if name == "shadow" else 20)) * self.args.pace - 1
        while True:
            report = self.holdfast("drill", "report")
            if report["waiting"] == 0 or time.monotonic() > min(limit, deadline):
                self.reports[name] = report
                return
            time.sleep(0.5)

    def play(self):
        """The whole; what was found, and what is wrong with it."""
        print(f"{self.event.title} ({self.seconds:.0f} s)", flush=True)
        try:
            self._start()
            self._questions()
            t0 = time.monotonic() + outages.LEAD_S
            client = self._client(PEER, t0)
            self._follow(t0)
            client.wait(outages.LOAD_AFTER_S)
        finally:
            self.programs.stop()
            self.network.stop()
        rows = [(us / 1e6, number, outcome, detail, latency / 1e3) for us, number, outcome, detail, _, latency, _ in RECORD.iter_unpack((self.dir / f"{PEER}.results").read_bytes())]
        return self.judge(rows)

    def judge(self, rows):
        """Numbers, and faults in words."""
        windows = {}
        for name in WINDOWS:
            begin = self.begins[name]
            windows[name] = [row for row in rows if begin <= row[0] < begin + self.length()]
        settled, until = SETTLED_S * self.args.pace, self.length() - CLIENT_MAX_S - 1

        def part(name):
            return [row for row in windows[name] if settled <= row[0] - self.begins[name] < until]
        answered = {name: share([row[2] == RIGHT for row in part(name)]) for name in WINDOWS}
        late = {name: percentile([row[4] for row in part(name)], 99) for name in WINDOWS}
        # The same questions in the same order. What the calm itself has lost, on a busy machine, nobody has changed.
        kept = zip(windows["calm"], windows["shadow"])
        changed = [self.world.names[a[1]].text for a, b in kept if a[2] == RIGHT and (a[1:4] != b[1:4])]
        foretold = {name: report["report"]["survive"]["queries_share"] for name, report in self.reports.items()}
        found = {"answered": answered, "p99_ms": late, "p99_ratio": late["shadow"] / late["calm"], "changed": len(changed), "foretold": foretold, "ends": self.ends,
                 "judged": {name: report["report"]["names"] for name, report in self.reports.items()},
                 "waiting": {name: report["waiting"] for name, report in self.reports.items()},
                 "causes": {name: {row["cause"]: row["names"] for row in report["report"]["causes"]} for name, report in self.reports.items()},
                 "questions": {name: len(of) for name, of in windows.items()}}
        faults = self.faults
        if len(windows["calm"]) != len(windows["shadow"]) or changed:
            faults.append(f"{len(changed)} answers changed in the shadow drill: {', '.join(changed[:5])}")
        three = {"shadow report": foretold["shadow"], "drill report": foretold["drill"], "drill, clients": answered["drill"], "cut, clients": answered["cut"]}
        found["three"] = three
        apart = max(three.values()) - min(three.values())
        if apart > AGREE_WITHIN:
            faults.append(f"the shares lie {apart:.2%} apart: {three}")
        if not 0.02 < three["cut, clients"] < 0.98:
            faults.append("hardly anything was lost, or hardly anything lived: the agreement says nothing")
        faults += [f"not everything was judged: {name}" for name, left in found["waiting"].items() if left]
        for name, is_sound in (("shadow", lambda s: not s["running"] and s["ended"] == "stopped"), ("drill", lambda s: not s["running"] and s["ended"] == "stopped"),
                               ("bound", lambda s: s["running"] is False and "given up" in s["ended"]), ("before restart", lambda s: s["running"] is True),
                               ("after restart", lambda s: s["running"] is None)):
            if name not in self.ends or not is_sound(self.ends[name]):
                faults.append(f"end of a drill, {name}: {self.ends.get(name)}")
        found["faults"] = faults
        return found


def share(flags):
    return sum(flags) / len(flags) if flags else 0.0


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0


def main():
    args = arguments()
    found = alone.in_a_world("rehearsal", args, lambda directory, world, binary: Rehearsal(directory, world, args, binary).play())
    for name, value in found["three"].items():
        print(f"survives by {name:<16} {value:8.2%}")
    print(f"p99 calm {found['p99_ms']['calm']:.2f} ms, in the shadow drill {found['p99_ms']['shadow']:.2f} ms: ratio {found['p99_ratio']:.2f}")
    print(f"answers changed in the shadow drill: {found['changed']} of {found['questions']['shadow']}; judged {found['judged']}, lost by cause {found['causes']}")
    print(f"given up at the bound: {found['ends'].get('bound')}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    for fault in found["faults"]:
        print(f"WRONG: {fault}")
    return 1 if found["faults"] else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    alone.options(parser, zones=400)
    parser.add_argument("--rate", type=int, default=300, help="questions per second")
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the length of all phases; below 1 a window does not outlive all TTLs")
    parser.add_argument("--stale", action="store_true", help="with old answers, which save nearly everything")
    parser.add_argument("--no-names", action="store_true", help="without counting names")
    parser.add_argument("--log-level", default="warn", help="of holdfast")
    parser.add_argument("--json", help="write everything to this file")
    return alone.parsed(parser)


if __name__ == "__main__":
    sys.exit(main())
