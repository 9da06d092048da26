"""Mirrors the Endpoints of Services without a selector into EndpointSlices.

Whoever still writes Endpoints by hand is so heard by those who read slices only, proxies among them. What the slices
say is decided in `mirror.py`; keys are Endpoints. Slices whose Endpoints or Service are gone, or are not mirrored any
longer, are deleted. Mirrors upstream's endpointslice-mirroring-controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, labels_of, name_of, namespace_of, uid_of
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.endpointslice.slices import MANAGED_BY_LABEL, SERVICE_LABEL, Plan
from kube_plugins.controllers.endpointslice.tracker import SliceTracker
from kube_plugins.controllers.endpointslicemirroring.mirror import CAPACITY, MANAGED_BY, is_mirrored, plan_mirror
from kube_plugins.controllers.podwrites import is_namespace_ending

__all__ = ["EndpointSliceMirroringController"]

_INDEX = "mirrored"
#: Seconds after which a cache that is behind is looked at again, even if nothing was heard.
_STALE_RETRY = 1.0


class EndpointSliceMirroringController(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._tracker = SliceTracker(context.clock)
        self._endpoints = context.informers.informer(resources.ENDPOINTS).lister
        self._services = context.informers.informer(resources.SERVICES).lister
        informer = context.informers.informer(resources.ENDPOINT_SLICES)
        informer.add_index(_INDEX, lambda slice_: (str(key) for key in _endpoints_of_slice(slice_)))
        informer.add_handler(self._observe_slice)
        self._slices = informer.lister

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.ENDPOINTS),
            Watch(resources.SERVICES, predicate=_selector_came_or_went),
            Watch(resources.ENDPOINT_SLICES, _endpoints_of_slice),
        )

    async def reconcile(self, key: Key) -> Action:
        endpoints = self._endpoints.get(key)
        present = self._slices.by_index(_INDEX, str(key))
        if endpoints is None or not is_mirrored(endpoints, self._services.get(key)):
            self._tracker.forget(key)
            await self._carry_out(key, Plan(delete=tuple(present)))
            return await_change()
        if self._tracker.is_stale(key, present):
            return requeue(_STALE_RETRY)
        mirrored = plan_mirror(endpoints, present)
        self._report(endpoints, mirrored.invalid, mirrored.skipped)
        try:
            await self._carry_out(key, mirrored.plan)
        except StatusError as error:
            if is_namespace_ending(error):
                return await_change()
            what = f"Error updating Endpoint Slices for Endpoints {key}: {error.message}"
            self.context.events.warning(endpoints, "FailedToUpdateEndpointSlices", what)
            raise
        return await_change()

    def _report(self, endpoints: Document, invalid: int, skipped: int) -> None:
        if invalid:
            what = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
            self.context.events.warning(endpoints, "InvalidIPAddress", what)
        if skipped > invalid:
            most = f"A max of {CAPACITY} addresses can be mirrored to EndpointSlices per Endpoints subset."
            what = f"{most} {skipped} addresses were skipped"
            self.context.events.warning(endpoints, "TooManyAddressesToMirror", what)

    async def _carry_out(self, key: Key, plan: Plan) -> None:
        for document in plan.create:
            self._tracker.wrote(key, await self.client.create(resources.ENDPOINT_SLICES, document))
        for document in plan.update:
            self._tracker.wrote(key, await self.client.update(resources.ENDPOINT_SLICES, document))
        for surplus in plan.delete:
            try:
                await self.client.delete(
                    resources.ENDPOINT_SLICES, name_of(surplus), namespace_of(surplus), uid=uid_of(surplus)
                )
            except NotFound:
                pass

    def _observe_slice(self, before: Document | None, after: Document | None) -> None:
        if after is None and before is not None:
            for key in _endpoints_of_slice(before):
                self._tracker.gone(key, uid_of(before))


def _endpoints_of_slice(slice_: Document) -> Iterable[Key]:
    labels = labels_of(slice_)
    if labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(SERVICE_LABEL):
        yield Key(namespace_of(slice_), labels[SERVICE_LABEL])


def _selector_came_or_went(before: Document | None, after: Document | None) -> bool:
    def bare(service: Document | None) -> bool:
        return service is not None and service["spec"].get("selector") is None

    return bare(before) != bare(after)
