"""Reconciling listeners with a table.

What always holds: a listener whose frontend stays is not touched, whatever changes around it; a frontend without
endpoints is not listened on, so that clients are refused as they are upstream; a port that cannot be bound is named
by `problems` with the reason, and tried again every `RETRY` seconds until it works or is no longer wanted.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from kube_core._kit.clock import Clock, Timer
from kube_core.abc.proxy import ProxyCapabilities, ProxyDriver, ProxyProblem, Table
from kube_drivers.proxy.balancer import Balancer
from kube_drivers.proxy.frontends import Frontend, Target, plan_frontends
from kube_drivers.proxy.userspace.tcp import TcpFrontend
from kube_drivers.proxy.userspace.udp import UdpFrontend

__all__ = ["RETRY", "UserspaceProxy"]

#: Seconds between attempts to bind what could not be bound.
RETRY = 2.0

_Listener = TcpFrontend | UdpFrontend

_KINDS: Mapping[str, Callable[[Frontend, Balancer, Clock], _Listener]] = {"TCP": TcpFrontend, "UDP": UdpFrontend}


class UserspaceProxy(ProxyDriver):
    """Listens on every service address in this process."""

    capabilities: ClassVar[ProxyCapabilities] = ProxyCapabilities(serves=True, source_ranges=True)

    def __init__(self, *, clock: Clock, node_addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        super().__init__(clock=clock, node_addresses=node_addresses)
        self._listeners: dict[Frontend, _Listener] = {}
        self._draining: set[_Listener] = set()
        self._wanted: Mapping[Frontend, Target] = {}
        self._planned: tuple[ProxyProblem, ...] = ()
        self._refused: dict[Frontend, ProxyProblem] = {}
        self._reconciling = asyncio.Lock()
        self._retry: Timer | None = None
        self._retrying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)
        async with self._reconciling:
            self._wanted, self._planned, self._refused = {}, (), {}
            listeners = [*self._listeners.values(), *self._draining]
            self._listeners.clear()
            self._draining.clear()
            for listener in listeners:
                await listener.abort()

    async def apply(self, table: Table) -> None:
        async with self._reconciling:
            plan = plan_frontends(table, self.node_addresses)
            self._wanted, self._planned = plan.targets, plan.problems
            await self._reconcile()

    def problems(self) -> Sequence[ProxyProblem]:
        return sorted((*self._planned, *self._refused.values()), key=lambda problem: (problem.name, problem.address))

    @property
    def connections(self) -> int:
        """TCP connections and UDP flows that are open now, those that drain included."""
        return sum(listener.connections for listener in (*self._listeners.values(), *self._draining))

    async def _reconcile(self) -> None:
        self._draining = {listener for listener in self._draining if listener.connections}
        self._refused = {frontend: why for frontend, why in self._refused.items() if frontend in self._wanted}
        for frontend in [known for known in self._listeners if not self._serves(known)]:
            listener = self._listeners.pop(frontend)
            listener.close()
            if listener.connections:
                self._draining.add(listener)
        for frontend, target in self._wanted.items():
            present = self._listeners.get(frontend)
            if present is not None:
                present.balancer.update(target.endpoints, target.affinity_seconds, target.allowed_sources)
                if isinstance(present, UdpFrontend):
                    present.prune()
            elif target.endpoints:
                await self._open(frontend, target)
            else:
                self._refused.pop(frontend, None)
        if self._refused and self._retry is None:
            self._retry = self.clock.call_later(RETRY, self._try_again)

    def _serves(self, frontend: Frontend) -> bool:
        target = self._wanted.get(frontend)
        return target is not None and bool(target.endpoints)

    async def _open(self, frontend: Frontend, target: Target) -> None:
        kind = _KINDS.get(frontend.protocol)
        if kind is None:
            self._refused[frontend] = _problem(frontend, target, f"{frontend.protocol} is not supported")
            return
        balancer = Balancer(self.clock)
        balancer.update(target.endpoints, target.affinity_seconds, target.allowed_sources)
        listener = kind(frontend, balancer, self.clock)
        try:
            await listener.open()
        except OSError as error:
            self._refused[frontend] = _problem(frontend, target, _reason(error))
            return
        self._listeners[frontend] = listener
        self._refused.pop(frontend, None)

    def _try_again(self) -> None:
        self._retry = None
        self._retrying = asyncio.get_running_loop().create_task(self._retry_refused())

    async def _retry_refused(self) -> None:
        async with self._reconciling:
            await self._reconcile()


def _problem(frontend: Frontend, target: Target, reason: str) -> ProxyProblem:
    return ProxyProblem(target.name, str(frontend), reason)


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use by another program"
        case errno.EACCES | errno.EPERM:
            return "binding a port below net.ipv4.ip_unprivileged_port_start needs privileges"
        case errno.EADDRNOTAVAIL:
            return "the address is not one of this host's"
    return error.strerror or str(error)
