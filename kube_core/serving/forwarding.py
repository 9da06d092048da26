"""Connections to ports of a pod, as pairs of SPDY streams: port-forward, as whoever serves it speaks.

For each connection the client opens two streams with the same `requestid`: `error`, on which a failure is told, and
`data`, which is the connection. SPDY itself comes on an upgraded connection or inside WebSocket messages
(`SPDY/3.1+portforward.k8s.io`). Clients that know neither have a channel for each (`channel_forwarding`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kube_core._kit.spdy import SpdyError, SpdySession, SpdyStream
from kube_core.abc.transport import ByteStream, MessageStream, Upgrade
from kube_core.meta.status import StatusError
from kube_core.serving.channel_forwarding import CHANNEL_PROTOCOLS, forward_channels, ports_of

__all__ = ["forwarding"]

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_PROTOCOL = "portforward.k8s.io"

#: A connection to a port of the pod.
Connect = Callable[[int], Awaitable[ByteStream]]


def forwarding(
    connect: Connect, pod: str, headers: Mapping[str, str], query: Sequence[tuple[str, str]], parameter: str = "ports"
) -> Upgrade:
    """How a connection goes on that asked for ports of the pod of this name. Raises `BadRequest`.

    `headers` and `query` are those of the request; `parameter` has the ports of clients that speak in channels.
    """
    # Only of those who speak in channels is it asked which ports they want: the others say so with each stream.
    offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
    in_channels = headers.get("upgrade", "").lower() == "websocket" and _TUNNEL not in offered
    forward = _Forwarding(connect, pod, ports_of(query, parameter) if in_channels else [])
    return Upgrade(
        (_TUNNEL, *CHANNEL_PROTOCOLS),
        forward.over_messages,
        forward.over_bytes,
        {"X-Stream-Protocol-Version": _PROTOCOL},
    )


class _Forwarding:
    """One client's connections."""

    def __init__(self, connect: Connect, pod: str, ports: list[int]) -> None:
        self._connect = connect
        self._pod = pod
        self._ports = ports
        self._waiting: dict[str, SpdyStream] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def over_messages(self, stream: MessageStream) -> None:
        if stream.protocol != _TUNNEL:
            await self._over_channels(stream)
            return

        async def receive() -> bytes:
            # A message may be empty (the library of Go's clients writes such); only None is the end.
            while (message := await stream.receive()) == b"":
                pass
            return message or b""

        await self._serve(receive, stream.send)
        await stream.close()

    async def _over_channels(self, stream: MessageStream) -> None:
        def problem(port: str, error: Exception) -> bytes:
            return _problem(port, self._pod, error)

        try:
            await forward_channels(stream, self._ports, self._connect, problem)
        except ConnectionError:
            pass  # the client is gone
        await stream.close()

    async def over_bytes(self, stream: ByteStream) -> None:
        await self._serve(stream.receive, stream.send)
        await stream.close()

    async def _serve(self, receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], Awaitable[None]]) -> None:
        session = SpdySession(send, self._opened)
        try:
            while data := await receive():
                await session.feed(data)
        except (SpdyError, ConnectionError):
            pass
        finally:
            session.end()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _opened(self, stream: SpdyStream) -> None:
        pair = stream.headers.get("requestid") or stream.headers.get("port", "")
        other = self._waiting.pop(pair, None)
        if other is None:
            self._waiting[pair] = stream
            return
        error, data = (other, stream) if other.headers.get("streamtype") == "error" else (stream, other)
        task = asyncio.create_task(self._until_gone(error, data))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _until_gone(self, error: SpdyStream, data: SpdyStream) -> None:
        try:
            await self._connection(error, data)
        except ConnectionError:
            pass  # the client is gone

    async def _connection(self, error: SpdyStream, data: SpdyStream) -> None:
        port = data.headers.get("port", "")
        try:
            connection = await self._connect(int(port))
        except (StatusError, OSError, ValueError) as problem:
            await error.send(_problem(port, self._pod, problem))
            await error.close()
            await data.reset()
            return
        there = asyncio.create_task(_to_pod(data, connection))
        try:
            while (piece := await connection.receive()) and not data.closed:
                await data.send(piece)
            await data.close()
        except StatusError as problem:
            await error.send(_problem(port, self._pod, problem))
            await data.reset()
        except ConnectionError:
            await data.reset()
        finally:
            # The pod has ended its side, or is gone: what the client still sends has nowhere to go.
            data.discard()
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
            await connection.close()
        await error.close()


async def _to_pod(data: SpdyStream, connection: ByteStream) -> None:
    """What the client sends, and that it has ended: the pod may still answer then."""
    try:
        while piece := await data.receive():
            await connection.send(piece)
        await connection.finish()
    except ConnectionError:
        data.discard()


def _problem(port: str, pod: str, problem: Exception) -> bytes:
    return f"error forwarding port {port} to pod {pod}: {problem}".encode()
