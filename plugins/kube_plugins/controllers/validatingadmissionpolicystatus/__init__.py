"""The controller of the status of validating admission policies, as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.validatingadmissionpolicystatus.controller import PolicyStatus

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    name = "validatingadmissionpolicy-status-controller"
    return [ControllerSpec(name, PolicyStatus, account=name)]
