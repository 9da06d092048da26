"""ttl-controller: says on each node for how long its kubelet may remember Secrets and ConfigMaps."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.ttl.controller import TtlController

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [ControllerSpec("ttl-controller", TtlController, account="ttl-controller")]
