"""Has the cloud lead each node's pod ranges to it, and says on the node that its network works.

One key stands for all nodes: routes are compared as a whole. Routes to nodes or ranges that are gone are deleted. The
condition `NetworkUnavailable` is False once a node has all of its routes. `plan_routes` is pure. Mirrors upstream's
node-route-controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import attrs

from kube_core.abc.cloud import CloudDriver, CloudError, Route
from kube_core.api import resources
from kube_core.control.action import Action, requeue
from kube_core.control.conditions import condition_of, set_condition
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, is_deleting, name_of
from kube_core.meta.status import NotFound

__all__ = ["NodeRoutes", "RoutePlan", "plan_routes"]

_ALL: Final = Key("", "routes")
#: Somebody may have changed routes in the cloud.
_PERIOD: Final = 300.0
_RETRY: Final = 10.0


@attrs.frozen
class RoutePlan:
    """What the cloud lacks, and what it has too much."""

    create: tuple[Route, ...] = ()
    delete: tuple[Route, ...] = ()


def plan_routes(nodes: Iterable[Document], present: Iterable[Route]) -> RoutePlan:
    wanted = {route for node in nodes if not is_deleting(node) for route in _routes_of(node)}
    there = set(present)

    def order(route: Route) -> tuple[str, str]:
        return route.node, route.cidr

    return RoutePlan(tuple(sorted(wanted - there, key=order)), tuple(sorted(there - wanted, key=order)))


class NodeRoutes(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._cloud = cast(CloudDriver, context.drivers["cloud.routes"])
        self._nodes = context.informers.lister(resources.NODES)

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.NODES, lambda _: [_ALL], predicate=_ranges_changed)

    async def start(self) -> None:
        self.context.enqueue(_ALL)

    async def reconcile(self, key: Key) -> Action:
        nodes = self._nodes.list()
        plan = plan_routes(nodes, await self._cloud.routes())
        for route in plan.delete:
            await self._cloud.delete_route(route)
        failed: set[str] = set()
        for route in plan.create:
            try:
                await self._cloud.create_route(route)
            except CloudError as error:
                failed.add(route.node)
                self._report(route, error)
        for node in nodes:
            if any(_routes_of(node)):
                await self._tell(node, created=name_of(node) not in failed)
        return requeue(_RETRY if failed else _PERIOD)

    def _report(self, route: Route, error: CloudError) -> None:
        node = self._nodes.get(Key("", route.node))
        if node is not None:
            why = f"Could not create route {route.cidr} for node {route.node}: {error}"
            self.context.events.warning(node, "FailedToCreateRoute", why)

    async def _tell(self, node: Document, *, created: bool) -> None:
        status, reason = ("False", "RouteCreated") if created else ("True", "NoRouteCreated")
        message = "RouteController created a route" if created else "RouteController failed to create a route"
        present = condition_of(node, "NetworkUnavailable") or {}
        if (present.get("status"), present.get("reason")) == (status, reason):
            return
        conditions = set_condition(
            (), "NetworkUnavailable", status, now=self.clock.now(), reason=reason, message=message
        )
        try:
            await self.client.patch(
                resources.NODES,
                name_of(node),
                {"status": {"conditions": conditions}},
                patch_type="strategic",
                subresource="status",
            )
        except NotFound:
            pass


def _routes_of(node: Document) -> Iterable[Route]:
    spec = node.get("spec") or {}
    ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ())
    return [Route(name_of(node), str(cidr)) for cidr in ranges]


def _ranges_changed(before: Document | None, after: Document | None) -> bool:
    if before is None or after is None:
        return True
    return list(_routes_of(before)) != list(_routes_of(after)) or is_deleting(before) != is_deleting(after)
