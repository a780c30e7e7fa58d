#!/usr/bin/env python3
"""What each transport costs: cached answers over UDP, TCP, DoT and DoH on connections that stay, beside unbound and dnsdist in one run.

dnsperf asks as fast as it is answered, with so many connections and so many questions outstanding. Each server has one core for itself and answers from its cache what one
NSD behind it has: holdfast and unbound forward to it, dnsdist passes on to it and has a packet cache. They take turns in rounds, so that whatever the machine does besides hits all alike.
See benches/README.md.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))

from lab import Programs, busy_s, cargo, end, nsd_conf, processor, put_first, self_signed, versions  # noqa: E402

PEERS = {"holdfast": "10.255.0.1", "unbound": "10.255.0.2", "dnsdist": "10.255.0.3"}
PROGRAMS = {"unbound": "unbound", "dnsdist": "dnsdist"}
# dnsperf's mode, port, further options.
TRANSPORTS = {
    "udp": ("udp", 53, []), "tcp": ("tcp", 53, []), "dot": ("dot", 853, []),
    "doh": ("doh", 443, ["-O", "doh-uri=https://localhost/dns-query", "-O", "doh-method=GET"]),
}
# Of several answers that come together over DoH dnsperf (2.10) reads one: there each connection has one question outstanding.
ONE_EACH = {"doh"}
LOST_SHARE_MAX = 0.01
BEHIND, ZONE, NAMES = "10.0.0.1", "bench.lab.", 1000
SERVER_CORE, CLIENT_CORE = 1, 0
CLIENT_AFTER_S = 30
FOUND = {"completed": r"Queries completed:\s+(\d+)", "lost": r"Queries lost:\s+(\d+)", "qps": r"Queries per second:\s+([\d.]+)", "latency_s": r"Average Latency \(s\):\s+([\d.]+)"}


def main():
    args = arguments()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    tools = ["ip", "nsd", "dig", "dnsperf", "openssl", "taskset", *(PROGRAMS[p] for p in args.peers if p in PROGRAMS)]
    missing = [tool for tool in tools if not shutil.which(tool)]
    if os.geteuid() != 0 or missing or os.cpu_count() < 2:
        sys.exit(f"the bench needs root, two cores and {', '.join(missing) or 'nothing else'}; .ci/setup installs what it needs")
    binary = str(pathlib.Path(args.binary or cargo("--bin", "holdfast")["holdfast"]).resolve())
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-transports-"))
    os.chmod(directory, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(directory, args, binary)
    try:
        put_first()
        where = f"{os.cpu_count()} cores ({processor()}); core {SERVER_CORE}: the server; core {CLIENT_CORE}: dnsperf, NSD; load of the machine before: {os.getloadavg()[0]:.1f}"
        print(where, flush=True)
        lab.start()
        runs = []
        for number in range(args.rounds):
            for transport in args.transports:
                turn = args.peers[number % len(args.peers):] + args.peers[:number % len(args.peers)]
                for peer in turn:
                    run = lab.ask(peer, transport) | {"peer": peer, "transport": transport, "round": number + 1}
                    runs.append(run)
                    print(f"round {number + 1} {transport:4} {peer:9} {run['qps']:8.0f} q/s  {run['us_per_query']:6.1f} us cpu/query  {run['latency_ms']:6.2f} ms  lost {run['lost']}  "
                          f"{run['of_core']:.0%} of its core", flush=True)
        print(f"\n{table(runs, args)}")
        if args.json:
            result = {"where": where, "versions": versions(args.peers, binary), "runs": runs}
            pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    finally:
        lab.stop()
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("transports", nargs="*", help=f"of {', '.join(TRANSPORTS)}; all without one")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of one run")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--outstanding", type=int, default=200, help="questions outstanding on all connections")
    parser.add_argument("--binary", help="the holdfast under test; built when absent")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    parser.add_argument("--json", help="write everything to this file")
    args = parser.parse_args()
    args.peers = args.peers.split(",")
    args.transports = args.transports or list(TRANSPORTS)
    if unknown := (set(args.transports) - set(TRANSPORTS)) | (set(args.peers) - set(PEERS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return args


class Lab:
    """One namespace with NSD and all servers; a server that is not asked does nothing."""

    def __init__(self, directory, args, binary):
        self.dir, self.args, self.binary = directory, args, binary
        self.space, self.programs, self.servers = f"hftrans{os.getpid()}", Programs(directory), {}

    def start(self):
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo"):
            subprocess.run(["ip", "netns", "exec", self.space, *command.split()], check=True)
        zone = self.dir / "bench.zone"
        zone.write_text(f"$ORIGIN {ZONE}\n$TTL 86400\n@ SOA ns ops 1 3600 600 86400 60\n@ NS ns\nns A {BEHIND}\n" + "".join(f"h{n} A 192.0.2.{n % 250}\n" for n in range(NAMES)))
        self.programs.run(self.space, "nsd", nsd_conf("behind", self.dir, [BEHIND], [(ZONE, zone)], server="  do-ip6: no\n"), core=CLIENT_CORE)
        self.programs.wait(self.space, BEHIND)
        self.questions = self.dir / "questions"
        self.questions.write_text("".join(f"h{n}.{ZONE} A\n" for n in range(NAMES)))
        key, cert = self_signed(self.dir)
        for peer in self.args.peers:
            command = {"holdfast": holdfast, "unbound": unbound, "dnsdist": dnsdist}[peer](self.dir, PEERS[peer], self.binary, key, cert)
            self.servers[peer] = self.programs.run(self.space, peer, command, core=SERVER_CORE)
            self.programs.wait(self.space, PEERS[peer], self.servers[peer])
            self.dnsperf(peer, "udp", ["-n", "2"])

    def stop(self):
        self.programs.stop()
        subprocess.run(["ip", "netns", "del", self.space], check=False)

    def ask(self, peer, transport):
        """One run: what dnsperf found, and what of the server's processor it took."""
        server = self.servers[peer]
        before, begun = busy_s(server), time.monotonic()
        said = self.dnsperf(peer, transport, ["-l", str(self.args.seconds)])
        spent, seconds = busy_s(server) - before, time.monotonic() - begun
        found = {what: float(match[1]) if (match := re.search(pattern, said)) else 0.0 for what, pattern in FOUND.items()}
        if not found["completed"]:
            raise RuntimeError(f"{peer} over {transport}: no answers\n{said}")
        return {"qps": found["qps"], "is_whole": found["lost"] <= LOST_SHARE_MAX * found["completed"], "lost": int(found["lost"]), "latency_ms": found["latency_s"] * 1e3, "us_per_query": spent / found["completed"] * 1e6, "of_core": spent / seconds}

    def dnsperf(self, peer, transport, length):
        mode, port, more = TRANSPORTS[transport]
        outstanding = self.args.connections if transport in ONE_EACH else self.args.outstanding
        command = ["dnsperf", "-m", mode, "-s", PEERS[peer], "-p", str(port), "-d", str(self.questions), "-c", str(self.args.connections), "-q", str(outstanding), "-T", "1", *length, *more]
        done = subprocess.run(["ip", "netns", "exec", self.space, "taskset", "-c", str(CLIENT_CORE), *command], capture_output=True, text=True, timeout=self.args.seconds + CLIENT_AFTER_S, check=False)
        return done.stdout + done.stderr


def holdfast(directory, address, binary, key, cert):
    conf = directory / "config.toml"
    conf.write_text(f"[server]\nlisten = [\"{address}:53\"]\ndata_dir = \"data\"\nworkers = 1\n[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\ndot = [\"{address}:853\"]\ndoh = [\"{address}:443\"]\n"
                    f"[access]\nallow = [\"10.0.0.0/8\"]\n[resolver]\ndnssec = \"off\"\nprime = false\nquery_loopback = true\n[[forward]]\nzone = \"{ZONE}\"\nservers = [\"{BEHIND}\"]\n"
                    "[control]\nhttp = \"\"\n[log]\nlevel = \"warn\"\n")
    return [binary, "run", "--config", str(conf)]


def unbound(directory, address, _, key, cert):
    conf = directory / "unbound.conf"
    conf.write_text(f"server:\n  directory: \"{directory}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  num-threads: 1\n  module-config: \"iterator\"\n"
                    f"  interface: {address}\n  interface: {address}@853\n  interface: {address}@443\n  https-port: 443\n  tls-service-key: \"{key}\"\n  tls-service-pem: \"{cert}\"\n"
                    "  access-control: 10.0.0.0/8 allow\n  do-not-query-localhost: no\n  incoming-num-tcp: 1000\n  outgoing-range: 4096\n  so-rcvbuf: 4m\n  so-sndbuf: 4m\n"
                    f"remote-control:\n  control-enable: no\nforward-zone:\n  name: \"{ZONE}\"\n  forward-addr: {BEHIND}\n")
    return ["unbound", "-d", "-c", str(conf)]


def dnsdist(directory, address, _, key, cert):
    conf = directory / "dnsdist.conf"
    conf.write_text(f"setSecurityPollSuffix(\"\")\nsetACL({{\"10.0.0.0/8\"}})\nsetLocal(\"{address}:53\")\naddTLSLocal(\"{address}:853\", \"{cert}\", \"{key}\", {{ provider = \"openssl\" }})\n"
                    f"addDOHLocal(\"{address}:443\", \"{cert}\", \"{key}\", \"/dns-query\")\nnewServer({{ address = \"{BEHIND}:53\", healthCheckMode = \"up\" }})\n"
                    "getPool(\"\"):setCache(newPacketCache(100000, { maxTTL = 86400 }))\n")
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", str(conf)]


def table(runs, args):
    """Medians, and holdfast's ratio to each peer of the same round."""
    rows = ["| transport | server | q/s | us cpu/query | latency ms | lost | of core | holdfast's q/s to it | holdfast's cpu/query to it |", "|---|---|---|---|---|---|---|---|---|"]
    for transport in args.transports:
        of = {peer: [run for run in runs if run["transport"] == transport and run["peer"] == peer] for peer in args.peers}
        for peer, mine in of.items():
            middle = {key: statistics.median(run[key] for run in mine) for key in ("qps", "us_per_query", "latency_ms", "of_core")}
            ratios = ["-", "-"]
            if not all(run["is_whole"] for run in mine):
                rows.append(f"| {transport} | {peer} | dnsperf does not get along with it: {sum(run['lost'] for run in mine)} lost | | | | | | |")
                continue
            if peer != "holdfast" and "holdfast" in of and all(run["is_whole"] for run in of["holdfast"]):
                ratios = [f"{statistics.median(ours[key] / theirs[key] for ours, theirs in zip(of['holdfast'], mine)):.2f}" for key in ("qps", "us_per_query")]
            rows.append(f"| {transport} | {peer} | {middle['qps']:.0f} | {middle['us_per_query']:.1f} | {middle['latency_ms']:.2f} | {sum(run['lost'] for run in mine)} | {middle['of_core']:.0%} | {ratios[0]} | {ratios[1]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
