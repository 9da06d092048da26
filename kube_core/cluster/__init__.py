"""The composition root: the only place where server, components and drivers meet.

`cluster.py` has the cluster itself and the order in which it starts; beside it stand its parts: `addresses` (which
ranges it takes), `access` (certificates and kubeconfig), `nodes` (runtimes and agents), `background` (tasks that run
as long as it does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kube_core.cluster.cluster import Cluster
from kube_core.cluster.snapshots import Snapshot, SnapshotRefused
from kube_core.config import ClusterConfig

if TYPE_CHECKING:
    from kube_core.cluster.faults import Fault

__all__ = ["Cluster", "ClusterConfig", "Fault", "Snapshot", "SnapshotRefused"]


def __getattr__(name: str) -> Any:
    if name != "Fault":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kube_core.cluster.faults import Fault  # few clusters want any

    return Fault
