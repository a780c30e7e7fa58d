"""Makes a small internet out of a seed: zone files, keys, signatures, and the questions to ask about each zone.

Every second-level zone has a *kind*: sound ones in every algorithm and every form of denial, and ones that are broken, either in
their data (served by NSD as they are) or by their servers (served by `broken.py`). The kind and the label of a question name
a difference in `explained.toml`.
"""

import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

ROOT = ["10.0.0.1", "10.0.0.2"]
TLD = ["10.1.0.1", "10.1.0.2"]
LEAF = ["10.2.0.1", "10.2.0.2"]
# ns1 of a zone with one bad and one good server, and two addresses that misbehave alike.
BROKEN_NET = "10.3"
WWW = "192.0.2.80"

ALGORITHMS = {
    5: "RSASHA1", 7: "RSASHA1-NSEC3-SHA1", 8: "RSASHA256", 10: "RSASHA512",
    13: "ECDSAP256SHA256", 14: "ECDSAP384SHA384", 15: "ED25519", 16: "ED448",
}
DENIALS = ["nsec", "nsec3", "nsec3-salted", "nsec3-optout"]
# name, denial (None: unsigned), algorithm
TLDS = [
    ("alpha", "nsec", 13), ("bravo", "nsec3", 13), ("charlie", "nsec3-optout", 13), ("delta", None, None),
    ("echo", "nsec", 8), ("foxtrot", "nsec3", 15), ("golf", "nsec3-optout", 8), ("hotel", "nsec3-salted", 14),
]
DATA_FAULTS = [
    "expired", "notyet", "wrong-ds", "no-ds", "ds-but-unsigned", "missing-sig", "bad-sig", "no-denial", "denial-unsigned",
    "ds-unknown-algorithm", "ds-unknown-digest", "wrong-signer", "wrong-labels", "many-iterations", "two-ds-one-wrong",
    "ds-of-absent-algorithm", "standby-key", "no-dnskey-sig", "soa-unsigned", "sha1-ds-only", "foreign-sig", "wild-no-proof",
]
SERVER_FAULTS = [
    "refused", "servfail", "formerr-edns", "drop-edns", "notimp-edns", "badvers-edns", "no-aa", "tc-no-tcp", "one-refused",
    "one-silent", "one-servfail", "upward", "self-referral", "wrong-question", "wrong-id-first", "poison", "ent-nxdomain",
    "minimised-refused", "lower-case", "drop-unknown-types", "nodata-without-soa", "trailing-garbage", "no-question", "cname-and-data",
    "wrong-cname-owner", "additional-lies",
]
LAYOUT_FAULTS = ["ns-is-cname", "glueless", "ns-nowhere", "child-ns-differs", "missing-glue-one", "parent-on-same-server"]


class Zone:
    """One zone: what it holds, how it is signed and broken, and the questions about it."""

    def __init__(self, name, kind, denial=None, algorithm=None):
        self.name, self.kind, self.denial, self.algorithm = name, kind, denial, algorithm
        self.body = ""
        self.delegation = ""
        self.questions = []
        self.ds = []
        self.site = "leaf"
        self.fault = None
        self.ttl, self.soa_numbers = 300, "1 3600 600 86400 60"
        # Set by whoever makes several versions of a zone.
        self.key = self.file = None


class Internet:
    """All zones, in a directory."""

    def __init__(self, directory, seed, count):
        self.dir, self.rng, self.count = directory, random.Random(seed), count
        self.zones, self.tlds, self.by_fault = [], [], {}

    def build(self):
        """Writes and signs everything, children first, because parents carry their DS."""
        self._plan()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._make, self.zones))
        for name, denial, algorithm in TLDS:
            tld = Zone(f"{name}.", f"tld-{denial}", denial, algorithm)
            tld.site = "tld"
            servers = "@ NS ns1.nic\n@ NS ns2.nic\n" + "".join(f"ns{n + 1}.nic A {a}\n" for n, a in enumerate(TLD))
            children = "".join(zone.delegation + "".join(zone.ds) for zone in self.zones if zone.name.endswith(f".{name}.")
                               and zone.name.count(".") == 2)
            tld.body = servers + children
            tld.delegation = f"{tld.name} NS ns1.nic.{tld.name}\n{tld.name} NS ns2.nic.{tld.name}\n" + "".join(
                f"ns{n + 1}.nic.{tld.name} A {a}\n" for n, a in enumerate(TLD))
            tld.questions = [("apex-soa", tld.name, "SOA"), ("apex-ns", tld.name, "NS"), ("nxdomain", f"nosuch.{tld.name}", "A"),
                             ("nodata", tld.name, "MX"), ("dnskey", tld.name, "DNSKEY"), ("ds", tld.name, "DS")]
            self.tlds.append(tld)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._make, self.tlds))
        root = Zone(".", "root", "nsec", 8)
        root.site = "root"
        self.root_ns = "".join(f". NS {c}.root-servers.net.\n{c}.root-servers.net. A {a}\n" for c, a in zip("ab", ROOT))
        root.body = self.root_ns + "".join(tld.delegation + "".join(tld.ds) for tld in self.tlds)
        root.questions = [("nxdomain", "nosuchtld.", "A"), ("apex-ns", ".", "NS"), ("dnskey", ".", "DNSKEY"), ("nodata", ".", "TXT")]
        self._make(root)
        self.root = root
        self.all = [root, *self.tlds, *self.zones]

    def _plan(self):
        sound = [(denial, number) for number in ALGORITHMS for denial in DENIALS
                 if not (number == 5 and denial != "nsec") and not (number == 7 and denial == "nsec")]
        kinds = []
        while len(kinds) < self.count:
            kinds += [(f"sound-{number}-{denial}", denial, number, None) for denial, number in sound]
            kinds += [("unsigned", None, None, None)] * 8
            kinds += [(f"data-{fault}", self.rng.choice(["nsec", "nsec3"]), 13, fault) for fault in DATA_FAULTS]
            kinds += [(f"server-{fault}", None, None, fault) for fault in SERVER_FAULTS]
            kinds += [(f"layout-{fault}", self.rng.choice([None, "nsec"]), 13, fault) for fault in LAYOUT_FAULTS]
        names = [f"z{n:04}.{self.rng.choice(TLDS)[0]}." for n in range(self.count)]
        self.sound_names = []
        plan = list(zip(names, kinds))
        self.sound_names = [name for name, kind in plan if kind[0].startswith("sound")] or names
        self.unsigned_names = [name for name, kind in plan if kind[0] == "unsigned"] or names
        for n, (name, (kind, denial, algorithm, fault)) in enumerate(plan):
            zone = Zone(name, kind, denial, algorithm)
            zone.fault, zone.n = fault, n
            self.zones.append(zone)
            if kind.startswith("server-"):
                self._broken_server(zone)
            else:
                self._content(zone)
                self._layout(zone)

    def _content(self, zone):
        z, other = zone.name, self.rng.choice(self.sound_names)
        plain = self.rng.choice(self.unsigned_names)
        zone.body += (
            f"www A {WWW}\nwww AAAA 2001:db8::80\ntxt TXT \"text of {z}\"\n@ MX 10 www\na.b.ent A 192.0.2.1\n"
            f"*.wild A 192.0.2.7\n*.wild TXT \"wild\"\ncname CNAME www\ncname-out CNAME www.{other}\ncname-plain CNAME www.{plain}\n"
            f"cname-wild CNAME x.wild\ndangling CNAME nosuch\nloop1 CNAME loop2\nloop2 CNAME loop1\nold DNAME {other}\n"
            "unknown TYPE65280 \\# 4 01020304\nzero 0 A 192.0.2.9\n_sip._udp SRV 1 2 5060 www\n@ CAA 0 issue \"ca.example\"\n"
            + "".join(f"big TXT \"{n} {'x' * 230}\"\n" for n in range(9))
            + f"plain-child NS ns.plain-child\nns.plain-child A {LEAF[0]}\n"
        )
        every = [
            ("www", f"www.{z}", "A"), ("www-aaaa", f"www.{z}", "AAAA"), ("txt", f"txt.{z}", "TXT"), ("mx", z, "MX"),
            ("ent", f"b.ent.{z}", "A"), ("below-ent", f"a.b.ent.{z}", "A"), ("wild", f"x{zone.n}.wild.{z}", "A"),
            ("wild-nodata", f"y{zone.n}.wild.{z}", "MX"), ("cname", f"cname.{z}", "A"), ("cname-out", f"cname-out.{z}", "A"),
            ("cname-plain", f"cname-plain.{z}", "A"), ("cname-wild", f"cname-wild.{z}", "A"), ("cname-itself", f"cname.{z}", "CNAME"),
            ("dangling", f"dangling.{z}", "A"), ("loop", f"loop1.{z}", "A"), ("dname", f"www.old.{z}", "A"),
            ("dname-itself", f"old.{z}", "DNAME"), ("dname-nxdomain", f"nosuch.old.{z}", "A"), ("unknown", f"unknown.{z}", "TYPE65280"),
            ("zero", f"zero.{z}", "A"), ("srv", f"_sip._udp.{z}", "SRV"), ("big", f"big.{z}", "TXT"), ("nodata", f"www.{z}", "MX"),
            ("nxdomain", f"nosuch.{z}", "A"), ("nxdomain-deep", f"a.b.c.nosuch.{z}", "A"), ("ds", z, "DS"), ("dnskey", z, "DNSKEY"),
            ("soa", z, "SOA"), ("ns", z, "NS"), ("child-ds", f"plain-child.{z}", "DS"), ("wild-itself", f"*.wild.{z}", "A"),
        ]
        zone.questions = [every[0]] + self.rng.sample(every[1:], 8)

    def _layout(self, zone):
        z = zone.name
        ns, glue = ["ns1", "ns2"], "".join(f"ns{n + 1} A {a}\n" for n, a in enumerate(LEAF))
        names = [f"{n}.{z}" for n in ns]
        if zone.fault == "ns-is-cname":
            glue = "ns1 CNAME www\nns2 CNAME www\n"
            zone.delegation = "".join(f"{z} NS {name}\n" for name in names) + "".join(
                f"ns{n + 1}.{z} A {a}\n" for n, a in enumerate(LEAF))
        elif zone.fault == "glueless":
            names = [f"ns1.{self.sound_names[0]}", f"ns2.{self.sound_names[-1]}"]
            glue = ""
            zone.delegation = "".join(f"{z} NS {name}\n" for name in names)
        elif zone.fault == "ns-nowhere":
            # Its only server can be found by asking that server alone.
            names = [f"ns1.{z}"]
            glue = ""
            zone.delegation = f"{z} NS ns1.{z}\n"
        elif zone.fault == "child-ns-differs":
            zone.delegation = f"{z} NS ns9.{z}\nns9.{z} A {LEAF[0]}\n"
            glue += f"ns9 A {LEAF[0]}\n"
        elif zone.fault == "missing-glue-one":
            zone.delegation = f"{z} NS ns1.{z}\n{z} NS ns2.{z}\nns1.{z} A {LEAF[0]}\n"
        else:
            zone.delegation = "".join(f"{z} NS {name}\n" for name in names) + "".join(
                f"ns{n + 1}.{z} A {a}\n" for n, a in enumerate(LEAF))
        if zone.fault == "parent-on-same-server":
            zone.body += f"child NS ns1.child\nns1.child A {LEAF[0]}\n"
            child = Zone(f"child.{z}", "layout-child-on-same-server", None, None)
            child.n = zone.n
            child.body = f"@ NS ns1\nns1 A {LEAF[0]}\nwww A {WWW}\n"
            child.questions = [("www", f"www.child.{z}", "A"), ("nxdomain", f"nosuch.child.{z}", "A"), ("ds", f"child.{z}", "DS")]
            self.zones.append(child)
        zone.body += "".join(f"@ NS {name}\n" for name in names) + glue

    def _broken_server(self, zone):
        at = SERVER_FAULTS.index(zone.fault) + 1
        first = f"{BROKEN_NET}.{at}.1"
        second = f"{BROKEN_NET}.{at}.2" if not zone.fault.startswith("one-") else f"{BROKEN_NET}.0.1"
        z = zone.name
        zone.site = "broken"
        zone.delegation = f"{z} NS ns1.{z}\n{z} NS ns2.{z}\nns1.{z} A {first}\nns2.{z} A {second}\n"
        zone.servers = [first, second]
        zone.questions = [
            ("www", f"www.{z}", "A"), ("www-aaaa", f"www.{z}", "AAAA"), ("nodata", f"www.{z}", "MX"), ("nxdomain", f"nosuch.{z}", "A"),
            ("below-ent", f"a.b.ent.{z}", "A"), ("cname", f"cname.{z}", "A"), ("soa", z, "SOA"), ("mixed-case", f"WwW.{z}", "A"),
        ]

    def _make(self, zone):
        if zone.site == "broken":
            return
        zone.file = zone.file or (f"{zone.name}zone" if zone.name != "." else "root.zone")
        text = f"$ORIGIN {zone.name}\n$TTL {zone.ttl}\n@ SOA ns1 ops {zone.soa_numbers}\n{zone.body}"
        if zone.denial is None:
            self._write(zone.file, text)
            return
        self._write(f"{zone.file}.unsigned", text)
        key = zone.key = zone.key or self._key(zone.name, zone.algorithm)
        zone.ds = [self._ds(key, "-2")]
        flags = {"expired": ["-i", "20200101", "-e", "20200201"], "notyet": ["-i", "20500101", "-e", "20500201"]}.get(zone.fault, [])
        keys = [key]
        if zone.fault == "standby-key":
            keys.append(self._key(zone.name, zone.algorithm))
        if zone.fault == "ds-but-unsigned":
            self._write(zone.file, text)
        elif zone.denial == "nsec3-optout":
            self._write(f"{zone.file}.unsigned", text + self._read(f"{key}.key"))
            self._run("dnssec-signzone", "-q", "-3", "-", "-A", "-H", "0", "-z", "-P", "-O", "full", "-o", zone.name,
                      "-f", zone.file, f"{zone.file}.unsigned", key)
        else:
            iterations, salt = {"nsec3-salted": ("10", "abcdef")}.get(zone.denial, ("0", "-"))
            if zone.fault == "many-iterations":
                iterations, zone.denial = "500", "nsec3"
            if zone.denial != "nsec":
                flags += ["-n", "-a", "1", "-t", iterations] + ([] if salt == "-" else ["-s", salt])
            self._run("ldns-signzone", *flags, "-o", zone.name, "-f", zone.file, f"{zone.file}.unsigned", *keys)
        if zone.kind.startswith("data-"):
            self._spoil(zone, key)

    def _spoil(self, zone, key):
        """Breaks the signed zone or its DS as the fault's name says."""
        z, fault = zone.name, zone.fault
        edit = None
        if fault == "wrong-ds":
            zone.ds = [re.sub(r"[0-9a-f]{8}\n$", "deadbeef\n", zone.ds[0])]
        elif fault == "no-ds":
            zone.ds = []
        elif fault == "ds-unknown-algorithm":
            zone.ds = [re.sub(r"DS (\d+) \d+ ", r"DS \1 99 ", zone.ds[0])]
        elif fault == "ds-unknown-digest":
            zone.ds = [re.sub(r"DS (\d+) (\d+) 2 ", r"DS \1 \2 99 ", zone.ds[0])]
        elif fault == "two-ds-one-wrong":
            zone.ds = zone.ds + [re.sub(r"[0-9a-f]{8}\n$", "deadbeef\n", zone.ds[0])]
        elif fault == "ds-of-absent-algorithm":
            zone.ds = zone.ds + [re.sub(r"DS (\d+) \d+ ", r"DS 4711 8 ", zone.ds[0])]
        elif fault == "sha1-ds-only":
            zone.ds = [self._ds(key, "-1")]
        elif fault == "missing-sig":
            edit = lambda line: None if is_sig(line, f"www.{z}", "A") else line
        elif fault == "bad-sig":
            edit = lambda line: spoil(line) if is_sig(line, f"www.{z}", "A") else line
        elif fault == "foreign-sig":
            edit = lambda line: line.replace(f"www.{z}", f"txt.{z}", 1) if is_sig(line, f"www.{z}", "A") else line
        elif fault == "wrong-signer":
            edit = lambda line: re.sub(rf" {re.escape(z)} (\S+)$", rf" www.{z} \1", line) if is_sig(line, f"www.{z}", "A") else line
        elif fault == "wrong-labels":
            edit = lambda line: re.sub(r"RRSIG\tA (\d+) 3 ", r"RRSIG\tA \1 2 ", line) if is_sig(line, f"www.{z}", "A") else line
        elif fault == "no-denial":
            edit = lambda line: None if re.search(r"\t(NSEC3?|RRSIG\tNSEC3?)[\t ]", line) else line
        elif fault == "denial-unsigned":
            edit = lambda line: None if re.search(r"\tRRSIG\tNSEC3? ", line) else line
        elif fault == "no-dnskey-sig":
            edit = lambda line: None if re.search(r"\tRRSIG\tDNSKEY ", line) else line
        elif fault == "soa-unsigned":
            edit = lambda line: None if re.search(r"\tRRSIG\tSOA ", line) else line
        elif fault == "wild-no-proof":
            # The sets that the wildcard makes are claimed to be of a plain name.
            edit = lambda line: line.replace(f"*.wild.{z}", f"star.wild.{z}") if line.startswith(f"*.wild.{z}") else line
        if edit is not None:
            lines = [edit(line) for line in self._read(zone.file).splitlines()]
            self._write(zone.file, "\n".join(line for line in lines if line is not None) + "\n")

    def _key(self, zone, algorithm):
        bits = ["-b", "1024"] if algorithm in (5, 7, 8, 10) else []
        return self._run("ldns-keygen", "-r", "/dev/urandom", "-a", ALGORITHMS[algorithm], *bits, "-k", zone).strip()

    def _ds(self, key, digest):
        words = self._run("ldns-key2ds", "-n", digest, f"{key}.key").split()
        return f"{words[0]} {' '.join(words[words.index('DS'):])}\n"

    def anchor(self):
        """The root's key as a DS record."""
        return self.root.ds[0]

    def _run(self, *command):
        done = subprocess.run(command, cwd=self.dir, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def _write(self, file, text):
        (self.dir / file).write_text(text)

    def _read(self, file):
        return (self.dir / file).read_text()


def is_sig(line, owner, covered):
    """Whether a line of a signed zone is the signature of this set."""
    return line.startswith(f"{owner}\t") and f"\tRRSIG\t{covered} " in line


def spoil(line):
    """The line with its last field changed in the middle."""
    line = line.rstrip()
    head, signature = line.rsplit(" ", 1)
    middle = len(signature) // 2
    return f"{head} {signature[:middle]}{'A' if signature[middle] != 'A' else 'B'}{signature[middle + 1:]}"
