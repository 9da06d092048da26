"""ResourceSlices: what devices a driver has, and where; and DeviceTaintRules. Documented with the claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.devices.claims import qualified
from kube_core.registry.kinds.pods.scheduling import node_selector

__all__ = ["SliceStrategy", "TaintRuleStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
_NODES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_OF_NODES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_DEVICES = 128
_VALUES = ("int", "bool", "string", "version")
_EFFECTS = ("NoExecute", "NoSchedule", "None")


class SliceStrategy(BuiltinStrategy):
    keeps_generation = True
    returns_deleted = True

    def validate(self, document: Document) -> Errors:
        spec: Part = document.get("spec") or {}
        yield from _driver(SPEC.child("driver"), spec.get("driver") or "")
        yield from _pool(SPEC.child("pool"), spec.get("pool") or {})
        yield from _nodes(spec)
        devices: Sequence[Part] = spec.get("devices") or ()
        if len(devices) > _DEVICES:
            yield fields.too_many(SPEC.child("devices"), len(devices), _DEVICES)
        seen: set[str] = set()
        for position, device in enumerate(devices):
            here, name = SPEC.child("devices").index(position), device.get("name") or ""
            yield from named(here.child("name"), name, names.dns1123_label)
            if name in seen:
                yield fields.duplicate(here, name)
            seen.add(name)
            yield from _device(here, device)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document.get("spec") or {}, old.get("spec") or {}
        yield from checks.immutable(SPEC.child("driver"), new.get("driver"), before.get("driver"))
        pools = [(each.get("pool") or {}).get("name") for each in (new, before)]
        yield from checks.immutable(SPEC.child("pool").child("name"), pools[0], pools[1])
        for name in ("nodeName", "nodeSelector", "allNodes"):
            yield from checks.immutable(SPEC.child(name), new.get(name), before.get(name))

    def field_labels(self) -> Sequence[str]:
        return ("spec.driver", "spec.nodeName")

    def fields(self, document: Document) -> Mapping[str, str]:
        spec = document.get("spec") or {}
        return {"spec.driver": spec.get("driver") or "", "spec.nodeName": spec.get("nodeName") or ""}


class TaintRuleStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        spec: Part = document.get("spec") or {}
        yield from _taint(SPEC.child("taint"), spec.get("taint") or {})
        selector = spec.get("deviceSelector") or {}
        if selector.get("driver"):
            yield from _driver(SPEC.child("deviceSelector").child("driver"), selector["driver"])


def _driver(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
        return
    if len(name) > 63:
        yield fields.too_long(path, 63)
    yield from named(path, name, names.dns1123_subdomain)


def _pool(path: Path, pool: Part) -> Errors:
    name, count, generation = pool.get("name") or "", pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if not name:
        yield fields.required(path.child("name"))
    else:
        for part in name.split("/"):
            yield from named(path.child("name"), part, names.dns1123_subdomain)
    if count <= 0:
        yield fields.invalid(path.child("resourceSliceCount"), count, "must be greater than zero")
    if generation < 0:
        detail = "must be greater than or equal to zero"
        yield fields.invalid(path.child("generation"), generation, detail)


def _nodes(spec: Part) -> Errors:
    given = [name for name in _NODES if spec.get(name)]
    if not given:
        yield fields.required(SPEC, _ONE_OF_NODES)
    elif len(given) > 1:
        shown = "{" + ", ".join(f"`{name}`" for name in given) + "}"
        yield fields.invalid(SPEC, shown, f"{_ONE_OF_NODES}, but multiple fields are set")
    if spec.get("nodeName"):
        yield from named(SPEC.child("nodeName"), spec["nodeName"], names.dns1123_subdomain)
    if spec.get("nodeSelector") is not None:
        yield from node_selector(SPEC.child("nodeSelector"), spec["nodeSelector"])
        if len(spec["nodeSelector"].get("nodeSelectorTerms") or ()) != 1:
            where = SPEC.child("nodeSelector").child("nodeSelectorTerms")
            detail = "must have exactly one node selector term"
            yield fields.invalid(where, spec["nodeSelector"].get("nodeSelectorTerms"), detail)


def _device(path: Path, device: Part) -> Errors:
    for name, attribute in (device.get("attributes") or {}).items():
        here = path.child("attributes").key(name)
        yield from qualified(here, name)
        given = [each for each in _VALUES if attribute.get(each) is not None]
        if not given:
            yield fields.required(here, "exactly one value must be specified")
        elif len(given) > 1:
            yield fields.invalid(here, dict(attribute), "exactly one value must be specified")
    for name in device.get("capacity") or {}:
        yield from qualified(path.child("capacity").key(name), name)
    for position, taint in enumerate(device.get("taints") or ()):
        yield from _taint(path.child("taints").index(position), taint)


def _taint(path: Path, taint: Part) -> Errors:
    yield from named(path.child("key"), taint.get("key") or "", names.qualified_name)
    if taint.get("value"):
        yield from named(path.child("value"), taint["value"], names.label_value)
    effect = taint.get("effect") or ""
    if not effect:
        yield fields.required(path.child("effect"))
    else:
        yield from checks.one_of(path.child("effect"), effect, _EFFECTS)
