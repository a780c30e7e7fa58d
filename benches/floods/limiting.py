#!/usr/bin/env python3
"""Response rate limiting beside BIND: the same questions at the same moments to both, with the same settings; who answers, truncates, stays silent.

Both have one zone of their own. Each sequence (`SEQUENCES`) comes from a network of its own, so that all can run at once and none touches another's accounts. Printed is, for each sequence, how many
were answered, truncated and left without an answer in all, and by how much the two differ in the second in which they differ most. Exit code 1: they lie further apart than TOLERANCE allows.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "shared"), str(HERE.parents[1] / "tests" / "differential")]

from lab import Programs, cargo, put_first, versions  # noqa: E402
from network import SERVER, Network  # noqa: E402
from wire import TYPES, Answer, query  # noqa: E402

PEERS = {"holdfast": "10.255.0.1", "bind": "10.255.0.2"}
ZONE = "lab.test."
PER_S, WINDOW_S, SLIP = 5, 15, 2
LEAD_S, TAIL_S = 0.5, 2.0
# Of the questions of a sequence: BIND counts by whole seconds, holdfast by the nanosecond.
TOLERANCE = 0.02
ANSWERED, TRUNCATED, SILENT = "answered", "truncated", "silent"


def steady(rate, begin, until):
    """That many a second."""
    return [begin + n / rate for n in range(int((until - begin) * rate))]


# Name: when, what number n asks (a % is random), from how many addresses of its network.
SEQUENCES = {
    "within the limit": (steady(PER_S - 1, 0, 20), lambda n: ("www", "A"), 1),
    "at the limit": (steady(PER_S, 0, 20), lambda n: ("www", "A"), 1),
    "twice the limit": (steady(10, 0, 20), lambda n: ("www", "A"), 1),
    "100 a second": (steady(100, 0, 20), lambda n: ("www", "A"), 1),
    "1000 a second": (steady(1000, 0, 10), lambda n: ("www", "A"), 1),
    "100 a second, 50 addresses": (steady(100, 0, 20), lambda n: ("www", "A"), 50),
    "50 at once, then 2 a second": ([0.0] * 50 + steady(2, 1, 20), lambda n: ("www", "A"), 1),
    "100 a second for 3 s, pause of 10 s, 4 a second": (steady(100, 0, 3) + steady(4, 13, 25), lambda n: ("www", "A"), 1),
    "100 a second for 3 s, pause of 18 s, 4 a second": (steady(100, 0, 3) + steady(4, 21, 27), lambda n: ("www", "A"), 1),
    "two types in turn": (steady(100, 0, 20), lambda n: ("www", ["A", "TXT"][n % 2]), 1),
    "ten names in turn": (steady(100, 0, 20), lambda n: (f"h{n % 10}", "A"), 1),
    "upper and lower case": (steady(100, 0, 20), lambda n: (["www", "WWW", "wWw"][n % 3], "A"), 1),
    "names that do not exist": (steady(100, 0, 20), lambda n: ("%", "A"), 1),
    "no data": (steady(100, 0, 20), lambda n: ("www", "MX"), 1),
    "no data, two types": (steady(100, 0, 20), lambda n: ("www", ["MX", "AAAA"][n % 2]), 1),
    "names of a wildcard": (steady(100, 0, 20), lambda n: ("%.wild", "A"), 1),
    "referrals": (steady(100, 0, 20), lambda n: ("%.child", "A"), 1),
    "aliases": (steady(100, 0, 20), lambda n: ("alias", "A"), 1),
    "refused": (steady(100, 0, 20), lambda n: ("www.elsewhere.", "A"), 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="the holdfast under test; otherwise it is built, in release form")
    parser.add_argument("--slip", type=int, default=SLIP)
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    parser.add_argument("--json", help="write everything to this file")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in ("ip", "nft", "named", "dig") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        sys.exit(f"the bench needs root and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    binary = str(pathlib.Path(args.binary or cargo("--bin", "holdfast")["holdfast"]).resolve())
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-limiting-"))
    os.chmod(directory, 0o755)
    network, programs = Network(), Programs(directory)
    try:
        network.make()
        network._in(network.server, f"ip address add {PEERS['bind']}/32 dev lo")
        network._in(network.clients, f"ip route add {PEERS['bind']}/32 via 172.30.1.1")
        put_first()
        for peer, command in (("holdfast", holdfast(directory, binary, args.slip)), ("bind", bind(directory, args.slip))):
            process = programs.run(network.server, peer, command)
            programs.wait(network.server, PEERS[peer], process)
        print(f"{versions(PEERS, binary)}; {PER_S} a second, window {WINDOW_S} s, slip {args.slip}", flush=True)
        # The sockets of the clients must be made in their namespace.
        found = in_space(network.clients, directory)
    finally:
        programs.stop()
        network.stop()
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    return report(found)


def zone_file(directory):
    file = directory / "lab.zone"
    file.write_text(f"$ORIGIN {ZONE}\n$TTL 300\n@ SOA ns ops 1 3600 600 86400 60\n@ NS ns\nns A {SERVER}\nwww A 192.0.2.1\nwww TXT text\nalias CNAME www\n*.wild A 192.0.2.2\n"
                    "child NS ns.child\nns.child A 192.0.2.3\n" + "".join(f"h{n} A 192.0.2.{n + 10}\n" for n in range(10)))
    return file


def holdfast(directory, binary, slip):
    conf = directory / "config.toml"
    conf.write_text(f"[server]\nlisten = [\"{PEERS['holdfast']}:53\"]\ndata_dir = \"data\"\nworkers = 1\n[access]\nallow = []\n[control]\nhttp = \"\"\n[log]\nlevel = \"warn\"\n"
                    f"[[zone]]\nname = \"{ZONE}\"\nfile = \"{zone_file(directory)}\"\n[limits]\nresponses_per_s = {PER_S}\nwindow_s = {WINDOW_S}\nslip = {slip}\n")
    return [binary, "run", "--config", str(conf)]


def bind(directory, slip):
    conf = directory / "named.conf"
    conf.write_text(f"options {{ directory \"{directory}\"; listen-on {{ {PEERS['bind']}; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none; minimal-responses yes;\n"
                    f"  rate-limit {{ responses-per-second {PER_S}; window {WINDOW_S}; slip {slip}; }}; }};\ncontrols {{ }};\n"
                    f"zone \"{ZONE}\" {{ type primary; file \"{zone_file(directory)}\"; }};\n")
    return ["named", "-4", "-g", "-n", "1", "-c", str(conf)]


def in_space(space, directory):
    """Runs `ask` in a namespace of this process's child."""
    done = subprocess.run(["ip", "netns", "exec", space, sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); import limiting, json; print(json.dumps(limiting.ask()))"],
                          stdout=subprocess.PIPE, check=True, text=True, cwd=directory)
    return json.loads(done.stdout)


def ask():
    """Sends every sequence to both; {sequence: {peer: [[answered, truncated, silent] per second]}}."""
    rng = random.Random(5)
    selector, plan, waiting, came = selectors.DefaultSelector(), [], {}, {}
    for k, (name, (times, what, addresses)) in enumerate(SEQUENCES.items()):
        sockets = {}
        for peer, server in PEERS.items():
            for host in range(addresses):
                sock = sockets[peer, host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.setblocking(False)
                sock.bind((f"10.220.{100 + k}.{host + 1}", 0))
                sock.connect((server, 53))
                selector.register(sock, selectors.EVENT_READ, (name, peer, host))
        for n, at in enumerate(sorted(times)):
            label, rtype = what(n)
            label = label.replace("%", f"{rng.getrandbits(48):012x}")
            text = label if label.endswith(".") else f"{label}.{ZONE}"
            plan.append((at, name, n, query(n & 0xFFFF, text, TYPES[rtype], dnssec=False), n % addresses, sockets))
    plan.sort(key=lambda row: row[0])
    begun = time.monotonic() + LEAD_S
    end = begun + max(row[0] for row in plan) + TAIL_S
    at = 0
    while time.monotonic() < end:
        now = time.monotonic()
        while at < len(plan) and begun + plan[at][0] <= now:
            second, name, n, message, host, sockets = plan[at]
            at += 1
            for peer in PEERS:
                waiting[name, peer, n & 0xFFFF] = int(second)
                sockets[peer, host].send(message)
        for event, _ in selector.select(min(0.01, max(0, begun + plan[at][0] - now)) if at < len(plan) else 0.01):
            name, peer, _ = event.data
            try:
                while True:
                    answer = Answer(event.fileobj.recv(4096))
                    came[name, peer, answer.ident] = TRUNCATED if answer.tc else ANSWERED
            except BlockingIOError:
                pass
    found = {}
    for (name, peer, ident), second in waiting.items():
        seconds = found.setdefault(name, {}).setdefault(peer, collections.defaultdict(lambda: [0, 0, 0]))
        seconds[second][(ANSWERED, TRUNCATED, SILENT).index(came.get((name, peer, ident), SILENT))] += 1
    return found


def report(found):
    """The table; 1 if the two lie too far apart."""
    print("| sequence | asked | holdfast: answered / truncated / silent | BIND: answered / truncated / silent | largest difference of answers in a second |\n|---|---|---|---|---|")
    apart = []
    for name, by_peer in found.items():
        totals = {peer: [sum(column) for column in zip(*seconds.values())] for peer, seconds in by_peer.items()}
        asked = sum(totals["bind"])
        worst = max(abs(by_peer["holdfast"][second][0] - by_peer["bind"][second][0]) for second in by_peer["bind"])
        print(f"| {name} | {asked} | {' / '.join(map(str, totals['holdfast']))} | {' / '.join(map(str, totals['bind']))} | {worst} |")
        if any(abs(a - b) > max(2 * PER_S, TOLERANCE * asked) for a, b in zip(totals["holdfast"], totals["bind"])):
            apart.append(name)
    print(f"\n{'apart: ' + ', '.join(apart) if apart else 'alike'}")
    return int(bool(apart))


if __name__ == "__main__":
    sys.exit(main())
