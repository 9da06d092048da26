"""pod-garbage-collector-controller: forgets pods that nobody else would."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.podgc.controller import PodGarbageCollector

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    return [ControllerSpec("pod-garbage-collector-controller", PodGarbageCollector, account="pod-garbage-collector")]
