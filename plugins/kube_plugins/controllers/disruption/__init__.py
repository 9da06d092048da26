"""Pod disruption budgets, as a plugin: what each allows, and conditions of disruptions that never came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerSpec

__all__ = ["kube_core_controllers"]

_ACCOUNT = "disruption-controller"
#: Upstream's events of budgets name no controller in particular.
_COMPONENT = "controllermanager"


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # Only here: an API server without controllers loads this module, too.
    from kube_core.control.controller import ControllerSpec
    from kube_plugins.controllers.disruption.controller import DisruptionController
    from kube_plugins.controllers.disruption.stale import StaleDisruptionController

    return [
        ControllerSpec("disruption-controller", DisruptionController, account=_ACCOUNT, reports_as=_COMPONENT),
        ControllerSpec("stale-disruption-controller", StaleDisruptionController, account=_ACCOUNT),
    ]
