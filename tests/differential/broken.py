"""Name servers that misbehave, each in one way: the address says which. UDP and TCP, in the namespace of the caller.

They serve the unsigned zones whose kind is `server-<fault>`, all with the same content. Address `10.3.0.1` is sound, for zones of which only
one server is broken.
"""

import asyncio
import struct
import sys

from internet import BROKEN_NET, SERVER_FAULTS, WWW
from wire import TYPES, name_wire, read_name

TTL = 300
LIE = "203.0.113.66"


def address(text):
    return bytes(int(part) for part in text.split("."))


def content(zone):
    """Names of a zone, each with its records."""
    soa = name_wire(f"ns1.{zone}") + name_wire(f"ops.{zone}") + struct.pack("!5I", 1, 3600, 600, 86400, 60)
    return {
        zone: [("SOA", soa), ("NS", name_wire(f"ns1.{zone}")), ("NS", name_wire(f"ns2.{zone}"))],
        f"www.{zone}": [("A", address(WWW)), ("AAAA", bytes.fromhex("20010db8000000000000000000000080"))],
        f"cname.{zone}": [("CNAME", name_wire(f"www.{zone}"))],
        f"ent.{zone}": [],
        f"b.ent.{zone}": [],
        f"a.b.ent.{zone}": [("A", address("192.0.2.1"))],
    }


class Query:
    """A question as it came, case and all."""

    def __init__(self, message):
        self.ident, self.flags, count = struct.unpack("!3H", message[:6])
        if count != 1:
            raise ValueError("not one question")
        self.name, end = read_name(message, 12)
        self.rtype, self.qclass = struct.unpack("!HH", message[end:end + 4])
        self.question = message[12:end + 4]
        self.edns = struct.unpack("!H", message[10:12])[0] > 0
        self.lower = self.name.lower()


def record(owner, rtype, rdata, ttl=TTL):
    return name_wire(owner) + struct.pack("!HHIH", TYPES[rtype], 1, ttl, len(rdata)) + rdata


def reply(query, rcode=0, answer=(), authority=(), additional=(), *, aa=True, tc=False, edns=True, ident=None, question=None, high_rcode=0):
    """A response."""
    opt = [b"\0" + struct.pack("!HHIH", 41, 1232, high_rcode << 24, 0)] if edns and query.edns else []
    flags = 0x8000 | (0x0400 if aa else 0) | (0x0200 if tc else 0) | (query.flags & 0x0100) | rcode
    asked = query.question if question is None else question
    head = struct.pack("!6H", query.ident if ident is None else ident, flags, 1 if asked else 0, len(answer), len(authority),
                       len(additional) + len(opt))
    return head + asked + b"".join(answer) + b"".join(authority) + b"".join(additional) + b"".join(opt)


def sound(query, zone, **changes):
    """What a right server says."""
    names, soa = content(zone), record(zone, "SOA", content(zone)[zone][0][1], 60)
    glue = [record(f"ns{n}.{zone}", "A", address(a)) for n, a in changes.pop("glue", ())]
    if query.lower not in names:
        return reply(query, 3, (), [soa], glue, **changes)
    records = names[query.lower]
    chosen = [record(query.name, kind, rdata) for kind, rdata in records if TYPES[kind] == query.rtype]
    if not chosen and records and records[0][0] == "CNAME":
        target = f"www.{zone}"
        chosen = [record(query.name, *records[0])] + [record(target, kind, rdata) for kind, rdata in names[target] if TYPES[kind] == query.rtype]
    return reply(query, 0, chosen, [] if chosen else [soa], glue, **changes)


def misbehave(fault, query, zone, tcp):
    """The responses that a faulty server sends, in order; none is silence."""
    good = lambda **changes: sound(query, zone, **changes)
    depth = query.lower.count(".") - zone.count(".")
    if fault in ("refused", "one-refused"):
        return [reply(query, 5, aa=False)]
    if fault in ("servfail", "one-servfail"):
        return [reply(query, 2, aa=False)]
    if fault == "one-silent":
        return []
    if fault == "formerr-edns":
        return [reply(query, 1, edns=False, aa=False)] if query.edns else [good()]
    if fault == "drop-edns":
        return [] if query.edns else [good()]
    if fault == "notimp-edns":
        return [reply(query, 4, edns=False, aa=False)] if query.edns else [good()]
    if fault == "badvers-edns":
        return [reply(query, 0, high_rcode=1, aa=False)] if query.edns else [good()]
    if fault == "no-aa":
        return [good(aa=False)]
    if fault == "tc-no-tcp":
        return [] if tcp else [reply(query, 0, tc=True)]
    if fault == "upward":
        return [reply(query, 0, (), [record(".", "NS", name_wire("a.root-servers.net."))], aa=False)]
    if fault == "self-referral":
        return [reply(query, 0, (), [record(zone, "NS", name_wire(f"ns1.{zone}"))], aa=False)]
    if fault == "wrong-question":
        return [good(question=name_wire(f"else.{zone}") + query.question[-4:])]
    if fault == "wrong-id-first":
        return [good(ident=query.ident ^ 0x5555), good()]
    if fault == "poison":
        extra = [record("com.", "NS", name_wire(f"ns1.{zone}")), record("www.victim.alpha.", "A", address(LIE))]
        return [sound(query, zone)[:6] + struct.pack("!HHH", *poisoned_counts(query, zone, 2)) + splice(query, zone, extra)]
    if fault == "ent-nxdomain":
        if query.lower in (f"ent.{zone}", f"b.ent.{zone}"):
            return [reply(query, 3, (), [record(zone, "SOA", content(zone)[zone][0][1], 60)])]
        return [good()]
    if fault == "minimised-refused":
        return [reply(query, 5, aa=False)] if query.lower in (f"ent.{zone}", f"b.ent.{zone}") else [good()]
    if fault == "lower-case":
        return [good(question=name_wire(query.lower) + query.question[-4:])]
    if fault == "drop-unknown-types":
        return [good()] if query.rtype in (1, 2, 5, 6) else []
    if fault == "nodata-without-soa":
        return [good()] if query.lower in content(zone) and any(TYPES[k] in (query.rtype, 5) for k, _ in content(zone)[query.lower]) else [
            reply(query, 0 if query.lower in content(zone) else 3)]
    if fault == "trailing-garbage":
        return [good() + b"\0\1\2garbage"]
    if fault == "no-question":
        return [good(question=b"")]
    if fault == "cname-and-data" and query.lower == f"www.{zone}" and query.rtype == 1:
        return [reply(query, 0, [record(query.name, "CNAME", name_wire(f"a.b.ent.{zone}")), record(query.name, "A", address(WWW))])]
    if fault == "wrong-cname-owner" and query.lower == f"cname.{zone}" and depth == 1:
        return [reply(query, 0, [record(f"other.{zone}", "CNAME", name_wire(f"www.{zone}")), record(f"www.{zone}", "A", address(LIE))])]
    if fault == "additional-lies":
        return [good(glue=[(1, LIE), (2, LIE)])]
    return [good()]


def poisoned_counts(query, zone, more):
    counts = struct.unpack("!3H", sound(query, zone)[6:12])
    return counts[0], counts[1] + 1, counts[2] + more - 1


def splice(query, zone, extra):
    """The records of a sound response with one more in the authority section and one more at the head of the additional one."""
    body = sound(query, zone)[12:]
    tail = 11 if query.edns else 0
    return body[:len(body) - tail] + b"".join(extra) + body[len(body) - tail:]


def zone_of(name):
    """The second-level zone above a name."""
    return ".".join(name.rstrip(".").split(".")[-2:]) + "."


def respond(host, message, tcp):
    at, which = (int(part) for part in host.split(".")[2:])
    try:
        query = Query(message)
    except Exception:  # noqa: BLE001 - whatever it is, it is no question
        return []
    zone = zone_of(query.lower)
    if at == 0 or (SERVER_FAULTS[at - 1].startswith("one-") and which != 1):
        return [sound(query, zone)]
    return misbehave(SERVER_FAULTS[at - 1], query, zone, tcp)


class Udp(asyncio.DatagramProtocol):
    def __init__(self, host):
        self.host = host

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        for message in respond(self.host, data, False):
            self.transport.sendto(message, addr)


def tcp_handler(host):
    async def handle(reader, writer):
        try:
            while True:
                length = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), 20))[0]
                messages = respond(host, await asyncio.wait_for(reader.readexactly(length), 20), True)
                for message in messages:
                    writer.write(struct.pack("!H", len(message)) + message)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
    return handle


async def main():
    loop = asyncio.get_running_loop()
    hosts = [f"{BROKEN_NET}.0.1"] + [f"{BROKEN_NET}.{n + 1}.{which}" for n in range(len(SERVER_FAULTS)) for which in (1, 2)]
    for host in hosts:
        await loop.create_datagram_endpoint(lambda host=host: Udp(host), local_addr=(host, 53))
        await asyncio.start_server(tcp_handler(host), host, 53)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
