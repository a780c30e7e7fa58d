#!/usr/bin/env python3
"""A registry's zone in holdfast and its peers: memory per delegation, load, start with a stored copy, verification.

Why: a mirror of a TLD holds millions of delegations, is loaded and verified again and again, and has to be there at once after a
restart. Each program gets the same generated zone (generate.py), alone on the machine but for this script, one after the other in
one run, so that what the machine does besides hits all alike. CPU times are of the whole process tree and change least; wall times and
`first answer` need a quiet machine. See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import peers
import update

HERE = pathlib.Path(__file__).resolve().parent
ROOT_DIR = HERE.parents[1]
ZONE = "registry.test."
NS, SOA = 2, 6
START_MAX_S, VERIFY_MAX_S = 240, 900
SETTLE_S = 3
with socket.socket() as _free:
    # Whatever else runs on this machine.
    _free.bind(("127.0.0.1", 0))
    PORT = _free.getsockname()[1]
VERIFIERS = ["holdfast", "ldns", "bind", "knot"]


def main():
    args = arguments()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    args.peers = [p for p in args.peers if p == "holdfast" or available(peers.PROGRAMS[p])]
    args.binary = args.binary or build()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-registry-", dir=args.dir))
    os.chmod(directory, 0o755)
    result = {"where": where(), "delegations": args.delegations, "seed": args.seed}
    print(result["where"])
    try:
        # The root is there; the other zones take minutes to make.
        for kind in args.kinds if set(args.what) - {"root", "bare"} else []:
            result[kind] = measure(directory, kind, args)
            print_table(kind, result[kind], args)
        if "root" in args.what:
            zone = ROOT_DIR / "zones/root.zone"
            result["root"] = verify_all(zone, ROOT_DIR / "zones/root.key", ".", args, at="20260801120000", rounds=args.rounds)
            print_table("root", {"verify": result["root"]}, args)
            if "bare" in args.what:
                result["bare"] = bare(zone, args)
                print_bare(result["bare"], result["root"])
    finally:
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delegations", type=int, default=1_000_000)
    parser.add_argument("--kinds", default="unsigned,signed")
    parser.add_argument("--what", default="serve,stored,update,verify,root", help="serve: memory and load; stored: start with a stored copy; update: a new version under load; verify; root; bare, with root: the public-key operations alone, for what nobody can be faster than")
    parser.add_argument("--changes", type=int, default=10_000, help="delegations that the new version changes")
    parser.add_argument("--rate", type=int, default=1000, help="questions per second during an update")
    parser.add_argument("--peers", default="holdfast,nsd,knot,bind,unbound")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11, help="of the verifications of the root, each verifier in turn")
    parser.add_argument("--bare", help="the program of bare.rs; built when absent")
    parser.add_argument("--binary", help="the holdfast under test; built when absent")
    parser.add_argument("--dir", help="where the work is done; not a tmpfs if memory is short")
    parser.add_argument("--zones", type=pathlib.Path, help="a directory with unsigned.zone, signed.zone, each one's .next, and signed.zone.anchor, made before")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", help="write the results to this file instead of the last line")
    args = parser.parse_args()
    args.kinds, args.what, args.peers = args.kinds.split(","), args.what.split(","), args.peers.split(",")
    return args


def available(program):
    found = shutil.which(program)
    if not found:
        print(f"{program} is not installed: left out", file=sys.stderr)
    return bool(found)


def build():
    subprocess.run(["cargo", "build", "--release", "--bin", "holdfast"], cwd=ROOT_DIR, check=True)
    return str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT_DIR / "target")) / "release/holdfast")


def where():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    return f"{os.cpu_count()} cores ({model}); load of the machine before: {os.getloadavg()[0]:.1f}"


def measure(directory, kind, args):
    zone = zone_file(directory, kind, args)
    found = {"file_bytes": zone.stat().st_size}
    probe = first_delegation(zone)
    if "serve" in args.what:
        found["serve"] = {peer: serve(peer, directory, zone, probe, args) for peer in args.peers}
    if "stored" in args.what and "holdfast" in args.peers:
        found["stored"] = stored(directory, kind, zone, probe, args)
    if "update" in args.what:
        files = (zone, zone.with_name(zone.name + ".next"))
        anchor = zone.with_name(zone.name + ".anchor") if kind == "signed" else None
        names = delegations_in_both(files)
        found["update"] = {peer: update.by_ixfr(peer, directory, ZONE, files, names, args, Running, anchor) for peer in args.peers}
        if "holdfast" in args.peers:
            found["file"] = {"holdfast": update.by_file(directory, ZONE, files, names, args, Running, anchor)}
    if "verify" in args.what and kind == "signed":
        found["verify"] = verify_all(zone, zone.with_name(zone.name + ".anchor"), ZONE, args)
    return found


def zone_file(directory, kind, args):
    if args.zones:
        return (args.zones / f"{kind}.zone").resolve()
    zone = directory / f"{kind}.zone"
    command = [HERE / "generate.py", zone, "--delegations", str(args.delegations), "--seed", str(args.seed), "--changes", str(args.changes if "update" in args.what else 0)]
    subprocess.run([*map(str, command), *(["--signed"] if kind == "signed" else [])], check=True)
    return zone


def first_delegation(zone):
    """A name that every version of the zone delegates."""
    with zone.open() as lines:
        for line in lines:
            words = line.split()
            if len(words) > 4 and words[3] == "NS" and words[0].lower() != ZONE:
                return words[0]
    sys.exit(f"{zone} delegates nothing")


def delegations_in_both(files):
    """A sample of names that both versions delegate."""
    found = []
    for path in files:
        names = set()
        with path.open() as lines:
            for line in lines:
                words = line.split(None, 5)
                if len(words) > 4 and words[3] == "NS" and zlib.crc32(words[0].encode()) % 16 == 0:
                    names.add(words[0])
        found.append(names)
    return sorted(found[0] & found[1])[:: max(1, len(found[0] & found[1]) // update.SAMPLE)]


# Running and measuring.


class Running:
    """A program under test."""

    def __init__(self, command, log):
        self.log = open(log, "w")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)

    def wait_for(self, name, rtype=NS):
        """Seconds until it answers for the name."""
        query = struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.rstrip(".").split(".")) + b"\0" + struct.pack("!2H", rtype, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.005)
            sock.connect(("127.0.0.1", PORT))
            while time.monotonic() - self.begun < START_MAX_S:
                if self.process.poll() is not None:
                    return None
                try:
                    sock.send(query)
                    answer = sock.recv(4096)
                    _, flags, _, answers, authorities, _ = struct.unpack("!6H", answer[:12])
                    if flags & 15 == 0 and answers + authorities:
                        return time.monotonic() - self.begun
                    time.sleep(0.005)
                except OSError:
                    time.sleep(0.002)
        return None

    def tree(self):
        """The processes, this one first."""
        pids, parents = [self.process.pid], {}
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                rest = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(rest[1]), []).append(int(path.parent.name))
        for pid in pids:
            pids.extend(parents.get(pid, []))
        return pids

    def cpu_s(self):
        ticks = 0
        for pid in self.tree():
            try:
                rest = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += sum(map(int, rest[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss_bytes(self):
        total = 0
        for pid in self.tree():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
        return total

    def peak_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:"))

    def peak_tree_bytes(self):
        """The highest resident size of each process since `forget_peak`, summed up; pages that two of them share count twice."""
        total = 0
        for pid in self.tree():
            try:
                text = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:")), 0)
        return total

    def forget_peak(self):
        for pid in self.tree():
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                continue

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


def serve(peer, directory, zone, probe, args):
    running = Running(peers.configure(peer, directory / peer, PORT, ZONE, args.binary, file=zone), directory / f"{peer}.log")
    try:
        # Unbound would resolve the delegation.
        wall = running.wait_for(*((ZONE, SOA) if peer == "unbound" else (probe, NS)))
        if wall is None:
            return {"error": (directory / f"{peer}.log").read_text()[-300:]}
        cpu = running.cpu_s()
        time.sleep(SETTLE_S)
        pss = running.pss_bytes()
        return {"load_wall_s": wall, "load_cpu_s": cpu, "pss_bytes": pss, "per_delegation": pss / args.delegations, "peak_bytes": running.peak_bytes()}
    finally:
        running.stop()


def stored(directory, kind, zone, probe, args):
    """A mirror takes the zone from the file, is stopped, and starts with its stored copy alone."""
    source = directory / "source.zone"
    shutil.copyfile(zone, source)
    base = directory / "holdfast"
    shutil.rmtree(base, ignore_errors=True)
    anchor = f"{zone}.anchor" if kind == "signed" else None
    command = peers.mirror(base, PORT, ZONE, f"file:{source}", anchor, args.binary)
    found = {}
    for step in ("taken", "restart", "again"):
        running = Running(command, directory / f"holdfast-{step}.log")
        try:
            wall = running.wait_for(probe)
            if wall is None:
                return {"error": (directory / f"holdfast-{step}.log").read_text()[-300:]}
            cpu = running.cpu_s()
            time.sleep(SETTLE_S)
            pss = running.pss_bytes()
            found[step] = {"first_answer_s": wall, "cpu_s": cpu, "pss_bytes": pss, "per_delegation": pss / args.delegations, "peak_bytes": running.peak_bytes()}
        finally:
            running.stop()
        source.unlink(missing_ok=True)
    return found


def verify_all(zone, anchor, apex, args, at=None, rounds=1):
    """Every verifier over the zone, in turn, as many rounds as told; what stands is each one's median, so that one late wake-up counts for nothing."""
    found = {who: [] for who in VERIFIERS}
    for _ in range(rounds):
        for who in VERIFIERS:
            if one := verify_with(who, zone, anchor, apex, args, at):
                found[who].append(one)
    return {who: middle(all_of) for who, all_of in found.items() if all_of}


def middle(found):
    """Of several runs of one verifier: the first that failed, else the medians of its times, and the least ones."""
    for one in found:
        if one.get("code") != 0:
            return one
    times = {key: [r[key] for r in found] for key in ("wall_s", "cpu_s")}
    least = {f"least_{key}": min(all_of) for key, all_of in times.items()}
    return {key: statistics.median(all_of) for key, all_of in times.items()} | least | {"code": 0, "rounds": len(found)}


def bare(zone, args):
    """The public-key operations of the zone's signatures alone, by bare.rs: on one thread and on all cores, in seconds."""
    program = args.bare or build_bare()
    done = subprocess.run([program, str(zone)], check=True, capture_output=True, text=True, timeout=VERIFY_MAX_S)
    words = dict(word.split("=") for word in done.stdout.split())
    return {"signatures": int(words["signatures"]), "cpu_s": float(words["cpu_ms"]) / 1000, "wall_s": float(words["wall_ms"]) / 1000}


def build_bare():
    command = ["cargo", "build", "--release", "--bench", "registry", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT_DIR, stdout=subprocess.PIPE, check=True, text=True)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    # The program itself is built along with its benches.
    return next(m["executable"] for m in made if m.get("executable") and m["target"]["name"] == "registry")


def print_bare(found, verified):
    print(f"  bare: {found['signatures']} public-key operations alone take {found['cpu_s'] * 1000:.1f} ms of CPU, {found['wall_s'] * 1000:.1f} ms on all cores")
    others = [r for who, r in verified.items() if who != "holdfast" and r.get("code") == 0]
    if others:
        print(f"  bare: {found['wall_s'] / min(r['least_wall_s'] for r in others):.2f} of the least wall time of the fastest verifier")


def verify_with(who, zone, anchor, apex, args, at):
    moment = f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[8:10]}:{at[10:12]}:{at[12:]}Z" if at else None
    command = {
        "holdfast": [args.binary, "zone", "verify", str(zone), "--anchor", str(anchor), *(["--at", moment] if at else [])],
        "ldns": ["ldns-verify-zone", "-V", "1", *(["-t", at] if at else []), "-k", str(anchor), str(zone)],
        # It has no other time than now: of a zone that has run out it does all the work and then says so.
        "bind": ["dnssec-verify", "-q", *(["-z"] if at else []), "-o", apex, str(zone)],
        "knot": ["kzonecheck", "-d", "on", "-o", apex, *(["-t", str(int(time.mktime(time.strptime(at, "%Y%m%d%H%M%S"))))] if at else []), str(zone)],
    }[who]
    if not shutil.which(command[0]):
        return None
    begun, before = time.monotonic(), cpu_of_children()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_MAX_S, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"longer than {VERIFY_MAX_S} s"}
    found = {"wall_s": time.monotonic() - begun, "cpu_s": cpu_of_children() - before, "code": done.returncode}
    if done.returncode:
        found["said"] = (done.stdout + done.stderr).strip()[-200:]
    return found


def cpu_of_children():
    """Seconds of CPU that ended children took, to the microsecond."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def print_table(kind, found, args):
    print(f"\n{kind}, {args.delegations if kind != 'root' else 1438:,} delegations")
    rows = found.get("serve", {})
    if rows:
        print(f"  {'':9} {'load cpu s':>10} {'wall s':>8} {'PSS MB':>8} {'B/deleg.':>9} {'peak MB':>8}")
        for peer, r in rows.items():
            print(f"  {peer:9} " + (r["error"] if "error" in r else f"{r['load_cpu_s']:10.2f} {r['load_wall_s']:8.2f} {r['pss_bytes'] / 1e6:8.1f} {r['per_delegation']:9.1f} {r['peak_bytes'] / 1e6:8.1f}"))
        best = [r["load_cpu_s"] for p, r in rows.items() if p != "holdfast" and "error" not in r]
        own = rows.get("holdfast", {}).get("load_cpu_s")
        if best and own:
            print(f"  load: {own / min(best):.2f} of the best peer's CPU time (target 0.5)")
    for step, r in found.get("stored", {}).items():
        print(f"  mirror {step}: " + (str(r) if isinstance(r, str) else f"first answer after {r['first_answer_s'] * 1000:.0f} ms, cpu {r['cpu_s']:.2f} s, "
                                      f"PSS {r['per_delegation']:.1f} B/delegation, peak {r['peak_bytes'] / 1e6:.0f} MB"))
    if "update" in found:
        update.print_rows("update by IXFR under load", found["update"])
    if "file" in found:
        update.print_rows("update by a whole file under load", found["file"])
    rows = found.get("verify", {})
    for who, r in rows.items():
        print(f"  verify {who:9} " + (r["error"] if "error" in r else f"cpu {r['cpu_s']:8.3f} s  wall {r['wall_s']:8.3f} s  exit {r['code']}  {r.get('said', '')}"))
    others = [r for who, r in rows.items() if who != "holdfast" and r.get("code") == 0]
    if others and rows.get("holdfast", {}).get("code") == 0:
        best = min(others, key=lambda r: r["cpu_s"])
        print(f"  verify: {rows['holdfast']['cpu_s'] / best['cpu_s']:.2f} of the fastest one's CPU time (target 1.0), {rows['holdfast']['wall_s'] / best['wall_s']:.2f} of its wall time (target 0.6)")
        if best.get("rounds", 0) > 1:
            least = [rows["holdfast"][key] / best[key] for key in ("least_cpu_s", "least_wall_s")]
            print(f"  verify, least of {best['rounds']} rounds: {least[0]:.2f} of its CPU time, {least[1]:.2f} of its wall time")


if __name__ == "__main__":
    main()
