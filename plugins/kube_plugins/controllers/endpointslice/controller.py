"""The EndpointSlice controller: keeps the slices of every Service that has a selector.

Which endpoints there are is decided in `endpoints.py`, how they are packed in `slices.py`, and for which zones and
nodes each is meant in `hints.py`; `tracker.py` covers the gap between a write and the cache. With the Service its
slices are collected, by their owner references. Mirrors upstream's endpoint slice controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.claims import controller_reference
from kube_core.control.conditions import is_condition_true
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
from kube_plugins.controllers.endpointslice import hints
from kube_plugins.controllers.endpointslice.endpoints import AddressType, address_types, desired_groups
from kube_plugins.controllers.endpointslice.slices import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL, Plan, plan_slices
from kube_plugins.controllers.endpointslice.tracker import SliceTracker
from kube_plugins.controllers.triggertimes import TriggerTimes, with_trigger_time

__all__ = ["EndpointSliceController"]

_SERVICE_INDEX = "service"
_ZONE_LABEL = "topology.kubernetes.io/zone"
#: Seconds after which a cache that is behind is looked at again, even if nothing was heard.
_STALE_RETRY = 1.0


class EndpointSliceController(Controller):
    """Publishes the endpoints behind a Service in slices."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._tracker = SliceTracker(context.clock)
        self._triggers = TriggerTimes()
        #: Services that want their endpoints shared out to zones, and those that have them so.
        self._wanting: set[Key] = set()
        self._shared_out: set[Key] = set()
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
            Watch(resources.NODES, self._services_on_node, predicate=_place_changed),
            Watch(resources.NODES, lambda _: self._wanting, predicate=_share_changed),
        )

    async def reconcile(self, key: Key) -> Action:
        service = self._services.get(key)
        if service is None or is_deleting(service):
            self._forget(key)
            return await_change()
        if not services.has_selector(service):
            return await_change()
        present = list(self._slices.by_index(_SERVICE_INDEX, str(key)))
        if self._tracker.is_stale(key, present):
            return requeue(_STALE_RETRY)
        families = address_types(service)
        selected = list(services.matching(service, self._pods.list(key.namespace)))
        trigger = self._triggers.observe(service, selected)
        for family in families:
            groups = desired_groups(service, selected, family, self._nodes)
            own = [slice_ for slice_ in present if slice_.get("addressType") == family]
            plan = plan_slices(service, family, groups, own, controller_reference(service))
            await self._carry_out(key, service, self._hinted(key, service, family, plan), trigger)
        outdated = [slice_ for slice_ in present if slice_.get("addressType") not in families]
        await self._carry_out(key, service, Plan(delete=tuple(outdated)))
        return await_change()

    def _hinted(self, key: Key, service: Document, family: AddressType, plan: Plan) -> Plan:
        """The plan with the hints that the Service asks for; what comes of sharing out is reported."""
        if not hints.wants_shares(service):
            self._wanting.discard(key)
            if key in self._shared_out:
                self._shared_out.discard(key)
                self._not_shared_out(service, family, "Topology Aware Hints has been disabled")
            return hints.hinted(service, plan)
        self._wanting.add(key)
        shared = hints.shared_out(plan, hints.shares_of(self._nodes.values()))
        if isinstance(shared, str):
            self._not_shared_out(service, family, shared)
            self._shared_out.discard(key)
            return hints.without(plan)
        if key not in self._shared_out:
            self._shared_out.add(key)
            what = f"Topology Aware Hints has been enabled, addressType: {family}"
            self._events.normal(service, "TopologyAwareHintsEnabled", what)
        return shared

    def _not_shared_out(self, service: Document, family: AddressType, why: str) -> None:
        self._events.warning(service, "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")

    def _forget(self, key: Key) -> None:
        self._tracker.forget(key)
        self._triggers.forget(key)
        self._shared_out.discard(key)
        self._wanting.discard(key)

    async def _carry_out(self, key: Key, service: Document, plan: Plan, trigger: str = "") -> None:
        for document in (*plan.create, *plan.update):
            metadata = document["metadata"]
            annotations = with_trigger_time(metadata.get("annotations") or {}, trigger)
            document["metadata"] = {**metadata, "annotations": annotations}
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


def _place_changed(before: Document | None, after: Document | None) -> bool:
    """Whether a node came, went, or moved to another zone."""
    if before is None or after is None:
        return True
    return labels_of(before).get(_ZONE_LABEL) != labels_of(after).get(_ZONE_LABEL)


def _share_changed(before: Document | None, after: Document | None) -> bool:
    """Whether zones may have other shares of the cluster's CPUs."""
    if before is None or after is None:
        return True
    return _weight(before) != _weight(after)


def _weight(node: Document) -> tuple[object, ...]:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    return (is_condition_true(node, "Ready"), allocatable.get("cpu"), labels_of(node))
