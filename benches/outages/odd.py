#!/usr/bin/env python3
"""Servers that are not what they should be: a relay that answers SLOW_S late, one that refuses everything, one that lies.

Packets come here by `network.divert`. The relay stands at another port of every address of the servers and passes each question on to port 53 of the
same address when its time has come. The liar has one address: it says REFUSED, or gives an address of its own for every name, as a captive portal does.
"""

import asyncio
import struct
import sys

from network import LIAR, LYING_PORT, REFUSING_PORT, SLOW_PORT
from world import ROOTS, TLDS, leaf_addresses, tld_addresses

SLOW_S = 3.0
FORWARD_MAX_S = 5.0
LIE = bytes([10, 66, 66, 66])


class Slow(asyncio.DatagramProtocol):
    """The relay at one address, UDP."""

    def __init__(self, address):
        self.address, self.tasks = address, set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        task = asyncio.ensure_future(self._pass(data, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _pass(self, data, client):
        await asyncio.sleep(SLOW_S)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(lambda: Once(answer), remote_addr=(self.address, 53))
        try:
            transport.sendto(data)
            self.transport.sendto(await asyncio.wait_for(answer, FORWARD_MAX_S), client)
        except (TimeoutError, asyncio.TimeoutError, OSError):
            pass
        finally:
            transport.close()


class Once(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self, answer):
        self.answer = answer

    def datagram_received(self, data, _):
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, error):
        if not self.answer.done():
            self.answer.set_exception(error)


def slow_stream(address):
    """The relay at one address, TCP."""
    async def serve(reader, writer):
        try:
            while True:
                question = await framed(reader)
                await asyncio.sleep(SLOW_S)
                up_reader, up_writer = await asyncio.open_connection(address, 53)
                up_writer.write(struct.pack("!H", len(question)) + question)
                answer = await asyncio.wait_for(framed(up_reader), FORWARD_MAX_S)
                up_writer.close()
                writer.write(struct.pack("!H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, OSError, TimeoutError, asyncio.TimeoutError):
            writer.close()
    return serve


async def framed(reader):
    """One message from a stream."""
    return await reader.readexactly(struct.unpack("!H", await reader.readexactly(2))[0])


class Liar(asyncio.DatagramProtocol):
    """Says the same to all."""

    def __init__(self, lies):
        self.lies = lies

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        if (answer := untruth(data, self.lies)) is not None:
            self.transport.sendto(answer, client)


def liar_stream(lies):
    """The liar over TCP."""
    async def serve(reader, writer):
        try:
            while True:
                answer = untruth(await framed(reader), lies)
                writer.write(struct.pack("!H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, OSError, TypeError):
            writer.close()
    return serve


def untruth(question, lies):
    """REFUSED, or an answer with the liar's address for every name of type A and nothing for other types."""
    if len(question) < 17:
        return None
    end = 12
    while end < len(question) and question[end]:
        end += question[end] + 1
    section = question[12:end + 5]
    flags = struct.unpack("!H", question[2:4])[0] & 0x0110 | 0x8000
    if not lies:
        return question[:2] + struct.pack("!5H", flags | 5, 1, 0, 0, 0) + section
    positive = section[-4:-2] == b"\0\1"
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + LIE if positive else b""
    return question[:2] + struct.pack("!5H", flags | 0x0480, 1, int(positive), 0, 0) + section + record


async def main():
    loop = asyncio.get_running_loop()
    addresses = [a for pair in ROOTS for a in pair if a] + leaf_addresses()
    addresses += [a for _, _, region, number in TLDS for pair in tld_addresses(region, number) for a in pair if a]
    for address in addresses:
        await loop.create_datagram_endpoint(lambda a=address: Slow(a), local_addr=(address, SLOW_PORT))
        await asyncio.start_server(slow_stream(address), address, SLOW_PORT)
    for address in LIAR:
        for port, lies in ((REFUSING_PORT, False), (LYING_PORT, True)):
            await loop.create_datagram_endpoint(lambda lies=lies: Liar(lies), local_addr=(address, port))
            await asyncio.start_server(liar_stream(lies), address, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
