#!/usr/bin/env python3
"""The honest clients: each question leaves on schedule from its client's own address, and what became of it is written down.

    load.py SERVER BESIDE QUESTIONS RESULTS START

QUESTIONS: lines of `MICROSECONDS CLIENT TRANSPORT RCODE ADDRESS NAME`, in order of time; a TRANSPORT of `beside` is UDP to BESIDE instead of SERVER, and with a RCODE of -1 any answer is right. START: when time 0 is, on the monotonic clock. RESULTS: a line of
JSON for each question: [outcome, latency in us, times asked, how late it was sent in us].

A client behaves as a stub resolver does: over UDP it asks again after 1 s and 3 s, from the same port; what is truncated it asks over TCP, on a connection of its own. Over TLS
it keeps a connection, and opens another when that one ends. No client has cookies. Whoever has no answer within CLIENT_MAX_S has failed.
"""

import collections
import gc
import heapq
import json
import pathlib
import selectors
import socket
import ssl
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "differential"))

from wire import Answer, BadMessage, query  # noqa: E402

CLIENT_MAX_S = 5.0
AGAIN_AFTER_S = (1.0, 3.0)
# A connection that fails is made anew so much later.
RECONNECT_S = 0.2
ANY_RCODE = -1
RIGHT, SERVFAIL, WRONG, TIMEOUT, OTHER = "right", "servfail", "wrong", "timeout", "other"


class Question:
    """One question under way."""

    def __init__(self, number, client, transport, rcode, address, name, due):
        self.number, self.client, self.transport, self.rcode, self.address, self.name = number, client, transport, rcode, address, name
        self.ident, self.times, self.stream = number & 0xFFFF, 0, None
        self.sent = time.monotonic()
        self.late = self.sent - due


class Load:
    """All clients."""

    def __init__(self, server, beside, start, results):
        self.server, self.beside, self.start = server, beside, start
        self.selector, self.sockets, self.streams = selectors.DefaultSelector(), {}, {}
        # Over UDP by client and ID; timers of (when, order, what, with what).
        self.waiting, self.timers, self.order = {}, [], 0
        self.rows, self.open_questions = [None] * results, 0
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def run(self, plan):
        gc.disable()
        at = 0
        while at < len(plan) or self.open_questions:
            now = time.monotonic()
            while at < len(plan) and (due := self.start + int(plan[at][0]) / 1e6) <= now:
                _, client, transport, rcode, address, name = plan[at]
                self.ask(Question(at, client, transport, int(rcode), address, name, due))
                at += 1
            while self.timers and self.timers[0][0] <= now:
                _, _, act, *arguments = heapq.heappop(self.timers)
                act(*arguments)
            until = [self.timers[0][0]] if self.timers else []
            if at < len(plan):
                until.append(self.start + int(plan[at][0]) / 1e6)
            for event, _ in self.selector.select(max(0, min(until, default=now) - time.monotonic())):
                event.data.ready()

    def after(self, seconds, act, *arguments):
        self.order += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.order, act, *arguments))

    def ask(self, question):
        self.open_questions += 1
        self.after(CLIENT_MAX_S, self.end, question, TIMEOUT)
        if question.transport in ("udp", "beside"):
            self.over_udp(question)
        elif question.transport == "tcp":
            self.over_tcp(question)
        else:
            question.times = 1
            stream = self.streams.get(question.client)
            if stream is None:
                stream = self.streams[question.client] = Stream(self, question.client, 853, self.tls)
            stream.add(question)

    def over_udp(self, question):
        if self.rows[question.number] is not None or question.stream is not None:
            return
        sock = self.sockets.get(question.client)
        if sock is None:
            server = self.beside if question.transport == "beside" else self.server
            sock = self.sockets[question.client] = Datagrams(self, question.client, server)
        self.waiting[question.client, question.ident] = question
        sock.send(query(question.ident, question.name, 1, dnssec=False, ad=True))
        if question.times < len(AGAIN_AFTER_S):
            self.after(AGAIN_AFTER_S[question.times] - (AGAIN_AFTER_S[question.times - 1] if question.times else 0), self.over_udp, question)
        question.times += 1

    def over_tcp(self, question):
        if self.rows[question.number] is None:
            question.times += 1
            Stream(self, question.client, 53, None, once=True).add(question)

    def answered(self, question, data):
        """Whether it was an answer to the question; what is truncated is asked over TCP."""
        if question.rcode == ANY_RCODE:
            self.end(question, RIGHT)
            return
        try:
            answer = Answer(data)
        except (BadMessage, IndexError, struct.error):
            self.end(question, OTHER)
            return
        if answer.tc:
            if question.stream is None:
                self.over_tcp(question)
            return
        self.end(question, judge(answer, question))

    def end(self, question, outcome):
        if self.rows[question.number] is None:
            self.waiting.pop((question.client, question.ident), None)
            self.rows[question.number] = [outcome, int((time.monotonic() - question.sent) * 1e6), question.times, int(question.late * 1e6)]
            self.open_questions -= 1


class Datagrams:
    """The UDP socket of a client, who asks one server alone."""

    def __init__(self, load, client, server):
        self.load, self.client = load, client
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((client, 0))
        self.socket.connect((server, 53))
        load.selector.register(self.socket, selectors.EVENT_READ, self)

    def send(self, message):
        try:
            self.socket.send(message)
        except OSError:
            # The queue is full, or an ICMP message came: lost, as on a network.
            pass

    def ready(self):
        while True:
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            question = self.load.waiting.get((self.client, struct.unpack("!H", data[:2])[0])) if len(data) > 2 else None
            if question is not None:
                self.load.answered(question, data)


class Stream:
    """A connection of a client, over TCP or TLS; `once`: for one question."""

    def __init__(self, load, client, port, tls, once=False):
        self.load, self.client, self.port, self.tls, self.once = load, client, port, tls, once
        self.socket, self.is_open, self.unsent, self.asked, self.out, self.into = None, False, collections.deque(), {}, b"", b""
        self.retry_due = False

    def add(self, question):
        question.stream = self
        self.unsent.append(question)
        if self.socket is None and not self.retry_due:
            self.connect()
        elif self.is_open:
            self.send()

    def connect(self):
        self.retry_due = False
        pending = [q for q in [*self.asked.values(), *self.unsent] if self.load.rows[q.number] is None]
        self.asked, self.unsent, self.out, self.into, self.is_open = {}, collections.deque(pending), b"", b"", False
        if not pending:
            return
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((self.client, 0))
        try:
            self.socket.connect((self.load.server, self.port))
        except BlockingIOError:
            pass
        except OSError:
            self.failed()
            return
        self.load.selector.register(self.socket, selectors.EVENT_WRITE, self)

    def ready(self):
        try:
            if not self.is_open:
                self.proceed()
            else:
                self.flush()
                self.read()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, ssl.SSLError):
            self.failed()

    def proceed(self):
        if self.tls is not None and not isinstance(self.socket, ssl.SSLSocket):
            if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, "connect")
            self.load.selector.unregister(self.socket)
            self.socket = self.tls.wrap_socket(self.socket, do_handshake_on_connect=False)
            self.load.selector.register(self.socket, selectors.EVENT_READ, self)
        if self.tls is not None:
            self.socket.do_handshake()
        elif error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connect")
        self.is_open = True
        self.load.selector.modify(self.socket, selectors.EVENT_READ, self)
        self.send()

    def send(self):
        while self.unsent:
            question = self.unsent.popleft()
            message = query(question.ident, question.name, 1, dnssec=False, ad=True)
            self.asked[question.ident] = question
            self.out += struct.pack("!H", len(message)) + message
        try:
            self.flush()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, ssl.SSLError):
            self.failed()

    def flush(self):
        while self.out:
            self.out = self.out[self.socket.send(self.out):]

    def read(self):
        while True:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server has ended it")
            self.into += data
            while len(self.into) > 2 and len(self.into) >= 2 + (length := struct.unpack("!H", self.into[:2])[0]):
                message, self.into = self.into[2:2 + length], self.into[2 + length:]
                question = self.asked.pop(struct.unpack("!H", message[:2])[0], None) if length > 2 else None
                if question is not None:
                    self.load.answered(question, message)
                    if self.once:
                        self.close()
                        return

    def close(self):
        if self.socket is not None:
            try:
                self.load.selector.unregister(self.socket)
            except (KeyError, ValueError):
                pass
            self.socket.close()
            self.socket, self.is_open = None, False

    def failed(self):
        """What was asked in vain is asked again on another connection, after a moment where this one never opened."""
        was_open = self.is_open
        self.close()
        self.retry_due = True
        for question in self.asked.values():
            question.times += 1
        self.load.after(0 if was_open and not self.once else RECONNECT_S, self.connect)


def judge(answer, question):
    """Whether the answer is the right one."""
    addresses = [rdata for _, rtype, _, rdata in answer.sections[0] if rtype == 1]
    if answer.rcode == 2:
        return SERVFAIL
    if answer.rcode != question.rcode:
        return WRONG if answer.rcode in (0, 3) else OTHER
    if question.rcode == 0 and addresses != [socket.inet_aton(question.address)]:
        return WRONG
    return RIGHT


def main():
    server, beside, questions, results, start = *sys.argv[1:5], float(sys.argv[5])
    plan = [line.split() for line in open(questions)]
    load = Load(server, beside, start, len(plan))
    load.run(plan)
    pathlib.Path(results).write_text("\n".join(json.dumps(row) for row in load.rows) + "\n")


if __name__ == "__main__":
    main()
