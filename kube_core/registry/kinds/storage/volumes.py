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
from kube_core.registry.kinds.warnings import node_selector_term

__all__ = ["VolumeStrategy", "inline_volume_spec", "volume_spec"]

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
_NOT_INLINE = "may not be specified in the context of inline volumes"
_CSI_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)
_ANNOTATIONS = {
    "volume.beta.kubernetes.io/storage-class": 'deprecated since v1.8; use "storageClassName" attribute instead',
    "volume.beta.kubernetes.io/mount-options": 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_DEPRECATED = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "portworxVolume": "deprecated in v1.31, non-functional in v1.36+",
}
_NEW_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


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
        if not (document.get("status") or {}).get("phase"):
            document["status"] = {**(document.get("status") or {}), "phase": "Pending"}

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
        if any(_fixed_source(name, spec, before) != before.get(name) for name in SOURCES):
            detail = "spec.persistentvolumesource is immutable after creation"
            yield fields.forbidden(SPEC.child("persistentvolumesource"), detail)
        yield from checks.immutable(Path("volumeMode"), spec.get("volumeMode"), before.get("volumeMode"))
        affinity = before.get("nodeAffinity")
        if affinity is not None and spec.get("nodeAffinity") not in (affinity, _with_new_labels(affinity)):
            detail = f"{checks.IMMUTABLE}, except for updating from beta label to GA"
            yield fields.invalid(Path("nodeAffinity"), spec.get("nodeAffinity"), detail)
        if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
            where = SPEC.child("volumeAttributesClassName")
            yield fields.forbidden(where, "update from non-nil value to nil is forbidden")

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        return list(_warnings(document))


def _warnings(document: Document) -> Iterable[str]:
    spec, annotations = document["spec"], document["metadata"].get("annotations") or {}
    required = (spec.get("nodeAffinity") or {}).get("required") or {}
    for position, term in enumerate(required.get("nodeSelectorTerms") or ()):
        where = SPEC.child("nodeAffinity", "required", "nodeSelectorTerms").index(position)
        yield from node_selector_term(where, term)
    for key, message in _ANNOTATIONS.items():
        if key in annotations:
            yield f"metadata.annotations[{key}]: {message}"
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield _RECYCLE
    for name, message in _DEPRECATED.items():
        if spec.get(name) is not None:
            yield f"spec.{name}: {message}"


def _with_new_labels(affinity: Part) -> Part:
    """The same affinity by the labels that took the beta ones' place."""
    terms = [
        {
            **term,
            "matchExpressions": [
                {**each, "key": _NEW_LABELS.get(each.get("key") or "", each.get("key"))}
                for each in term.get("matchExpressions") or ()
            ],
        }
        for term in (affinity.get("required") or {}).get("nodeSelectorTerms") or ()
    ]
    return {**affinity, "required": {**(affinity.get("required") or {}), "nodeSelectorTerms": terms}}


def _fixed_source(name: str, spec: Part, before: Part) -> Any:
    """A source without what may be added to it: the secret with which a CSI volume grows."""
    source, old = spec.get(name), before.get(name)
    added = "controllerExpandSecretRef"
    if name == "csi" and source and old and added in source and added not in old:
        return {key: value for key, value in source.items() if key != added}
    return source


def inline_volume_spec(path: Path, spec: Part) -> Errors:
    """The spec of a volume that stands in an attachment: CSI, and nothing that only a volume of its own has."""
    if spec.get("claimRef") is not None:
        yield fields.forbidden(path.child("claimRef"), _NOT_INLINE)
    if spec.get("capacity"):
        yield fields.forbidden(path.child("capacity"), _NOT_INLINE)
    if spec.get("csi") is None:
        yield fields.required(path.child("csi"), "has to be specified in the context of inline volumes")
    yield from _access_modes(path, spec)
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        detail = "may only be Retain in the context of inline volumes"
        yield fields.forbidden(path.child("persistentVolumeReclaimPolicy"), detail)
    if spec.get("nodeAffinity") is not None:
        yield fields.forbidden(path.child("nodeAffinity"), _NOT_INLINE)
    yield from _source(path, spec)
    if spec.get("storageClassName"):
        yield fields.forbidden(path.child("storageClassName"), _NOT_INLINE)
    if spec.get("volumeMode") not in (None, "Filesystem"):
        detail = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        yield fields.forbidden(path.child("volumeMode"), detail)
    yield from _attributes_class(path, spec)


def volume_spec(path: Path, spec: Part) -> Errors:
    yield from _access_modes(path, spec)
    yield from _capacity(path.child("capacity"), spec.get("capacity") or {})
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
    yield from _attributes_class(path, spec)


def _access_modes(path: Path, spec: Part) -> Errors:
    modes = spec.get("accessModes") or ()
    if not modes:
        yield fields.required(path.child("accessModes"))
    yield from access_modes(path.child("accessModes"), modes)


def _capacity(path: Path, capacity: Mapping[str, str]) -> Errors:
    if not capacity:
        yield fields.required(path)
    if list(capacity) != ["storage"]:
        yield fields.not_supported(path, capacity or None, ["storage"])
    for name, amount in capacity.items():
        if quantities.parse(amount).nano <= 0:
            yield fields.invalid(path.key(name), amount, "must be greater than zero")


def _attributes_class(path: Path, spec: Part) -> Errors:
    name, here = spec.get("volumeAttributesClassName"), path.child("volumeAttributesClassName")
    if name is None:
        return
    if not name:
        yield fields.required(here, "an empty string is disallowed")
    else:
        yield from named(here, name, names.dns1123_subdomain)
    if spec.get("csi") is None:
        yield fields.required(path.child("csi"), "has to be specified when using volumeAttributesClassName")


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
            for secret in _CSI_SECRETS:
                if part.get(secret) is not None:
                    yield from _secret(here.child(secret), part[secret])
        case _:
            yield from _required(here, part, REQUIRED_FIELDS.get(name, ()))


def _secret(path: Path, reference: Part) -> Errors:
    for name, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
        if not reference.get(name):
            yield fields.required(path.child(name))
        else:
            yield from named(path.child(name), reference[name], rule)


def _required(path: Path, part: Part, wanted: Iterable[str]) -> Errors:
    for name in wanted:
        if not part.get(name):
            yield fields.required(path.child(name))


def _recycles(spec: Part) -> bool:
    return spec.get("persistentVolumeReclaimPolicy") == "Recycle"
