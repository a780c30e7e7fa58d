"""The network of the outages: one namespace for the world, one for each resolver, and the cuts between them.

    [resolver k: 10.255.0.1, load] 172.30.k.2 ---veth--- 172.30.k.1 [world: all of 10.0.0.0/8 and 3fff::/20 is local]

Every address of `world.py` is local to the world; which of them a packet may reach is a matter of nftables there. A cut is a text of rules for
three chains, which replaces the one before in one transaction. Packets are counted per resolver and destination before the cut, so that a
question into the void counts. Replies are cut in `back`. Nothing leaves the namespaces.
"""

import json
import os
import subprocess

from world import SETS

# Its own address in each resolver's namespace.
RESOLVER = "10.255.0.1"
COUNTED = {"all": None, "abroad": "abroad", "operator": "operator"}
SLOW_PORT, REFUSING_PORT, LYING_PORT = 5301, 5302, 5303
LIAR = ("10.9.9.9", "3fff:9::9")


class Cut:
    """What happens to packets: rules for `to` (towards servers, silently), `icmp` (rejected), `back` (replies), `nat` (given to another)."""

    def __init__(self, to=(), icmp=(), back=(), nat=()):
        self.to, self.icmp, self.back, self.nat = list(to), list(icmp), list(back), list(nat)


def drop(*names, percent=100):
    """Packets to these sets vanish, or as many of 100."""
    share = "" if percent == 100 else f"numgen random mod 100 < {percent} "
    return [f"{family} daddr @{set_name(name, family)} {share}drop" for name in names for family in ("ip", "ip6") if members(name, family)]


def drop_back(*names, percent):
    """Replies of these sets vanish."""
    return [f"{family} saddr @{set_name(name, family)} numgen random mod 100 < {percent} drop" for name in names for family in ("ip", "ip6") if members(name, family)]


def reject(*names):
    """Packets to these sets are answered with ICMP: host unreachable, address unreachable."""
    kind = {"ip": "icmp type host-unreachable", "ip6": "icmpv6 type addr-unreachable"}
    return [f"{family} daddr @{set_name(name, family)} reject with {kind[family]}" for name in names for family in ("ip", "ip6") if members(name, family)]


def divert(port, *names):
    """What goes to port 53 of these sets goes to another port: of the same address for the slow relay, of the liar otherwise."""
    rules = []
    for name in names:
        for family, liar in (("ip", LIAR[0]), ("ip6", f"[{LIAR[1]}]")):
            if members(name, family):
                to = f"dnat to :{port}" if port == SLOW_PORT else f"dnat to {liar}:{port}"
                rules += [(family, f"{family} daddr @{set_name(name, family)} {transport} dport 53 {to}") for transport in ("udp", "tcp")]
    return rules


class Network:
    """The namespaces; made and deleted by name, so that what a killed run left can be told apart."""

    def __init__(self, peers):
        self.peers = peers
        self.world = f"hfout{os.getpid()}-world"
        self.spaces = {peer: f"hfout{os.getpid()}-{peer}" for peer in peers}
        self.made = []

    def make(self):
        """Namespaces, links, addresses, rules without a cut."""
        for space in (self.world, *self.spaces.values()):
            subprocess.run(["ip", "netns", "add", space], check=True)
            self.made.append(space)
            self._in(space, "ip link set lo up")
        for command in ("ip route add local 10.0.0.0/8 dev lo", "ip -6 route add local 3fff::/20 dev lo", "sysctl -qw net.ipv6.ip_nonlocal_bind=1",
                        "sysctl -qw net.ipv4.ip_nonlocal_bind=1", "sysctl -qw net.ipv4.icmp_ratelimit=0", "sysctl -qw net.ipv6.icmp.ratelimit=0",
                        "sysctl -qw net.ipv4.conf.all.rp_filter=0"):
            self._in(self.world, command)
        for k, (peer, space) in enumerate(self.spaces.items(), 1):
            self._in(self.world, f"ip link add w-{peer} type veth peer name uplink netns {space}")
            for where, link, host in ((self.world, f"w-{peer}", 1), (space, "uplink", 2)):
                self._in(where, f"ip address add 172.30.{k}.{host}/30 dev {link}")
                self._in(where, f"ip -6 address add fd00:{k}::{host}/64 dev {link} nodad")
                self._in(where, f"ip link set {link} up")
            self._in(space, f"ip address add {RESOLVER}/32 dev lo")
            self._in(space, f"ip route add default via 172.30.{k}.1")
            self._in(space, f"ip -6 route add default via fd00:{k}::1")
        self._nft(self._tables())
        self.cut(Cut())

    def stop(self):
        """Deletes the namespaces."""
        for space in self.made:
            subprocess.run(["ip", "netns", "del", space], check=False)
        self.made.clear()

    def cut(self, cut):
        """Makes this the cut, whatever was cut before."""
        text = "".join(f"flush chain inet outage {chain}\n" for chain in ("cut_to", "cut_icmp", "cut_back")) + "flush chain ip turned cut_nat\nflush chain ip6 turned cut_nat\n"
        for chain, rules in (("cut_to", cut.to), ("cut_icmp", cut.icmp), ("cut_back", cut.back)):
            text += "".join(f"add rule inet outage {chain} {rule}\n" for rule in rules)
        text += "".join(f"add rule {family} turned cut_nat {rule}\n" for family, rule in cut.nat)
        self._nft(text)

    def counts(self):
        """Packets towards the servers so far: {peer: {what: packets}}."""
        found = {peer: {} for peer in self.peers}
        done = subprocess.run(["ip", "netns", "exec", self.world, "nft", "-j", "list", "counters"], stdout=subprocess.PIPE, check=True)
        for entry in json.loads(done.stdout)["nftables"]:
            if "counter" in entry:
                peer, what = entry["counter"]["name"].split("__")
                found[peer][what] = entry["counter"]["packets"]
        return found

    def _tables(self):
        text = "table inet outage {\n"
        for name in SETS:
            for family, kind in (("ip", "ipv4_addr"), ("ip6", "ipv6_addr")):
                if members(name, family):
                    text += f"set {set_name(name, family)} {{ type {kind}; flags interval; elements = {{ {', '.join(members(name, family))} }}\n}}\n"
        counters, rules = "", ""
        for peer in self.peers:
            for what, name in COUNTED.items():
                counters += f"counter {peer}__{what} {{\n}}\n"
                for family in ("ip", "ip6"):
                    where = f"{family} daddr @{set_name(name, family)} " if name else f"meta nfproto {'ipv4' if family == 'ip' else 'ipv6'} "
                    rules += f"iifname \"w-{peer}\" {where}meta l4proto {{ tcp, udp }} counter name {peer}__{what}\n"
        text += counters + (
            "chain cut_to {\n}\nchain cut_icmp {\n}\nchain cut_back {\n}\n"
            f"chain on_way {{\ntype filter hook prerouting priority -150; policy accept;\n{rules}iifname \"w-*\" jump cut_to\n}}\n"
            "chain at_door {\ntype filter hook input priority 0; policy accept;\niifname \"w-*\" jump cut_icmp\n}\n"
            "chain on_return {\ntype filter hook output priority 0; policy accept;\noifname \"w-*\" jump cut_back\n}\n}\n")
        for family in ("ip", "ip6"):
            sets = "".join(f"set {set_name(name, family)} {{ type {'ipv4_addr' if family == 'ip' else 'ipv6_addr'}; flags interval; elements = {{ {', '.join(members(name, family))} }}\n}}\n"
                           for name in SETS if members(name, family))
            text += (f"table {family} turned {{\n{sets}chain cut_nat {{\n}}\nchain on_way {{\ntype nat hook prerouting priority -100; policy accept;\n"
                     "iifname \"w-*\" jump cut_nat\n}\n}\n")
        return text

    def _nft(self, text):
        done = subprocess.run(["ip", "netns", "exec", self.world, "nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"nft: {done.stderr}")

    @staticmethod
    def _in(space, command):
        subprocess.run(["ip", "netns", "exec", space, *command.split()], check=True)


def set_name(name, family):
    """The name of a set of `world.SETS` in nftables."""
    return f"{name.replace('-', '_')}_{family}"


def members(name, family):
    """Its networks of one family."""
    return [text for text in SETS[name] if (":" in text) == (family == "ip6")]
