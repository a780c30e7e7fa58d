"""What each resolver may do about outages, switched on: local copies of the root and the domestic TLD, stale answers.

Everyone may fetch the root from two root servers and `home.` from its own, by AXFR. Knot Resolver fetches the root by HTTPS alone, so it is given the
file that it would have fetched; of other zones it keeps no copies. Stale answers: up to a day old, after 1.8 s while servers may still answer
(Knot Resolver: 3 s, PowerDNS: at once; both know no other).
"""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))

import peers as shared  # noqa: E402
from network import RESOLVER  # noqa: E402
from world import ROOTS, tld_addresses  # noqa: E402

PEERS = ["holdfast", "unbound", "bind", "kresd", "pdns"]
PROGRAMS = shared.PROGRAMS
SOURCES = {".": [ROOTS[0][0], ROOTS[1][0]], "home.": [pair[0] for pair in tld_addresses("home", 0)]}
STALE_MAX_S, STALE_AFTER_MS = 86400, 1800
CACHE_MIB = 256
# What a build of holdfast may not have yet: tried with `holdfast check`, left out where it is refused.
HOLDFAST_IF_BUILT = [f"[stale]\nenabled = true\nanswer_after_ms = {STALE_AFTER_MS}\nage_max = \"1d\"\n"]


def configure(peer, directory, world, binary, log_level="warn"):
    """Writes the configuration; returns the command, and a remark on what had to be left out."""
    directory = pathlib.Path(directory)
    remark = ""
    more = {"holdfast": holdfast, "unbound": unbound, "bind": bind, "kresd": kresd, "pdns": pdns}[peer](world)
    command = shared.configure(peer, directory, RESOLVER, world, binary, ipv6=True, cache_mib=CACHE_MIB, more=more)
    if peer == "holdfast":
        remark = add_if_built(directory / "config.toml", binary, log_level)
    elif peer == "kresd":
        shutil.copyfile(world.dir / world.root.file, directory / "root.zone")
    elif peer == "pdns":
        with open(directory / "anchor.lua", "a") as lua:
            for zone, sources in SOURCES.items():
                lua.write(f"zoneToCache('{zone}', 'axfr', '{sources[0]}', {{ zonemd = 'ignore', dnssec = 'ignore', refreshPeriod = 30, retryOnErrorPeriod = 10 }})\n")
    return command, remark


def add_if_built(conf, binary, log_level):
    """Adds each part that this holdfast accepts; says which it does not."""
    text, refused = conf.read_text().replace("level = \"warn\"\n", f"level = \"{log_level}\"\nservfail = true\n"), []
    for part in ["", *HOLDFAST_IF_BUILT]:
        conf.write_text(text + part)
        done = subprocess.run([binary, "check", "--config", str(conf)], capture_output=True, text=True, check=False)
        if not part and done.returncode:
            raise RuntimeError(f"holdfast refuses its configuration: {done.stderr}")
        if done.returncode == 0:
            text += part
        else:
            refused.append(part.split("\n")[0])
    conf.write_text(text)
    return f"without {', '.join(refused)}" if refused else ""


def holdfast(_):
    return "".join("[[mirror]]\nzone = \"{}\"\nuse = \"failover\"\nverify = \"dnssec\"\nsources = [{}]\n".format(zone, ", ".join(f"\"axfr:{a}\"" for a in sources))
                   for zone, sources in SOURCES.items())


def unbound(_):
    return (f"server:\n  module-config: \"validator iterator\"\n  serve-expired: yes\n  serve-expired-ttl: {STALE_MAX_S}\n  serve-expired-client-timeout: {STALE_AFTER_MS}\n"
            "  serve-expired-reply-ttl: 30\n  prefetch: yes\n  ede: yes\n  ede-serve-expired: yes\n" + "".join(
                f"auth-zone:\n  name: \"{zone}\"\n{''.join(f'  primary: {a}{chr(10)}' for a in sources)}  fallback-enabled: yes\n  for-downstream: no\n"
                f"  for-upstream: yes\n  zonefile: \"{'root' if zone == '.' else zone}.mirror\"\n" for zone, sources in SOURCES.items()))


def bind(world):
    options = (f"stale-answer-enable yes; stale-cache-enable yes; max-stale-ttl {STALE_MAX_S}; stale-answer-ttl 30; stale-refresh-time 30;\n"
               f"  stale-answer-client-timeout {STALE_AFTER_MS};")
    tag, algorithm, digest_type, digest = world.home_tld().ds[0].split()[-4:]
    zones = f"trust-anchors {{ home. static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n" + "".join(
        f"zone \"{zone}\" {{ type mirror; primaries {{ {' '.join(f'{a};' for a in sources)} }}; file \"{'root' if zone == '.' else zone}.mirror\"; }};\n" for zone, sources in SOURCES.items())
    return options, zones


def kresd(_):
    # What its module prefill does with a file that is not yet a day old; the module itself wants packages that it needs for downloads alone.
    return ("modules.load('serve_stale < cache')\nlocal ffi = require('ffi')\n"
            "event.after(0, function() log_info(ffi.C.LOG_GRP_PREFILL, 'root.zone imported: %d', ffi.C.zi_zone_import({ zone_file = 'root.zone', time_src = ffi.C.ZI_STAMP_MTIM })) end)\n")


def pdns(_):
    # An extension is 30 s.
    return f"serve-stale-extensions={STALE_MAX_S // 30}\n"
