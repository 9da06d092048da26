"""The Endpoints controller: keeps the (old, single) Endpoints object of every Service that has a selector.

What the object should say is decided in `subsets.py`. A Service without a selector has its Endpoints from somebody
else, and they are left alone; with the Service itself its Endpoints go. Mirrors upstream's endpoints controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import Document, Key, is_deleting, key_of, labels_of, namespace_of, thaw
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, StatusError
from kube_plugins.controllers import services
from kube_plugins.controllers.endpoints.subsets import build_endpoints, same_endpoints
from kube_plugins.controllers.triggertimes import TriggerTimes

__all__ = ["EndpointsController"]


class EndpointsController(Controller):
    """Publishes the addresses behind a Service in one Endpoints object."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._triggers = TriggerTimes()
        self._services = context.informers.informer(resources.SERVICES).lister
        self._pods = context.informers.informer(resources.PODS).lister
        self._endpoints = context.informers.informer(resources.ENDPOINTS).lister

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.SERVICES, to_itself),
            Watch(resources.ENDPOINTS, to_itself),
            Watch(resources.PODS, self._services_of_pod, predicate=services.changes_endpoints),
        )

    async def reconcile(self, key: Key) -> Action:
        service = self._services.get(key)
        present = self._endpoints.get(key)
        if service is None:
            self._triggers.forget(key)
            # Those of a Service that never was are not ours to take away.
            if present is not None and "endpoints.kubernetes.io/managed-by" in labels_of(present):
                await self._delete(key)
            return await_change()
        if is_deleting(service) or not services.has_selector(service):
            return await_change()
        selected = list(services.matching(service, self._pods.list(key.namespace)))
        trigger = self._triggers.observe(service, selected)
        wanted = build_endpoints(service, selected, present, trigger)
        try:
            if present is None:
                await self.client.create(resources.ENDPOINTS, wanted)
            elif not same_endpoints(present, wanted):
                metadata = {**thaw(present["metadata"]), **wanted["metadata"]}
                await self.client.update(resources.ENDPOINTS, {**wanted, "metadata": metadata})
        except (AlreadyExists, Conflict):
            raise  # the cache is behind: look again
        except StatusError as error:
            verb = "create" if present is None else "update"
            what = f"Failed to {verb} endpoint {key}: {error.message}"
            self._events.warning(service, f"FailedTo{verb.title()}Endpoint", what)
            raise
        return await_change()

    async def _delete(self, key: Key) -> None:
        try:
            await self.client.delete(resources.ENDPOINTS, key.name, key.namespace)
        except NotFound:
            pass

    def _services_of_pod(self, pod: Document) -> Iterable[Key]:
        return [
            key_of(service)
            for service in self._services.list(namespace_of(pod))
            if services.has_selector(service) and any(services.matching(service, (pod,)))
        ]
