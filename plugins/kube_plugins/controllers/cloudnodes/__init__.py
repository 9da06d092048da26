"""Nodes as the cloud knows them: their beginning, their end, and the routes to their pods; as a plugin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]

_INSTANCES = ("cloud.instances",)


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec
    from kube_plugins.controllers.cloudnodes.initialising import CloudNodes
    from kube_plugins.controllers.cloudnodes.lifecycle import CloudNodeLifecycle
    from kube_plugins.controllers.cloudnodes.routing import NodeRoutes

    return [
        ControllerSpec("cloud-node-controller", CloudNodes, needs=_INSTANCES, account="node-controller"),
        ControllerSpec(
            "cloud-node-lifecycle-controller", CloudNodeLifecycle, needs=_INSTANCES, account="node-controller"
        ),
        ControllerSpec("node-route-controller", NodeRoutes, needs=("cloud.routes",), account="route-controller"),
    ]
