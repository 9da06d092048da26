"""The ReplicationController controller: a ReplicaSet's loop over the older kind.

What differs is the selector, a plain map of labels (`adoption.selects` reads it), and that the status does not say how
many pods are going (upstream: "ReplicationController").
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_plugins.controllers.replicaset.controller import ReplicaSetController

__all__ = ["ReplicationControllerController"]


class ReplicationControllerController(ReplicaSetController):
    """Keeps as many pods as a ReplicationController asks for."""

    resource: ClassVar[ResourceType] = resources.REPLICATION_CONTROLLERS
    counts_terminating: ClassVar[bool] = False
