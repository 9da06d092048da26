"""VolumeZone: a pod goes only where the zone or region of its volumes is, as labels of the volumes say.

Volumes that say by their `nodeAffinity` where they can be reached are VolumeBinding's. A node without any label of a
zone or region can have every volume. A volume's label may name several zones, with `__` between (upstream's plugin of
that name).
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.meta.documents import Key, labels_of
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

__all__ = ["VolumeZone"]

_ELSEWHERE = Rejection("VolumeZone", ("node(s) had no available volume zone",), resolvable=False)
#: The labels, each with the one that it took the place of.
_LABELS = {
    "topology.kubernetes.io/zone": "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region": "failure-domain.beta.kubernetes.io/region",
}
_OLD = {old: new for new, old in _LABELS.items()}


class VolumeZone(PreFilter, Filter):
    name = "VolumeZone"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._claims: Lister = handle.informers.informer(resources.PERSISTENT_VOLUME_CLAIMS).lister
        self._volumes: Lister = handle.informers.informer(resources.PERSISTENT_VOLUMES).lister

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.NODES, frozenset(("add", "update"))),
            Interest(resources.PERSISTENT_VOLUME_CLAIMS, frozenset(("add", "update"))),
            Interest(resources.PERSISTENT_VOLUMES, frozenset(("add", "update"))),
            Interest(resources.STORAGE_CLASSES, frozenset(("add",))),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        wanted: list[tuple[str, frozenset[str]]] = []
        for name in claim_names(pod.document):
            claim = self._claims.get(Key(pod.key.namespace, name))
            volume = self._volumes.get(Key("", str(claim["spec"].get("volumeName") or ""))) if claim else None
            for label, value in labels_of(volume).items() if volume is not None else ():
                if label in _LABELS or label in _OLD:
                    wanted.append((label, frozenset(value.split("__"))))
        if not wanted:
            return SKIP
        state[self.name] = wanted
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        labels = node.labels
        if not any(label in labels for label in (*_LABELS, *_OLD)):
            return None
        for label, values in state[self.name]:
            value = labels.get(label, labels.get(_LABELS.get(label) or _OLD[label]))
            if value not in values:
                return _ELSEWHERE
        return None
