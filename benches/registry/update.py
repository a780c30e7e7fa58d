"""A new version comes while questions are answered: by IXFR from Knot, and (holdfast) as a whole file.

Why: what a version costs is memory for a moment and processor time, and neither may be felt by who asks. Every program is a secondary of the
same primary, holds version 1, answers a steady stream of questions, and is told of version 2 by NOTIFY once the primary has it, so that the
primary's own work is over by then.
"""

import pathlib
import shutil
import socket
import struct
import subprocess
import time

import peers
from load import Load, query

SOA, NOTIFY_FLAGS = 6, 0x2400
STEADY_S, AFTER_S = 8, 2
UPDATE_MAX_S, TRANSFER_MAX_S, LOAD_MAX_S = 240, 240, 600
SAMPLE = 20_000


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def serial(port, zone):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(query(1, zone, SOA))
            answer = sock.recv(4096)
        except OSError:
            return None
    if answer[3] & 15 or struct.unpack("!H", answer[6:8])[0] != 1:
        return None
    # The five numbers of the SOA end its record, and no other record follows but authority and OPT; find it by walking the two names.
    at = 12
    at = skip(answer, at) + 4
    at = skip(answer, at) + 10
    at = skip(answer, skip(answer, at))
    return struct.unpack("!I", answer[at:at + 4])[0]


def skip(message, at):
    while True:
        length = message[at]
        if length >= 192:
            return at + 2
        at += 1 + length
        if length == 0:
            return at


def wait_for_serial(port, zone, wanted, running, limit):
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        if serial(port, zone) == wanted:
            return time.monotonic() - begun
        if running and running.process.poll() is not None:
            return None
        time.sleep(0.01)
    return None


def notify(port, zone):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in zone.rstrip(".").split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(struct.pack("!6H", 7, NOTIFY_FLAGS, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", SOA, 1), ("127.0.0.1", port))


class Primary:
    """Knot, which makes the difference of the two files."""

    def __init__(self, directory, zone, first, running):
        self.base, self.zone, self.port = directory / "primary", zone, free_port()
        self.base.mkdir()
        self.file = self.base / "zone"
        shutil.copyfile(first, self.file)
        self.running = running(peers.primary(self.base, self.port, zone, self.file), self.base / "out")
        if wait_for_serial(self.port, zone, 1, self.running, TRANSFER_MAX_S) is None:
            raise RuntimeError("the primary does not serve its zone: " + (self.base / "log").read_text()[-300:])

    def take(self, second):
        shutil.copyfile(second, self.file)
        subprocess.run(["knotc", "-c", str(self.base / "conf"), "zone-reload", self.zone], check=True, capture_output=True)
        if wait_for_serial(self.port, self.zone, 2, self.running, TRANSFER_MAX_S) is None:
            raise RuntimeError("the primary does not take the new version")

    def stop(self):
        self.running.stop()


def secondary(peer, directory, port, primary, zone, binary, anchor):
    """The command that runs a secondary in the foreground."""
    base = directory / f"{peer}-secondary"
    shutil.rmtree(base, ignore_errors=True)
    if peer == "holdfast":
        return peers.mirror(base, port, zone, f"axfr:127.0.0.1:{primary}", anchor, binary)
    return peers.configure(peer, base, port, zone, binary, primary=primary)


def by_ixfr(peer, directory, zone, files, names, args, running, anchor):
    """One peer through the update: seconds, processor time, memory before and at the most, and how long questions took."""
    primary, port = Primary(directory, zone, files[0], running), free_port()
    under_test = running(secondary(peer, directory, port, primary.port, zone, args.binary, anchor), directory / f"{peer}-secondary.log")
    try:
        transfer = wait_for_serial(port, zone, 1, under_test, TRANSFER_MAX_S)
        if transfer is None:
            return {"error": "no first transfer: " + (directory / f"{peer}-secondary.log").read_text()[-300:]}
        return {"transfer_s": transfer, **under_load(port, zone, names, under_test, lambda: primary.take(files[1]), lambda: notify(port, zone), args)}
    finally:
        under_test.stop()
        primary.stop()
        shutil.rmtree(primary.base, ignore_errors=True)


def by_file(directory, zone, files, names, args, running, anchor):
    """holdfast takes a whole new file: load, verification and swap."""
    base, port = directory / "holdfast-file", free_port()
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    source = base / "zone"
    shutil.copyfile(files[0], source)
    under_test = running(peers.mirror(base, port, zone, f"file:{source}", anchor, args.binary), directory / "holdfast-file.log")
    try:
        transfer = wait_for_serial(port, zone, 1, under_test, TRANSFER_MAX_S)
        if transfer is None:
            return {"error": (directory / "holdfast-file.log").read_text()[-300:]}

        def prepare():
            shutil.copyfile(files[1], base / "next")

        def go():
            (base / "next").rename(source)
            subprocess.run([args.binary, "mirror", "refresh", zone, "--config", str(base / "conf")], capture_output=True, check=False, timeout=UPDATE_MAX_S)

        return {"transfer_s": transfer, **under_load(port, zone, names, under_test, prepare, go, args)}
    finally:
        under_test.stop()
        shutil.rmtree(base, ignore_errors=True)


def under_load(port, zone, names, under_test, prepare, go, args):
    prepare()
    # What was written a moment ago is on its way to the disk.
    time.sleep(3)
    load = Load(port, names, args.rate, LOAD_MAX_S)
    load.start()
    try:
        time.sleep(1)
        steady = time.monotonic()
        time.sleep(STEADY_S)
        under_test.forget_peak()
        before, cpu = under_test.peak_tree_bytes(), under_test.cpu_s()
        begun = time.monotonic()
        go()
        took = wait_for_serial(port, zone, 2, under_test, UPDATE_MAX_S)
        if took is None:
            return {"error": "the new version is not served"}
        time.sleep(AFTER_S)
        ended = time.monotonic()
        peak, cpu = under_test.peak_tree_bytes(), under_test.cpu_s() - cpu
    finally:
        load.stop()
    return {"update_s": took, "cpu_s": cpu, "before_bytes": before, "peak_bytes": peak, "steady": load.between(steady, begun), "during": load.between(begun, ended)}


def print_rows(title, rows):
    print(f"  {title}")
    print(f"    {'':9} {'s':>7} {'cpu s':>7} {'MB before':>10} {'peak':>7} {'steady p99 ms':>14} {'max':>7} {'during p99':>11} {'max':>7} {'lost':>5} {'p99 ratio':>10}")
    for peer, row in rows.items():
        if "error" in row:
            print(f"    {peer:9} {row['error']}")
            continue
        steady, during = row["steady"], row["during"]
        if "p99_s" not in steady or "p99_s" not in during:
            print(f"    {peer:9} not answered: {steady} {during}")
            continue
        print(f"    {peer:9} {row['update_s']:7.2f} {row['cpu_s']:7.2f} {row['before_bytes'] / 1e6:10.0f} {row['peak_bytes'] / 1e6:7.0f} {steady['p99_s'] * 1e3:14.2f} {steady['max_s'] * 1e3:7.1f} "
              f"{during['p99_s'] * 1e3:11.2f} {during['max_s'] * 1e3:7.1f} {during['lost']:5} {during['p99_s'] / steady['p99_s']:10.2f}")
