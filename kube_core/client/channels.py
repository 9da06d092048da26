"""The channel protocol from the client's side: a command's streams, or a connection to a port, over one WebSocket.

Every message begins with a byte that names its channel. For a command: 0 stdin, 1 stdout, 2 stderr, 3 its end (a
Status), 4 the terminal's size; in `v5.channel.k8s.io` a message on channel 255 closes the channel that it names. For
a port (`v4.channel.k8s.io`): 0 the connection, 1 what went wrong, and the first message of each is the port's number.

Nothing is read before somebody wants it, so a slow reader holds up its command and no queue grows; only what comes for
the other stream meanwhile is kept, up to a limit. Upstream documents this as `remotecommand` and `portforward`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import orjson

from kube_core.abc.transport import ByteStream
from kube_core.meta.status import ServiceUnavailable, StatusError

__all__ = ["CommandSession", "OutputStream", "PortConnection"]

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
#: Bytes of one stream that are kept while the other is read.
_KEPT = 16 << 20


class OutputStream(AsyncIterator[bytes]):
    """What a command writes to one of its streams: `receive` gives the next bytes, and b"" at the end."""

    def __init__(self, session: CommandSession, channel: int) -> None:
        self._session = session
        self._channel = channel

    async def receive(self) -> bytes:
        return await self._session._receive(self._channel)

    async def read(self) -> bytes:
        """Everything until the end."""
        return b"".join([chunk async for chunk in self])

    def __aiter__(self) -> OutputStream:
        return self

    async def __anext__(self) -> bytes:
        if not (chunk := await self.receive()):
            raise StopAsyncIteration
        return chunk


class CommandSession:
    """A command that runs in a container: send it input, read its output, wait for its exit code."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._kept: dict[int, deque[bytes]] = {_STDOUT: deque(), _STDERR: deque()}
        self._kept_bytes = 0
        self._reading = asyncio.Lock()
        self._ended = False
        self._status: StatusError | int | None = None
        self.stdout = OutputStream(self, _STDOUT)
        self.stderr = OutputStream(self, _STDERR)

    async def send(self, data: bytes) -> None:
        """Bytes for its standard input."""
        await self._stream.send(bytes((_STDIN,)) + data)

    async def end_input(self) -> None:
        """Close its standard input. Raises `ServiceUnavailable` where the server's protocol cannot say so."""
        if not getattr(self._stream, "protocol", "").startswith("v5"):
            raise ServiceUnavailable("this server's protocol cannot close a command's standard input")
        await self._stream.send(bytes((_CLOSE, _STDIN)))

    async def resize(self, width: int, height: int) -> None:
        """The terminal has so many columns and rows now."""
        await self._stream.send(bytes((_RESIZE,)) + orjson.dumps({"Width": width, "Height": height}))

    async def wait(self) -> int:
        """Its exit code, once it has ended; what it wrote can still be read. Raises the `StatusError` of a failure."""
        while not self._ended:
            async with self._reading:
                if not self._ended:
                    await self._read_message()
        if isinstance(self._status, StatusError):
            raise self._status
        if self._status is None:
            raise ServiceUnavailable("the stream ended before the command did")
        return self._status

    async def close(self) -> None:
        await self._stream.close()

    async def _receive(self, channel: int) -> bytes:
        kept = self._kept[channel]
        while not kept and not self._ended:
            # One reads for all: whoever waits here looks again when it has.
            async with self._reading:
                if not kept and not self._ended:
                    await self._read_message()
        if not kept:
            return b""
        data = kept.popleft()
        self._kept_bytes -= len(data)
        return data

    async def _read_message(self) -> None:
        message = await self._stream.receive()
        if not message:
            self._ended = True
            return
        channel, data = message[0], message[1:]
        if channel == _ERROR:
            self._status = _outcome(data)
        elif data and channel in self._kept:
            self._kept_bytes += len(data)
            if self._kept_bytes > _KEPT:
                raise BufferError("a command wrote more than is kept to a stream that nobody reads")
            self._kept[channel].append(data)


class PortConnection(ByteStream):
    """A connection to a port of a pod."""

    def __init__(self, stream: ByteStream, port: int) -> None:
        self._stream = stream
        self._port = port
        self._begun: set[int] = set()

    async def receive(self) -> bytes:
        """The next bytes; b"" at the end. Raises `ServiceUnavailable` where nothing listens there."""
        while message := await self._stream.receive():
            channel, data = message[0], message[1:]
            if channel not in self._begun:
                self._begun.add(channel)
            elif channel == 1:
                raise ServiceUnavailable(data.decode("utf-8", "replace") or f"port {self._port} cannot be reached")
            elif data:
                return data
        return b""

    async def send(self, data: bytes) -> None:
        await self._stream.send(b"\x00" + data)

    async def close(self) -> None:
        await self._stream.close()


def _outcome(data: bytes) -> StatusError | int:
    """What the Status at a command's end says: its exit code, or what kept it from having one."""
    document = orjson.loads(data)
    if document.get("status") == "Success":
        return 0
    for cause in (document.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    return StatusError.from_document(document)
