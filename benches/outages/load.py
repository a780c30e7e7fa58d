#!/usr/bin/env python3
"""Asks one resolver according to a schedule, open loop, and writes what became of each question.

    load.py RESOLVER QUESTIONS RESULTS START

QUESTIONS: lines of `MICROSECONDS NUMBER EXISTS NAME`, in order of time; START: when time 0 is, on the monotonic clock. RESULTS: a `RECORD` for each
question. A question is sent once; what is not answered within CLIENT_MAX_S is a timeout.
"""

import collections
import gc
import pathlib
import selectors
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "differential"))

from wire import Answer, BadMessage, query  # noqa: E402

CLIENT_MAX_S = 5.0
SOCKETS = 8
# Sent at (us), name, outcome, version or response code, AD and extended errors, latency (us), late in sending (us).
RECORD = struct.Struct("!IHBBBIH")
RIGHT, SERVFAIL, EMPTY, WRONG, TIMEOUT, OTHER = range(6)
FLAG_AD, FLAG_STALE, FLAG_ERROR = 1, 2, 4


def main():
    resolver, questions, results, start = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    plan = [line.split() for line in open(questions)]
    sockets, selector = [], selectors.DefaultSelector()
    for _ in range(SOCKETS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((resolver, 53))
        selector.register(sock, selectors.EVENT_READ, len(sockets))
        sockets.append(sock)
    waiting, order, done, ident = {}, collections.deque(), [], 0
    gc.disable()
    at = 0
    while at < len(plan) or waiting:
        now = time.monotonic()
        while at < len(plan) and (due := start + int(plan[at][0]) / 1e6) <= now:
            us, number, exists, name = plan[at]
            at += 1
            ident = (ident + 1) & 0xFFFF
            key = (at % SOCKETS, ident)
            message = query(ident, name, 1, dnssec=False, ad=True)
            sent = time.monotonic()
            try:
                sockets[key[0]].send(message)
            except OSError:
                # The port is closed while the resolver starts: lost, as it would be on a network.
                pass
            waiting[key] = (int(us), int(number), exists == "1", sent, min(65535, int((sent - due) * 1e6)))
            order.append(key)
        while order and (order[0] not in waiting or now - waiting[order[0]][3] > CLIENT_MAX_S):
            key = order.popleft()
            if key in waiting:
                us, number, _, _, late = waiting.pop(key)
                done.append((us, number, TIMEOUT, 0, 0, int(CLIENT_MAX_S * 1e6), late))
        until = [CLIENT_MAX_S + waiting[order[0]][3]] if order and order[0] in waiting else []
        if at < len(plan):
            until.append(start + int(plan[at][0]) / 1e6)
        for event, _ in selector.select(max(0, min(until, default=now) - time.monotonic())):
            while True:
                try:
                    data = event.fileobj.recv(4096)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                asked = waiting.pop((event.data, struct.unpack("!H", data[:2])[0]), None) if len(data) > 2 else None
                if asked is not None:
                    us, number, exists, sent, late = asked
                    outcome, detail, flags = judge(data, number, exists)
                    done.append((us, number, outcome, detail, flags, int((time.monotonic() - sent) * 1e6), late))
    pathlib.Path(results).write_bytes(b"".join(RECORD.pack(*row) for row in sorted(done)))


def judge(data, number, exists):
    """Outcome, version or response code, flags."""
    try:
        answer = Answer(data)
    except (BadMessage, IndexError, struct.error):
        return OTHER, 255, 0
    codes = {code for code, _ in answer.ede}
    flags = (FLAG_AD if answer.ad else 0) | (FLAG_STALE if codes & {3, 19} else 0) | (FLAG_ERROR if codes else 0)
    addresses = [rdata for _, rtype, _, rdata in answer.sections[0] if rtype == 1]
    if answer.rcode == 2:
        return SERVFAIL, 2, flags
    if answer.rcode == 3 and not exists:
        return RIGHT, 0, flags
    if answer.rcode == 0 and not addresses:
        return EMPTY, 0, flags
    if answer.rcode == 0 and exists and len(addresses) == 1 and addresses[0][0] == 11 and addresses[0][2:] == struct.pack("!H", number):
        return RIGHT, addresses[0][1], flags
    return (WRONG if answer.rcode in (0, 3) else OTHER), answer.rcode, flags


if __name__ == "__main__":
    main()
