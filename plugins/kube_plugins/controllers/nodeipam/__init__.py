"""node-ipam-controller: gives each node its part of the cluster's range of pod addresses."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.nodeipam.controller import NodeIpam

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [
        ControllerSpec(
            "node-ipam-controller",
            NodeIpam,
            needs=("network",),
            account="node-controller",
            reports_as="cidrAllocator",
        )
    ]
