"""The internet that the outages happen to: who delegates what to whom, at which addresses, and what each name's right answer is.

Model: a country (`home.`) and the world abroad (`far.`, `big.`, `isle.`). Zones lie with *hosters*; each hoster has one address on side A and one
on side B, in prefixes of different /16 (v4) and /32 (v6), every other hoster in both families, so that one of two addresses of every zone can be cut
by prefix. The *operator* abroad has a few very popular zones, whose four addresses share two prefixes. The kinds of second-level zones:

  home        named below home., servers named within the zone, standing in the country
  named-far   named below home., servers stand in the country but have names below far.: no glue in home.
  parent-far  named below a foreign TLD, servers stand in the country
  far         named below a foreign TLD, servers abroad
  operator    named below big., servers at the operator

Each address record carries its name's number and the version of its zone (`11.VERSION.N.N`), so that an answer shows by itself whether
it is right and how new.
"""

import copy
import ipaddress
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "differential"))

from internet import Internet, Zone  # noqa: E402

# Side A and side B of each region: base of the /16s (v4), base of the /32s (v6).
SIDES = {"home": ((80, 0x500), (96, 0x600)), "far": ((16, 0x100), (32, 0x200))}
HOSTERS = {"home": 24, "far": 12}
ROOTS = [("10.31.0.1", "3fff:1ff::1"), ("10.47.0.1", "3fff:2ff::1"), ("10.3.0.1", None)]
# name, denial, the region it stands in, number in the address
TLDS = [("home", "nsec3", "home", 0), ("far", "nsec", "far", 1), ("big", "nsec3-optout", "far", 2), ("isle", None, "far", 3)]
OPERATOR = [("10.17.12.1", "3fff:117:c::1"), ("10.17.12.2", "3fff:117:c::2"), ("10.33.74.1", "3fff:233:4a::1"), ("10.33.74.2", "3fff:233:4a::2")]
# Named sets of networks, from which cuts are made.
SETS = {
    "roots": [a for pair in ROOTS for a in pair if a],
    "home": ["10.64.0.0/10", "3fff:400::/22"],
    "abroad": ["10.0.0.0/10", "10.128.0.0/9", "3fff::/22"],
    "side-a": ["10.16.0.0/12", "10.80.0.0/12", "3fff:100::/24", "3fff:500::/24"],
    "side-b": ["10.32.0.0/12", "10.96.0.0/12", "3fff:200::/24", "3fff:600::/24"],
    "operator": ["10.17.12.0/24", "10.33.74.0/24", "3fff:117:c::/48", "3fff:233:4a::/48"],
    "v4": ["10.0.0.0/8"],
    "all": ["10.0.0.0/8", "3fff::/20"],
}
TLD_TTL_S = 40
RECORD_TTLS_S = (20, 60)
NS_TTL_S = 60
HOSTS_PER_ZONE = 10
VERSIONS = (1, 2)
# How many of 100 questions go to each kind of zone, and how many of 100 zones are of it.
KINDS = {"home": (50, 50), "named-far": (10, 10), "parent-far": (10, 14), "far": (14, 24), "operator": (16, 2)}
SIGNED_SHARE = 0.45
ALIAS_SHARE, ABSENT_SHARE = 0.08, 0.06


class Name:
    """One name that is asked for: `kind` is that of its zone, `exists` whether it has an address."""

    def __init__(self, number, text, zone, exists):
        self.number, self.text, self.zone, self.exists = number, text, zone, exists


class World(Internet):
    """All zones in all versions. `names` are what can be asked, `names_by_kind` the same in order of popularity."""

    def __init__(self, directory, seed, count):
        super().__init__(directory, seed, count)
        self.names, self.names_by_kind = [], {kind: [] for kind in KINDS}

    def build(self):
        self._plan()
        for version in VERSIONS:
            (self.dir / f"v{version}").mkdir()
            with ThreadPoolExecutor(4) as pool:
                made = list(pool.map(lambda zone, v=version: self._version(zone, v), self.zones))
            if version == VERSIONS[0]:
                first = made
        for name, denial, region, number in TLDS:
            addresses = tld_addresses(region, number)
            tld = Zone(f"{name}.", "tld", denial, 13 if denial else None)
            tld.site, tld.region, tld.ttl, tld.soa_numbers = "tld", region, TLD_TTL_S, f"1 60 20 604800 {TLD_TTL_S}"
            glue = [(f"ns{n + 1}.nic", pair) for n, pair in enumerate(addresses)]
            tld.body = ns_and_glue("@", glue) + "".join(z.delegation + "".join(z.ds) for z in first if z.name.split(".", 1)[1] == tld.name)
            tld.delegation = ns_and_glue(tld.name, [(f"{label}.{tld.name}", pair) for label, pair in glue])
            tld.addresses = [a for pair in addresses for a in pair if a]
            self._make(tld)
            self.tlds.append(tld)
        root = Zone(".", "root", "nsec", 8)
        root.site, root.ttl, root.soa_numbers = "root", TLD_TTL_S, f"1 60 20 604800 {TLD_TTL_S}"
        self.root_ns = ns_and_glue(".", [(f"{c}.root-servers.net.", pair) for c, pair in zip("abc", ROOTS)])
        root.body = self.root_ns + "".join(tld.delegation + "".join(tld.ds) for tld in self.tlds)
        root.addresses = SETS["roots"]
        self._make(root)
        self.root, self.all = root, [root, *self.tlds, *self.zones]

    def home_tld(self):
        """The domestic TLD."""
        return self.tlds[0]

    def _plan(self):
        foreign = [tld for tld in TLDS if tld[2] == "far"]
        secured = {f"{name}.": denial is not None for name, denial, *_ in TLDS}
        hosts_far = [self._zone("host-far", f"dns{k}.far.", "home", k) for k in range(6)]
        n = 0
        for kind, (_, share) in KINDS.items():
            for _ in range(max(8, self.count * share // 100)):
                tld = {"home": "home", "named-far": "home", "operator": "big"}.get(kind) or self.rng.choice(foreign)[0]
                region = "far" if kind in ("far", "operator") else "home"
                zone = self._zone(kind, f"z{n:04}.{tld}.", region, n, secured[f"{tld}."], self.rng.choice(hosts_far) if kind == "named-far" else None)
                self._fill(zone)
                n += 1
        for names in self.names_by_kind.values():
            self.rng.shuffle(names)

    def _zone(self, kind, name, region, n, may_be_signed=True, host=None):
        """A zone with its delegation; `host` is the zone that has its servers' names."""
        denial = self.rng.choice(["nsec", "nsec3"]) if may_be_signed and self.rng.random() < SIGNED_SHARE else None
        zone = Zone(name, kind, denial, 13 if denial else None)
        zone.ttl, zone.region = NS_TTL_S, region
        zone.body = ""
        if host is not None:
            zone.addresses = host.addresses
            servers = [f"ns{i + 1}.{host.name}" for i in range(2)]
            zone.delegation = "".join(f"{name} NS {server}\n" for server in servers)
            zone.body += "".join(f"@ NS {server}\n" for server in servers)
        else:
            pairs = OPERATOR if kind == "operator" else hoster(region, n % HOSTERS[region])
            labels = [f"ns{i + 1}" for i in range(len(pairs))]
            zone.delegation = ns_and_glue(name, [(f"{label}.{name}", pair) for label, pair in zip(labels, pairs)])
            zone.body += ns_and_glue("@", list(zip(labels, pairs)))
            zone.addresses = [a for pair in pairs for a in pair if a]
        self.zones.append(zone)
        return zone

    def _fill(self, zone):
        zone.names = []
        for n in range(HOSTS_PER_ZONE):
            draw, number, ttl = self.rng.random(), len(self.names), self.rng.randint(*RECORD_TTLS_S)
            # The first name of each zone is a plain one: the warming asks for it.
            exists = n == 0 or draw >= ABSENT_SHARE
            text = f"{'www' if n == 0 else f'h{n}' if exists else f'nosuch{n}'}.{zone.name}"
            if exists and n and draw < ABSENT_SHARE + ALIAS_SHARE:
                zone.body += f"h{n} {ttl} CNAME t{n}\nt{n} {ttl} A 11.%VERSION%.{number >> 8}.{number & 255}\n"
            elif exists:
                zone.body += f"{text.split('.')[0]} {ttl} A 11.%VERSION%.{number >> 8}.{number & 255}\n"
            name = Name(number, text, zone, exists)
            zone.names.append(name)
            self.names.append(name)
            self.names_by_kind[zone.kind].append(name)

    def _version(self, zone, version):
        """One version of a zone made and signed, with the keys of the first."""
        made = zone if version == VERSIONS[0] else copy.copy(zone)
        body = zone.body
        made.file, made.soa_numbers = f"v{version}/{zone.name}zone", f"{version} 3600 600 604800 30"
        made.body = body.replace("%VERSION%", str(version))
        self._make(made)
        zone.body, zone.file = body, f"live/{zone.name}zone"
        return made


def ns_and_glue(owner, servers):
    """NS records of an owner and the addresses of its servers: pairs of name and (v4, v6)."""
    text = "".join(f"{owner} NS {name}\n" for name, _ in servers)
    for name, (v4, v6) in servers:
        text += f"{name} A {v4}\n" + (f"{name} AAAA {v6}\n" if v6 else "")
    return text


def hoster(region, k):
    """The two servers of a hoster, one per side."""
    pairs = []
    for four, six in SIDES[region]:
        pairs.append((f"10.{four + k % 12}.{k}.53", f"3fff:{six + k:x}::53" if k % 2 == 0 else None))
    return pairs


def tld_addresses(region, number):
    """The two servers of a TLD, one per side."""
    return [(f"10.{four + 14}.{number}.1", f"3fff:{six + 0xf0:x}:{number:x}::1") for four, six in SIDES[region]]


def leaf_addresses():
    """Every address at which second-level zones are served."""
    pairs = OPERATOR + [pair for region, count in HOSTERS.items() for k in range(count) for pair in hoster(region, k)]
    return [a for pair in pairs for a in pair if a]


class Reach:
    """Which addresses a cut leaves alive."""

    def __init__(self, dead):
        self.dead = [ipaddress.ip_network(text) for name in dead for text in SETS[name]]

    def alive(self, addresses):
        """Whether one of them can be reached."""
        return any(not any(ip in net for net in self.dead if net.version == ip.version) for ip in map(ipaddress.ip_address, addresses))
