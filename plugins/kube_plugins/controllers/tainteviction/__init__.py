"""taint-eviction-controller: pods go from nodes with a NoExecute taint that they do not tolerate, or no longer do."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.control.controller import ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.controllers.tainteviction.controller import TaintEviction

__all__ = ["kube_core_controllers"]


@hookimpl
def kube_core_controllers() -> Iterable[ControllerSpec]:
    # As with upstream, it acts as the node controller, out of which it came.
    return [ControllerSpec("taint-eviction-controller", TaintEviction, account="node-controller")]
