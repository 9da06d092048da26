"""One TCP frontend: connections come in, each is joined to a connection to an endpoint, and bytes pass both ways.

Written on asyncio's protocols rather than its streams: a connection that is established costs two callbacks for each
chunk of data and no task.

What always holds:

* An endpoint that refuses, or does not answer within `CONNECT_TIMEOUT`, is passed over for the next one; only when
  none is left is the client's connection reset. Nothing of the client's is sent before an endpoint has accepted, so
  nothing is ever sent twice.
* Each direction ends by itself: the end of one side's data is passed on after that data, and the other direction
  stays open. A reset is passed on as a reset, behind the data that came before it.
* Memory is bounded: a side that does not read stops the other side's reading, at the transports' own limits.
* `close` stops listening and leaves connections alone; `abort` ends them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

from kube_core._kit.clock import Clock
from kube_core.abc.proxy import Endpoint
from kube_drivers.proxy.balancer import Balancer
from kube_drivers.proxy.frontends import Frontend

__all__ = ["CONNECT_TIMEOUT", "TcpFrontend"]

#: Seconds. Endpoints are a machine's own processes, or one network away.
CONNECT_TIMEOUT = 5.0

#: Bytes that may wait for a slow reader before the other side is paused.
_HIGH_WATER = 256 * 1024

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class TcpFrontend:
    """A listening socket and the connections that came through it."""

    def __init__(self, frontend: Frontend, balancer: Balancer, clock: Clock) -> None:
        self.frontend = frontend
        self.balancer = balancer
        self.clock = clock
        self._server: asyncio.Server | None = None
        self._clients: set[_Side] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _ClientSide(self), self.frontend.ip, self.frontend.port, backlog=1024
        )

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def abort(self) -> None:
        """End every connection now."""
        self.close()
        for task in tuple(self._connecting):
            task.cancel()
        for side in tuple(self._clients):
            side.end()
        while self._connecting or self._clients:
            # Transports close in callbacks of the loop; nothing is left to wait for but turns of it.
            await asyncio.gather(*self._connecting, return_exceptions=True)
            await self.clock.sleep(0)

    @property
    def connections(self) -> int:
        return len(self._clients)

    def accepted(self, client: _ClientSide) -> None:
        """A client is there: find it an endpoint."""
        self._clients.add(client)
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def gone(self, client: _Side) -> None:
        self._clients.discard(client)

    async def _connect(self, client: _ClientSide) -> None:
        for endpoint in self.balancer.candidates(client.address):
            try:
                async with self.clock.timeout(CONNECT_TIMEOUT):
                    backend = await _dial(endpoint)
            except (OSError, TimeoutError):
                if client.lost:
                    return
                continue
            self.balancer.chose(client.address, endpoint)
            client.join(backend)
            return
        client.reset()


async def _dial(endpoint: Endpoint) -> _Side:
    backend = _Side()
    await asyncio.get_running_loop().create_connection(lambda: backend, endpoint.ip, endpoint.port)
    return backend


class _Side(asyncio.Protocol):
    """One end of a joined pair: what it reads, its peer writes."""

    __slots__ = ("_ended", "_pending", "_resetting", "lost", "peer", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self.lost = False
        self._ended = False
        self._pending: list[bytes] = []
        self._resetting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Nothing is read before there is someone to pass it to.
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if (peer := self.peer) is None:
            # Some loops deliver a first chunk in spite of the pause above; it waits here, and no more is read.
            self._pending.append(data)
            if self.transport is not None:
                self.transport.pause_reading()
        elif peer.transport is not None:
            peer.transport.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self.peer is not None:
            self.peer.finish_writing(self)
        return True  # the other direction stays open

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._resetting:
            self._close_with_reset()
        elif self.peer is not None and self.peer.transport is not None and not self.peer.lost:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            if exc is None:
                peer.end_gracefully()
            else:
                peer.reset()

    def join(self, backend: _Side) -> None:
        """Pass bytes both ways between the two from now on."""
        if self.lost or backend.lost or self.transport is None or backend.transport is None:
            backend.reset()
            self.reset()
            return
        self.peer, backend.peer = backend, self
        for side in (self, backend):
            assert side.transport is not None
            assert side.peer is not None
            side.transport.resume_reading()
            pending, side._pending = side._pending, []
            for data in pending:
                side.data_received(data)
            if side._ended:
                side.peer.finish_writing(side)

    def finish_writing(self, peer: _Side) -> None:
        """The peer has no more to say: pass that on, and when both have said all, end."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._ended and peer._ended:
            self.end_gracefully()
            peer.end_gracefully()
        elif transport.can_write_eof():
            transport.write_eof()

    def end_gracefully(self) -> None:
        """Close once everything written has gone out."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close so that the other end sees that the connection broke, after the data that is on its way."""
        transport = self.transport
        if transport is None or self.lost:
            return
        if transport.get_write_buffer_size() == 0:
            self._close_with_reset()
        else:
            self._resetting = True
            transport.pause_reading()
            transport.set_write_buffer_limits(high=0)  # resume_writing comes when the buffer is empty

    def end(self) -> None:
        """Close now, both sides."""
        for side in (self.peer, self):
            if side is not None and side.transport is not None:
                side.transport.abort()

    def _close_with_reset(self) -> None:
        assert self.transport is not None
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # already gone
        self.transport.abort()


class _ClientSide(_Side):
    __slots__ = ("_frontend", "address")

    def __init__(self, frontend: TcpFrontend) -> None:
        super().__init__()
        self._frontend = frontend
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        self.address = str(name[0]) if name else ""
        self._frontend.accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._frontend.gone(self)
