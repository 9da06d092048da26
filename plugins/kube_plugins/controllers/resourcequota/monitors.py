"""The informers that quotas need: of the resources that they count, and of no others.

A cluster without quotas watches nothing for them. Where only the number of objects counts, metadata is enough. Kinds
that quotas name as `count/<plural>.<group>` are looked up in discovery each time, since they come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.discovery import Discovery
from kube_core.client.informer import ChangeHandler, Informer, Informers, Lister
from kube_core.meta.documents import Document
from kube_core.meta.gvk import GroupResource
from kube_plugins.quota.usage import IGNORED

__all__ = ["Monitors"]

#: Of these more counts than their number.
_WHOLE = {
    resource.group_resource: resource
    for resource in (
        resources.PODS,
        resources.SERVICES,
        resources.PERSISTENT_VOLUME_CLAIMS,
        resources.RESOURCE_CLAIMS,
    )
}
_VERBS = ("create", "list", "watch", "delete")

#: What is told of a change: the resource, and the object before and after.
Observer = Callable[[ResourceType, Document | None, Document | None], None]


@attrs.frozen
class _Monitor:
    informer: Informer
    handler: ChangeHandler


class Monitors:
    """What the quota controller watches."""

    def __init__(self, informers: Informers, client: ApiClient, observer: Observer) -> None:
        self._informers = informers
        self._discovery = Discovery(client)
        self._observer = observer
        self._monitors: dict[ResourceType, _Monitor] = {}

    async def listers(self, wanted: Collection[GroupResource]) -> Mapping[ResourceType, Lister]:
        """The listers of these resources, each with its first list; what is not served, or never counted, is left out.

        Raises the `StatusError` of a server that does not answer.
        """
        found: dict[ResourceType, Lister] = {}
        for resource in await self._served(wanted):
            informer = self._follow(resource)
            await informer.answered()
            if informer.is_synced:
                found[resource] = informer.lister
        return found

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.informer.remove_handler(monitor.handler)
        self._monitors.clear()

    async def _served(self, wanted: Collection[GroupResource]) -> list[ResourceType]:
        known = [_WHOLE[each] for each in sorted(wanted, key=str) if each in _WHOLE]
        others = set(wanted) - _WHOLE.keys() - IGNORED
        if not others:
            return known
        discovered = await self._discovery.ask()
        served = [each for each in discovered.supporting(*_VERBS) if each.namespaced]
        for resource in self._monitors.keys() - {*served, *_WHOLE.values()}:
            if resource.api_version not in discovered.failures:
                await self._forget(resource)
        return [*known, *(each for each in served if each.group_resource in others)]

    def _follow(self, resource: ResourceType) -> Informer:
        monitor = self._monitors.get(resource)
        if monitor is not None:
            return monitor.informer
        informer = self._informers.informer(resource, metadata_only=resource.group_resource not in _WHOLE)

        def handler(before: Document | None, after: Document | None) -> None:
            self._observer(resource, before, after)

        self._monitors[resource] = _Monitor(informer, handler)
        informer.add_handler(handler)
        return informer

    async def _forget(self, resource: ResourceType) -> None:
        """It is served no more."""
        informer = self._monitors[resource].informer
        informer.remove_handler(self._monitors.pop(resource).handler)
        if not informer.has_handlers:
            await self._informers.drop(informer)
