"""The internet of the bench: tests/differential/internet.py with sound zones alone, and the questions with their answers.

Model: SLDs below eight TLDs, a part of them signed (three of four with ECDSA P-256, the rest with RSA; NSEC and NSEC3 in turn). Every other
zone has its servers in the zone of a provider, anywhere in the tree; those of the rest have names of their own, with glue. Of the questions
eight in ten are for an address, one is an alias, one is for a name that does not exist.
"""

import ipaddress
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "differential"))

from internet import TLDS, Internet, Zone  # noqa: E402

LEAVES = [f"10.2.0.{n}" for n in range(1, 17)]
PROVIDERS_MAX = 50
# A zone of which every name below wild exists, to fill caches with.
FILL = "fill.alpha."
FIRST_ADDRESS = ipaddress.IPv4Address("11.0.0.0")


class Names(Internet):
    """The zones and `asked`, a list of (name, rcode, ad, address)."""

    def __init__(self, directory, seed, count, questions, signed):
        super().__init__(directory, seed, count)
        self.wanted, self.signed, self.asked = questions, signed, []

    def _plan(self):
        providers = []
        per_zone = -(-self.wanted // self.count)
        for n in range(self.count):
            tld, tld_denial, _ = self.rng.choice(TLDS)
            z = f"s{n:05}.{tld}."
            denial, algorithm = None, None
            # Nothing can be secure below a TLD that is not.
            if tld_denial is not None and self.rng.random() < self.signed:
                denial, algorithm = self.rng.choice(["nsec", "nsec3"]), 8 if n % 4 == 0 else 13
            zone = Zone(z, "signed" if denial else "unsigned", denial, algorithm)
            if len(providers) < PROVIDERS_MAX or n % 2:
                servers = [f"ns1.{z}", f"ns2.{z}"]
                glue = "".join(f"{name} A {self.rng.choice(LEAVES)}\n" for name in servers)
                if len(providers) < PROVIDERS_MAX:
                    providers.append(servers)
            else:
                servers, glue = self.rng.choice(providers), ""
            zone.body = "".join(f"@ NS {name}\n" for name in servers) + glue
            zone.delegation = "".join(f"{z} NS {name}\n" for name in servers) + glue
            self._ask(zone, per_zone)
            self.zones.append(zone)
        fill = Zone(FILL, "unsigned")
        fill.body = f"@ NS ns1\nns1 A {LEAVES[0]}\n*.wild 86400 A 192.0.2.1\n"
        fill.delegation = f"{FILL} NS ns1.{FILL}\nns1.{FILL} A {LEAVES[0]}\n"
        self.zones.append(fill)
        self.asked = self.asked[:self.wanted]
        self.rng.shuffle(self.asked)

    def _ask(self, zone, count):
        ad = int(zone.denial is not None)
        for n in range(count):
            address = FIRST_ADDRESS + len(self.asked)
            draw = self.rng.random()
            if draw < 0.1:
                self.asked.append((f"nosuch{n}.{zone.name}", 3, ad, "-"))
                continue
            zone.body += f"h{n} A {address}\n"
            if draw < 0.2:
                zone.body += f"a{n} CNAME h{n}\n"
                self.asked.append((f"a{n}.{zone.name}", 0, ad, address))
            else:
                self.asked.append((f"h{n}.{zone.name}", 0, ad, address))
