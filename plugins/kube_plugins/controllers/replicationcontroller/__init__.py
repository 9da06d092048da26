"""The ReplicationController controller, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.replicationcontroller.controller import ReplicationControllerController

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [
        ControllerSpec(
            "replicationcontroller-controller",
            ReplicationControllerController,
            account="replication-controller",
            reports_as="replication-controller",
        )
    ]
