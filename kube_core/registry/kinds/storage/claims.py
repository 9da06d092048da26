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
        if _without_allowed(new, before, old) != thaw(before):
            yield fields.forbidden(SPEC, _FIXED)
        yield from _grown(new, before, old)
        yield from checks.immutable(Path("volumeMode"), new.get("volumeMode"), before.get("volumeMode"))
        yield from _attributes_class(new, before)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        if not document["spec"].get("accessModes"):
            yield fields.required(Path("Spec").child("accessModes"))
        for name, amount in (status.get("capacity") or {}).items():
            if quantities.parse(amount).nano < 0:
                here = Path("status").child("capacity").key(name)
                yield fields.invalid(here, amount, "must be a valid resource quantity")
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


def _without_allowed(new: Part, before: Part, old: Document) -> Part:
    """The new spec with everything taken back that may change."""
    spec: dict[str, Any] = thaw(new)
    bound = (old.get("status") or {}).get("phase") == "Bound"
    # What binding and the default class fill in afterwards.
    if not before.get("volumeName") and spec.get("volumeName"):
        del spec["volumeName"]
    if before.get("storageClassName") is None and spec.get("storageClassName") is not None:
        del spec["storageClassName"]
    if bound:
        resources, earlier = spec.get("resources") or {}, thaw(before.get("resources") or {})
        if "requests" in earlier:
            resources["requests"] = earlier["requests"]
        spec["resources"] = resources
        # What its class may become is judged by itself.
        if "volumeAttributesClassName" in spec:
            spec["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
            if spec["volumeAttributesClassName"] is None:
                del spec["volumeAttributesClassName"]
    return spec


def _attributes_class(new: Part, before: Part) -> Errors:
    name, was = new.get("volumeAttributesClassName"), before.get("volumeAttributesClassName")
    where = SPEC.child("volumeAttributesClassName")
    if was is None or name == was:
        return
    if name is None:
        yield fields.forbidden(where, "update from non-nil value to nil is forbidden")
    elif not name:
        yield fields.forbidden(where, "update from non-nil value to an empty string is forbidden")


def _grown(new: Part, before: Part, old: Document) -> Errors:
    if (old.get("status") or {}).get("phase") != "Bound":
        return
    wanted = ((new.get("resources") or {}).get("requests") or {}).get("storage")
    was = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    has = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if wanted is None or was is None or quantities.parse(wanted) >= quantities.parse(was):
        return
    path = SPEC.child("resources").child("requests").child("storage")
    if has is None or quantities.parse(wanted) <= quantities.parse(has):
        yield fields.forbidden(path, "field can not be less than status.capacity")


def _allocated(status: Part) -> Errors:
    """What expansion says of itself: about storage, or about resources of a domain of their own."""
    path = Path("status").child("allocatedResourceStatus")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        yield from _expandable(path, name)
        if state not in _RESIZES:
            yield fields.not_supported(path, name, sorted(_RESIZES))
    path = Path("status").child("allocatedResources")
    for name, amount in (status.get("allocatedResources") or {}).items():
        errors = list(_expandable(path, name))
        yield from errors
        if not errors and quantities.parse(amount).nano < 0:
            yield fields.invalid(path.key(name), amount, "must be a valid resource quantity")


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
