"""One informer for every resource that can be deleted, as discovery shows them; new kinds come in, old ones go.

The informers are the program's own, shared with every other controller: a resource is watched once. A group that
discovery cannot see at the moment keeps its monitors. Objects of a resource that is no longer served are `lost`, which
is not the same as deleted: they may be there still, under another version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from kube_core._kit.clock import Clock
from kube_core.api.types import ResourceType
from kube_core.client.discovery import Discovered
from kube_core.client.informer import ChangeHandler, Informer, Informers
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupKind, GroupResource

__all__ = ["IGNORED", "Monitors"]

#: Resources that are not collected: there are many of them, they own nothing, and the server lets them expire.
IGNORED = frozenset({GroupResource("", "events"), GroupResource("events.k8s.io", "events")})

_PATIENCE = 30.0

#: What is told of a change: the resource, and the object before and after.
Observer = Callable[[ResourceType, Document | None, Document | None], None]


@attrs.frozen
class _Monitor:
    informer: Informer
    handler: ChangeHandler
    since: float


class Monitors:
    """The informers that the garbage collector follows."""

    def __init__(
        self, informers: Informers, clock: Clock, observer: Observer, lost: Callable[[Document], None]
    ) -> None:
        self._informers = informers
        self._clock = clock
        self._observer = observer
        self._lost = lost
        self._monitors: dict[ResourceType, _Monitor] = {}
        self._kinds: dict[GroupKind, ResourceType] = {}

    @property
    def resources(self) -> Sequence[ResourceType]:
        return tuple(self._monitors)

    @property
    def unsynced(self) -> Sequence[ResourceType]:
        """Resources of which the first list is not there yet, so that dependents may be missing.

        One that cannot be listed for half a minute is no longer waited for: it must not hold up all others.
        """
        since = self._clock.monotonic() - _PATIENCE
        return [
            resource
            for resource, monitor in self._monitors.items()
            if not monitor.informer.is_synced and monitor.since > since
        ]

    def resource_of(self, group: str, kind: str) -> ResourceType | None:
        """The resource of a kind that an owner reference names, whatever version it names; None: not served."""
        return self._kinds.get(GroupKind(group, kind))

    def document(self, resource: ResourceType, key: Key) -> Document | None:
        """An object as last seen."""
        monitor = self._monitors.get(resource)
        return monitor.informer.lister.get(key) if monitor is not None else None

    async def follow(self, discovered: Discovered) -> None:
        """Watch what is there, and stop watching what is no longer served."""
        self._kinds |= {resource.type.group_kind: resource.type for resource in discovered.resources}
        # In order, and looked in often: every known resource each half minute.
        wanted = {
            resource: None
            for resource in discovered.supporting("list", "watch", "delete")
            if resource.group_resource not in IGNORED
        }
        for resource in [*self._monitors]:
            if resource not in wanted and resource.api_version not in discovered.failures:
                await self._remove(resource)
        for resource in wanted:
            if resource not in self._monitors:
                self._add(resource)

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.informer.remove_handler(monitor.handler)
        self._monitors.clear()

    def _add(self, resource: ResourceType) -> None:
        informer = self._informers.informer(resource, metadata_only=True)

        def handler(before: Document | None, after: Document | None) -> None:
            self._observer(resource, before, after)

        self._monitors[resource] = _Monitor(informer, handler, self._clock.monotonic())
        informer.add_handler(handler)

    async def _remove(self, resource: ResourceType) -> None:
        monitor = self._monitors.pop(resource)
        if self._kinds.get(resource.group_kind) == resource:
            del self._kinds[resource.group_kind]
        informer = monitor.informer
        informer.remove_handler(monitor.handler)
        for document in informer.lister.list():
            self._lost(document)
        if not informer.has_handlers:
            await self._informers.drop(informer)
