"""device-taint-eviction-controller: pods go from devices with a NoExecute taint that their claims do not tolerate."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.devicetainteviction.controller import DeviceTaintEviction

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    name = "device-taint-eviction-controller"
    return [ControllerSpec(name, DeviceTaintEviction, account=name)]
