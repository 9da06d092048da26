"""What may change in a Pod that exists, and how: its spec by the main resource, and by each of its subresources.

A pod is the record of a decision: of its spec only images, the deadline (downwards), tolerations (more of them) and,
while it is gated, what it asks of nodes may change. Ephemeral containers are added, resources resized, by their own
subresources. Documented under "Pod update and replacement" and "Resize CPU and Memory Resources".
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, annotations_of, thaw
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods import annotated, resizing
from kube_core.registry.kinds.pods.validation import validate_images, validate_spec
from kube_core.registry.kinds.rules import ValidationContext

__all__ = ["keep_all_but", "validate_subresource", "validate_update"]

Part = Mapping[str, Any]

ANNOTATIONS = Path("metadata").child("annotations")
SPEC = Path("spec")
_TERMS = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
_INT32 = 2**31 - 1
_UNCHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def keep_all_but(subresource: str, document: MutableDocument, old: Document) -> None:
    """Make `document` the old pod with what this subresource may change taken from it, in place."""
    if subresource not in ("ephemeralcontainers", "resize"):
        return
    new_spec, spec = document.get("spec") or {}, thaw(old["spec"])
    if subresource == "ephemeralcontainers":
        if new_spec.get("ephemeralContainers"):
            spec["ephemeralContainers"] = new_spec["ephemeralContainers"]
        else:
            spec.pop("ephemeralContainers", None)
    else:
        resizing.take_resources(spec, new_spec)
    metadata = document["metadata"]
    kept = {name: metadata[name] for name in ("resourceVersion", "managedFields") if name in metadata}
    metadata.clear()
    metadata.update(thaw(old["metadata"]) | kept)
    document["spec"] = spec
    document["status"] = thaw(old.get("status") or {})


def validate_update(document: Document, old: Document, context: ValidationContext) -> Errors:
    spec, before = document["spec"], old["spec"]
    new_annotations = annotations_of(document)
    if new_annotations != annotations_of(old):
        yield from annotated.pod_annotations(ANNOTATIONS, new_annotations, spec)
        yield from annotated.changed_annotations(ANNOTATIONS, new_annotations, annotations_of(old))
    if spec == before:
        return
    yield from validate_spec(SPEC, spec, context, is_pod=True)
    yield from validate_images(spec)
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or ()) != len(before.get(name) or ()):
            yield fields.forbidden(SPEC.child(name), "pod updates may not add or remove containers")
            return
    deadline = list(_deadline(spec, before))
    yield from deadline
    if deadline and spec.get("activeDeadlineSeconds") is not None:
        return
    yield from _tolerations(spec.get("tolerations") or (), before.get("tolerations") or ())
    yield from _gates(spec.get("schedulingGates") or (), before.get("schedulingGates") or ())
    expected = _allowed(spec, before)
    if before.get("schedulingGates"):
        yield from _node_choice(spec, before, expected)
    if expected != spec:
        yield fields.forbidden(SPEC, f"{_UNCHANGEABLE}\n{_difference(expected, spec)}")


def validate_subresource(subresource: str, document: Document, old: Document, context: ValidationContext) -> Errors:
    """A change through `ephemeralcontainers` or `resize`; a binding changes nothing that could be wrong."""
    if subresource == "binding":
        return
    yield from validate_spec(SPEC, document["spec"], context, is_pod=True)
    yield from validate_images(document["spec"])
    if subresource == "ephemeralcontainers":
        yield from _ephemeral(document["spec"], old["spec"])
    elif subresource == "resize":
        yield from resizing.resized(document, old)


def _allowed(spec: Part, before: Part) -> dict[str, Any]:
    """The old spec with every change that is allowed made."""
    expected: dict[str, Any] = thaw(before)
    for name in ("containers", "initContainers"):
        for container, new in zip(expected.get(name) or (), spec.get(name) or (), strict=True):
            _copy(container, new, "image")
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        _copy(expected, spec, name)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        expected["terminationGracePeriodSeconds"] = 1
    return expected


def _copy(target: dict[str, Any], source: Part, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _deadline(spec: Part, before: Part) -> Errors:
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = SPEC.child("activeDeadlineSeconds")
    if new is not None:
        if not 0 <= new <= _INT32:
            yield fields.invalid(path, new, names.in_range(new, 0, _INT32)[0])
        elif old is not None and old < new:
            yield fields.invalid(path, new, "must be less than or equal to previous value")
    elif old is not None:
        yield fields.invalid(path, None, "must not update from a positive integer to nil value")


def _tolerations(new: Sequence[Part], old: Sequence[Part]) -> Errors:
    def untimed(toleration: Part) -> Part:
        return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}

    present = [untimed(toleration) for toleration in new]
    if any(untimed(toleration) not in present for toleration in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield fields.forbidden(SPEC.child("tolerations"), detail)


def _gates(new: Sequence[Part], old: Sequence[Part]) -> Errors:
    known = {gate.get("name") for gate in old}
    for position, gate in enumerate(new):
        if gate.get("name") not in known:
            here = SPEC.child("schedulingGates").index(position).child("name")
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield fields.forbidden(here, detail)


def _node_choice(spec: Part, before: Part, expected: dict[str, Any]) -> Errors:
    """A gated pod may narrow down the nodes that it asks for; what is right is put into `expected`."""
    new, old = spec.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if new != old:
        _copy(expected, spec, "nodeSelector")
        if any(new.get(key) != value for key, value in old.items()):
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            yield fields.invalid(SPEC.child("nodeSelector"), new, detail)
    affinity = spec.get("affinity") or {}
    old_affinity = before.get("affinity") or {}
    if affinity.get("nodeAffinity") != old_affinity.get("nodeAffinity"):
        merged = {**old_affinity}
        if affinity.get("nodeAffinity") is not None:
            merged["nodeAffinity"] = affinity["nodeAffinity"]
        else:
            merged.pop("nodeAffinity", None)
        if merged or "affinity" in spec:
            expected["affinity"] = merged
        yield from _node_affinity(affinity.get("nodeAffinity") or {}, old_affinity.get("nodeAffinity") or {})


def _node_affinity(new: Part, old: Part) -> Errors:
    name = "requiredDuringSchedulingIgnoredDuringExecution"
    before, after = (part.get(name) or {} for part in (old, new))
    terms, old_terms = after.get("nodeSelectorTerms") or (), before.get("nodeSelectorTerms") or ()
    path = SPEC.child("affinity").child("nodeAffinity").child(name)
    if not old_terms:
        return
    if len(terms) != len(old_terms):
        yield fields.invalid(path.child("nodeSelectorTerms"), list(terms), _TERMS)
        return
    for position, (term, old_term) in enumerate(zip(terms, old_terms, strict=True)):
        for kind in ("matchExpressions", "matchFields"):
            kept = list(old_term.get(kind) or ())
            if list(term.get(kind) or ())[: len(kept)] != kept:
                here = path.child("nodeSelectorTerms").index(position)
                yield fields.invalid(here, dict(term), "only additions are allowed (no mutations or deletions)")
                break


def _ephemeral(spec: Part, before: Part) -> Errors:
    present = {container.get("name"): container for container in spec.get("ephemeralContainers") or ()}
    path = SPEC.child("ephemeralContainers")
    for container in before.get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in present:
            yield fields.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif present[name] != container:
            changes = _difference(container, present[name])
            yield fields.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n{changes}')


def _difference(old: Any, new: Any) -> str:
    """What changed, as a unified diff of the JSON (upstream's is of its internal types)."""
    texts = [orjson.dumps(each, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() for each in (old, new)]
    lines = difflib.unified_diff(texts[0].splitlines(), texts[1].splitlines(), lineterm="", n=3)
    return "\n".join(list(lines)[2:]) + "\n"
