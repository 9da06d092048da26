"""node-lifecycle-controller: taints follow a node's conditions, and a node that is silent too long is Unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec
    from kube_plugins.controllers.nodelifecycle.controller import NodeLifecycle

    return [
        ControllerSpec(
            "node-lifecycle-controller", NodeLifecycle, account="node-controller", reports_as="node-controller"
        )
    ]
