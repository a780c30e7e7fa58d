"""The resolvers side by side: how each is configured and started. One thread each, defaults but for what a laboratory needs.

What differs from the defaults, for all alike: one thread, room in the cache for everything asked, as many questions under way as the bench
has outstanding, the laboratory's root and anchor, servers on private addresses. Each validates. What a bench wants beside that, it adds at the
end of the configuration, in the resolver's own language (`more`); for BIND that is a pair: options, and the zones in place of the root's hints.
"""

PROGRAMS = {"unbound": "unbound", "kresd": "kresd", "pdns": "pdns_recursor", "bind": "named"}
CACHE_MIB = 1024


def configure(peer, directory, address, internet, binary, *, ipv6=False, cache_mib=CACHE_MIB, more=""):
    """Writes the configuration of a peer into its own directory; returns the command."""
    directory.mkdir(parents=True)
    (directory / "root.hints").write_text(internet.root_ns)
    (directory / "root.key").write_text(internet.anchor())
    make = {"holdfast": holdfast, "unbound": unbound, "kresd": kresd, "pdns": pdns, "bind": bind}[peer]
    return make(directory, address, internet, binary, ipv6, cache_mib, more)


def holdfast(directory, address, _, binary, ipv6, cache_mib, more):
    (directory / "config.toml").write_text(
        f"[server]\nlisten = [\"{address}:53\"]\ndata_dir = \"data\"\nworkers = 1\n[access]\nallow = [\"10.0.0.0/8\"]\n"
        f"[resolver]\nroot_hints = \"root.hints\"\ntrust_anchor = \"root.key\"\nipv6 = {'true' if ipv6 else 'false'}\n"
        f"[cache]\nbytes_max = \"{cache_mib}MiB\"\n[control]\nhttp = \"\"\n[log]\nlevel = \"warn\"\n{more}")
    return [binary, "run", "--config", f"{directory}/config.toml"]


def unbound(directory, address, _, __, ipv6, cache_mib, more):
    (directory / "unbound.conf").write_text(
        f"server:\n  directory: \"{directory}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n"
        f"  interface: {address}\n  access-control: 10.0.0.0/8 allow\n  root-hints: root.hints\n  trust-anchor-file: root.key\n"
        f"  do-ip6: {'yes' if ipv6 else 'no'}\n  num-threads: 1\n  outgoing-range: 8192\n  num-queries-per-thread: 4096\n  so-rcvbuf: 4m\n  so-sndbuf: 4m\n"
        f"  msg-cache-size: {cache_mib // 2}m\n  rrset-cache-size: {cache_mib // 2}m\n  key-cache-size: 64m\n  neg-cache-size: 64m\n"
        f"remote-control:\n  control-enable: no\n{more}")
    return ["unbound", "-d", "-c", f"{directory}/unbound.conf"]


def kresd(directory, address, internet, _, ipv6, cache_mib, more):
    (directory / "kresd.conf").write_text(
        f"net.listen('{address}', 53, {{ kind = 'dns' }})\nnet.ipv6 = {'true' if ipv6 else 'false'}\nmodules = {{ 'hints' }}\nhints.root_file('root.hints')\n"
        f"trust_anchors.remove('.')\ntrust_anchors.add([[{internet.anchor().strip()}]])\nmodules.unload('ta_update')\n"
        f"modules.unload('ta_signal_query')\nmodules.unload('detect_time_skew')\ncache.open({cache_mib} * MB, 'lmdb://{directory}/cache')\n{more}")
    return ["kresd", "-n", "-c", f"{directory}/kresd.conf", str(directory)]


def pdns(directory, address, internet, _, ipv6, __, more):
    tag, algorithm, digest_type, digest = internet.anchor().split()[-4:]
    (directory / "anchor.lua").write_text(f"clearTA('.')\naddTA('.', \"{tag} {algorithm} {digest_type} {digest}\")\n")
    (directory / "recursor.conf").write_text(
        f"local-address={address}\nlocal-port=53\nallow-from=10.0.0.0/8\ndont-query=\nhint-file={directory}/root.hints\n"
        f"lua-config-file={directory}/anchor.lua\ndnssec=validate\nthreads=1\nmax-mthreads=4096\nsocket-dir={directory}\n"
        f"daemon=no\nwrite-pid=no\nsecurity-poll-suffix=\nquery-local-address=0.0.0.0{', ::' if ipv6 else ''}\n"
        f"max-cache-entries=4000000\nmax-packetcache-entries=1000000\nloglevel=3\nquiet=yes\n{more}")
    return ["pdns_recursor", f"--config-dir={directory}"]


def bind(directory, address, internet, _, ipv6, cache_mib, more):
    options, zones = more or ("", "zone \".\" { type hint; file \"root.hints\"; };\n")
    tag, algorithm, digest_type, digest = internet.anchor().split()[-4:]
    (directory / "named.conf").write_text(
        f"options {{ directory \"{directory}\"; listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};\n"
        f"  dnssec-validation yes; empty-zones-enable no; pid-file none; session-keyfile none; max-cache-size {cache_mib}m; recursive-clients 4096; {options} }};\n"
        f"controls {{ }};\ntrust-anchors {{ . static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n{zones}")
    return ["named", *([] if ipv6 else ["-4"]), "-g", "-n", "1", "-c", f"{directory}/named.conf"]
