"""The agents between the API and the drivers: they watch, make tables, and hand them over.

`ServiceProxyAgent` keeps a service proxy driver's table; `IngressAgent` keeps an ingress driver's routes and writes
its address into the status of the Ingresses it serves.

What always holds: only what changed is computed anew (a service's rows are the same objects until the service or its
slices change); changes that arrive while a table is applied are in the next one, however many there were; a driver or
a server that fails is tried again, with what is wanted by then. An agent is quiet (`idle`) when all it has seen is
applied.

`run` owns the driver: it starts it, and stops it when it is cancelled. Called by `cluster.py`, or by the proxy's own
command; what the tables say is decided in `services.py` and `ingresses.py`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.abc.ingress import IngressDriver
from kube_core.abc.proxy import ProxyDriver, ProxyProblem, ServicePort
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.informer import ChangeHandler, Informer, Informers
from kube_core.meta.documents import Document, Key, key_of, name_of, namespace_of
from kube_core.meta.status import Conflict, NotFound, StatusError
from kube_core.proxy.ingresses import is_ours, load_balancer_status, route_table
from kube_core.proxy.services import service_of_slice, service_ports

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kube_core.control.events import EventRecorder

__all__ = ["IngressAgent", "ServiceProxyAgent"]

#: Seconds before something that failed is tried again.
RETRY = 1.0

#: Index of EndpointSlices by the service that they belong to: `namespace/name`.
_BY_SERVICE = "service"


def _service_keys(endpoint_slice: Document) -> Iterable[str]:
    if name := service_of_slice(endpoint_slice):
        yield f"{namespace_of(endpoint_slice)}/{name}"


class _Agent(abc.ABC):
    """One loop: wait for a change, do what is due, again."""

    def __init__(self, informers: Informers, *, clock: Clock, log: FilteringBoundLogger | None = None) -> None:
        self._clock = clock
        self._log: FilteringBoundLogger = log or get_logger("kube_core.proxy")
        self._informers = informers
        self._handlers: list[tuple[Informer, ChangeHandler]] = []
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()
        self._busy = True
        self._failure: Exception | None = None

    @property
    def idle(self) -> bool:
        """Whether everything that was seen so far is applied."""
        return not self._busy and not self._changed.is_set()

    async def started(self) -> None:
        """Return once the first table is applied. Raises what kept the driver from starting."""
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Start the driver and keep it up to date until cancelled; then stop it."""
        try:
            await self._start()
        except Exception as error:
            self._failure = error
            self._ready.set()
            raise
        try:
            for informer, _ in self._handlers:
                await informer.synced()
            self._changed.set()
            while True:
                await self._changed.wait()
                self._busy = True
                self._changed.clear()
                await self._once()
                self._busy = False
        finally:
            for informer, handler in self._handlers:
                informer.remove_handler(handler)
            self._handlers.clear()
            await self._stop()

    async def _once(self) -> None:
        try:
            await self._apply()
            self._ready.set()
        except Exception as error:
            if isinstance(error, Conflict | NotFound):
                self._log.debug("table is behind", error=str(error))
            else:
                self._log.warning("table not applied", error=str(error), exc_info=not isinstance(error, StatusError))
            await self._clock.sleep(RETRY)
            self._changed.set()

    def _watch(self, resource: ResourceType, handler: ChangeHandler) -> Informer:
        informer = self._informers.informer(resource)
        informer.add_handler(handler)
        self._handlers.append((informer, handler))
        return informer

    @abc.abstractmethod
    async def _start(self) -> None:
        """Start the driver and watch what its table is made of."""

    @abc.abstractmethod
    async def _stop(self) -> None: ...

    @abc.abstractmethod
    async def _apply(self) -> None:
        """Make the table of the moment and hand it over. May raise: it is called again."""


class ServiceProxyAgent(_Agent):
    """Keeps a service proxy driver's table."""

    def __init__(
        self,
        informers: Informers,
        driver: ProxyDriver,
        *,
        clock: Clock,
        node_name: str = "",
        events: EventRecorder | None = None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """`node_name`: the node that is served, "" for all nodes of this host. `events`: to report problems with."""
        super().__init__(informers, clock=clock, log=log)
        self.driver = driver
        self._node_name = node_name
        self._events = events
        self._dirty: set[Key] = set()
        self._rows: dict[Key, Sequence[ServicePort]] = {}
        self._reported: set[ProxyProblem] = set()

    async def _start(self) -> None:
        await self.driver.start()
        slices = self._watch(resources.ENDPOINT_SLICES, self._slice_changed)
        slices.add_index(_BY_SERVICE, _service_keys)
        self._slices = slices.lister
        self._services = self._watch(resources.SERVICES, self._service_changed).lister

    async def _stop(self) -> None:
        await self.driver.stop()

    def _service_changed(self, before: Document | None, after: Document | None) -> None:
        document = after if after is not None else before
        assert document is not None
        self._dirty.add(key_of(document))
        self._changed.set()

    def _slice_changed(self, before: Document | None, after: Document | None) -> None:
        for document in (before, after):
            if document is not None and (name := service_of_slice(document)):
                self._dirty.add(Key(namespace_of(document), name))
                self._changed.set()

    async def _apply(self) -> None:
        while self._dirty:
            key = next(iter(self._dirty))
            self._refresh(key)
            self._dirty.discard(key)
        await self.driver.apply({row.name: row for rows in self._rows.values() for row in rows})
        self._report(self.driver.problems())

    def _refresh(self, key: Key) -> None:
        service = self._services.get(key)
        if service is None:
            self._rows.pop(key, None)
            return
        fresh = service_ports(service, self._slices.by_index(_BY_SERVICE, str(key)), node_name=self._node_name)
        if fresh != self._rows.get(key, ()):
            self._rows[key] = fresh

    def _report(self, problems: Sequence[ProxyProblem]) -> None:
        """Say each problem once, for as long as it lasts."""
        for problem in problems:
            if problem in self._reported:
                continue
            self._log.warning("not served", service=str(problem.name), address=problem.address, reason=problem.reason)
            service = self._services.get(Key(problem.name.namespace, problem.name.service))
            if service is not None and self._events is not None:
                self._events.warning(service, "PortNotServed", f"{problem.address}: {problem.reason}")
        self._reported = set(problems)


class IngressAgent(_Agent):
    """Keeps an ingress driver's routes, and the address in the status of the Ingresses that are ours."""

    def __init__(
        self,
        informers: Informers,
        driver: IngressDriver,
        client: ApiClient,
        *,
        clock: Clock,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        super().__init__(informers, clock=clock, log=log)
        self.driver = driver
        self._client = client

    async def _start(self) -> None:
        await self.driver.start()
        slices = self._watch(resources.ENDPOINT_SLICES, self._anything_changed)
        slices.add_index(_BY_SERVICE, _service_keys)
        self._slices = slices.lister
        self._services = self._watch(resources.SERVICES, self._anything_changed).lister
        self._classes = self._watch(resources.INGRESS_CLASSES, self._anything_changed).lister
        self._ingresses = self._watch(resources.INGRESSES, self._anything_changed).lister

    async def _stop(self) -> None:
        await self.driver.stop()

    def _anything_changed(self, before: Document | None, after: Document | None) -> None:
        self._changed.set()

    async def _apply(self) -> None:
        classes = self._classes.list()
        ours = [ingress for ingress in self._ingresses.list() if is_ours(ingress, classes)]
        slices = self._slices
        table = route_table(ours, self._services.get, lambda key: slices.by_index(_BY_SERVICE, str(key)))
        await self.driver.apply(table)
        # Routes first: who waits for the address may send a request the moment it is there.
        wanted = load_balancer_status(self.driver.addresses())
        for ingress in ours:
            if ((ingress.get("status") or {}).get("loadBalancer") or {}) != wanted:
                await self._publish(ingress, wanted)

    async def _publish(self, ingress: Document, wanted: Document) -> None:
        patch = {"status": {"loadBalancer": wanted}}
        try:
            await self._client.patch(
                resources.INGRESSES, name_of(ingress), patch, namespace_of(ingress), subresource="status"
            )
        except NotFound:
            pass  # deleted meanwhile
