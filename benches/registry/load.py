"""A steady stream of questions for delegations, and how long each took to be answered.

Open loop: a question leaves when its time has come, whether or not the one before was answered, so that a pause of the server shows in
every question that fell into it. The answers' delays stand beside the moments at which the questions left.
"""

import random
import select
import socket
import struct
import threading
import time

LOST_S = 2.0
NS = 2


def query(number, name, rtype=NS):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", number, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", rtype, 1)


class Load(threading.Thread):
    """Asks `rate` questions a second until it is stopped; at most `seconds`."""

    def __init__(self, port, names, rate, seconds, seed=1):
        super().__init__(daemon=True)
        self.port, self.names, self.rate, self.seconds = port, names, rate, seconds
        self.rng = random.Random(seed)
        self.delays = []  # (moment of asking, seconds or None when it was never answered)
        self.ending = threading.Event()

    def run(self):
        waiting = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.setblocking(False)
            begun = time.monotonic()
            sent = 0
            while not self.ending.is_set() and time.monotonic() - begun < self.seconds:
                due = begun + sent / self.rate
                wait = due - time.monotonic()
                if wait > 0:
                    ready, _, _ = select.select([sock], [], [], wait)
                    if ready:
                        self.receive(sock, waiting)
                    continue
                number = sent & 0xFFFF
                # From the moment at which it was due: a client that could not send was made to wait, too.
                if number in waiting:
                    self.delays.append((waiting.pop(number), None))
                waiting[number] = time.monotonic()
                sent += 1
                try:
                    sock.send(query(number, self.rng.choice(self.names)))
                except OSError:
                    pass
                self.receive(sock, waiting)
            end = time.monotonic() + LOST_S
            while waiting and time.monotonic() < end:
                if select.select([sock], [], [], 0.05)[0]:
                    self.receive(sock, waiting)
        self.delays.extend((asked, None) for asked in waiting.values())

    def receive(self, sock, waiting):
        while True:
            try:
                answer = sock.recv(4096)
            except OSError:
                return
            now = time.monotonic()
            number, flags = struct.unpack("!2H", answer[:4])
            asked = waiting.pop(number, None)
            if asked is not None:
                # Whatever is no answer counts as none.
                self.delays.append((asked, now - asked if flags & 15 == 0 else None))

    def stop(self):
        self.ending.set()
        self.join()

    def between(self, begin, end):
        """Number, lost ones, p50, p99 and longest of what was asked in that time, in seconds."""
        part = [delay for asked, delay in self.delays if begin <= asked < end]
        good = sorted(delay for delay in part if delay is not None)
        if not good:
            return {"asked": len(part), "lost": len(part)}
        at = lambda share: good[min(len(good) - 1, int(len(good) * share))]
        return {"asked": len(part), "lost": len(part) - len(good), "p50_s": at(0.5), "p99_s": at(0.99), "max_s": good[-1]}
