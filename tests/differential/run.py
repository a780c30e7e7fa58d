#!/usr/bin/env python3
"""unbound, bind9 and holdfast side by side over one generated internet: every answer compared, field by field.

Why: "as right as Unbound" is a claim about thousands of zones that nobody thought of. So the same questions go to all three, and
where holdfast differs from either, `explained.toml` must say why it may; any other difference fails the run.

Everything runs in one network namespace in which all of 10.0.0.0/8 is local: NSD serves root, TLDs and leaves, `broken.py` the
zones with broken servers. Needs root, unbound, bind9, nsd, ldnsutils, bind9-utils, Python 3.11. See README.md.
"""

import argparse
import asyncio
import collections
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import tomllib

from internet import LEAF, ROOT, TLD, Internet
from wire import TYPES, Answer, BadMessage, query

HERE = pathlib.Path(__file__).parent
PEERS = {"holdfast": "10.255.0.3", "unbound": "10.255.0.1", "bind": "10.255.0.2"}
ANSWER_MAX_S = 15
READY_MAX_S = 60
FIELDS = ["rcode", "ad", "answer", "signed", "proofs"]


def main():
    args = arguments()
    missing = [tool for tool in ("ip", "nsd", "unbound", "named", "ldns-signzone", "ldns-keygen", "ldns-key2ds", "dnssec-signzone")
               if shutil.which(tool) is None and not os.path.exists(f"/usr/sbin/{tool}")]
    if os.geteuid() != 0 or missing:
        print(f"SKIPPED: the differential run needs root and {', '.join(missing) or 'nothing else'}")
        return 1 if args.required else 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-differential-"))
    os.chmod(directory, 0o755)
    lab = Lab(directory, args)
    try:
        lab.start()
        results = asyncio.run(lab.ask())
    finally:
        lab.stop()
    unexplained = report(results, lab, args)
    if args.keep:
        print(f"kept in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if unexplained else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zones", type=int, default=2000, help="second-level zones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", default="", help="ask only about zones whose kind matches this pattern")
    parser.add_argument("--binary", default="target/release/holdfast", help="the holdfast under test")
    parser.add_argument("--window", type=int, default=40, help="questions under way at a time, to each resolver")
    parser.add_argument("--keep", action="store_true", help="keep zones, configurations and logs")
    parser.add_argument("--required", action="store_true", help="a missing tool is a failure")
    parser.add_argument("--show", type=int, default=3, help="examples shown of each unexplained difference")
    parser.add_argument("--json", help="write the counts to this file")
    return parser.parse_args()


class Lab:
    """The namespace and everything that runs in it."""

    def __init__(self, directory, args):
        self.dir, self.args = directory, args
        self.space = f"hfdiff{os.getpid()}"
        self.processes = []
        self.internet = Internet(directory, args.seed, args.zones)

    def start(self):
        begun = time.monotonic()
        self.internet.build()
        print(f"{len(self.internet.all)} zones made and signed in {time.monotonic() - begun:.0f} s")
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        # BIND listens only on addresses that an interface has.
        for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo", f"ip address add {PEERS['bind']}/32 dev lo"):
            subprocess.run(["ip", "netns", "exec", self.space, *command.split()], check=True)
        for site, addresses in (("root", ROOT), ("tld", TLD), ("leaf", LEAF)):
            self._nsd(site, addresses)
        self._run("broken", [sys.executable, str(HERE / "broken.py")])
        self._unbound()
        self._bind()
        self._holdfast()
        for server in (*ROOT, *TLD, *LEAF, *PEERS.values()):
            self._wait(server)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        subprocess.run(["ip", "netns", "del", self.space], check=False)

    def _run(self, name, command):
        log = open(self.dir / f"{name}.log", "wb")  # noqa: SIM115 - the child has it
        self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.space, *command], cwd=self.dir, stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))

    def _wait(self, server):
        """Until something answers at port 53."""
        end = time.monotonic() + READY_MAX_S
        while time.monotonic() < end:
            done = subprocess.run(["ip", "netns", "exec", self.space, "dig", f"@{server}", "+tries=1", "+time=1", "+norec", ".", "SOA"],
                                  capture_output=True, text=True, check=False)
            if "status:" in done.stdout:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{server} does not answer; logs in {self.dir}")

    def _nsd(self, site, addresses):
        zones = [zone for zone in self.internet.all if zone.site == site]
        text = "server:\n" + "".join(f"  ip-address: {a}\n" for a in addresses) + (
            f"  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  zonesdir: \"{self.dir}\"\n  pidfile: \"\"\n  zonelistfile: \"{self.dir}/{site}.list\"\n"
            f"  xfrdfile: \"\"\n  xfrdir: \"{self.dir}\"\n  do-ip6: no\n  hide-version: yes\n  server-count: 1\n"
            "remote-control:\n  control-enable: no\n")
        text += "".join(f"zone:\n  name: \"{zone.name}\"\n  zonefile: \"{zone.file}\"\n" for zone in zones)
        (self.dir / f"{site}.conf").write_text(text)
        self._run(f"nsd-{site}", ["nsd", "-d", "-c", f"{self.dir}/{site}.conf"])

    def _unbound(self):
        (self.dir / "root.hints").write_text(self.internet.root_ns)
        (self.dir / "root.key").write_text(self.internet.anchor())
        (self.dir / "unbound.conf").write_text(
            f"server:\n  directory: \"{self.dir}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n"
            f"  interface: {PEERS['unbound']}\n  access-control: 10.0.0.0/8 allow\n  root-hints: root.hints\n  trust-anchor-file: root.key\n"
            "  do-ip6: no\n  ede: yes\n  module-config: \"validator iterator\"\n  unblock-lan-zones: yes\n  verbosity: 1\n  val-log-level: 2\n"
            "  outgoing-range: 900\n  num-queries-per-thread: 800\nremote-control:\n  control-enable: no\n")
        self._run("unbound", ["unbound", "-d", "-c", f"{self.dir}/unbound.conf"])

    def _bind(self):
        tag, algorithm, digest_type, digest = self.internet.anchor().split()[-4:]
        (self.dir / "named.conf").write_text(
            f"options {{ directory \"{self.dir}\"; listen-on {{ {PEERS['bind']}; }}; listen-on-v6 {{ none; }}; recursion yes;\n"
            "  allow-query { any; }; allow-recursion { any; }; dnssec-validation yes; empty-zones-enable no; pid-file none;\n"
            "  session-keyfile none; };\ncontrols { };\n"
            f"trust-anchors {{ . static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n"
            "zone \".\" { type hint; file \"root.hints\"; };\n")
        self._run("bind", ["named", "-4", "-g", "-n", "1", "-c", f"{self.dir}/named.conf"])

    def _holdfast(self):
        # SHA-1 as the two others have it here; special names off, as no zone here has one.
        (self.dir / "config.toml").write_text(
            f"[server]\nlisten = [\"{PEERS['holdfast']}:53\"]\ndata_dir = \"data\"\n[access]\nallow = [\"10.0.0.0/8\"]\n"
            "[resolver]\nroot_hints = \"root.hints\"\ntrust_anchor = \"root.key\"\nsha1 = \"validate\"\nipv6 = false\n[log]\nlevel = \"info\"\n")
        self._run("holdfast", [str(pathlib.Path(self.args.binary).resolve()), "run", "--config", f"{self.dir}/config.toml"])

    async def ask(self):
        """Every question to each resolver: a list of (zone, label, name, type, {peer: fields})."""
        questions = [(zone, *question) for zone in self.internet.all if re.search(self.args.kind, zone.kind) for question in zone.questions]
        random.Random(self.args.seed).shuffle(questions)
        print(f"{len(questions)} questions to each of {', '.join(PEERS)}")
        answers = {}
        fd = os.open(f"/var/run/netns/{self.space}", os.O_RDONLY)
        # os.setns came with Python 3.12.
        if ctypes.CDLL(None, use_errno=True).setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)
        for peer, address in PEERS.items():
            begun = time.monotonic()
            gate = asyncio.Semaphore(self.args.window)

            async def one(question, address=address, gate=gate):
                async with gate:
                    return await ask(address, question[2], question[3])

            answers[peer] = await asyncio.gather(*(one(question) for question in questions))
            print(f"  {peer}: {time.monotonic() - begun:.1f} s")
        return [(*question, {peer: answers[peer][n] for peer in PEERS}) for n, question in enumerate(questions)]


class Client(asyncio.DatagramProtocol):
    """One question on a socket of its own."""

    def __init__(self, ident):
        self.ident, self.done = ident, asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        if len(data) >= 2 and struct.unpack("!H", data[:2])[0] == self.ident and not self.done.done():
            self.done.set_result(data)

    def error_received(self, exc):
        if not self.done.done():
            self.done.set_exception(exc)


async def ask(address, name, rtype):
    """The fields of the answer; a silence or a bad message has its own response code."""
    ident = random.randrange(65536)
    message = query(ident, name, TYPES[rtype])
    try:
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Client(ident), remote_addr=(address, 53))
        try:
            transport.sendto(message)
            answer = Answer(await asyncio.wait_for(client.done, ANSWER_MAX_S))
        finally:
            transport.close()
        if answer.tc:
            answer = Answer(await asyncio.wait_for(over_tcp(address, message), ANSWER_MAX_S))
    except asyncio.TimeoutError:
        return {"rcode": "TIMEOUT", "ede": []}
    except (BadMessage, OSError, struct.error, asyncio.IncompleteReadError) as error:
        return {"rcode": f"BROKEN {error}", "ede": []}
    return {**answer.fields(), "ede": answer.ede}


async def over_tcp(address, message):
    reader, writer = await asyncio.open_connection(address, 53)
    try:
        writer.write(struct.pack("!H", len(message)) + message)
        length = struct.unpack("!H", await reader.readexactly(2))[0]
        return await reader.readexactly(length)
    finally:
        writer.close()


def difference(ours, theirs):
    """The first field in which two answers differ, and both values; None if they agree."""
    for field in FIELDS:
        if ours.get(field) != theirs.get(field):
            return field
    return None


def outline(fields):
    """An answer in one line."""
    text = fields["rcode"]
    if fields.get("ad"):
        text += " AD"
    if fields.get("answer"):
        text += " " + ",".join(sorted({kind for _, kind, _ in fields["answer"]}))
    if fields.get("signed"):
        text += " signed"
    if fields.get("proofs"):
        text += " +" + ",".join(fields["proofs"])
    return text


def explanation(rules, zone, label, peer, field, ours, theirs):
    """The first rule of explained.toml that covers a difference."""
    for rule in rules:
        wanted = (("kind", zone.kind), ("question", label), ("peer", peer), ("field", field), ("holdfast", outline(ours)), ("other", outline(theirs)),
                  ("errors", "; ".join(f"{code} {text}" for code, text in ours["ede"])))
        if all(re.search(f"^(?:{rule[key]})$", value) for key, value in wanted if key in rule):
            return rule["reason"]
    return None


def report(results, lab, args):
    """Prints the counts; returns how many differences nobody has explained."""
    rules = tomllib.loads((HERE / "explained.toml").read_text())["difference"]
    counts, explained, unexplained = collections.Counter(), collections.Counter(), collections.defaultdict(list)
    for zone, label, name, rtype, answers in results:
        ours = answers["holdfast"]
        fields = {peer: difference(ours, answers[peer]) for peer in PEERS if peer != "holdfast"}
        peers_agree = difference(answers["unbound"], answers["bind"]) is None
        agrees = [peer for peer, field in fields.items() if field is None]
        counts["all agree" if len(agrees) == 2 else f"like {agrees[0]}, not the other" if agrees
               else "unlike both, which agree" if peers_agree else "all differ"] += 1
        for peer, field in fields.items():
            if field is None:
                continue
            reason = explanation(rules, zone, label, peer, field, ours, answers[peer])
            if reason:
                explained[reason] += 1
            else:
                unexplained[(zone.kind, label, peer, field, outline(ours), outline(answers[peer]))].append((name, rtype, answers))
    print(f"\n{len(lab.internet.all)} zones, {len(results)} questions to each of three")
    for what, count in counts.most_common():
        print(f"  {count:7}  {what}")
    print(f"\nexplained differences, {sum(explained.values())} (per peer):")
    for reason, count in explained.most_common():
        print(f"  {count:7}  {reason}")
    total = sum(len(examples) for examples in unexplained.values())
    print(f"\nunexplained differences: {total}")
    for (kind, label, peer, field, ours, theirs), examples in sorted(unexplained.items(), key=lambda item: -len(item[1])):
        print(f"  {len(examples):5}  {kind} / {label}: {field}: holdfast {ours!r}, {peer} {theirs!r}")
        for name, rtype, answers in examples[:args.show]:
            ede = "; ".join(f"{code} {text}" for code, text in answers["holdfast"]["ede"])
            print(f"           {name} {rtype}  [{ede}]")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"questions": len(results), "counts": counts, "explained": explained, "unexplained": total}))
    return total


if __name__ == "__main__":
    sys.exit(main())
