"""What each program is told: the generated zone from its file, or as a secondary of a primary, and nothing else.

All get one thread for answers where they have a setting for it, so that what is measured is the program and not the number of cores.
"""

PROGRAMS = {"nsd": "nsd", "knot": "knotd", "bind": "named", "unbound": "unbound"}


def configure(peer, base, port, zone, binary, file=None, primary=None):
    """The command that runs a peer in the foreground, with its zone from `file` or by transfer from the port `primary`. `base` is a directory of its own."""
    base.mkdir(exist_ok=True)
    conf = base / "conf"
    text, command = {"holdfast": own_zone, "nsd": nsd, "knot": knot, "bind": bind, "unbound": unbound}[peer](base, port, zone, file, primary)
    conf.write_text(text)
    return [binary if word == "holdfast" else word for word in command] + [str(conf)]


def own_zone(base, port, zone, file, _primary):
    return holdfast(base, port, f'[[zone]]\nname = "{zone}"\nfile = "{file}"\n'), RUN_HOLDFAST


RUN_HOLDFAST = ["holdfast", "run", "--config"]


def mirror(base, port, zone, source, anchor, binary):
    """As `configure`, for a mirror of holdfast; `source` is one of its sources, `anchor` the file of its trust anchor, or None for a zone that is not verified."""
    base.mkdir(exist_ok=True)
    conf = base / "conf"
    verify = "dnssec" if anchor else "none"
    part = f'[[mirror]]\nzone = "{zone}"\nuse = "always"\nsources = ["{source}"]\nverify = "{verify}"\n'
    conf.write_text(holdfast(base, port, part, anchor))
    return [binary, *RUN_HOLDFAST[1:], str(conf)]


def holdfast(base, port, part, anchor=None):
    keys = f'trust_anchor = "{anchor}"\n' if anchor else ""
    return (f'[server]\nlisten = ["127.0.0.1:{port}"]\ndata_dir = "{base}/data"\nworkers = 1\n[resolver]\n{keys}prime = false\ntrust_anchor_updates = false\n'
            f'special_use_zones = false\nquery_loopback = true\n[reachability]\nprobe = false\n{part}')


def nsd(base, port, zone, file, primary):
    source = f" zonefile: {file}\n" if file else f' zonefile: "{base}/zone"\n allow-notify: 127.0.0.1 NOKEY\n request-xfr: 127.0.0.1@{primary} NOKEY\n'
    return (f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n zonesdir: "{base}"\n database: ""\n pidfile: "{base}/pid"\n xfrdfile: "{base}/xfrd"\n'
            f' zonelistfile: "{base}/list"\n xfrdir: "{base}"\n server-count: 1\n logfile: "{base}/log"\nremote-control:\n control-enable: no\nzone:\n name: {zone}\n{source}',
            ["nsd", "-d", "-c"])


def knot_head(base, port, more=""):
    return (f"server:\n  listen: 127.0.0.1@{port}\n  rundir: {base}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n{more}"
            f"database:\n  storage: {base}\n  journal-db-max-size: 1G\nlog:\n  - target: {base}/log\n    any: info\n")


def knot(base, port, zone, file, primary):
    if file:
        zone_part = f"zone:\n  - domain: {zone}\n    file: {file}\n    zonefile-sync: -1\n    semantic-checks: off\n"
    else:
        zone_part = (f"remote:\n  - id: primary\n    address: 127.0.0.1@{primary}\nacl:\n  - id: primary\n    address: 127.0.0.1\n    action: notify\n"
                     f"zone:\n  - domain: {zone}\n    file: {base}/zone\n    zonefile-sync: -1\n    zonefile-load: none\n    journal-content: changes\n    master: primary\n    acl: primary\n    semantic-checks: off\n")
    return knot_head(base, port) + zone_part, ["knotd", "-c"]


def bind(base, port, zone, file, primary):
    source = f'type primary; file "{file}";' if file else f'type secondary; primaries {{ 127.0.0.1 port {primary}; }}; file "{base}/zone"; masterfile-format raw;'
    return (f'options {{ directory "{base}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file "{base}/pid"; session-keyfile "{base}/key"; '
            f'notify no; dnssec-validation no; }};\ncontrols {{ }};\nzone "{zone}" {{ {source} }};\n',
            ["named", "-g", "-n", "1", "-c"])


def unbound(base, port, zone, file, primary):
    source = f' zonefile: "{file}"\n' if file else f" primary: 127.0.0.1@{primary}\n allow-notify: 127.0.0.1\n"
    return (f'server:\n interface: 127.0.0.1@{port}\n do-ip6: no\n username: ""\n chroot: ""\n directory: "{base}"\n pidfile: "{base}/pid"\n use-syslog: no\n num-threads: 1\n'
            f' module-config: "iterator"\n do-not-query-localhost: no\n local-zone: "test." nodefault\n access-control: 127.0.0.0/8 allow_snoop\nremote-control:\n control-enable: no\nauth-zone:\n name: {zone}\n{source} for-upstream: no\n for-downstream: yes\n',
            ["unbound", "-d", "-c"])


def primary(base, port, zone, file):
    """The command that runs Knot as a primary, which makes the differences of what its file holds."""
    base.mkdir(exist_ok=True)
    conf = base / "conf"
    conf.write_text(knot_head(base, port, "  tcp-io-timeout: 0\n") + "acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n"
                    f"zone:\n  - domain: {zone}\n    file: {file}\n    zonefile-sync: -1\n    zonefile-load: difference\n    journal-content: changes\n    journal-max-usage: 500M\n    semantic-checks: off\n    acl: all\n")
    return ["knotd", "-c", str(conf)]
