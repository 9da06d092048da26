"""PersistentVolumes. Documented under "Persistent Volumes". Where a volume's data are never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.times import format_time
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.pods.defaults import round_resources
from kube_core.registry.kinds.pods.paths import no_backsteps
from kube_core.registry.kinds.pods.scheduling import node_selector
from kube_core.registry.kinds.pods.volumes import REQUIRED_FIELDS, host_path
from kube_core.registry.kinds.storage.claims import VOLUME_MODES, access_modes

__all__ = ["VolumeStrategy", "volume_spec"]

Part = Mapping[str, Any]

SPEC = Path("spec")
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
#: Upstream's order of the sources that a volume may have.
SOURCES = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)
_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
    "is to use dynamic provisioning."
)


class VolumeStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        spec.setdefault("volumeMode", "Filesystem")
        if "hostPath" in spec:
            spec["hostPath"].setdefault("type", "")
        if "capacity" in spec:
            round_resources(spec["capacity"])

    def initial_status(self) -> Mapping[str, Any]:
        return {"phase": "Pending", "lastPhaseTransitionTime": format_time(self.context.clock.now())}

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_status_update(document, old)
        status, before = document.setdefault("status", {}), old.get("status") or {}
        name = "lastPhaseTransitionTime"
        if status.get("phase") != before.get("phase") and status.get(name) in (None, before.get(name)):
            status[name] = format_time(self.context.clock.now())

    def validate(self, document: Document) -> Errors:
        return volume_spec(SPEC, document["spec"])

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        spec, before = document["spec"], old["spec"]
        if any(spec.get(name) != before.get(name) for name in SOURCES):
            detail = "spec.persistentvolumesource is immutable after creation"
            yield fields.forbidden(SPEC.child("persistentvolumesource"), detail)
        yield from checks.immutable(Path("volumeMode"), spec.get("volumeMode"), before.get("volumeMode"))
        if before.get("nodeAffinity") is not None:
            yield from checks.immutable(Path("nodeAffinity"), spec.get("nodeAffinity"), before["nodeAffinity"])

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        if document["spec"].get("persistentVolumeReclaimPolicy") == "Recycle":
            return (_RECYCLE,)
        return ()


def volume_spec(path: Path, spec: Part) -> Errors:
    modes = spec.get("accessModes") or ()
    if not modes:
        yield fields.required(path.child("accessModes"))
    yield from access_modes(path.child("accessModes"), modes)
    capacity: Mapping[str, str] = spec.get("capacity") or {}
    where = path.child("capacity")
    if not capacity:
        yield fields.required(where)
    if list(capacity) != ["storage"]:
        yield fields.not_supported(where, capacity or None, ["storage"])
    for name, amount in capacity.items():
        if name == "storage" and quantities.parse(amount).nano <= 0:
            yield fields.invalid(where.key(name), amount, "must be greater than zero")
    policy = spec.get("persistentVolumeReclaimPolicy") or ""
    if policy:
        yield from checks.one_of(path.child("persistentVolumeReclaimPolicy"), policy, RECLAIM_POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            yield fields.required(
                path.child("nodeAffinity").child("required"), "must specify required node constraints"
            )
        else:
            yield from node_selector(path.child("nodeAffinity").child("required"), affinity["required"])
    yield from _source(path, spec)
    if spec.get("storageClassName"):
        yield from named(path.child("storageClassName"), spec["storageClassName"], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        yield from checks.one_of(path.child("volumeMode"), spec["volumeMode"], VOLUME_MODES)
    if spec.get("volumeAttributesClassName") is not None:
        here = path.child("volumeAttributesClassName")
        if not spec["volumeAttributesClassName"]:
            yield fields.required(here, "an empty string is disallowed")
        else:
            yield from named(here, spec["volumeAttributesClassName"], names.dns1123_subdomain)


def _source(path: Path, spec: Part) -> Errors:
    given = [name for name in SOURCES if spec.get(name) is not None]
    if not given:
        yield fields.required(path, "must specify a volume type")
        return
    name = given[0]
    here, part = path.child(name), spec[name]
    for other in given[1:]:
        yield fields.forbidden(path.child(other), "may not specify more than 1 volume type")
    match name:
        case "hostPath":
            yield from host_path(here, part)
            if part.get("path") and part["path"].rstrip("/") == "" and _recycles(spec):
                detail = "may not be 'recycle' for a hostPath mount of '/'"
                yield fields.forbidden(path.child("persistentVolumeReclaimPolicy"), detail)
        case "local":
            if not part.get("path"):
                yield fields.required(here.child("path"))
            else:
                yield from no_backsteps(here.child("path"), part["path"])
            if spec.get("nodeAffinity") is None:
                yield fields.required(path.child("nodeAffinity"), "Local volume requires node affinity")
        case "nfs":
            yield from _required(here, part, ("server", "path"))
            if part.get("path") and not part["path"].startswith("/"):
                yield fields.invalid(here.child("path"), part["path"], "must be an absolute path")
        case "csi":
            yield from _required(here, part, ("driver", "volumeHandle"))
            if part.get("driver"):
                yield from named(here.child("driver"), part["driver"].lower(), names.dns1123_subdomain)
        case _:
            yield from _required(here, part, REQUIRED_FIELDS.get(name, ()))


def _required(path: Path, part: Part, wanted: Iterable[str]) -> Errors:
    for name in wanted:
        if not part.get(name):
            yield fields.required(path.child(name))


def _recycles(spec: Part) -> bool:
    return spec.get("persistentVolumeReclaimPolicy") == "Recycle"
