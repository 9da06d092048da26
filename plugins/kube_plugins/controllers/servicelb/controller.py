"""Has a cloud make the load balancers of Services, change and delete them. The outline; `plan.py` decides.

What was asked of the cloud is remembered, so that it is asked again only where something has changed, and once after a
start. Where a load balancer answers is written into the Service's status, which is what people see as EXTERNAL-IP.
Mirrors upstream's service-lb-controller: the finalizer, events, and what of a Service counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from kube_core.abc.cloud import BalancerRequest, CloudDriver, CloudError
from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, finalizers_of, name_of, namespace_of
from kube_core.meta.status import NotFound
from kube_plugins.controllers.servicelb import plan

__all__ = ["ServiceLoadBalancers"]


@attrs.frozen
class _Asked:
    """What the cloud was asked for last, and for which Service."""

    request: BalancerRequest
    service: Document


class ServiceLoadBalancers(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._cloud = cast(CloudDriver, context.drivers["cloud.load_balancers"])
        self._services = context.informers.lister(resources.SERVICES)
        self._nodes = context.informers.lister(resources.NODES)
        self._asked: dict[Key, _Asked] = {}

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.SERVICES, predicate=_concerns_balancers),
            Watch(resources.NODES, lambda _: list(self._asked), predicate=_eligibility_changed),
        )

    async def reconcile(self, key: Key) -> Action:
        service = self._services.get(key)
        if service is None:
            await self._forget(key)
            return await_change()
        wish = plan.wish_of(service)
        try:
            if wish == "balancer":
                await self._ensure(key, service)
            elif wish == "cleanup":
                await self._clean_up(key, service)
        except CloudError as error:
            what = "ensure" if wish == "balancer" else "delete"
            why = f"Error syncing load balancer: failed to {what} load balancer: {error}"
            self.context.events.warning(service, "SyncLoadBalancerFailed", why)
            raise
        return await_change()

    async def _ensure(self, key: Key, service: Document) -> None:
        events, before = self.context.events, self._asked.get(key)
        if before is not None and before.request.name != plan.balancer_name(service):
            # Another Service of the same name had it.
            await self._forget(key)
            before = None
        request = plan.request_of(service, self._nodes.list())
        if before is not None and before.request == request and plan.FINALIZER in finalizers_of(service):
            return
        if before is not None:
            for reason, message in plan.changes(before.service, service):
                events.normal(service, reason, message)
        only_nodes = before is not None and attrs.evolve(before.request, nodes=request.nodes) == request
        if not only_nodes:
            events.normal(service, "EnsuringLoadBalancer", "Ensuring load balancer")
        if not request.nodes:
            events.warning(service, "UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer")
        if plan.FINALIZER not in finalizers_of(service):
            await self._patch(service, {"metadata": {"finalizers": [plan.FINALIZER]}})
        addresses = await self._cloud.ensure_balancer(request)
        await self._write_status(service, plan.status_of(service, addresses))
        self._asked[key] = _Asked(request, service)
        if only_nodes:
            events.normal(service, "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        else:
            events.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")

    async def _clean_up(self, key: Key, service: Document) -> None:
        events, name = self.context.events, plan.balancer_name(service)
        if key in self._asked:
            for reason, message in plan.changes(self._asked[key].service, service):
                events.normal(service, reason, message)
        if await self._cloud.balancer(name) is not None:
            events.normal(service, "DeletingLoadBalancer", "Deleting load balancer")
            await self._cloud.delete_balancer(name)
        await self._write_status(service, {})
        await self._patch(service, {"metadata": {"$deleteFromPrimitiveList/finalizers": [plan.FINALIZER]}})
        self._asked.pop(key, None)
        events.normal(service, "DeletedLoadBalancer", "Deleted load balancer")

    async def _forget(self, key: Key) -> None:
        """A Service is gone, and its finalizer did not keep it: somebody took that off."""
        asked = self._asked.pop(key, None)
        if asked is not None and await self._cloud.balancer(asked.request.name) is not None:
            await self._cloud.delete_balancer(asked.request.name)

    async def _write_status(self, service: Document, balancer: Document) -> None:
        if ((service.get("status") or {}).get("loadBalancer") or {}) != balancer:
            told = {"$patch": "replace", **balancer}
            await self._patch(service, {"status": {"loadBalancer": told}})

    async def _patch(self, service: Document, patch: Document) -> None:
        # Its role lets it change the status, by which finalizers can be changed, too.
        name, namespace = name_of(service), namespace_of(service)
        try:
            await self.client.patch(
                resources.SERVICES, name, patch, namespace, patch_type="strategic", subresource="status"
            )
        except NotFound:
            pass


def _concerns_balancers(before: Document | None, after: Document | None) -> bool:
    """Whether a Service has, had or should have a load balancer."""
    return any(
        service is not None
        and (service["spec"].get("type") == "LoadBalancer" or plan.FINALIZER in finalizers_of(service))
        for service in (before, after)
    )


def _eligibility_changed(before: Document | None, after: Document | None) -> bool:
    def eligible(node: Document | None) -> bool:
        return node is not None and any(plan.eligible_nodes((node,)))

    return eligible(before) != eligible(after)
