"""device-taint-eviction-controller: pods go from devices with a NoExecute taint that their claims do not tolerate."""

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
    from kube_plugins.controllers.devicetainteviction.controller import DeviceTaintEviction

    name = "device-taint-eviction-controller"
    return [ControllerSpec(name, DeviceTaintEviction, account=name)]
