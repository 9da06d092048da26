"""PersistentVolumeClaims. Documented under "Persistent Volumes". A claim hardly changes once made, but may grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.pods.defaults import default_claim_template, round_resources

__all__ = ["ACCESS_MODES", "VOLUME_MODES", "ClaimStrategy", "access_modes", "claim_spec", "claim_warnings"]

Part = Mapping[str, Any]

SPEC = Path("spec")
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_RESIZES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


class ClaimStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        default_claim_template(spec)
        for name in ("limits", "requests"):
            if name in spec.get("resources", {}):
                round_resources(spec["resources"][name])

        if not (document.get("status") or {}).get("phase"):
            document["status"] = {**(document.get("status") or {}), "phase": "Pending"}
        # Behind a gate that is closed upstream.
        document["status"].pop("healthStatus", None)

    def initial_status(self) -> Mapping[str, Any]:
        return {"phase": "Pending"}

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        _drop_unknown_source(document["spec"])
        _same_sources(document["spec"])

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        _same_sources(document["spec"])

    def validate(self, document: Document) -> Errors:
        return claim_spec(SPEC, document["spec"])

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document["spec"], old["spec"]
        if not _moved_from_annotation(document, old):
            yield from _class_annotation(document, old)
        if _comparable(document, old) != thaw(before):
            yield fields.forbidden(SPEC, _FIXED)
        yield from _grown(new, before, old)
        yield from checks.immutable(Path("volumeMode"), new.get("volumeMode"), before.get("volumeMode"))
        yield from _attributes_class(new, before, old)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        if not document["spec"].get("accessModes"):
            yield fields.required(Path("Spec").child("accessModes"))
        for name, amount in (status.get("capacity") or {}).items():
            yield from _amount(Path("status").child("capacity").key(name), amount)
        yield from _allocated(status)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        annotated = _BETA_CLASS in (document["metadata"].get("annotations") or {})
        message = 'deprecated since v1.8; use "storageClassName" attribute instead'
        found = [f"metadata.annotations[{_BETA_CLASS}]: {message}"] if annotated else []
        return [*found, *claim_warnings("spec", document["spec"])]


def claim_spec(path: Path, spec: Part) -> Errors:
    """The spec of a claim, wherever it stands."""
    if not spec.get("accessModes"):
        yield fields.required(path.child("accessModes"), "at least 1 access mode is required")
    yield from checks.label_selector(path.child("selector"), spec.get("selector"))
    yield from access_modes(path.child("accessModes"), spec.get("accessModes") or ())
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    where = path.child("resources").key("storage")
    if amount is None:
        yield fields.required(where)
    elif quantities.parse(amount).nano <= 0:
        yield fields.invalid(where, amount, "must be greater than zero")
    for name in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(name):
            yield from named(path.child(name), spec[name], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        yield from checks.one_of(path.child("volumeMode"), spec["volumeMode"], VOLUME_MODES)
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, part in (("dataSource", source), ("dataSourceRef", reference)):
        if part is not None:
            yield from _source(path.child(name), part)
    if reference is not None and reference.get("namespace"):
        yield from named(path.child("dataSourceRef").child("namespace"), reference["namespace"], names.dns1123_label)
    if source is not None and reference is not None:
        if reference.get("namespace"):
            detail = "may not be specified when dataSourceRef.namespace is specified"
            yield fields.invalid(path, {}, detail)
        elif {k: v for k, v in reference.items() if k != "namespace"} != dict(source):
            yield fields.invalid(path, {}, "must match dataSourceRef")


def access_modes(path: Path, modes: Sequence[str]) -> Errors:
    for mode in modes:
        yield from checks.one_of(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(mode != "ReadWriteOncePod" for mode in modes):
        yield fields.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _source(path: Path, part: Part) -> Errors:
    for name in ("name", "kind"):
        if not part.get(name):
            yield fields.required(path.child(name))
    if not part.get("apiGroup"):
        if part.get("kind") != "PersistentVolumeClaim":
            detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            yield fields.invalid(path, part.get("kind") or "", detail)
    else:
        yield from named(path.child("apiGroup"), part["apiGroup"], names.dns1123_subdomain)


def _drop_unknown_source(spec: dict[str, Any]) -> None:
    """The older field holds a claim or a snapshot; anything else there was always ignored, and is for the newer one."""
    source = spec.get("dataSource")
    if source is None:
        return
    kind = source.get("apiGroup") or "", source.get("kind")
    if kind not in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")):
        del spec["dataSource"]


def _same_sources(spec: dict[str, Any]) -> None:
    """The two fields for a source mean the same, as far as the older one can say it."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


def _class_annotations(document: Document, old: Document) -> tuple[str | None, str | None]:
    """What the older form of `storageClassName` says, and what it said."""
    new, before = (each["metadata"].get("annotations") or {} for each in (document, old))
    return new.get(_BETA_CLASS), before.get(_BETA_CLASS)


def _moved_from_annotation(document: Document, old: Document) -> bool:
    """Whether the class that the older annotation named stands in its field now."""
    now, was = _class_annotations(document, old)
    named_now, named_before = document["spec"].get("storageClassName"), old["spec"].get("storageClassName")
    return was is not None and named_before is None and named_now == was and now in (None, was)


def _class_annotation(document: Document, old: Document) -> Errors:
    now, was = _class_annotations(document, old)
    if (now or "") != (was or ""):
        path = Path("metadata").child("annotations").child(_BETA_CLASS)
        yield fields.invalid(path, now or "", checks.IMMUTABLE)


def _comparable(document: Document, old: Document) -> Part:
    """The new spec with everything taken back that may change."""
    spec: dict[str, Any] = thaw(document["spec"])
    before = old["spec"]
    # What binding and the default class fill in afterwards.
    if not before.get("volumeName") and spec.get("volumeName"):
        del spec["volumeName"]
    if before.get("storageClassName") is None and spec.get("storageClassName") is not None:
        _, annotated = _class_annotations(document, old)
        if annotated in (None, spec["storageClassName"]):
            del spec["storageClassName"]
    if (old.get("status") or {}).get("phase") != "Bound":
        return spec
    requests = (spec.get("resources") or {}).get("requests")
    was = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if requests is not None and was is not None:
        requests["storage"] = was
    # What its class may become is judged by itself.
    spec.pop("volumeAttributesClassName", None)
    if before.get("volumeAttributesClassName") is not None:
        spec["volumeAttributesClassName"] = before["volumeAttributesClassName"]
    return spec


def _attributes_class(new: Part, before: Part, old: Document) -> Errors:
    """A class that the volume has already may become another, but not none."""
    name = new.get("volumeAttributesClassName")
    if name or name == before.get("volumeAttributesClassName"):
        return
    if (old.get("status") or {}).get("currentVolumeAttributesClassName") is not None:
        what = "nil" if name is None else "empty string"
        detail = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        yield fields.forbidden(SPEC.child("volumeAttributesClassName"), detail)


def _grown(new: Part, before: Part, old: Document) -> Errors:
    wanted = ((new.get("resources") or {}).get("requests") or {}).get("storage")
    was = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    has = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if quantities.parse(wanted or "0") >= quantities.parse(was or "0"):
        return
    path = SPEC.child("resources").child("requests").child("storage")
    if quantities.parse(wanted or "0") <= quantities.parse(has or "0"):
        yield fields.forbidden(path, "field can not be less than status.capacity")


def _allocated(status: Part) -> Errors:
    """What expansion says of itself: about storage, or about resources of a domain of their own."""
    path = Path("status").child("allocatedResourceStatuses")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        yield from _expandable(path, name)
        if state not in _RESIZES:
            yield fields.not_supported(path, name, _RESIZES)
    path = Path("status").child("allocatedResources")
    for name, amount in (status.get("allocatedResources") or {}).items():
        errors = list(_expandable(path, name))
        yield from errors
        if not errors:
            yield from _amount(path.key(name), amount)


def _amount(path: Path, amount: str) -> Errors:
    if (quantity := quantities.parse(amount)).nano < 0:
        yield fields.invalid(path, quantity.value, "must be a valid resource quantity")


def _expandable(path: Path, name: str) -> Errors:
    errors = list(named(path, name, names.qualified_name))
    yield from errors
    if not errors and ("/" not in name or "kubernetes.io/" in name) and name != "storage":
        yield fields.not_supported(path, name, ["storage"])


def claim_warnings(path: str, spec: Part) -> Iterable[str]:
    """What a client should know of the spec of a claim, wherever it stands."""
    for kind in ("limits", "requests"):
        amount = ((spec.get("resources") or {}).get(kind) or {}).get("storage")
        if amount is not None and not quantities.parse(amount).is_whole:
            yield f'{path}.resources.{kind}[storage]: fractional byte value "{amount}" is invalid, must be an integer'
