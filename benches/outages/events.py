"""The outages: for each event a row of phases, what is cut in each, and what happens at which second.

The first phase of every event warms the caches; `back` is the time after the return. Record TTLs are 20 to 60 s and those of the TLDs 40 s
(`world.py`), so a cut of 80 s outlives them all.
"""

from network import LYING_PORT, REFUSING_PORT, SLOW_PORT, Cut, divert, drop, drop_back, reject

WARM_S = 45
PUBLISH_AT_S = 10


class Phase:
    """`dead`: the sets that cannot be reached at all, which decides what is attainable. `flap`: (seconds cut, period). `split`: the first
    seconds are judged apart. `restart`: the resolvers are restarted when it begins."""

    def __init__(self, name, seconds, cut=None, *, dead=(), flap=None, split=0, restart=False, publish=False):
        self.name, self.seconds, self.cut, self.dead = name, seconds, cut or Cut(), dead
        self.flap, self.split, self.restart, self.publish = flap, split, restart, publish


class Event:
    """One outage."""

    def __init__(self, name, title, *phases):
        self.name, self.title, self.phases = name, title, [Phase("warm", WARM_S), *phases]


EVENTS = [
    Event("isolation", "national isolation: everything abroad silently dropped, restart inside it, return",
          Phase("cut", 85, Cut(drop("abroad")), dead=["abroad"], split=20, publish=True),
          Phase("restarted", 60, Cut(drop("abroad")), dead=["abroad"], split=5, restart=True),
          Phase("back", 45)),
    Event("operator", "vanishing operator: all four servers of the most popular names gone",
          Phase("cut", 80, Cut(drop("operator")), dead=["operator"], split=5, publish=True),
          Phase("back", 45)),
    Event("prefixes", "prefix blocking: one of two addresses of every zone silently dropped",
          Phase("cut", 65, Cut(drop("side-a")), dead=["side-a"], split=20),
          Phase("back", 25)),
    Event("flapping", "flapping: the uplink down 3 s in every 8",
          Phase("flap", 64, Cut(drop("all")), flap=(3, 8), publish=True),
          Phase("back", 25)),
    Event("loss", "loss: 30 % of all packets, either way; then 60 % of the replies alone",
          Phase("30 % loss", 45, Cut(drop("all", percent=30), back=drop_back("all", percent=30))),
          Phase("calm", 15),
          Phase("replies lost", 45, Cut(back=drop_back("all", percent=60))),
          Phase("back", 25)),
    Event("icmp", "national isolation, said by ICMP",
          Phase("cut", 80, Cut(icmp=reject("abroad")), dead=["abroad"], split=20, publish=True),
          Phase("back", 45)),
    Event("slow", "slow servers: side A of everything answers after 3 s, then everything abroad",
          Phase("side A slow", 45, Cut(nat=divert(SLOW_PORT, "side-a")), split=20),
          Phase("abroad slow", 45, Cut(nat=divert(SLOW_PORT, "abroad")), split=20),
          Phase("back", 25)),
    Event("total", "total loss of the uplink",
          Phase("cut", 80, Cut(drop("all")), dead=["all"], split=20, publish=True),
          Phase("back", 45)),
    Event("ipv4", "IPv4 dead, IPv6 alive",
          Phase("cut", 65, Cut(drop("v4")), dead=["v4"], split=20),
          Phase("back", 25)),
    Event("roots", "wrong servers on the roots' addresses: refusing, then lying",
          Phase("refusing", 55, Cut(nat=divert(REFUSING_PORT, "roots"))),
          Phase("lying", 55, Cut(nat=divert(LYING_PORT, "roots"))),
          Phase("back", 25)),
]
