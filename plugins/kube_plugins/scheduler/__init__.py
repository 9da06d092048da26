"""The built-in scheduler plugins, a folder each; `builtin.py` is the one list of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kube_core.scheduler.framework import PluginSpec

__all__ = ["kube_core_scheduler_plugins"]


@hookimpl
def kube_core_scheduler_plugins() -> Iterable[PluginSpec]:
    # Only here: an API server without a scheduler loads this module, too.
    from kube_plugins.scheduler.builtin import BUILT_IN

    return BUILT_IN
