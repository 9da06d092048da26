"""One UDP frontend: a flow is a client's address, and has a socket of its own toward one endpoint.

A flow ends after `FLOW_IDLE` seconds without a datagram either way, when its endpoint leaves the table, or when the
endpoint's host says that nobody listens; the client's next datagram then begins a new one. Datagrams that do not fit
a socket's buffer are dropped, as UDP may. Everything happens in callbacks of the loop: there are no tasks.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from kube_core._kit.clock import Clock, Timer
from kube_core.abc.proxy import Endpoint
from kube_drivers.proxy.balancer import Balancer
from kube_drivers.proxy.frontends import Frontend

__all__ = ["FLOW_IDLE", "UdpFrontend"]

#: Seconds: the kernel's own connection tracking forgets a UDP stream after this.
FLOW_IDLE = 120.0

_MOST_FLOWS = 4096
_DATAGRAM = 65_536
_BURST = 32  # datagrams for each turn, so that one busy socket does not keep the loop

_Address = Any  # what socket.recvfrom gives: a pair, or four values for IPv6


class _Flow:
    __slots__ = ("endpoint", "seen", "sock")

    def __init__(self, sock: socket.socket, endpoint: Endpoint, seen: float) -> None:
        self.sock = sock
        self.endpoint = endpoint
        self.seen = seen


class UdpFrontend:
    """A bound socket and its flows."""

    def __init__(self, frontend: Frontend, balancer: Balancer, clock: Clock) -> None:
        self.frontend = frontend
        self.balancer = balancer
        self.clock = clock
        self._family = socket.AF_INET6 if ":" in frontend.ip else socket.AF_INET
        self._sock: socket.socket | None = None
        self._flows: dict[_Address, _Flow] = {}
        self._sweeper: Timer | None = None

    async def open(self) -> None:
        """Bind. Raises OSError."""
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((self.frontend.ip, self.frontend.port))
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock, self._from_clients)

    def close(self) -> None:
        """Take no more datagrams. UDP has no connections to leave alone, so flows end too."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        for address in tuple(self._flows):
            self._end(address)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def abort(self) -> None:
        self.close()

    @property
    def connections(self) -> int:
        return len(self._flows)

    def prune(self) -> None:
        """End the flows whose endpoint is no longer in the table."""
        for address, flow in tuple(self._flows.items()):
            if flow.endpoint not in self.balancer.endpoints:
                self._end(address)

    def _from_clients(self) -> None:
        for _ in range(_BURST):
            if self._sock is None:
                return
            try:
                data, address = self._sock.recvfrom(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error for an earlier answer
            flow = self._flows.get(address) or self._begin(address)
            if flow is None:
                continue
            flow.seen = self.clock.monotonic()
            try:
                flow.sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass  # dropped
            except OSError:
                self._end(address)
                self._send_by_another(address, data)

    def _send_by_another(self, address: _Address, data: bytes) -> None:
        """The flow's endpoint has gone: what it refused may go to another, once."""
        flow = self._begin(address)
        if flow is not None:
            try:
                flow.sock.send(data)
            except OSError:
                self._end(address)

    def _begin(self, address: _Address) -> _Flow | None:
        client = str(address[0])
        for endpoint in self.balancer.candidates(client):
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.connect((endpoint.ip, endpoint.port))
            except OSError:
                sock.close()
                continue
            self.balancer.chose(client, endpoint)
            if len(self._flows) >= _MOST_FLOWS:
                self._end(min(self._flows, key=lambda known: self._flows[known].seen))
            flow = self._flows[address] = _Flow(sock, endpoint, self.clock.monotonic())
            asyncio.get_running_loop().add_reader(sock, self._from_endpoint, address, flow)
            if self._sweeper is None:
                self._sweeper = self.clock.call_later(FLOW_IDLE, self._sweep)
            return flow
        return None

    def _from_endpoint(self, address: _Address, flow: _Flow) -> None:
        for _ in range(_BURST):
            try:
                data = flow.sock.recv(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                if self._flows.get(address) is flow:
                    self._end(address)
                return
            flow.seen = self.clock.monotonic()
            try:
                if self._sock is not None:
                    self._sock.sendto(data, address)
            except OSError:
                pass  # dropped: the client has gone, or its buffer is full

    def _end(self, address: _Address) -> None:
        flow = self._flows.pop(address)
        asyncio.get_running_loop().remove_reader(flow.sock)
        flow.sock.close()

    def _sweep(self) -> None:
        self._sweeper = None
        oldest = self.clock.monotonic() - FLOW_IDLE
        for address, flow in tuple(self._flows.items()):
            if flow.seen <= oldest:
                self._end(address)
        if self._flows:
            self._sweeper = self.clock.call_later(FLOW_IDLE / 4, self._sweep)
