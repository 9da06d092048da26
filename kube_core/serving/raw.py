"""The bytes of an HTTP/1.1 connection after its upgrade, on either side: what a client sent us, what a backend answers.

It takes the place of the parser of an aiohttp connection, server's or client's; both call the same two methods. What
arrives waits in a buffer of bounded size: when that is full the connection is not read, until its reader has caught
up, so a peer that sends faster than anybody reads is slowed down by TCP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from kube_core.abc.transport import ByteStream

__all__ = ["RawStream", "join"]

#: Bytes that wait for their reader before the connection is no longer read.
BUFFERED = 256 * 1024


class _Protocol(Protocol):
    """What aiohttp's connections have in common."""

    async def _drain_helper(self) -> None: ...


class RawStream(ByteStream):
    """One connection. `set_parser` of the protocol is the maker's to call, with this."""

    def __init__(self, protocol: _Protocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._received: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    # -- called by aiohttp -------------------------------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if data:
            self._received.append(bytes(data))
            self._size += len(data)
            if self._size > BUFFERED and not self._paused and not self._transport.is_closing():
                self._paused = True
                self._transport.pause_reading()
            self._wake()
        return False, b""

    def feed_eof(self) -> None:
        self._ended = True
        self._wake()

    def set_exception(self, *_: object) -> None:
        self.feed_eof()

    # -- the stream --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes that need not be waited for: a head."""
        self._transport.write(data)

    async def receive(self) -> bytes:
        while not self._received:
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._received.popleft()
        self._size -= len(data)
        if self._paused and self._size <= BUFFERED // 2:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the peer is gone")
        self._transport.write(data)
        await self._protocol._drain_helper()

    async def close(self) -> None:
        self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def join(one: ByteStream, other: ByteStream) -> None:
    """Carry bytes both ways until either side ends or breaks; what it sent before that still arrives. Closes both."""
    ways = [asyncio.create_task(_carry(one, other)), asyncio.create_task(_carry(other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await one.close()
        await other.close()


async def _carry(source: ByteStream, target: ByteStream) -> None:
    while data := await source.receive():
        await target.send(data)
