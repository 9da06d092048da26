"""taint-eviction-controller: pods go from nodes with a NoExecute taint that they do not tolerate, or no longer do."""

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
    from kube_plugins.controllers.tainteviction.controller import TaintEviction

    # As with upstream, it acts as the node controller, out of which it came.
    return [ControllerSpec("taint-eviction-controller", TaintEviction, account="node-controller")]
