"""Which volumes a node needs attached, and what to do for that. Pure.

A volume is attached for a pod that is bound to the node and has not ended, where the volume is of a CSI driver whose
CSIDriver does not say `attachRequired: false`; a driver without such an object is taken to want it. A volume that may
be on one node only is not attached to a second one while the first has it.

It is detached when no pod there needs it and the node no longer says that it uses it (`status.volumesInUse`). What a
node says counts for six minutes at most where it is not ready, and for nothing where it has the taint
`node.kubernetes.io/out-of-service`. Before a volume is detached it is no longer reported as attached, so that nobody
mounts it meanwhile. Names and messages are upstream's ("attach/detach controller").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from kube_core.api import pods
from kube_core.control.conditions import is_condition_true
from kube_core.meta.documents import Document, MutableDocument, annotations_of, is_deleting, name_of

__all__ = [
    "MANAGED",
    "UNMOUNT_SECONDS",
    "NodePlan",
    "WantedVolume",
    "attachment",
    "is_managed",
    "may_detach",
    "plan_node",
    "unique_name",
    "wanted_volumes",
]

#: What a node says that leaves attaching to this controller.
MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
#: Seconds for which a node that is not ready may keep what it says to use.
UNMOUNT_SECONDS = 360.0

_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_SHARED = ("ReadWriteMany", "ReadOnlyMany")


@attrs.frozen
class WantedVolume:
    """A volume that pods of a node need attached to it."""

    volume: Document
    pods: tuple[Document, ...]


@attrs.frozen
class NodePlan:
    """What to do for one node. `reported` is `status.volumesAttached` as it should be before anything is detached."""

    attach: tuple[WantedVolume, ...] = ()
    blocked: tuple[tuple[WantedVolume, tuple[str, ...]], ...] = ()
    """Volumes that other nodes have, and which those are."""
    attached: tuple[WantedVolume, ...] = ()
    """Wanted, and attached."""
    failed: tuple[tuple[WantedVolume, str], ...] = ()
    """Wanted, with why their driver could not attach them."""
    detach: tuple[Document, ...] = ()
    """VolumeAttachments to delete."""
    waiting: tuple[Document, ...] = ()
    """VolumeAttachments that nobody needs, and that the node still uses."""
    reported: tuple[MutableDocument, ...] = ()


def unique_name(volume: Document) -> str:
    """What nodes call an attachable volume."""
    csi = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}"


def attachment(volume: Document, node: str) -> MutableDocument:
    """The VolumeAttachment by which a driver is asked to attach a volume."""
    csi = volume["spec"]["csi"]
    digest = hashlib.sha256(f"{csi['volumeHandle']}{csi['driver']}{node}".encode()).hexdigest()
    source = {"persistentVolumeName": name_of(volume)}
    return {
        "metadata": {"name": f"csi-{digest}"},
        "spec": {"attacher": csi["driver"], "nodeName": node, "source": source},
    }


def wanted_volumes(
    on_node: Iterable[Document],
    volumes_of: Callable[[Document], Iterable[Document]],
    drivers: Mapping[str, Document],
    *,
    unattached: str = "",
) -> list[WantedVolume]:
    """The volumes that pods of one node need. `volumes_of(pod)`: the PersistentVolumes that its claims are bound to.

    `drivers`: CSIDrivers by name. `unattached`: the driver of the cluster itself, whose volumes need no attaching.
    """
    found: dict[str, tuple[Document, list[Document]]] = {}
    for pod in on_node:
        if pods.is_terminal(pod):
            continue
        for volume in volumes_of(pod):
            driver = (volume["spec"].get("csi") or {}).get("driver")
            if not driver or driver == unattached or not _attaches(drivers.get(driver)):
                continue
            found.setdefault(name_of(volume), (volume, []))[1].append(pod)
    return [WantedVolume(volume, tuple(users)) for volume, users in found.values()]


def plan_node(
    node: Document,
    wanted: Sequence[WantedVolume],
    own: Sequence[Document],
    others: Callable[[str], Iterable[Document]],
    volumes: Mapping[str, Document],
    *,
    may_detach: Callable[[Document], bool],
) -> NodePlan:
    """`own`: VolumeAttachments to this node; `others(name)`: those of a volume to any node; `volumes`: by name.

    `may_detach(volume)`: whether the node lets go of a volume.
    """
    by_volume = {_volume_of(each): each for each in own}
    attach: list[WantedVolume] = []
    blocked: list[tuple[WantedVolume, tuple[str, ...]]] = []
    attached: list[WantedVolume] = []
    failed: list[tuple[WantedVolume, str]] = []
    for each in wanted:
        present = by_volume.pop(name_of(each.volume), None)
        if present is not None and not is_deleting(present):
            status = present.get("status") or {}
            if status.get("attached"):
                attached.append(each)
            elif why := (status.get("attachError") or {}).get("message"):
                failed.append((each, str(why)))
            continue
        holders = sorted({_node_of(other) for other in others(name_of(each.volume))} - {name_of(node)})
        if holders and not set(each.volume["spec"].get("accessModes") or ()) & set(_SHARED):
            blocked.append((each, tuple(holders)))
        elif present is None:
            attach.append(each)
    surplus = [present for present in by_volume.values() if not is_deleting(present)]
    detach = [each for each in surplus if _may_go(each, volumes, may_detach)]
    waiting = [each for each in surplus if each not in detach]
    kept = [volumes[name] for each in waiting if (name := _volume_of(each)) in volumes]
    reported = [{"name": unique_name(volume), "devicePath": ""} for volume in (*(w.volume for w in attached), *kept)]
    return NodePlan(
        tuple(attach),
        tuple(blocked),
        tuple(attached),
        tuple(failed),
        tuple(detach),
        tuple(waiting),
        tuple(sorted(reported, key=lambda entry: entry["name"])),
    )


def may_detach(node: Document, volume: Document, *, waited: float) -> bool:
    """Whether a node lets go of a volume that nobody needs there; `waited`: seconds since that is so."""
    if unique_name(volume) not in ((node.get("status") or {}).get("volumesInUse") or ()):
        return True
    if any(taint.get("key") == _OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ()):
        return True
    return waited >= UNMOUNT_SECONDS and not is_condition_true(node, "Ready")


def is_managed(node: Document) -> bool:
    """Whether the node leaves attaching to this controller."""
    return annotations_of(node).get(MANAGED) == "true"


def _attaches(driver: Document | None) -> bool:
    return driver is None or (driver.get("spec") or {}).get("attachRequired") is not False


def _volume_of(attachment_: Document) -> str:
    return str((attachment_["spec"].get("source") or {}).get("persistentVolumeName") or "")


def _node_of(attachment_: Document) -> str:
    return str(attachment_["spec"].get("nodeName") or "")


def _may_go(each: Document, volumes: Mapping[str, Document], may: Callable[[Document], bool]) -> bool:
    volume = volumes.get(_volume_of(each))
    return volume is None or may(volume)
