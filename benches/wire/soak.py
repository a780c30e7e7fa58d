"""Long under load: 70 % of what holdfast reaches, while zones change, drills run and the configuration is read again.

Every minute: a new version of a zone of holdfast's own, taken up by a reload; a new version of the root, which the mirror fetches and verifies; and 20 s of drill, a cut of the
root's servers and a shadow drill of an isolation in turn. No question may go unanswered or be answered otherwise than before, and neither
memory nor descriptors may grow.
"""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import time

from lab import busy_s, stolen_s
from servers import ADDRESSES, SERVER_CORE, configure, holdfast

SHARE = 0.7
# Full within the first minutes, so that what still grows is no cache.
CACHE_MIB = 32
RATE_RUNS, RATE_SECONDS = 3, 3
MINUTE_S, REPORT_S, SAMPLE_S = 60, 5, 2
DRILL_S = 20
# How the log tells of a question that came to nothing and of a queue that is too long, and how much of that is printed.
TOLD, TOLD_MAX = ("SERVFAIL", " is taken"), 4000
# Between the last two quarters of the time.
GROWTH_MAX, DESCRIPTORS_MAX = 1.03, 4
# Of the load that was meant, a machine with other work may put off so much.
ASKED_MIN = 0.95
# Before that caches still fill.
GROWTH_AFTER_MIN = 8
# Places of sums in a sample.
CPU, STOLEN = 4, 5


def run(lab, args):
    """Plays it; what was seen in each minute, and faults."""
    minutes = max(1, round(args.soak))
    print(f"\nsoak: {minutes} versions of the root are signed", flush=True)
    later = [lab.world.later_root(n + 1) for n in range(minutes)]
    lab.world.own_zone(1)
    # What an isolation leaves: the servers of the TLD wire.
    own = f"[reachability]\ndomestic = [\"10.1.0.0/16\"]\n[[zone]]\nname = \"own.\"\nfile = \"{lab.dir}/own.zone\"\n"
    command = configure("holdfast", lab.dir / "holdfast", lab.world, lab.programs["holdfast"], cache_mib=CACHE_MIB, more=holdfast() + own)
    # One question in a hundred million that comes to nothing is to be found in the log.
    config = lab.dir / "holdfast" / "config.toml"
    config.write_text(config.read_text().replace("level = \"warn\"\n", "level = \"info\"\nservfail = true\n"))
    process = lab.processes["holdfast"] = lab.children.run(lab.space, "holdfast", command, core=SERVER_CORE)
    lab.children.wait(lab.space, ADDRESSES["holdfast"], process)
    lab.warm("holdfast", "soak")
    rate = SHARE * statistics.median(lab.load("holdfast", "soak", f"seconds={RATE_SECONDS}", f"window={args.window}")["qps"] for _ in range(RATE_RUNS))
    print(f"  {rate:.0f} questions a second for {minutes} minutes", flush=True)
    # To a file: half an hour of reports is more than a pipe holds while nobody reads it.
    reports = lab.dir / "reports"
    with reports.open("w") as out:
        load = subprocess.Popen(lab.asking("holdfast", "soak", f"seconds={minutes * MINUTE_S}", f"rate={rate:.0f}", f"report={REPORT_S}"), stdout=out)
    soak = Soak(lab, process, later)
    try:
        for minute in range(minutes):
            soak.minute(minute)
        load.wait(timeout=MINUTE_S)
    finally:
        load.kill()
        load.wait()
    said = [json.loads(line) for line in reports.read_text().splitlines()]
    if said[-1]["wrong"] or said[-1]["lost"]:
        print("".join(f"  {line}\n" for line in (lab.dir / "holdfast.log").read_text().splitlines() if any(what in line for what in TOLD))[:TOLD_MAX])
    return judge(soak, said, rate)


class Soak:
    """What is done to the server meanwhile, and what it takes."""

    def __init__(self, lab, process, later):
        self.lab, self.process, self.later = lab, process, later
        self.samples, self.failed = [], []
        self.begun = time.monotonic()

    def minute(self, number):
        begin = self.begun + number * MINUTE_S
        drill = ["--zone", "."] if number % 2 == 0 else ["--isolation", "--shadow"]
        for at_s, action in ((5, lambda: self.reload(number + 2)), (15, lambda: self.publish(number)), (20, lambda: self.fetch(number)),
                             (30, lambda: self.control("drill", "start", *drill, "--for", f"{DRILL_S}s"))):
            self.wait(begin + at_s)
            action()
        self.wait(begin + MINUTE_S)

    def wait(self, until):
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError("holdfast has ended; logs with --keep")
            self.samples.append((time.monotonic() - self.begun, *taken(self.process.pid), busy_s(self.process), stolen_s(SERVER_CORE)))
            time.sleep(max(0, min(SAMPLE_S, until - time.monotonic())))

    def reload(self, version):
        self.lab.world.own_zone(version)
        os.kill(self.process.pid, signal.SIGHUP)

    def publish(self, number):
        shutil.copyfile(self.later[number][0], self.lab.dir / "root.zone")
        os.kill(self.lab.processes["roots"].pid, signal.SIGHUP)

    def fetch(self, number):
        self.control("mirror", "refresh", ".")
        shown = self.control("mirror", "show", ".", "--json")
        current = [version["serial"] for version in json.loads(shown or "[]") if version["state"] == "current"]
        if list(map(str, current)) != [self.later[number][1]]:
            self.failed.append(f"minute {number}: current is {current}, not {self.later[number][1]}")

    def control(self, *command):
        config = str(self.lab.dir / "holdfast" / "config.toml")
        done = subprocess.run(self.lab.inside(self.lab.programs["holdfast"], "--config", config, *command), capture_output=True, text=True, check=False)
        if done.returncode:
            self.failed.append(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout


def taken(pid):
    """Octets of memory of its own, octets of files in memory, descriptors."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    kib = lambda key: int(status[key].split()[0])
    return kib("RssAnon") << 10, kib("RssFile") << 10, len(os.listdir(f"/proc/{pid}/fd"))


def per_s(samples, index, begin, end):
    """How much a sum grew in a second, between the samples around this time."""
    before = [s for s in samples if s[0] <= begin][-1:] or samples[:1]
    after = [s for s in samples if s[0] >= end][:1] or samples[-1:]
    return (after[0][index] - before[0][index]) / max(after[0][0] - before[0][0], 0.001)


def judge(soak, said, rate):
    faults = [*soak.failed]
    keys = ("answered", "lost", "wrong", "put_off")
    parts = [{key: now[key] - before[key] for key in keys} for before, now in zip([dict.fromkeys(keys, 0), *said], said)]
    print(f"  {'minute':>6} {'answered':>10} {'lost':>6} {'wrong':>6} {'put off':>8} {'us cpu':>6} {'stolen':>6} {'anon MiB':>9} {'file MiB':>9} {'fds':>5}  lost at (us cpu, stolen)")
    rows, each = [], MINUTE_S // REPORT_S
    for number in range(0, len(parts), each):
        row = {key: sum(part[key] for part in parts[number:number + each]) for key in keys}
        begin_s = number * REPORT_S
        taken_then = [sample for sample in soak.samples if begin_s <= sample[0] < begin_s + MINUTE_S] or soak.samples[-1:]
        row |= {"anon": max(s[1] for s in taken_then), "file": max(s[2] for s in taken_then), "descriptors": max(s[3] for s in taken_then)}
        # What an answer costs the process, and what the host takes of its core: both say whether the machine is what it was.
        cost = lambda begin, end, answered: (per_s(soak.samples, CPU, begin, end) * (end - begin) * 1e6 / max(answered, 1), per_s(soak.samples, STOLEN, begin, end))
        row["cpu_us"], row["stolen"] = cost(begin_s, begin_s + MINUTE_S, row["answered"])
        row["lost_at"] = [(n * REPORT_S, part["lost"], *cost(begin_s + n * REPORT_S, begin_s + (n + 1) * REPORT_S, part["answered"]))
                          for n, part in enumerate(parts[number:number + each]) if part["lost"]]
        rows.append(row)
        print(f"  {number // each + 1:6} {row['answered']:10} {row['lost']:6} {row['wrong']:6} {row['put_off']:8} {row['cpu_us']:6.2f} {row['stolen']:6.1%} {row['anon'] / 2**20:9.1f} {row['file'] / 2**20:9.1f} {row['descriptors']:5}  "
              + ", ".join(f"{at} s: {lost} ({cpu_us:.2f}, {stolen:.1%})" for at, lost, cpu_us, stolen in row["lost_at"]))
    last = said[-1]
    print(f"  in all {last['answered']} answered, {last['lost']} lost, {last['wrong']} wrong, {last['unsent']} unsent; p99 {last['p99_us'] / 1000:.1f} ms; {'; '.join(last['examples'][:3])}")
    if last["lost"] or last["wrong"]:
        faults.append(f"{last['lost']} lost, {last['wrong']} wrong")
    if last["answered"] < ASKED_MIN * rate * len(rows) * MINUTE_S:
        faults.append(f"the load was not kept up: {last['answered']} of {rate * len(rows) * MINUTE_S:.0f} asked")
    end = soak.samples[-1][0]
    third, fourth = ([s for s in soak.samples if low * end <= s[0] <= high * end] for low, high in ((0.5, 0.75), (0.75, 1)))
    for what, index, most in (("memory", 1, lambda n: n * GROWTH_MAX), ("descriptors", 3, lambda n: n + DESCRIPTORS_MAX)):
        earlier, later = (max(sample[index] for sample in part) for part in (third, fourth))
        if end >= GROWTH_AFTER_MIN * MINUTE_S and later > most(earlier):
            faults.append(f"{what} grew from {earlier} to {later}")
    print("".join(f"  fault: {fault}\n" for fault in faults) or "  no fault")
    return {"rate": rate, "minutes": rows, "last": last, "faults": faults}
