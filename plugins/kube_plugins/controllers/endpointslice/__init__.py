"""The EndpointSlice controller, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.endpointslice.controller import EndpointSliceController

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [ControllerSpec("endpointslice-controller", EndpointSliceController, account="endpointslice-controller")]
