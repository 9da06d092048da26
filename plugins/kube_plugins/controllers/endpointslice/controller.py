"""The EndpointSlice controller: keeps the slices of every Service that has a selector.

Which endpoints there are is decided in `endpoints.py`, how they are packed in `slices.py`; `tracker.py` covers the gap
between a write and the cache. With the Service its slices are collected, by their owner references. Mirrors upstream's
endpoint slice controller, but for topology hints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers import services
from kube_plugins.controllers.endpointslice.endpoints import address_types, desired_groups
from kube_plugins.controllers.endpointslice.slices import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL, Plan, plan_slices
from kube_plugins.controllers.endpointslice.tracker import SliceTracker

__all__ = ["EndpointSliceController"]

_SERVICE_INDEX = "service"
#: Seconds after which a cache that is behind is looked at again, even if nothing was heard.
_STALE_RETRY = 1.0


class EndpointSliceController(Controller):
    """Publishes the endpoints behind a Service in slices."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._tracker = SliceTracker()
        self._services = context.informers.informer(resources.SERVICES).lister
        self._pods = context.informers.informer(resources.PODS).lister
        self._nodes = _ByName(context.informers.informer(resources.NODES).lister)
        informer = context.informers.informer(resources.ENDPOINT_SLICES)
        informer.add_index(_SERVICE_INDEX, _service_of_slice)
        informer.add_handler(self._observe_slice)
        self._slices = informer.lister

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.SERVICES, to_itself),
            Watch(resources.PODS, self._services_of_pod, predicate=services.changes_endpoints),
            Watch(resources.ENDPOINT_SLICES, _key_of_service),
            Watch(resources.NODES, self._services_on_node, predicate=_zone_changed),
        )

    async def reconcile(self, key: Key) -> Action:
        service = self._services.get(key)
        if service is None or is_deleting(service):
            self._tracker.forget(key)
            return await_change()
        if not services.has_selector(service):
            return await_change()
        present = list(self._slices.by_index(_SERVICE_INDEX, str(key)))
        if self._tracker.is_stale(key, present):
            return requeue(_STALE_RETRY)
        families = address_types(service)
        for family in families:
            groups = desired_groups(service, self._pods.list(key.namespace), family, self._nodes)
            own = [slice_ for slice_ in present if slice_.get("addressType") == family]
            plan = plan_slices(service, family, groups, own, controller_reference(service))
            await self._carry_out(key, service, plan)
        outdated = [slice_ for slice_ in present if slice_.get("addressType") not in families]
        await self._carry_out(key, service, Plan(delete=tuple(outdated)))
        return await_change()

    async def _carry_out(self, key: Key, service: Document, plan: Plan) -> None:
        try:
            for document in plan.create:
                self._tracker.wrote(key, await self.client.create(resources.ENDPOINT_SLICES, document))
            for document in plan.update:
                self._tracker.wrote(key, await self.client.update(resources.ENDPOINT_SLICES, document))
            for surplus in plan.delete:
                await self._delete(surplus)
        except StatusError as error:
            if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
                return
            what = f"Error updating Endpoint Slices for Service {key}: {error.message}"
            self._events.warning(service, "FailedToUpdateEndpointSlices", what)
            raise

    async def _delete(self, document: Document) -> None:
        try:
            await self.client.delete(
                resources.ENDPOINT_SLICES,
                name_of(document),
                namespace_of(document),
                uid=uid_of(document),
                resource_version=resource_version_of(document),
            )
        except NotFound:
            pass

    # From changes to keys, and to what was waited for.

    def _observe_slice(self, before: Document | None, after: Document | None) -> None:
        if after is None and before is not None:
            for key in _key_of_service(before):
                self._tracker.gone(key, uid_of(before))

    def _services_of_pod(self, pod: Document) -> Iterable[Key]:
        return [
            key_of(service)
            for service in self._services.list(namespace_of(pod))
            if services.has_selector(service) and any(services.matching(service, (pod,)))
        ]

    def _services_on_node(self, node: Document) -> Iterable[Key]:
        """Services that may have endpoints on a node: looked for by its pods."""
        keys: set[Key] = set()
        for pod in self._pods.list():
            if (pod.get("spec") or {}).get("nodeName") == name_of(node):
                keys.update(self._services_of_pod(pod))
        return keys


class _ByName(Mapping[str, Document]):
    """A lister of cluster-scoped objects as a mapping."""

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    def __getitem__(self, name: str) -> Document:
        found = self._lister.get(Key("", name))
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name_of(node) for node in self._lister.list())

    def __len__(self) -> int:
        return len(self._lister)


def _key_of_service(slice_: Document) -> Iterable[Key]:
    labels = labels_of(slice_)
    if labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(SERVICE_LABEL):
        yield Key(namespace_of(slice_), labels[SERVICE_LABEL])


def _service_of_slice(slice_: Document) -> Iterable[str]:
    return (str(key) for key in _key_of_service(slice_))


def _zone_changed(before: Document | None, after: Document | None) -> bool:
    def zone(node: Document | None) -> str | None:
        return None if node is None else labels_of(node).get("topology.kubernetes.io/zone")

    return zone(before) != zone(after)
