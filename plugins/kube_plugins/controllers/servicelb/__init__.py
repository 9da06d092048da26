"""Load balancers for Services, as a plugin."""

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
    from kube_core.control.controller import ControllerSpec, RateLimits
    from kube_plugins.controllers.servicelb.controller import ServiceLoadBalancers

    return [
        ControllerSpec(
            "service-lb-controller",
            ServiceLoadBalancers,
            needs=("cloud.load_balancers",),
            account="service-controller",
            rate_limits=RateLimits(first_retry=5.0, last_retry=300.0),
        )
    ]
