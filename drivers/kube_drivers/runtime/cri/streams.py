"""Exec, attach and port-forward at the address that a CRI endpoint gives: SPDY/3.1, as every runtime speaks it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import orjson

from kube_core._kit.spdy import SpdyError, SpdySession, SpdyStream
from kube_core.abc.runtime import ExecRequest, ExecSession, RuntimeFailure, Stream
from kube_core.abc.transport import ByteStream

__all__ = ["ForwardedPort", "StreamedSession"]

_COMMANDS = "v4.channel.k8s.io"
_PORTS = "portforward.k8s.io"
_ERROR_BYTES = 64 * 1024
#: What servers of streams put before a runtime's words, and whoever hands these on puts there again.
_IN_FRONT = "Internal error occurred: error executing command in container: "
#: Pieces of output that wait for their reader.
_WAITING = 16


class StreamedSession(ExecSession):
    """A command, or a main process. `ended`, for the latter, waits for its exit code."""

    def __init__(
        self, connection: _Connection, streams: dict[str, SpdyStream], ended: Callable[[], Awaitable[int]] | None
    ) -> None:
        self._connection, self._streams, self._ended = connection, streams, ended

    @classmethod
    async def open(
        cls, url: str, request: ExecRequest, ended: Callable[[], Awaitable[int]] | None = None
    ) -> StreamedSession:
        wanted = {
            "error": True,
            "stdin": request.stdin,
            "stdout": request.stdout,
            "stderr": request.stderr and not request.tty,
            "resize": request.tty,
        }
        connection = await _dial(url)
        try:
            streams = {
                name: await connection.spdy.open({"streamtype": name}) for name, there in wanted.items() if there
            }
        except BaseException:
            await connection.close()
            raise
        return cls(connection, streams, ended)

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        pieces: asyncio.Queue[tuple[Stream, bytes]] = asyncio.Queue(_WAITING)

        async def read(name: Stream) -> None:
            while data := await self._streams[name].receive():
                await pieces.put((name, data))
            await pieces.put((name, b""))

        names: tuple[Stream, ...] = ("stdout", "stderr")
        readers = [asyncio.create_task(read(name)) for name in names if name in self._streams]
        left = len(readers)
        try:
            while left:
                name, data = await pieces.get()
                if data:
                    yield name, data
                else:
                    left -= 1
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def write(self, data: bytes) -> None:
        if (stream := self._streams.get("stdin")) is not None:
            await stream.send(data)

    async def close_stdin(self) -> None:
        if (stream := self._streams.get("stdin")) is not None:
            await stream.close()

    async def resize(self, width: int, height: int) -> None:
        if (stream := self._streams.get("resize")) is not None:
            await stream.send(orjson.dumps({"Width": width, "Height": height}))

    async def exit_code(self) -> int:
        """Raises `RuntimeFailure` for a command that could not be run."""
        if self._ended is not None:
            return await self._ended()
        return _outcome(await _all_of(self._streams["error"]))

    async def close(self) -> None:
        await self._connection.close()


class ForwardedPort(ByteStream):
    """A connection to a port of a sandbox."""

    def __init__(self, connection: _Connection, error: SpdyStream, data: SpdyStream) -> None:
        self._connection, self._error, self._data = connection, error, data

    @classmethod
    async def open(cls, url: str, port: int) -> ForwardedPort:
        connection = await _dial(url, _PORTS)
        try:
            headers = {"port": str(port), "requestid": "0"}
            error = await connection.spdy.open({"streamtype": "error", **headers})
            await error.close()
            return cls(connection, error, await connection.spdy.open({"streamtype": "data", **headers}))
        except BaseException:
            await connection.close()
            raise

    async def receive(self) -> bytes:
        """Raises `RuntimeFailure` where nothing listens there."""
        if data := await self._data.receive():
            return data
        if problem := await _all_of(self._error):
            raise RuntimeFailure(problem.decode("utf-8", "replace"))
        return b""

    async def send(self, data: bytes) -> None:
        await self._data.send(data)

    async def finish(self) -> None:
        await self._data.close()

    async def close(self) -> None:
        await self._connection.close()


class _Connection:
    """An upgraded connection, which is read until it ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.spdy = SpdySession(self._send, lambda stream: stream.discard())
        self._feeding = asyncio.create_task(self._feed(), name="streams of a cri endpoint")

    async def close(self) -> None:
        self._feeding.cancel()
        with suppress(asyncio.CancelledError):
            await self._feeding
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _send(self, data: bytes) -> None:
        with suppress(ConnectionError):  # the reading side sees it, too, and ends every stream
            self._writer.write(data)
            await self._writer.drain()

    async def _feed(self) -> None:
        try:
            while data := await self._reader.read(65536):
                await self.spdy.feed(data)
        except (ConnectionError, SpdyError):
            pass
        finally:
            self.spdy.end()


async def _dial(url: str, protocol: str = _COMMANDS) -> _Connection:
    """Raises `RuntimeFailure`."""
    parts = urlsplit(url)
    secure = _unverified() if parts.scheme == "https" else None
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        reader, writer = await asyncio.open_connection(
            parts.hostname or "127.0.0.1", parts.port or (443 if secure else 80), ssl=secure
        )
    except OSError as error:
        raise RuntimeFailure(f"the runtime's streams at {parts.netloc} cannot be reached: {error}") from None
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        writer.write(f"{head}X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split(b" ", 2)[1:2] != [b"101"]:
            raise RuntimeFailure(f"the runtime refused to stream: {answer.splitlines()[0].decode('latin-1')}")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise RuntimeFailure(f"the runtime's streams ended at once: {error}") from None
    except BaseException:
        writer.close()
        raise
    return _Connection(reader, writer)


def _unverified() -> ssl.SSLContext:
    """Who serves streams was told by the endpoint itself; its certificate is its own, and upstream looks at none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _all_of(stream: SpdyStream) -> bytes:
    text = b""
    while (data := await stream.receive()) and len(text) < _ERROR_BYTES:
        text += data
    return text


def _outcome(text: bytes) -> int:
    try:
        status = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RuntimeFailure(text.decode("utf-8", "replace") or "the stream ended before the command did") from None
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        for cause in status.get("details", {}).get("causes", ()):
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
    message = str(status.get("message") or "the command could not be run")
    raise RuntimeFailure(message.removeprefix(_IN_FRONT))
