"""All that one server keeps by itself, as one task.

Little here is waited for when a server starts: what must be there at once is made by `bootstrap`; until the default
roles are in the store the authorizer asks the default policy itself. So a composition root may let it begin only when
the rest of a cluster has started (`ApiServer.begin_upkeep`); in a new store it waits until the default roles are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.apiserver import bootstrap
from kube_core.apiserver.aggregation.layer import Aggregation
from kube_core.apiserver.aggregation.registration import Registration
from kube_core.apiserver.following import follow
from kube_core.apiserver.upkeep import policy
from kube_core.apiserver.upkeep.flow_control import FlowControl
from kube_core.apiserver.upkeep.presence import Presence
from kube_core.apiserver.upkeep.service_ranges import ServiceRanges
from kube_core.auth.front_proxy import FrontProxy
from kube_core.meta.status import StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.kinds.services.allocation import ServiceAllocator
from kube_core.storage.cache import WatchCache

__all__ = ["Upkeep"]

_log = get_logger("kube_core.apiserver")


class Upkeep:
    """The loops of one server."""

    def __init__(
        self,
        catalogue: Catalogue,
        cache: WatchCache,
        clock: Clock,
        *,
        aggregation: Aggregation,
        front_proxy: FrontProxy,
        client_ca: bytes,
        presence: Presence,
        services: ServiceAllocator,
    ) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._clock = clock
        self._aggregation = aggregation
        self._front_proxy = front_proxy
        self._client_ca = client_ca
        self._registration = Registration(catalogue, clock, lambda: aggregation.local)
        self._flow_control = FlowControl(catalogue)
        self._ranges = ServiceRanges(catalogue, services, clock)
        self._presence = presence

    async def run(
        self, ready: Callable[[], None], stored: Callable[[], None], *, policy_is_there: bool = False
    ) -> None:
        """Without end. `ready` is called once the default roles are there, as in a fork they may be already; `stored`
        before, when a new store has them, or when it is seen that the store is not new."""
        if policy_is_there:
            stored()
        else:
            with self._clock.hold("the default roles are being written"):
                if not await policy.write_at_once(self._catalogue, stored):
                    stored()
                    await policy.put_right(self._catalogue)
        await self._flow_control.begin_mandatory()
        ready()
        loops = {
            "authentication": self._write_authentication(),
            "presence": self._follow(self._presence, "the first namespaces and the kubernetes Service are kept"),
            "flow control": self._follow(self._flow_control, "flow control is put right"),
            "service ranges": self._follow(self._ranges, "service addresses are written down"),
            "registration": self._registration.run(),
            "aggregation": self._aggregation.run(),
        }
        async with asyncio.TaskGroup() as tasks:
            for name, loop in loops.items():
                tasks.create_task(_guarded(name, loop), name=name)

    def _follow(self, loop: Presence | FlowControl | ServiceRanges, reason: str) -> Coroutine[Any, Any, None]:
        return follow(self._cache, loop.resources, loop.begin, loop.changed, clock=self._clock, reason=reason)

    async def _write_authentication(self) -> None:
        with self._clock.hold("keys are being made"):
            try:
                if self._front_proxy.is_kept:
                    # Where the loop does not wait for the disk; without one, everything comes in the same order.
                    await asyncio.to_thread(self._front_proxy.configuration)
                configuration = self._front_proxy.configuration()
            except (OSError, ValueError) as error:
                _log.error("requests cannot be passed on in users' names", error=str(error))
                configuration = {}
            try:
                await bootstrap.write_authentication(self._catalogue, Chain(), self._client_ca, configuration)
            except StatusError as error:
                _log.warning("extension-apiserver-authentication was not written", error=str(error))


async def _guarded(name: str, loop: Coroutine[Any, Any, None]) -> None:
    """One loop that fails does not end the others."""
    try:
        await loop
    except Exception:
        _log.exception("a loop of the server failed", loop=name)
