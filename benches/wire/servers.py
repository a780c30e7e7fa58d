"""Who takes part in the wire bench, and how each is configured: one thread, room for everything asked, its best settings for many questions.

The resolvers are those of `shared/peers.py`, with a local copy of the root as in `outages/resolvers.py`. dnsdist has a packet cache in front of NSD. NSD and
Knot are authoritative for the same zones. holdfast has its access list, both rate limits (far above what is asked, so that they are carried out
and limit nobody), cookies and metrics; no address here is a loopback one, so clients are counted as any others.
"""

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))

import peers as shared  # noqa: E402
from lab import nsd_conf  # noqa: E402
from world import LEAF, ROOTS  # noqa: E402

PROGRAMS = {**shared.PROGRAMS, "dnsdist": "dnsdist", "nsd": "nsd", "knot": "knotd"}
# All answer at port 53 of an address of their own.
ADDRESSES = {"holdfast": "10.255.0.1", "unbound": "10.255.0.2", "kresd": "10.255.0.3", "pdns": "10.255.0.4", "bind": "10.255.0.5", "dnsdist": "10.255.0.6",
             "nsd": "10.255.0.7", "knot": "10.255.0.8", "echo": "10.255.0.9"}
SERVER_CORE, CLIENT_CORE = 0, 1
RESOLVERS = ["holdfast", "unbound", "kresd", "pdns", "bind"]
CACHE_MIB = 512
BUFFER_BYTES = 4 << 20
# Higher than any load; the accounts are kept all the same.
NO_LIMIT_PER_S = 100_000_000
NSD_SERVER = f"  do-ip6: no\n  minimal-responses: yes\n  receive-buffer-size: {BUFFER_BYTES}\n  send-buffer-size: {BUFFER_BYTES}\n"


def configure(peer, directory, world, binary, threads=1, cache_mib=CACHE_MIB, more=""):
    """Writes the configuration of a peer into its own directory; returns the command."""
    directory = pathlib.Path(directory)
    if peer in RESOLVERS:
        command = shared.configure(peer, directory, ADDRESSES[peer], world, binary, cache_mib=cache_mib, more=more or MORE[peer]())
        if peer == "holdfast":
            adapt_holdfast(directory / "config.toml", threads)
        elif peer == "kresd":
            shutil.copyfile(world.dir / "root.zone", directory / "root.zone")
        elif peer == "pdns":
            with open(directory / "anchor.lua", "a") as lua:
                lua.write(f"zoneToCache('.', 'axfr', '{ROOTS[0]}', {{ zonemd = 'ignore', dnssec = 'ignore' }})\n")
        return command
    directory.mkdir(parents=True)
    return {"dnsdist": dnsdist, "nsd": nsd, "knot": knot}[peer](directory, ADDRESSES[peer], world)


def adapt_holdfast(file, threads):
    text = file.read_text().replace("workers = 1\n", f"workers = {threads}\n").replace("http = \"\"\n", "http = \"127.0.0.1:8053\"\n")
    file.write_text(text)


def holdfast():
    return (f"[[mirror]]\nzone = \".\"\nuse = \"always\"\nsources = [\"axfr:{ROOTS[0]}\", \"axfr:{ROOTS[1]}\"]\n"
            f"[limits]\nqueries_per_prefix_s = {NO_LIMIT_PER_S}\nresponses_per_s = {NO_LIMIT_PER_S}\n")


def unbound():
    return (f"auth-zone:\n  name: \".\"\n  primary: {ROOTS[0]}\n  fallback-enabled: yes\n  for-downstream: no\n  for-upstream: yes\n  zonefile: \"root.mirror\"\n")


def kresd():
    # What its module prefill does with a file that is not yet a day old.
    return ("local ffi = require('ffi')\n"
            "event.after(0, function() log_info(ffi.C.LOG_GRP_PREFILL, 'root.zone imported: %d', ffi.C.zi_zone_import({ zone_file = 'root.zone', time_src = ffi.C.ZI_STAMP_MTIM })) end)\n")


def pdns():
    return ""


def bind():
    return "", f"zone \".\" {{ type mirror; primaries {{ {ROOTS[0]}; }}; file \"root.mirror\"; }};\n"


MORE = {"holdfast": holdfast, "unbound": unbound, "kresd": kresd, "pdns": pdns, "bind": bind}


def dnsdist(directory, address, _):
    (directory / "dnsdist.conf").write_text(
        f"setLocal('{address}:53')\nsetACL({{'10.0.0.0/8'}})\nsetSecurityPollSuffix('')\nsetUDPMultipleMessagesVectorSize(64)\n"
        f"newServer({{address='{LEAF}:53', healthCheckMode='up'}})\ngetServer(0):setUp()\n"
        "getPool(''):setCache(newPacketCache(400000, {maxTTL=86400}))\n")
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", f"{directory}/dnsdist.conf"]


def nsd(directory, address, world):
    return nsd_conf("nsd", directory, [address], [(zone, world.dir / file) for zone, file in world.zones], server=NSD_SERVER)


def knot(directory, address, world):
    zones = "".join(f"  - domain: {zone}\n    file: {world.dir / file}\n    zonefile-sync: -1\n    semantic-checks: off\n" for zone, file in world.zones)
    (directory / "knot.conf").write_text(
        f"server:\n  listen: {address}@53\n  rundir: {directory}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {directory}\nlog:\n  - target: {directory}/log\n    any: info\nzone:\n{zones}")
    return ["knotd", "-c", f"{directory}/knot.conf"]


def behind(directory, world):
    """The commands of the servers that the resolvers ask: the root's, and the one of everything."""
    directory.mkdir(parents=True)
    of_all = [(zone, world.dir / file) for zone, file in world.zones]
    transfers = "  provide-xfr: 10.0.0.0/8 NOKEY\n"
    return [nsd_conf("roots", directory, ROOTS, of_all[:1], server=NSD_SERVER, zone_lines=transfers), nsd_conf("leaf", directory, [LEAF], of_all, server=NSD_SERVER)]
