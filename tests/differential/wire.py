"""As much of DNS's wire form as the comparison and the broken servers need; no library, so that none of their bugs is shared."""

import struct

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39, "OPT": 41,
    "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "NSEC3PARAM": 51, "CAA": 257, "TYPE65280": 65280,
}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 16: "BADVERS"}
# Where names stand in RDATA that may be compressed: octets before the first name, how many names follow.
NAMES_IN_RDATA = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 33: (6, 1), 39: (0, 1)}


class BadMessage(Exception):
    """A message that cannot be read."""


def name_wire(text):
    """A name without escapes in wire form."""
    labels = [label for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def read_name(message, at):
    """The name at an offset as text, and the offset after it."""
    labels, end, jumps = [], None, 0
    while True:
        if at >= len(message):
            raise BadMessage("a name runs out of the message")
        length = message[at]
        if length & 0xC0 == 0xC0:
            if at + 1 >= len(message) or jumps > 60:
                raise BadMessage("a bad pointer")
            end = end if end is not None else at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
        elif length == 0:
            return ".".join(labels) + ".", end if end is not None else at + 1
        else:
            labels.append(message[at + 1:at + 1 + length].decode("latin-1"))
            at += 1 + length


def query(ident, name, rtype, *, dnssec=True, size=1232, cd=False, ad=False):
    """A recursive query with EDNS."""
    flags = 0x0100 | (0x0010 if cd else 0) | (0x0020 if ad else 0)
    head = struct.pack("!6H", ident, flags, 1, 0, 0, 1)
    opt = b"\0" + struct.pack("!HHIH", 41, size, 0x8000 if dnssec else 0, 0)
    return head + name_wire(name) + struct.pack("!HH", rtype, 1) + opt


class Answer:
    """A parsed response."""

    def __init__(self, message):
        if len(message) < 12:
            raise BadMessage("shorter than a header")
        self.ident, flags, questions, *counts = struct.unpack("!6H", message[:12])
        self.rcode, self.ad, self.tc = flags & 15, bool(flags & 0x20), bool(flags & 0x200)
        self.ede, at = [], 12
        for _ in range(questions):
            _, at = read_name(message, at)
            at += 4
        self.sections = []
        for count in counts:
            section = []
            for _ in range(count):
                name, at = read_name(message, at)
                if at + 10 > len(message):
                    raise BadMessage("a record runs out of the message")
                rtype, _, ttl, length = struct.unpack("!HHIH", message[at:at + 10])
                at += 10
                if at + length > len(message):
                    raise BadMessage("RDATA runs out of the message")
                if rtype == 41:
                    self.rcode |= ttl >> 24 << 4
                    self._options(message[at:at + length])
                else:
                    section.append((name.lower(), rtype, ttl, self._rdata(message, at, length, rtype)))
                at += length
            self.sections.append(section)

    def _options(self, data):
        while len(data) >= 4:
            code, length = struct.unpack("!HH", data[:4])
            if code == 15:
                self.ede.append((struct.unpack("!H", data[4:6])[0], data[6:4 + length].decode("utf-8", "replace")))
            data = data[4 + length:]

    @staticmethod
    def _rdata(message, at, length, rtype):
        if rtype not in NAMES_IN_RDATA:
            return message[at:at + length]
        before, names = NAMES_IN_RDATA[rtype]
        out, place = message[at:at + before], at + before
        for _ in range(names):
            name, place = read_name(message, place)
            out += name.lower().encode("latin-1") + b"\0"
        return out + message[place:at + length]

    def fields(self):
        """What is compared: response code, AD, the answer, which sets of it are signed, which proofs stand beside it."""
        answer, authority = self.sections[0], self.sections[1]
        sets = sorted({(name, type_name(rtype), rdata.hex()) for name, rtype, _, rdata in answer if rtype != 46})
        signed = sorted({(name, type_name(struct.unpack("!H", rdata[:2])[0])) for name, rtype, _, rdata in answer if rtype == 46})
        proofs = sorted({type_name(rtype) for _, rtype, _, _ in authority if rtype in (6, 47, 50)})
        return {
            "rcode": RCODES.get(self.rcode, str(self.rcode)),
            "ad": self.ad,
            "answer": sets,
            "signed": signed,
            "proofs": proofs,
        }


def type_name(rtype):
    """The mnemonic of a type."""
    return TYPE_NAMES.get(rtype, f"TYPE{rtype}")
