"""The pluggy hooks: what a plugin may add to a cluster.

Each is called once, at start, through one typed method of `PluginHost`; none is called per request, and none is
awaited. A plugin is a module or object named by an entry point in the group `kube_core.plugins`. Built-ins use these
same hooks and have no privilege.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from kube_core.admission.chain import AdmissionSpec
    from kube_core.control.controller import ControllerSpec
    from kube_core.scheduler.framework import PluginSpec

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("kube_core")
hookimpl = pluggy.HookimplMarker("kube_core")


@hookspec
def kube_core_controllers() -> Iterable[ControllerSpec]:  # type: ignore[empty-body]
    """Controllers to run with the cluster (unless `--controllers` leaves them out)."""


@hookspec
def kube_core_kinds() -> Iterable[object]:  # type: ignore[empty-body]
    """Kinds, and functions of `@validate`, `@mutate` and `@convert`; of a module all that it has.

    An embedded cluster installs them before its controllers start, and `kube-core crds` prints or installs them.
    """


@hookspec
def kube_core_cli(app: typer.Typer) -> None:
    """Add commands to the `kube-core` command line."""


@hookspec
def kube_core_admission() -> Iterable[AdmissionSpec]:  # type: ignore[empty-body]
    """Admission plugins: what may change or refuse writes on their way to the store."""


@hookspec
def kube_core_scheduler_plugins() -> Iterable[PluginSpec]:  # type: ignore[empty-body]
    """Scheduler plugins, in the order in which they are asked."""
