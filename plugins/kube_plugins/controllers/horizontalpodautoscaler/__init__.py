"""horizontal-pod-autoscaler-controller: as many replicas as what they use, or anything else that is measured, wants."""

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
    from kube_plugins.controllers.horizontalpodautoscaler.controller import HorizontalPodAutoscaler

    return [
        ControllerSpec(
            "horizontal-pod-autoscaler-controller",
            HorizontalPodAutoscaler,
            account="horizontal-pod-autoscaler",
            reports_as="horizontal-pod-autoscaler",
        )
    ]
