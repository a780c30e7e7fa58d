"""What each server is told to do about floods: the same numbers wherever two have the same limit.

holdfast's part is what its operator is recommended: every key of [limits] that an access network of this size would set. unbound and BIND have the limits
that their manuals recommend for resolvers; what one of them lacks, it lacks: unbound limits per address and not per network, BIND knows no limit on questions of one network.
"""

from network import SERVER

PER_PREFIX_S = 200
RESPONSES_PER_S = 20
PER_ZONE = 200
DENIALS_PER_ZONE_S = 100
CONNECTIONS_MAX = 4096
CONNECTIONS_PER_PREFIX_MAX = 32


def more(peer, key, cert):
    """The end of a server's configuration."""
    return {"holdfast": holdfast, "unbound": unbound, "bind": bind}[peer](key, cert) if peer != "echo" else ""


def holdfast(key, cert):
    return (f"[server.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\ndot = [\"{SERVER}:853\"]\n"
            f"[limits]\nqueries_per_prefix_s = {PER_PREFIX_S}\nresponses_per_s = {RESPONSES_PER_S}\nwindow_s = 15\nslip = 2\nupstream_per_zone_max = {PER_ZONE}\n"
            f"denials_per_zone_s = {DENIALS_PER_ZONE_S}\ntcp_connections_max = {CONNECTIONS_MAX}\ntcp_connections_per_prefix_max = {CONNECTIONS_PER_PREFIX_MAX}\n")


def unbound(key, cert):
    return (f"server:\n  interface: {SERVER}@853\n  tls-service-key: \"{key}\"\n  tls-service-pem: \"{cert}\"\n"
            f"  ip-ratelimit: {PER_PREFIX_S}\n  ratelimit: {PER_ZONE}\n  wait-limit: 1000\n  discard-timeout: 1900\n  unwanted-reply-threshold: 10000000\n  aggressive-nsec: yes\n"
            f"  incoming-num-tcp: {CONNECTIONS_MAX}\n  tcp-idle-timeout: 10000\n  jostle-timeout: 200\n")


def bind(key, cert):
    options = (f"listen-on port 853 tls floods {{ {SERVER}; }};\n  rate-limit {{ responses-per-second {RESPONSES_PER_S}; window 15; slip 2; }};\n"
               f"  fetches-per-zone {PER_ZONE}; fetches-per-server {PER_ZONE}; clients-per-query 10; max-clients-per-query 100; synth-from-dnssec yes;\n"
               f"  tcp-clients {CONNECTIONS_MAX}; tcp-idle-timeout 100;")
    zones = f"tls floods {{ key-file \"{key}\"; cert-file \"{cert}\"; }};\nzone \".\" {{ type hint; file \"root.hints\"; }};\n"
    return options, zones
