"""The floods: who asks what, from where, and how honest clients ask meanwhile."""

from network import BOTS, CONNECTORS, HAMMER, REFLECTED, SERVER
from world import FAT, KEYTRAP, TRAP_ZONE, VICTIM_SIGNED, VICTIM_UNSIGNED

HONEST_PER_S = 500
ATTACK_SHARE = 0.88
ATTACK_PER_S = HONEST_PER_S * ATTACK_SHARE / (1 - ATTACK_SHARE)
# The phases of each event: name, seconds, attack per second (None: no attack; 0: as fast as can be).
PHASES = [("warm", 10, None), ("calm", 12, None), ("88 %", 15, ATTACK_PER_S), ("rest", 5, None), ("saturation", 15, 0), ("after", 6, None)]
OPEN_MAX = 20_000
A, TXT = 1, 16
SMALL, LARGE = 1232, 4096


class Udp:
    """Questions from forged senders."""

    def __init__(self, name, rtype, len_max, senders):
        self.words = [name, str(rtype), str(len_max), *senders]

    def command(self, seconds, per_s, seed):
        """The arguments of the attacking program."""
        return ["udp", SERVER, str(seconds), str(per_s), str(seed), *self.words]


class Streams:
    """Connections of real senders."""

    def __init__(self, port, kinds):
        self.port, self.kinds = port, kinds

    def command(self, seconds, per_s, seed):
        """The arguments of the attacking program."""
        return ["streams", SERVER, str(self.port), str(seconds), str(per_s), str(seed), str(OPEN_MAX), self.kinds, *CONNECTORS]


class Event:
    """One flood. `tcp`: which part of the honest questions comes over TCP, a connection each; `tls`: which part of the clients asks over TLS, on a connection that stays;
    `seldom`: which part of everybody's questions does, so that each of these connections is silent for seconds."""

    def __init__(self, name, title, attack, *, tcp=0.0, tls=0.0, seldom=0.0):
        self.name, self.title, self.attack, self.tcp, self.tls, self.seldom = name, title, attack, tcp, tls, seldom


EVENTS = [
    Event("reflection", "forged senders in 20 networks ask for a large answer", Udp(f"txt.{FAT}", TXT, LARGE, REFLECTED)),
    Event("random-signed", "random subdomains of a signed zone with weak servers", Udp(f"%.{VICTIM_SIGNED}", A, SMALL, BOTS)),
    Event("random-unsigned", "random subdomains of an unsigned zone with weak servers", Udp(f"%.{VICTIM_UNSIGNED}", A, SMALL, BOTS)),
    Event("prefix", "one network hammers", Udp(f"ns1.{FAT}", A, SMALL, HAMMER)),
    Event("nxns", "referrals to many servers of somebody else (NXNSAttack)", Udp(f"%.{TRAP_ZONE}", A, SMALL, BOTS)),
    Event("keytrap", "many wrong signatures by keys with one tag (KeyTrap)", Udp(f"%.{KEYTRAP}", A, SMALL, BOTS)),
    Event("tcp", "TCP connections: silent, slow-loris, and asking", Streams(53, "idle,slow,ask"), tcp=0.2),
    Event("tls", "TLS connections: silent, slow-loris, and shaking hands", Streams(853, "idle,slow,hello"), tls=0.2),
    Event("tls-seldom", "the same, and each client asks little over TLS", Streams(853, "idle,slow,hello"), seldom=0.2),
]
