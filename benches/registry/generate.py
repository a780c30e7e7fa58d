#!/usr/bin/env python3
"""A registry's zone as a file: N delegations of two name servers each, seeded, so that every machine makes the same.

Why own zones: the real ones of this size are not for everybody to have. This one has what costs memory and time in them: names of
several lengths, most of them at some operators with thousands of customers (Zipf), some with servers below their own name and so with
glue, a tenth with DS. `--signed` adds keys and a signature for everything that must have one, with NSEC3 and opt-out, by
dnssec-signzone. `--changes K` also writes the zone's next version, in which K delegations come, go or move.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

ZONE = "registry.test."
OPERATORS = 4000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path, help="the zone file; the next version goes to OUT.next")
    parser.add_argument("--delegations", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=0)
    parser.add_argument("--ds", type=float, default=0.1, help="part of the delegations that has DS")
    parser.add_argument("--glue", type=float, default=0.1, help="part that has servers below its own name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--signed", action="store_true")
    args = parser.parse_args()
    args.out = args.out.resolve()
    following = args.out.with_name(args.out.name + ".next") if args.changes else None
    write(args.out, args, 1, {})
    if following:
        write(following, args, 2, changes(args))
    if args.signed:
        sign(args.out, following)


def changes(args):
    """What the next version does to delegations: their number -> how."""
    rng = random.Random(f"{args.seed} changes")
    return {number: rng.choice(["gone", "moved", "moved"]) for number in rng.sample(range(args.delegations), args.changes)}


def write(path, args, serial, changed):
    with path.open("w", buffering=1 << 20) as out:
        out.write(f"{ZONE} 86400 IN SOA ns1.{ZONE} hostmaster.{ZONE} {serial} 1800 900 604800 3600\n")
        for number in (1, 2):
            out.write(f"{ZONE} 86400 IN NS ns{number}.{ZONE}\nns{number}.{ZONE} 86400 IN A 192.0.2.{number}\n")
        rng = random.Random(args.seed)
        for number in range(args.delegations):
            # Drawn whether or not it is used, so that versions differ in what is changed alone.
            name, server, ds, glue, address = label(rng, number), operator(rng), rng.random(), rng.random(), rng.getrandbits(24)
            digest = f"{rng.getrandbits(256):064x}"
            how = changed.get(number)
            if how == "gone":
                # One goes and another one comes.
                name = f"{name}-{serial}"
            elif how == "moved":
                server = (server + 1) % OPERATORS
            owner = f"{name}.{ZONE}"
            if glue < args.glue:
                out.write(f"{owner} 86400 IN NS ns1.{owner}\n{owner} 86400 IN NS ns2.{owner}\n")
                for i in (1, 2):
                    out.write(f"ns{i}.{owner} 86400 IN A 10.{address >> 16}.{address >> 8 & 255}.{(address & 254) + i - 1}\n")
            else:
                out.write(f"{owner} 86400 IN NS ns1.host{server}.example.\n{owner} 86400 IN NS ns2.host{server}.example.\n")
            if ds < args.ds:
                out.write(f"{owner} 86400 IN DS {address % 65536} 13 2 {digest}\n")


def label(rng, number):
    """Unique by the number's digits at its end."""
    word = "".join(rng.choices(LETTERS[:26], k=rng.randint(2, 12)))
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = LETTERS[digit] + digits
        if not number:
            return word + digits


def operator(rng):
    """Some have many customers, most have few."""
    return min(int(rng.paretovariate(0.6)) - 1, OPERATORS - 1) if rng.random() < 0.8 else rng.randrange(OPERATORS)


def sign(path, following):
    """Signs the file in place, and the next version so that it keeps the signatures of what did not change, as a registry does."""
    with tempfile.TemporaryDirectory(prefix="holdfast-keys-") as directory:
        def keygen(*flags):
            done = subprocess.run(["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-n", "ZONE", *flags, ZONE], cwd=directory, check=True, capture_output=True, text=True)
            return done.stdout.strip()

        def signzone(zone):
            # -S is left out: the keys stand in the zone, as a registry has them. One line for each record.
            command = ["dnssec-signzone", "-q", "-A", "-3", "-", "-H", "0", "-x", "-O", "full", "-o", ZONE, "-e", "+2592000", "-k", ksk, "-f", str(zone) + ".signed", str(zone), zsk]
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"dnssec-signzone: {done.stderr}")
            pathlib.Path(str(zone) + ".signed").replace(zone)

        ksk, zsk = keygen("-f", "KSK"), keygen()
        public = "".join((pathlib.Path(directory) / f"{key}.key").read_text() for key in (ksk, zsk))
        with path.open("a") as out:
            out.write(public)
        signzone(path)
        if following:
            with following.open("a") as out:
                out.write(public)
                keep_signatures(path, following, out)
            signzone(following)
        anchor = (pathlib.Path(directory) / f"{ksk}.key").read_text()
        path.with_name(path.name + ".anchor").write_text("".join(line for line in anchor.splitlines(True) if not line.startswith(";")))


def keep_signatures(signed, following, out):
    """Adds the old denial chain, and the signatures of every name that has DS in the next version too; dnssec-signzone drops what does not fit."""
    still = set()
    with following.open() as lines:
        for line in lines:
            words = line.split(None, 4)
            if words[3] == "DS":
                still.add(words[0])
    with signed.open() as lines:
        for line in lines:
            words = line.split(None, 5)
            if len(words) > 5 and (words[3] in ("NSEC3", "NSEC3PARAM") or words[3] == "RRSIG" and (words[4] in ("NSEC3", "NSEC3PARAM", "DNSKEY") or words[0] in still)):
                out.write(line)


if __name__ == "__main__":
    main()
