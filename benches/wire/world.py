"""The zones of the wire bench and the questions about them.

Model: the bundled root zone, with its root servers at addresses of the laboratory and signed anew with keys of the same kinds (RSA of 2048 bits,
one for the zone and one for the key), because the bundled signatures run out. Below it one more TLD, unsigned: `wire.`, of 10,000 names with one or
two addresses, and `miss.wire.`, in which every name exists.

The workloads are files for `wire load` (`questions.rs` says the form):

  a  the 10,000 names, EDNS without DO
  b  the root: of 100 questions 60 for names that do not exist, each one new, 38 for the DS of a TLD, 2 for the root's NS; 80 with DO
  c  90 of 100 as in a, 10 for a new name below miss.wire.

The soak asks a third of each: of a, of b, and of a zone of holdfast's own.
"""

import pathlib
import re
import sys

ROOT_DIR = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT_DIR / "tests" / "differential"))

from internet import Internet, Zone  # noqa: E402

ROOTS = [f"10.0.0.{n}" for n in range(1, 14)]
LEAF = "10.1.0.1"
NAMES = 10_000
A, NS, DS = 1, 2, 43
TTL_S = 86400
OWN_NAMES = 1000
FEW = 51
DNSSEC_TYPES = {"RRSIG", "NSEC", "DNSKEY", "ZONEMD"}
ABSENT_SHARE, NS_SHARE, DO_SHARE, MISS_SHARE = 0.6, 0.02, 0.8, 0.1
WORKLOADS = {"a": "10,000 cached names", "b": "the root, 60 % NXDOMAIN, 80 % DO", "c": "10 % misses"}


class World(Internet):
    """Zone files and question files in a directory."""

    def __init__(self, directory):
        super().__init__(directory, 1, 0)
        self.root_ns = "".join(f". {TTL_S} NS {letter}.root-servers.net.\n{letter}.root-servers.net. {TTL_S} A {a}\n" for letter, a in zip("abcdefghijklm", ROOTS))
        self.zones = [(".", "root.zone"), ("wire.", "wire.zone"), ("miss.wire.", "miss.zone")]
        # TLDs, and those of them that have a DS.
        self.tlds, self.secure = set(), set()

    def build(self):
        head = f"@ {TTL_S} SOA ns1 ops 1 3600 600 604800 {TTL_S}\n@ {TTL_S} NS ns1\nns1 {TTL_S} A {LEAF}\n"
        names = "".join(f"h{n:05} {TTL_S} A 192.0.2.{n % 250}\n" + (f"h{n:05} {TTL_S} A 198.51.100.{n % 250}\n" if n % 2 else "") for n in range(NAMES))
        self._write("wire.zone", f"$ORIGIN wire.\n{head}miss {TTL_S} NS ns1.miss\nns1.miss {TTL_S} A {LEAF}\n{names}")
        self._write("miss.zone", f"$ORIGIN miss.wire.\n{head}* {TTL_S} A 192.0.2.1\n")
        self._root()
        for workload in WORKLOADS:
            self._write(f"questions.{workload}", "".join(f"{line}\n" for line in getattr(self, f"_{workload}")()))
            self._write(f"questions.{workload}.few", "".join(f"{line}\n" for line in self._few(workload)))
        own = [f"{1 / OWN_NAMES:.9f} o{n:04}.own. {A} edns 0 1" for n in range(OWN_NAMES)]
        cached = [re.sub("^1 ", f"{1 / NAMES:.9f} ", row) for row in self._a()]
        self._write("questions.soak", "".join(f"{line}\n" for line in [*cached, *self._b(), *own]))

    def _root(self):
        kept = []
        for line in (ROOT_DIR / "zones" / "root.zone").read_text().splitlines():
            owner, _, _, rtype, rdata = line.split(None, 4)
            if rtype == "SOA":
                self.serial = int(rdata.split()[2])
            if rtype in DNSSEC_TYPES or (owner.endswith(".root-servers.net.") and rtype in ("A", "AAAA")):
                continue
            if rtype in ("NS", "DS") and owner != ".":
                (self.tlds if rtype == "NS" else self.secure).add(owner)
            kept.append(line)
        addresses = "".join(line + "\n" for line in self.root_ns.splitlines() if " A " in line)
        self._write("root.unsigned", "\n".join(kept) + f"\n{addresses}wire. {TTL_S} NS ns1.wire.\nns1.wire. {TTL_S} A {LEAF}\n")
        self.keys = [self._run("ldns-keygen", "-r", "/dev/urandom", "-a", "RSASHA256", "-b", "2048", *flags, ".").strip() for flags in ([], ["-k"])]
        self._run("ldns-signzone", "-z", "simple:sha384", "-o", ".", "-f", "root.zone", "root.unsigned", *self.keys)
        self.root = Zone(".", "root", "nsec", 8)
        self.root.ds = [self._ds(self.keys[1], "-2")]

    def later_root(self, number):
        """The file of a later version of the root, and its serial."""
        serial = str(self.serial + number)
        self._write("root.later", self._read("root.unsigned").replace(f" {self.serial} ", f" {serial} ", 1))
        self._run("ldns-signzone", "-z", "simple:sha384", "-o", ".", "-f", f"root.{serial}", "root.later", *self.keys)
        return self.dir / f"root.{serial}", serial

    def own_zone(self, number):
        """A version of a zone for holdfast itself."""
        names = "".join(f"o{n:04} A 192.0.2.{n % 250}\n" for n in range(OWN_NAMES))
        self._write("own.zone", f"$ORIGIN own.\n$TTL 300\n@ SOA ns1 ops {number} 3600 600 604800 300\n@ NS ns1\nns1 A {LEAF}\n{names}")

    def _few(self, workload):
        """The same with one of FEW names and TLDs, each asked so much more often, and with names that do not exist in few gaps: for a server that is slowed down,
        but keeps answers ready for a time."""
        rows = [row.split(" ", 1) for row in getattr(self, f"_{workload}")()]
        if workload == "b":
            rows = [[weight, rest.replace("??", f"{chr(ord('a') + n % 26)}q", 1)] for n, (weight, rest) in enumerate(rows)]
        is_listed = lambda rest: rest.startswith("h") or f" {DS} " in rest
        listed, others = ([row for row in rows if is_listed(row[1]) == which] for which in (True, False))
        return [f"{float(weight) * FEW:.9f} {rest}" for weight, rest in listed[::FEW]] + [" ".join(row) for row in others]

    def _a(self):
        return [f"1 h{n:05}.wire. {A} edns 0 {1 + n % 2}" for n in range(NAMES)]

    def _b(self):
        # With a digit that no TLD has: of a hundred million random words a few are TLDs.
        words = ["?" * n + "1" for n in range(5, 12)]
        absent = words + [f"www.{word}" for word in words]
        rows = [(ABSENT_SHARE / len(absent), f"{name}.", A, 3, 0) for name in absent]
        share = (1 - ABSENT_SHARE - NS_SHARE) / len(self.tlds)
        rows += [(share, tld, DS, 0, int(tld in self.secure)) for tld in sorted(self.tlds)]
        rows.append((NS_SHARE, ".", NS, 0, len(ROOTS)))
        return [f"{weight * part:.9f} {name} {rtype} {edns} {rcode} {answers}"
                for weight, name, rtype, rcode, answers in rows for edns, part in (("do", DO_SHARE), ("edns", 1 - DO_SHARE))]

    def _c(self):
        rows = [re.sub("^1 ", f"{(1 - MISS_SHARE) / NAMES:.9f} ", row) for row in self._a()]
        return [*rows, f"{MISS_SHARE} {'?' * 12}.miss.wire. {A} edns 0 1"]
