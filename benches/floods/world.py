"""The internet of the floods: that of the cold caches, and zones that attacks are about.

Below `alpha.`, which is signed with NSEC:

  victim-s, victim-u   signed (NSEC) and unsigned; their servers are far away and weak; some of their names exist
  nxns                 its server refers every name to servers named below victim-u, all different and without addresses (CVE-2020-12667)
  keytrap              a wildcard with many signatures, none of them right, by keys that all share one tag (CVE-2023-50387)
  fat                  one name with as much text as fits into 1232 octets
"""

import base64
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cold_cache"))

from names import LEAVES, Names, Zone  # noqa: E402

SITES = {"root": ["10.0.0.1", "10.0.0.2"], "tld": ["10.1.0.1", "10.1.0.2"], "leaf": LEAVES, "weak": ["10.4.0.1", "10.4.0.2"], "evil": ["10.5.0.2"]}
TRAP, TRAP_ZONE, TRAP_SERVERS = "10.5.0.1", "nxns.alpha.", 40
VICTIM_SIGNED, VICTIM_UNSIGNED = "victim-s.alpha.", "victim-u.alpha."
KEYTRAP, FAT = "keytrap.alpha.", "fat.alpha."
VICTIMS_NAMES = 100
DECOYS = SIGNATURES = 30
VICTIMS_ADDRESS = "12.0.{}.{}"


class World(Names):
    """The zones; `asked` as in `Names`, and `of_victims`, the names of the victims that exist, in the same form."""

    def __init__(self, directory, seed, count, questions):
        super().__init__(directory, seed, count, questions, 0.5)
        self.of_victims = []

    def _plan(self):
        super()._plan()
        for k, (name, denial) in enumerate([(VICTIM_SIGNED, "nsec"), (VICTIM_UNSIGNED, None)]):
            zone = self._served(name, denial, SITES["weak"], "weak")
            for n in range(VICTIMS_NAMES):
                zone.body += f"h{n} A {VICTIMS_ADDRESS.format(k, n)}\n"
                self.of_victims.append((f"h{n}.{name}", 0, int(denial is not None), VICTIMS_ADDRESS.format(k, n)))
        fat = self._served(FAT, None, LEAVES[:2], "leaf")
        fat.body += "".join(f"txt TXT \"{n} {'x' * 220}\"\n" for n in range(5))
        trap = Zone(TRAP_ZONE, "trap")
        trap.site = "trap"
        trap.delegation = f"{TRAP_ZONE} NS ns1.{TRAP_ZONE}\nns1.{TRAP_ZONE} A {TRAP}\n"
        self.zones.append(trap)
        keytrap = self._served(KEYTRAP, "nsec", SITES["evil"], "evil")
        keytrap.algorithm, keytrap.key = 14, self._key(KEYTRAP, 14)
        keytrap.body += "* A 192.0.2.66\n" + "".join(f"@ DNSKEY {flags} 3 14 {base64.b64encode(point).decode()}\n" for flags, point in decoys(self._tag(keytrap.key)))

    def _served(self, name, denial, addresses, site):
        zone = Zone(name, "unsigned" if denial is None else "signed", denial, denial and 13)
        zone.site = site
        glue = "".join(f"ns{n + 1}.{name} A {address}\n" for n, address in enumerate(addresses))
        zone.body = "".join(f"@ NS ns{n + 1}.{name}\n" for n in range(len(addresses))) + glue
        zone.delegation = "".join(f"{name} NS ns{n + 1}.{name}\n" for n in range(len(addresses))) + glue
        self.zones.append(zone)
        return zone

    def _make(self, zone):
        if zone.site == "trap":
            return
        super()._make(zone)
        if zone.name == KEYTRAP:
            lines = self._read(zone.file).splitlines()
            at, right = next((n, line) for n, line in enumerate(lines) if line.startswith("*.") and "\tRRSIG\tA " in line)
            head, signature = right.rsplit(" ", 1)
            octets = bytearray(base64.b64decode(signature))
            wrong = []
            for n in range(SIGNATURES):
                octets[-1 - n] ^= 1
                wrong.append(f"{head} {base64.b64encode(octets).decode()}")
            lines[at:at + 1] = wrong
            self._write(zone.file, "\n".join(lines) + "\n")

    @staticmethod
    def _tag(key):
        return int(key.rsplit("+", 1)[1])


# P-384 (FIPS 186-4, D.1.2.4): points on it are keys that a validator cannot tell from good ones.
P = 2**384 - 2**128 - 2**96 + 2**32 - 1
G = (0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7,
     0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f)
ZONE_KEY, FREE_FLAGS = 0x0100, 0x007F


def decoys(tag):
    """Flags and public keys whose tag (RFC 4034 appendix B) is that one: the low flags mean nothing, so one of them fits every few hundred points."""
    found, point = [], add(G, G)
    while len(found) < DECOYS:
        point = add(point, G)
        octets = point[0].to_bytes(48, "big") + point[1].to_bytes(48, "big")
        base = sum(int.from_bytes(octets[n:n + 2], "big") for n in range(0, 96, 2)) + (3 << 8 | 14)
        for flags in range(ZONE_KEY, ZONE_KEY + FREE_FLAGS + 1):
            total = base + flags
            if (total + (total >> 16)) & 0xFFFF == tag:
                found.append((flags, octets))
                break
    return found


def add(a, b):
    """The sum of two points that are not each other's negative."""
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P
