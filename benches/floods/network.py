"""The network of the floods: a namespace for clients and attackers, one for the server under test, one for all others.

    [clients: all of 10.220.0.0/14] 172.30.1.2 ---veth--- 172.30.1.1 [server: 10.255.0.1] 172.30.2.1 ---veth--- 172.30.2.2 [world: all of 10.0.0.0/8]

Every address of clients is local to them, so that honest ones and attackers may have any. What the server tells attackers over UDP is counted and dropped, as a victim
would who never asked. What goes upstream is counted where it arrives.
"""

import json
import os
import subprocess

SERVER = "10.255.0.1"
# An echo that nobody attacks, and who asks it: what its answers wait is the laboratory's own doing.
BESIDE, BESIDE_CLIENT = "10.255.0.2", "10.220.60.1"
HONEST = [f"10.220.{prefix}.{host}" for prefix in range(50) for host in range(1, 5)]
CLIENTS = "10.220.0.0/14"
# Whom forged questions name: 20 networks of customers.
REFLECTED = ["10.221.0.0/20", "10.221.16.0/22"]
# A botnet: 128 networks, with so many addresses that no one asks much.
BOTS = ["10.222.0.0/17"]
# One network that is not content, in which four honest clients live as well.
HAMMER, HAMMERED_PREFIX = ["10.220.7.128/25"], "10.220.7."
# Who opens connections: 256 networks.
CONNECTORS = ["10.223.0.0/16"]


class Network:
    """The namespaces; made and deleted by name."""

    def __init__(self):
        self.clients, self.server, self.world = (f"hfflood{os.getpid()}-{what}" for what in ("clients", "server", "world"))
        self.made = []

    def make(self):
        """Namespaces, links, addresses, counters."""
        for space in (self.clients, self.server, self.world):
            subprocess.run(["ip", "netns", "add", space], check=True)
            self.made.append(space)
            self._in(space, "ip link set lo up")
            self._in(space, "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.icmp_ratelimit=0")
        for k, (space, link) in enumerate([(self.clients, "clients"), (self.world, "world")], 1):
            self._in(self.server, f"ip link add {link} type veth peer name uplink netns {space}")
            for where, device, host in ((self.server, link, 1), (space, "uplink", 2)):
                self._in(where, f"ip address add 172.30.{k}.{host}/30 dev {device}")
                self._in(where, f"ip link set {device} up")
            self._in(space, f"ip route add default via 172.30.{k}.1")
            self._in(space, f"ip route add {SERVER}/32 via 172.30.{k}.1")
        for address in (SERVER, BESIDE):
            self._in(self.server, f"ip address add {address}/32 dev lo")
        self._in(self.server, f"ip route add {CLIENTS} via 172.30.1.2")
        self._in(self.server, "ip route add default via 172.30.2.2")
        self._in(self.clients, f"ip route add local {CLIENTS} dev lo")
        self._in(self.clients, "sysctl -qw net.ipv4.ip_local_port_range=1024\t65000")
        self._in(self.world, "ip route add local 10.0.0.0/8 dev lo")
        attackers = ", ".join(REFLECTED + BOTS + HAMMER + CONNECTORS)
        self._nft(self.clients, "table ip flood {\ncounter asked {\n}\ncounter told {\n}\n"
                  f"set attackers {{ type ipv4_addr; flags interval; elements = {{ {attackers} }}\n}}\n"
                  "chain leaving {\ntype filter hook output priority 0; policy accept;\nip saddr @attackers udp dport 53 counter name asked\n}\n"
                  "chain coming {\ntype filter hook prerouting priority -150; policy accept;\nip daddr @attackers udp sport 53 counter name told drop\n}\n}\n")
        self._nft(self.world, "table ip flood {\ncounter upstream {\n}\n"
                  "chain coming {\ntype filter hook prerouting priority -150; policy accept;\niifname uplink meta l4proto { tcp, udp } counter name upstream\n}\n}\n")

    def stop(self):
        """Deletes the namespaces."""
        for space in self.made:
            subprocess.run(["ip", "netns", "del", space], check=False)
        self.made.clear()

    def counts(self):
        """So far: packets upstream, packets and octets that attackers sent and were told, datagrams that found the server's queue full, and that its sieve has dropped."""
        found = {}
        for space in (self.clients, self.world):
            done = subprocess.run(["ip", "netns", "exec", space, "nft", "-j", "list", "counters"], stdout=subprocess.PIPE, check=True)
            for entry in json.loads(done.stdout)["nftables"]:
                if "counter" in entry:
                    name = entry["counter"]["name"]
                    found |= {f"{name}_packets": entry["counter"]["packets"], f"{name}_octets": entry["counter"]["bytes"]}
        done = subprocess.run(["ip", "netns", "exec", self.server, "cat", "/proc/net/snmp"], stdout=subprocess.PIPE, check=True, text=True)
        keys, values = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Udp:"))
        udp = dict(zip(keys, values))
        found["overflowed"] = int(udp["RcvbufErrors"])
        # What a socket's filter has dropped counts as an error of no other kind.
        found["sieved"] = int(udp["InErrors"]) - int(udp["RcvbufErrors"]) - int(udp["InCsumErrors"])
        return found

    def _nft(self, space, text):
        done = subprocess.run(["ip", "netns", "exec", space, "nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"nft: {done.stderr}")

    @staticmethod
    def _in(space, command):
        subprocess.run(["ip", "netns", "exec", space, *command.split(" ")], check=True)
