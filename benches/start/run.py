#!/usr/bin/env python3
"""How long holdfast takes from its start until it is ready, and until it answers out of its copy of the root; and what memory it takes then.

  first   in an empty directory: the root comes from a file and is verified whole
  again   with the copy that the start before has left

Loopback alone, nothing is asked of the network. See benches/README.md.
"""

import argparse
import pathlib
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))

from lab import ROOT_DIR, cargo, end, processor  # noqa: E402

WAIT_MAX_S = 60
SETTLE_S = 2
# Within the validity of the bundled root's signatures.
CLOCK = "@2026-08-01 12:00:00"
DS, NXDOMAIN = 43, 3
READY = "holdfast ready"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="a holdfast; otherwise it is built")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    binary = str(pathlib.Path(args.binary or cargo("--bin", "holdfast")["holdfast"]).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = {"first": [], "again": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(prefix="holdfast-start-") as directory:
            for kind in rows:
                rows[kind].append(one(binary, pathlib.Path(directory)))
    print(f"{args.rounds} rounds, {processor()}; median (least-most)")
    print(f"  {'':6} {'ready ms':>20} {'root answers ms':>20} {'PSS MB':>20} {'RSS MB':>20}")
    for kind, runs in rows.items():
        print(f"  {kind:6} " + " ".join(f"{spread([run[at] for run in runs]):>20}" for at in range(4)))


def one(binary, directory):
    """Milliseconds to both, and memory in MB."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (directory / "clock").write_text(CLOCK)
    (directory / "config.toml").write_text(
        f"[server]\nlisten = [\"127.0.0.1:{port}\"]\ndata_dir = \"data\"\n[resolver]\nprime = false\n[reachability]\nprobe = false\n[control]\nhttp = \"\"\n[lab]\nclock_file = \"clock\"\n"
        f"[[mirror]]\nzone = \".\"\nuse = \"always\"\nsources = [\"file:{ROOT_DIR}/zones/root.zone\"]\n")
    begun = time.monotonic()
    process = subprocess.Popen([binary, "--config", str(directory / "config.toml"), "run"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        if not any(line.strip() == READY for line in process.stderr):
            raise RuntimeError("it ended before it was ready")
        ready = time.monotonic() - begun
        answers = wait(port, begun)
        time.sleep(SETTLE_S)
        return ready * 1e3, answers * 1e3, memory(process, "smaps_rollup", "Pss:"), memory(process, "status", "VmRSS:")
    finally:
        process.stderr.close()
        end(process)


def wait(port, begun):
    """Seconds since `begun` when a TLD is denied: only the root can say so."""
    query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + b"\x0bno-such-tld\0" + struct.pack("!2H", DS, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.005)
        sock.connect(("127.0.0.1", port))
        while time.monotonic() - begun < WAIT_MAX_S:
            try:
                sock.send(query)
                if sock.recv(4096)[3] & 15 == NXDOMAIN:
                    return time.monotonic() - begun
            except OSError:
                pass
            time.sleep(0.001)
    raise RuntimeError("the root does not answer")


def memory(process, file, key):
    text = pathlib.Path(f"/proc/{process.pid}/{file}").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key)) * 1024 / 1e6


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


if __name__ == "__main__":
    main()
