"""The ResourceQuota controller: counts what namespaces use, where admission only charges for what comes.

The outline; `counting.py` counts, `monitors.py` watches what quotas are about. A quota is counted whole: when its
limits change, when something in its namespace goes or comes to use another amount, and every five minutes. What comes
is not counted at once, as upstream: admission has charged for it before it was stored, and counting from a cache that
does not show it yet would give back what others are being refused for. Only where that may just have been done, because
something else went in the same moment, is it counted again, and then nothing is given back.

Mirrors upstream's resource quota controller ("Resource Quotas"), which has no events.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import Document, Key, is_deleting, key_of, namespace_of
from kube_plugins.controllers.pace import Pace
from kube_plugins.controllers.resourcequota.counting import calculate_status, differs, hard_of, until_recount
from kube_plugins.controllers.resourcequota.monitors import Monitors
from kube_plugins.quota.scopes import in_scope
from kube_plugins.quota.usage import counted_names, counted_resource, usage_of

__all__ = ["RESYNC", "ResourceQuotaController"]

#: See `Pace`.
_OBJECTS_PER_SECOND, _FEW = 10_000, 100
#: Seconds after which every quota is counted again, whatever was seen.
RESYNC = 300.0
#: Seconds within which what comes after a count may have been in flight during it.
_IN_FLIGHT = 1.0
#: Seconds until a kind that is not served is looked for again.
_DISCOVERY_PERIOD = 30.0


class ResourceQuotaController(Controller):
    """Keeps the status of quotas."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._quotas = context.informers.informer(resources.RESOURCE_QUOTAS).lister
        self._monitors = Monitors(context.informers, self.client, self._changed)
        #: When each quota's status was last written, and from when on it may be given something back: monotonic.
        self._written: dict[Key, float] = {}
        self._gives_back: dict[Key, float] = {}
        self._pace = Pace(self.clock, objects_per_second=_OBJECTS_PER_SECOND, few=_FEW)

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.RESOURCE_QUOTAS, to_itself, predicate=_limits_differ),)

    async def stop(self) -> None:
        self._monitors.close()

    async def reconcile(self, key: Key) -> Action:
        quota = self._quotas.get(key)
        if quota is None:
            self._written.pop(key, None)
            self._gives_back.pop(key, None)
            self._pace.forget(key)
            return await_change()
        if rest := self._pace.rest(key):
            return requeue(rest)
        wanted = {found for name in hard_of(quota) if (found := counted_resource(name)) is not None}
        listers = await self._monitors.listers(wanted)
        quota = self._quotas.get(key) or quota
        now = self.clock.now()
        objects = {resource: lister.list(key.namespace) for resource, lister in listers.items()}
        wait = _DISCOVERY_PERIOD if len(listers) < len(wanted) else RESYNC
        if (gone := until_recount(objects, now)) is not None:
            wait = min(wait, gone + 1.0)
        gives_back = self.clock.monotonic() >= self._gives_back.get(key, 0.0)
        if gives_back:
            self._gives_back[key] = self.clock.monotonic() + wait
        self._pace.looked_at(key, sum(map(len, objects.values())))
        status = calculate_status(quota, objects, now, gives_back=gives_back)
        if differs(quota, status):
            await self._write(key, quota, status)
        return requeue(wait)

    async def _write(self, key: Key, quota: Document, status: Document) -> None:
        self._written[key] = self.clock.monotonic()
        try:
            await self.client.update_status(resources.RESOURCE_QUOTAS, {**quota, "status": status})
        except BaseException:
            self._gives_back.pop(key, None)
            raise

    def _changed(self, resource: ResourceType, before: Document | None, after: Document | None) -> None:
        """Something came, changed or went: its quotas are counted again, where that may make a difference."""
        document = after or before or {}
        for quota in self._quotas.list(namespace_of(document)):
            key = key_of(quota)
            if not counted_names(resource, hard_of(quota)):
                continue
            if before is None:
                if self.clock.monotonic() - self._written.get(key, -_IN_FLIGHT) < _IN_FLIGHT:
                    self.context.enqueue(key)
            elif after is None or _takes_another_amount(quota, resource, before, after):
                self._gives_back.pop(key, None)
                self.context.enqueue(key)


def _limits_differ(before: Document | None, after: Document | None) -> bool:
    """What is used is admission's to change meanwhile, and ours."""
    return before is None or after is None or before["spec"] != after["spec"]


def _takes_another_amount(quota: Document, resource: ResourceType, before: Document, after: Document) -> bool:
    if in_scope(quota, resource, before) != in_scope(quota, resource, after):
        return True
    if resource == resources.PODS and is_deleting(before) != is_deleting(after):
        return True  # by when it has to be gone is noted
    return usage_of(resource, before) != usage_of(resource, after)
