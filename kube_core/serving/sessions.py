"""A command's streams, by WebSocket channels or SPDY streams: exec and attach, as whoever serves them speaks.

WebSocket: every message begins with a byte that names its channel; 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize;
in `v5.channel.k8s.io` a message on channel 255 closes the channel it names. SPDY: the client opens one stream for
each, with its role in the header `streamtype`. Either way the error channel carries a Status at the end; in protocols
before v4 it says in plain words what went wrong, and nothing where nothing did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from kube_core._kit.spdy import SpdyError, SpdySession, SpdyStream
from kube_core.abc.failures import DriverFailure
from kube_core.abc.sessions import ExecRequest, ExecSession
from kube_core.abc.transport import ByteStream, MessageStream, Upgrade
from kube_core.meta.status import InternalError, StatusError
from kube_core.serving.channels import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, Channels

__all__ = ["serving"]

_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io")
#: Seconds that a SPDY client gets to open its streams (upstream's default).
_STREAMS_TIMEOUT = 30.0

Start = Callable[[], Awaitable[ExecSession]]
Send = Callable[[int, bytes], Awaitable[None]]
#: Says how it ended, or why it could not begin: a Status.
Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


def serving(start: Start, wanted: ExecRequest, headers: Mapping[str, str]) -> Upgrade:
    """How a connection goes on that asked for a command's streams; `headers` are those of the request.

    `start` is called once the client is there; a `StatusError` of it is told on the error channel.
    """

    async def messages(stream: MessageStream) -> None:
        await _serve_messages(stream, start)

    async def spdy(stream: ByteStream) -> None:
        await _serve_spdy(stream, start, wanted, version)

    offered = headers.get("x-stream-protocol-version", "").replace(" ", "").split(",")
    version = next((name for name in _SPDY_PROTOCOLS if name in offered), _SPDY_PROTOCOLS[0])
    return Upgrade(_PROTOCOLS, messages, spdy, {"X-Stream-Protocol-Version": version})


async def _serve_messages(stream: MessageStream, start: Start) -> None:
    channels = Channels(stream)
    tell = _tell(channels.send, stream.protocol)
    session = await _started(start, tell)
    if session is not None:
        reader = asyncio.create_task(_read_messages(channels, session))
        await _run(session, channels.send, tell, reader)
    await stream.close()


async def _read_messages(channels: Channels, session: ExecSession) -> None:
    while (received := await channels.receive()) is not None:
        channel, data = received
        if channel == STDIN:
            await session.write(data)
        elif channel == RESIZE:
            await _resize(session, data)
        elif channel == CLOSE and data[:1] == bytes((STDIN,)):
            await session.close_stdin()
    await session.close()


async def _serve_spdy(connection: ByteStream, start: Start, wanted: ExecRequest, version: str) -> None:
    roles = {"error"}
    roles |= {name for name in ("stdin", "stdout", "stderr") if getattr(wanted, name)}
    if wanted.tty:
        roles.add("resize")
    streams: dict[str, SpdyStream] = {}
    complete = asyncio.Event()

    def opened(stream: SpdyStream) -> None:
        streams[stream.headers.get("streamtype", "")] = stream
        if roles <= set(streams):
            complete.set()

    spdy = SpdySession(connection.send, opened)
    feeder = asyncio.create_task(_feed(spdy, connection))
    try:
        async with asyncio.timeout(_STREAMS_TIMEOUT):
            await complete.wait()
        names = {STDOUT: "stdout", STDERR: "stderr", ERROR: "error"}

        async def send(channel: int, data: bytes) -> None:
            stream = streams.get(names[channel])
            if stream is not None:
                await stream.send(data)

        tell = _tell(send, version)
        session = await _started(start, tell)
        if session is not None:
            readers = asyncio.create_task(_read_streams(streams, session, feeder))
            await _run(session, send, tell, readers)
        for stream in streams.values():
            await stream.close()
    except TimeoutError:
        pass
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        await connection.close()


async def _feed(spdy: SpdySession, connection: ByteStream) -> None:
    try:
        while data := await connection.receive():
            await spdy.feed(data)
    except SpdyError:
        pass
    finally:
        spdy.end()


async def _read_streams(streams: dict[str, SpdyStream], session: ExecSession, feeder: asyncio.Task[None]) -> None:
    async def stdin(stream: SpdyStream) -> None:
        while data := await stream.receive():
            await session.write(data)
        await session.close_stdin()

    async def resize(stream: SpdyStream) -> None:
        while data := await stream.receive():
            await _resize(session, data)

    async with asyncio.TaskGroup() as tasks:
        if "stdin" in streams:
            tasks.create_task(stdin(streams["stdin"]))
        if "resize" in streams:
            tasks.create_task(resize(streams["resize"]))
        await asyncio.wait([feeder])
        # The client is gone: so is whom the command talks to.
        await session.close()


async def _resize(session: ExecSession, data: bytes) -> None:
    for line in data.splitlines():
        try:
            size: Any = orjson.loads(line)
            await session.resize(int(size["Width"]), int(size["Height"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue


async def _started(start: Start, tell: Tell) -> ExecSession | None:
    """The session, or None when it could not be started, which the error channel then says."""
    try:
        return await start()
    except StatusError as error:
        await tell(error.to_document())
        return None


def _tell(send: Send, protocol: str) -> Tell:
    """How a Status is told in a protocol."""

    async def tell(status: Mapping[str, Any]) -> None:
        if protocol.startswith(("v4.", "v5.")):
            await send(ERROR, orjson.dumps(status))
        elif status["status"] != "Success":
            await send(ERROR, str(status["message"]).encode())

    return tell


async def _run(session: ExecSession, send: Send, tell: Tell, reader: asyncio.Task[None]) -> None:
    """Bring output to the client until the command ends, then say how it ended."""
    try:
        async for stream, data in session.output():
            await send(STDOUT if stream == "stdout" else STDERR, data)
        await tell(await _end(session))
    except (ConnectionError, RuntimeError):
        # The client went away in the middle of it.
        pass
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await session.close()


async def _end(session: ExecSession) -> Mapping[str, Any]:
    """How it ended, as a Status."""
    try:
        return _outcome(await session.exit_code())
    except StatusError as error:
        return error.to_document()
    except DriverFailure as error:
        # A runtime may know only now that there is no such program.
        return InternalError(f"error executing command in container: {error}").to_document()


def _outcome(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
