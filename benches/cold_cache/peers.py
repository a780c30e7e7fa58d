"""The resolvers side by side: how each is configured and started. One thread each, defaults but for what the laboratory needs.

What differs from the defaults, for all alike: one thread, room in the cache for everything asked, as many questions under way as the bench
has outstanding, the laboratory's root and anchor, servers on private addresses. Each validates.
"""

ADDRESSES = {"holdfast": "10.255.0.3", "unbound": "10.255.0.1", "kresd": "10.255.0.2", "pdns": "10.255.0.4"}
PROGRAMS = {"unbound": "unbound", "kresd": "kresd", "pdns": "pdns_recursor"}
CACHE_MIB = 1024


def configure(peer, directory, internet, binary):
    """Writes the configuration of a peer into its own directory; returns the command."""
    directory.mkdir(parents=True)
    (directory / "root.hints").write_text(internet.root_ns)
    (directory / "root.key").write_text(internet.anchor())
    return {"holdfast": holdfast, "unbound": unbound, "kresd": kresd, "pdns": pdns}[peer](directory, ADDRESSES[peer], internet, binary)


def holdfast(directory, address, _, binary):
    (directory / "config.toml").write_text(
        f"[server]\nlisten = [\"{address}:53\"]\ndata_dir = \"data\"\nworkers = 1\n[access]\nallow = [\"10.0.0.0/8\"]\n"
        "[resolver]\nroot_hints = \"root.hints\"\ntrust_anchor = \"root.key\"\nipv6 = false\n"
        f"[cache]\nbytes_max = \"{CACHE_MIB}MiB\"\n[control]\nhttp = \"\"\n[log]\nlevel = \"warn\"\n")
    return [binary, "run", "--config", f"{directory}/config.toml"]


def unbound(directory, address, *_):
    (directory / "unbound.conf").write_text(
        f"server:\n  directory: \"{directory}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n"
        f"  interface: {address}\n  access-control: 10.0.0.0/8 allow\n  root-hints: root.hints\n  trust-anchor-file: root.key\n"
        "  do-ip6: no\n  num-threads: 1\n  outgoing-range: 8192\n  num-queries-per-thread: 4096\n  so-rcvbuf: 4m\n  so-sndbuf: 4m\n"
        f"  msg-cache-size: {CACHE_MIB // 2}m\n  rrset-cache-size: {CACHE_MIB // 2}m\n  key-cache-size: 64m\n  neg-cache-size: 64m\n"
        "remote-control:\n  control-enable: no\n")
    return ["unbound", "-d", "-c", f"{directory}/unbound.conf"]


def kresd(directory, address, internet, _):
    (directory / "kresd.conf").write_text(
        f"net.listen('{address}', 53, {{ kind = 'dns' }})\nnet.ipv6 = false\nmodules = {{ 'hints' }}\nhints.root_file('root.hints')\n"
        f"trust_anchors.remove('.')\ntrust_anchors.add([[{internet.anchor().strip()}]])\nmodules.unload('ta_update')\n"
        f"modules.unload('ta_signal_query')\nmodules.unload('detect_time_skew')\ncache.open({CACHE_MIB} * MB, 'lmdb://{directory}/cache')\n")
    return ["kresd", "-n", "-c", f"{directory}/kresd.conf", str(directory)]


def pdns(directory, address, internet, _):
    tag, algorithm, digest_type, digest = internet.anchor().split()[-4:]
    (directory / "anchor.lua").write_text(f"clearTA('.')\naddTA('.', \"{tag} {algorithm} {digest_type} {digest}\")\n")
    (directory / "recursor.conf").write_text(
        f"local-address={address}\nlocal-port=53\nallow-from=10.0.0.0/8\ndont-query=\nhint-file={directory}/root.hints\n"
        f"lua-config-file={directory}/anchor.lua\ndnssec=validate\nthreads=1\nmax-mthreads=4096\nsocket-dir={directory}\n"
        "daemon=no\nwrite-pid=no\nsecurity-poll-suffix=\nquery-local-address=0.0.0.0\nmax-cache-entries=4000000\nmax-packetcache-entries=1000000\n"
        "loglevel=3\nquiet=yes\n")
    return ["pdns_recursor", f"--config-dir={directory}"]
