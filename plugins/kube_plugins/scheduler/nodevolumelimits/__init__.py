"""NodeVolumeLimits: no node gets more volumes of a CSI driver than the driver can attach to it.

How many that are is in the node's CSINode; a driver that says nothing has no limit. Counted are the volumes of pods on
the node, each once, and those that are attached to it without a pod. A claim that waits for its volume counts as one of
the driver that its class names (upstream's plugin of that name, for CSI).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.meta.documents import Document, Key
from kube_core.scheduler.framework import (
    SKIP,
    CycleState,
    Filter,
    Interest,
    PreFilter,
    Rejection,
    SchedulerHandle,
    Skip,
)
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo
from kube_plugins.scheduler.volumebinding.claims import claim_names

__all__ = ["NodeVolumeLimits"]

_TOO_MANY = Rejection("NodeVolumeLimits", ("node(s) exceed max volume count",))

#: A volume: its driver, and what the driver calls it.
_Volume = tuple[str, str]


class NodeVolumeLimits(PreFilter, Filter):
    name = "NodeVolumeLimits"

    def __init__(self, handle: SchedulerHandle) -> None:
        informers = handle.informers
        self._claims: Lister = informers.informer(resources.PERSISTENT_VOLUME_CLAIMS).lister
        self._volumes: Lister = informers.informer(resources.PERSISTENT_VOLUMES).lister
        self._classes: Lister = informers.informer(resources.STORAGE_CLASSES).lister
        self._csi_nodes: Lister = informers.informer(resources.CSI_NODES).lister
        self._attachments: Lister = informers.informer(resources.VOLUME_ATTACHMENTS).lister

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.CSI_NODES, frozenset(("add", "update"))),
            Interest(resources.PODS, frozenset(("delete",))),
            Interest(resources.PERSISTENT_VOLUME_CLAIMS, frozenset(("add", "update"))),
            Interest(resources.VOLUME_ATTACHMENTS, frozenset(("delete",))),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        wanted = frozenset(self._of_pod(pod)) if pod.spec.get("volumes") else None
        if not wanted:
            return SKIP
        state[self.name] = wanted
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        limits = self._limits(node.name)
        if not limits:
            return None
        there = {volume for other in node.pods.values() for volume in self._of_pod(other)}
        there |= set(self._attached(node.name))
        counts = Counter(driver for driver, _ in there)
        new = Counter(driver for driver, _ in state[self.name] - there)
        if any(counts[driver] + number > limits[driver] for driver, number in new.items() if driver in limits):
            return _TOO_MANY
        return None

    def _limits(self, node: str) -> dict[str, int]:
        csi_node = self._csi_nodes.get(Key("", node))
        drivers: Iterable[Document] = csi_node["spec"].get("drivers") or () if csi_node is not None else ()
        return {
            str(each["name"]): int(each["allocatable"]["count"])
            for each in drivers
            if (each.get("allocatable") or {}).get("count") is not None
        }

    def _of_pod(self, pod: PodInfo) -> Iterator[_Volume]:
        """The volumes of a pod's claims."""
        for name in claim_names(pod.document):
            claim = self._claims.get(Key(pod.key.namespace, name))
            if claim is None:
                continue
            volume = self._volumes.get(Key("", str(claim["spec"].get("volumeName") or "")))
            if volume is not None:
                yield from _of_volume(volume)
                continue
            found = self._classes.get(Key("", str(claim["spec"].get("storageClassName") or "")))
            if found is not None:
                yield str(found.get("provisioner")), f"{pod.key.namespace}/{name}"

    def _attached(self, node: str) -> Iterator[_Volume]:
        for attachment in self._attachments.list():
            spec = attachment["spec"]
            volume = self._volumes.get(Key("", str((spec.get("source") or {}).get("persistentVolumeName") or "")))
            if spec.get("nodeName") == node and volume is not None:
                yield from _of_volume(volume)


def _of_volume(volume: Document) -> Iterator[_Volume]:
    source = volume["spec"].get("csi")
    if source:
        yield str(source["driver"]), str(source["volumeHandle"])
