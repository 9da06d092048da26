"""VolumeRestrictions: what one pod has alone, no other gets.

A claim with the access mode ReadWriteOncePod is one pod's at a time, in the whole cluster. Disks of the kinds that are
named in pods themselves (GCE, AWS, iSCSI, RBD) are written to by one pod of a node; all but AWS's may be read by
several (upstream's plugin of that name).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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

__all__ = ["VolumeRestrictions"]

_DISK_TAKEN = Rejection("VolumeRestrictions", ("node(s) had no available disk",))
_CLAIM_TAKEN = Rejection(
    "VolumeRestrictions",
    ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",),
)


class VolumeRestrictions(PreFilter, Filter):
    name = "VolumeRestrictions"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._nodes = handle.nodes
        self._claims: Lister = handle.informers.informer(resources.PERSISTENT_VOLUME_CLAIMS).lister

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.PODS, frozenset(("delete",))),
            Interest(resources.NODES, frozenset(("add", "update"))),
            Interest(resources.PERSISTENT_VOLUME_CLAIMS, frozenset(("add", "update"))),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        disks = [*_disks(pod.document)]
        alone = {name for name in claim_names(pod.document) if self._is_for_one_pod(pod.key.namespace, name)}
        if not disks and not alone:
            return SKIP
        # How many claims of the pod are in use, anywhere.
        taken = sum(_uses(other, pod, alone) for node in self._nodes for other in node.pods.values()) if alone else 0
        state[self.name] = [disks, alone, taken]
        return None

    def moved(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        if (looked := state.get(self.name)) is not None and looked[1]:
            looked[2] += sign * _uses(other, pod, looked[1])

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        disks, _, taken = state[self.name]
        if disks and any(_clash(disk, other) for each in node.pods.values() for other in _disks(each.document)
                         for disk in disks):  # fmt: skip
            return _DISK_TAKEN
        return _CLAIM_TAKEN if taken > 0 else None

    def _is_for_one_pod(self, namespace: str, name: str) -> bool:
        claim = self._claims.get(Key(namespace, name))
        return claim is not None and "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())


def _uses(other: PodInfo, pod: PodInfo, claims: set[str]) -> int:
    """How many of the pod's claims another one uses."""
    if other.key.namespace != pod.key.namespace or not other.spec.get("volumes"):
        return 0
    return len(claims.intersection(claim_names(other.document)))


#: What a disk is known by, and whether it may be shared by those that only read it.
_Disk = tuple[str, frozenset[tuple[str, ...]], bool, bool]


def _disks(pod: Document) -> Iterator[_Disk]:
    """Kind, identities (the same disk has one in common), whether readers may share it, whether it is only read."""
    volumes: Iterable[Mapping[str, Any]] = pod["spec"].get("volumes") or ()
    for volume in volumes:
        if disk := volume.get("gcePersistentDisk"):
            yield "gce", frozenset(((disk["pdName"],),)), True, bool(disk.get("readOnly"))
        elif disk := volume.get("awsElasticBlockStore"):
            yield "aws", frozenset(((disk["volumeID"],),)), False, False
        elif disk := volume.get("iscsi"):
            yield "iscsi", frozenset(((disk["iqn"],),)), True, bool(disk.get("readOnly"))
        elif disk := volume.get("rbd"):
            pool, image = disk.get("pool") or "rbd", disk["image"]
            identities = frozenset((monitor, pool, image) for monitor in disk.get("monitors") or ())
            yield "rbd", identities, True, bool(disk.get("readOnly"))


def _clash(one: _Disk, other: _Disk) -> bool:
    if one[0] != other[0] or not one[1] & other[1]:
        return False
    return not (one[2] and one[3] and other[3])
