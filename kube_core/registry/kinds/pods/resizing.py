"""Resources of a pod that runs, changed by its subresource `resize`: processor and memory, and nothing else.

Documented under "Resize CPU and Memory Resources assigned to Containers".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube_core.api.qos import qos_class
from kube_core.meta import fields
from kube_core.meta.documents import Document, annotations_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.annotated import MIRROR

__all__ = ["resized", "take_resources"]

Part = Mapping[str, Any]

SPEC = Path("spec")
_LISTS = ("containers", "initContainers")
_RESIZABLE = ("cpu", "memory")
_TAKEN = ("resources", "resizePolicy")
_ONLY_AMOUNTS = "only cpu and memory resources are mutable"


def take_resources(spec: dict[str, Any], new: Part) -> None:
    """Put the resources of the new spec into the old one, in place; lists of other containers whole, to be refused."""
    for name in _LISTS:
        listed: Sequence[Part] = new.get(name) or ()
        if _names(listed) != _names(spec.get(name) or ()):
            spec[name] = listed
            continue
        for container, source in zip(spec.get(name) or (), listed, strict=True):
            _take(container, source, _TAKEN)
    _take(spec, new, ("resources",))


def resized(document: Document, old: Document) -> Errors:
    spec, before = document["spec"], old["spec"]
    system = (before.get("os") or {}).get("name")
    if MIRROR in annotations_of(old) or system == "windows":
        kind = "windows" if system == "windows" else "static"
        yield FieldError("", "FieldValueForbidden", f"Forbidden: {kind} pods cannot be resized")
        return
    status = old.get("status") or {}
    known = status.get("qosClass") or qos_class(before)
    if qos_class(spec) != known:
        # What is shown is what the pod still says of itself.
        yield fields.invalid(SPEC, status.get("qosClass") or "", "Pod QOS Class may not change as a result of resizing")
    if _running_without_resources(old):
        yield fields.forbidden(SPEC, "Pod running on node without support for resize")
    others = list(_other_containers(spec, before))
    yield from others
    if others:
        return
    wrong = False
    for path, new, previous in _pairs(spec, before):
        errors = [
            *_removed(path.child("resources"), new.get("resources") or {}, previous.get("resources") or {}),
            *_unresizable(path, new, previous),
        ]
        wrong = wrong or bool(errors)
        yield from errors
    if (
        not wrong
        and not _has_amounts(spec)
        and not _has_amounts(before)
        and ("resources" in spec) != ("resources" in before)
    ):
        yield fields.forbidden(SPEC, _ONLY_AMOUNTS)


def _unresizable(path: Path, new: Part, old: Part) -> Errors:
    """What changed of a container besides its processor and memory."""
    is_initial = ".initContainers" in path.text
    if _rest(new) != _rest(old):
        if is_initial:
            yield fields.forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable")
        else:
            yield fields.forbidden(SPEC, _ONLY_AMOUNTS)
    if is_initial and new != old and old.get("restartPolicy") != "Always":
        for policy in new.get("resizePolicy") or ():
            if policy.get("restartPolicy") == "RestartContainer":
                detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
                yield fields.forbidden(path, detail)


def _has_amounts(spec: Part) -> bool:
    """Whether the pod as a whole asks for resources."""
    resources = spec.get("resources") or {}
    return bool(resources.get("requests") or resources.get("limits"))


def _other_containers(spec: Part, before: Part) -> Errors:
    for name in _LISTS:
        new, old = _names(spec.get(name) or ()), _names(before.get(name) or ())
        if len(new) != len(old):
            yield fields.forbidden(SPEC.child(name), f"{name} may not be added or removed on resize")
            continue
        for position, pair in enumerate(zip(new, old, strict=True)):
            if pair[0] != pair[1]:
                where = SPEC.child(name).index(position).child("name")
                yield fields.forbidden(where, f"{name} may not be renamed or reordered on resize")


def _removed(path: Path, new: Part, old: Part) -> Errors:
    for kind in ("requests", "limits"):
        if (old.get(kind) or {}).keys() - (new.get(kind) or {}).keys():
            yield fields.forbidden(path.child(kind), f"resource {kind} cannot be removed")


def _rest(container: Part) -> Part:
    """What of a container resizing may not change."""
    resources = container.get("resources") or {}
    kinds = {
        kind: {name: text for name, text in (resources.get(kind) or {}).items() if name not in _RESIZABLE}
        for kind in ("limits", "requests")
    }
    return {**container, "resources": {**kinds, "claims": list(resources.get("claims") or ())}}


def _running_without_resources(old: Document) -> bool:
    """The first container that runs does not say what it was given: its node does not know of resizing."""
    for status in (old.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is None
    return False


def _names(containers: Sequence[Part]) -> list[str]:
    return [container.get("name") or "" for container in containers]


def _pairs(spec: Part, before: Part) -> Iterator[tuple[Path, Part, Part]]:
    for name in reversed(_LISTS):
        for position, (new, old) in enumerate(zip(spec.get(name) or (), before.get(name) or (), strict=True)):
            yield SPEC.child(name).index(position), new, old


def _take(target: dict[str, Any], source: Part, fields_taken: Sequence[str]) -> None:
    for name in fields_taken:
        if name in source:
            target[name] = source[name]
        else:
            target.pop(name, None)
