"""VolumeBinding: a pod goes only where its volumes can.

Claims that are bound must have a volume that the node can reach. A claim that binds at once and is not bound yet keeps
the pod waiting. A claim of a class that waits for its first consumer is told the node (`volume.kubernetes.io/
selected-node`) once one is chosen, and the pod is bound when the claim is; making volumes and binding them to claims is
the volume controller's work (upstream: "Storage Classes", "Volume Binding Mode").
"""

from __future__ import annotations

from kube_plugins.scheduler.volumebinding.plugin import VolumeBinding

__all__ = ["VolumeBinding"]
