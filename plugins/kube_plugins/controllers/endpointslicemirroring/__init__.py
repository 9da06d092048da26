"""The mirroring of hand-made Endpoints, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.endpointslicemirroring.controller import EndpointSliceMirroringController

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    account = "endpointslicemirroring-controller"
    return [
        ControllerSpec("endpointslice-mirroring-controller", EndpointSliceMirroringController, account=account),
    ]
