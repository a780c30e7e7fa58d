"""Instructions of the server's own for each answer: what a noisy machine cannot disturb, so that a regression shows.

The processor's counters cannot be had on every machine, so the server runs in callgrind, which counts those of the program and not the kernel's. It starts and
warms uncounted; then a fixed number of questions is counted. With 2 threads the number for a ready answer must be that of 1, or they share something.
What the threads do that do not answer is told apart, and so is what answers cost that were made anew: a ready one has an end after some seconds, and in callgrind those are few questions.
"""

import re
import subprocess
import time

from lab import end, times_s, tree
from servers import ADDRESSES, configure

# Callgrind is some fifty times slower.
QUESTIONS = 40_000
# Outstanding for each thread. A question at a time would be counted with waking up; far fewer than are lost by waiting.
WINDOW = 64
OPTIONS = ["burst=1", "patience=30"]
START_MAX_S = 300
# What makes an answer anew.
ANEW = "::begin_and_keep"
# Whoever uses less of its core is done with what it does at the start.
IDLE_SHARE, IDLE_S = 0.1, 2


def measure(lab, args):
    """Instructions per answer, of each peer, workload and number of threads; faults."""
    rows, faults = [], 0
    print("\ninstructions per answer, in the program itself")
    for workload in args.workloads:
        for peer in args.peers:
            for threads in (1, 2) if peer in ("holdfast", "echo") else (1,):
                row = one(lab, peer, workload, threads)
                rows.append(row)
                faults += row["wrong"] if peer == "holdfast" else 0
                print(f"  {workload} {peer:9} {threads} thread{'s'[:threads - 1]}  {row['instructions']:8.0f} per answer, other threads {row['beside']:6.0f}, {told_anew(row)}answered {row['answered']}, lost {row['lost']}, wrong {row['wrong']}", flush=True)
    return {"rows": rows, "faults": faults}


def one(lab, peer, workload, threads):
    directory = lab.dir / f"counted-{peer}-{workload}-{threads}"
    if peer == "echo":
        directory.mkdir()
        command = [lab.programs["wire"], "echo", f"{ADDRESSES[peer]}:53", "64", f"threads={threads}"]
    else:
        command = configure(peer, directory, lab.world, lab.programs["holdfast"], threads)
    out = directory / "counts"
    counted = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes", "--separate-threads=yes", f"--callgrind-out-file={out}.%p", *command]
    process = lab.children.run(lab.space, directory.name, counted)
    lab.children.wait(lab.space, ADDRESSES[peer], process, START_MAX_S)
    few, options = f"{workload}.few", [*OPTIONS, f"window={WINDOW * threads}"]
    if peer != "echo":
        lab.warm(peer, few, START_MAX_S, *OPTIONS[1:])
    settle(process)
    lab.load(peer, few, f"count={QUESTIONS}", f"seconds={START_MAX_S}", *options)
    pids = tree(process)
    switch(pids, "on")
    run = lab.load(peer, few, f"count={QUESTIONS}", f"seconds={START_MAX_S}", *options)
    switch(pids, "off")
    end(process, START_MAX_S)
    # The threads that answer have most to do.
    counts = sorted((counted for counted in map(read, directory.glob("counts.*")) if counted), reverse=True)
    all_of, beside = (sum(total for total, _, _ in part) for part in (counts[:threads], counts[threads:]))
    times, anew = (sum(counted[index] for counted in counts[:threads]) for index in (1, 2))
    answered = max(1, run["answered"])
    return {"peer": peer, "workload": workload, "threads": threads, "instructions": all_of / answered, "beside": beside / answered, "anew": times,
            "ready": (all_of - anew) / max(1, answered - times)} | {key: run[key] for key in ("answered", "lost", "wrong")}


def told_anew(row):
    if row["peer"] != "holdfast":
        return ""
    return f"a ready one {row['ready']:5.0f} ({row['anew']} made anew)  "


def read(file):
    """The instructions of a thread in all, how often it made an answer anew, and what those took; nothing of one that ran uncounted."""
    total, names, target, times, anew, is_call = None, {}, "", 0, 0, False
    with file.open() as lines:
        for line in lines:
            if is_call:
                # What a call took stands in the line after it.
                is_call = False
                anew += int(line.split()[-1]) if ANEW in target else 0
            elif match := re.match(r"c?fn=(\(\d+\))(?: (.*))?", line):
                # A name is spelt out once, and then goes by its number.
                number, name = match.groups()
                target = names.setdefault(number, name or "")
            elif match := re.match(r"calls=(\d+)", line):
                is_call = True
                times += int(match[1]) if ANEW in target else 0
            elif match := re.match(r"(?:totals|summary): (\d+)", line):
                total = int(match[1])
    return total and (total, times, anew)


def settle(process):
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        before = sum(times_s(process))
        time.sleep(IDLE_S)
        if sum(times_s(process)) - before < IDLE_SHARE * IDLE_S:
            return


def switch(pids, way):
    for pid in pids:
        subprocess.run(["callgrind_control", f"--instr={way}", str(pid)], capture_output=True, text=True, check=True, timeout=60)
    time.sleep(0.5)
