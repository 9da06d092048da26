"""An upgraded connection without a socket: the messages of a WebSocket, passed in memory.

The server's side runs in a task that belongs to the client's: it ends with its command or connection, and at the
latest when the client closes its end. Either direction holds a few messages, and then whoever sends waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from kube_core.abc.transport import ByteStream, MessageStream
from kube_core.meta.status import ServiceUnavailable

__all__ = ["LocalStream"]

_MESSAGES = 16
#: Seconds of the machine's time that the server gets to end by itself.
_FAREWELL = 2.0


class LocalStream(ByteStream):
    """The client's end; `serve` takes over the server's."""

    def __init__(self, protocol: str, serve: Callable[[MessageStream], Awaitable[None]]) -> None:
        self.protocol = protocol
        self._out, arriving = anyio.create_memory_object_stream[bytes](_MESSAGES)
        leaving, self._in = anyio.create_memory_object_stream[bytes](_MESSAGES)
        self._server = _ServersEnd(protocol, arriving, leaving)
        self._task = asyncio.ensure_future(self._serve(serve))

    async def receive(self) -> bytes:
        try:
            return await self._in.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return b""

    async def send(self, data: bytes) -> None:
        try:
            await self._out.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ServiceUnavailable("the stream is over") from error

    async def close(self) -> None:
        self._out.close()
        self._in.close()
        # The server sees that nobody is there any more, and puts away what it holds.
        await asyncio.wait([self._task], timeout=_FAREWELL)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # A task that never ran has let go of nothing.
        self._server.let_go()

    async def _serve(self, serve: Callable[[MessageStream], Awaitable[None]]) -> None:
        try:
            await serve(self._server)
        finally:
            self._server.let_go()


class _ServersEnd(MessageStream):
    def __init__(
        self,
        protocol: str,
        arriving: MemoryObjectReceiveStream[bytes],
        leaving: MemoryObjectSendStream[bytes],
    ) -> None:
        self.protocol = protocol
        self._arriving = arriving
        self._leaving = leaving

    async def receive(self) -> bytes | None:
        try:
            return await self._arriving.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return None

    async def send(self, data: bytes) -> None:
        try:
            await self._leaving.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionResetError("the client has gone") from error

    async def close(self) -> None:
        self._leaving.close()

    def let_go(self) -> None:
        self._arriving.close()
        self._leaving.close()
