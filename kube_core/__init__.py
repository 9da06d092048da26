"""A real Kubernetes, control plane and node, as one Python package.

    import kube_core as kube

    async with kube.Cluster(nodes=3) as cluster:
        ...

The names below are what programs and plugins reach for; everything else is found in its own package. They are imported
when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kube_core.client.client import ApiClient as ApiClient
    from kube_core.cluster import Cluster as Cluster
    from kube_core.config import ClusterConfig as ClusterConfig
    from kube_core.config import ConfigError as ConfigError
    from kube_core.control.action import Action as Action
    from kube_core.control.action import await_change as await_change
    from kube_core.control.action import requeue as requeue
    from kube_core.control.controller import Controller as Controller
    from kube_core.control.controller import ControllerContext as ControllerContext
    from kube_core.control.controller import ControllerSpec as ControllerSpec
    from kube_core.control.controller import Watch as Watch
    from kube_core.hookspecs import hookimpl as hookimpl
    from kube_core.scripting import blocking as blocking

_WHERE = {
    "Action": "kube_core.control.action",
    "ApiClient": "kube_core.client.client",
    "Cluster": "kube_core.cluster",
    "ClusterConfig": "kube_core.config",
    "ConfigError": "kube_core.config",
    "Controller": "kube_core.control.controller",
    "ControllerContext": "kube_core.control.controller",
    "ControllerSpec": "kube_core.control.controller",
    "Watch": "kube_core.control.controller",
    "await_change": "kube_core.control.action",
    "blocking": "kube_core.scripting",
    "hookimpl": "kube_core.hookspecs",
    "requeue": "kube_core.control.action",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605 (the names are those of the table above)


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'kube_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_WHERE]
