"""The composition root: the only place where server, components and drivers meet.

`cluster.py` has the cluster itself and the order in which it starts; beside it stand its parts: `addresses` (which
ranges it takes), `access` (certificates and kubeconfig), `nodes` (runtimes and agents), `background` (tasks that run
as long as it does).
"""

from __future__ import annotations

from kube_core.cluster.cluster import Cluster
from kube_core.cluster.snapshots import Snapshot, SnapshotRefused
from kube_core.config import ClusterConfig

__all__ = ["Cluster", "ClusterConfig", "Snapshot", "SnapshotRefused"]
