"""ResourceSlices: what devices a driver has, and where; and DeviceTaintRules. Documented with the claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path, generated
from kube_core.meta.times import format_time
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.conditions import conditions
from kube_core.registry.kinds.devices import parts
from kube_core.registry.kinds.devices.capacities import request_policy
from kube_core.registry.kinds.devices.parts import checked_each, distinct, driver_name, pool_name, qualified
from kube_core.registry.kinds.pods.scheduling import node_selector

__all__ = ["SliceStrategy", "TaintRuleStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
STATUS = Path("status")
_ONE_OF_NODES: Final = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_ONE_OF_DEVICE_NODES: Final = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
_DEVICES: Final = 128
#: Of which some have taints or consume counters.
_RICH_DEVICES: Final = 64
_ATTRIBUTES: Final = 32
_LONGEST_VALUE: Final = 64
_TAINTS: Final = 16
_COUNTER_SETS: Final = 8
_COUNTERS: Final = 32
_CONSUMED: Final = 2
_CONDITIONS: Final = 8
_VALUES: Final = ("int", "bool", "string", "version")
_LISTS: Final = ("ints", "bools", "strings", "versions")
#: Fields of features that are off, as lists of values are.
_OFF: Final = ("partitionTypeAttribute", "skipNodeOperations")
_NODE_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_IDENTIFIER: Final = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER: Final = re.compile(
    r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)"
    rf"(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


class SliceStrategy(BuiltinStrategy):
    keeps_generation = True
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        spec = document.get("spec") or {}
        for name in _OFF:
            spec.pop(name, None)
        for device in spec.get("devices") or ():
            for attribute in (device.get("attributes") or {}).values():
                for name in _LISTS:
                    attribute.pop(name, None)
            for taint in device.get("taints") or ():
                taint.setdefault("timeAdded", format_time(self.context.clock.now()))

    def validate(self, document: Document) -> Errors:
        return _spec(document.get("spec") or {}, None)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _spec(document.get("spec") or {}, old.get("spec") or {})

    def field_labels(self) -> Sequence[str]:
        return ("spec.driver", "spec.nodeName")

    def fields(self, document: Document) -> Mapping[str, str]:
        spec = document.get("spec") or {}
        return {"spec.driver": spec.get("driver") or "", "spec.nodeName": spec.get("nodeName") or ""}


class TaintRuleStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        taint = (document.get("spec") or {}).get("taint")
        if taint is not None:
            taint.setdefault("timeAdded", format_time(self.context.clock.now()))

    def validate(self, document: Document) -> Errors:
        return self._spec(document.get("spec") or {}, None)

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._spec(document.get("spec") or {}, old.get("spec") or {})

    def validate_status_update(self, document: Document, old: Document) -> Errors:
        listed = (document.get("status") or {}).get("conditions") or ()
        yield from conditions(STATUS.child("conditions"), listed)
        if len(listed) > _CONDITIONS:
            yield fields.too_many(STATUS.child("conditions"), len(listed), _CONDITIONS)

    def _spec(self, spec: Part, old: Part | None) -> Errors:
        selector, here = spec.get("deviceSelector") or {}, SPEC.child("deviceSelector")
        if selector.get("driver") is not None:
            yield from driver_name(here.child("driver"), selector["driver"])
        if selector.get("pool") is not None:
            yield from pool_name(here.child("pool"), selector["pool"])
        if selector.get("device") is not None:
            yield from named(here.child("device"), selector["device"], names.dns1123_label)
        before = (old.get("taint") or {}) if old is not None else None
        yield from parts.taint(SPEC.child("taint"), spec.get("taint") or {}, before)


def _spec(spec: Part, old: Part | None) -> Errors:
    pool = spec.get("pool") or {}
    yield from driver_name(SPEC.child("driver"), spec.get("driver") or "")
    yield from _pool(SPEC.child("pool"), pool)
    if old is not None:
        was = (old.get("pool") or {}).get("name")
        yield from checks.immutable(SPEC.child("pool").child("name"), pool.get("name"), was)
        for name in ("driver", "nodeName"):
            yield from checks.immutable(SPEC.child(name), spec.get(name), old.get(name))
    yield from _nodes(spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        yield fields.invalid(SPEC, "", "only one of `sharedCounters` or `devices` is allowed")
    devices, where = spec.get("devices") or (), SPEC.child("devices")
    before = {each.get("name"): each for each in (old or {}).get("devices") or ()}
    most = _RICH_DEVICES if any(map(_is_rich, devices)) else _DEVICES
    chosen = bool(spec.get("perDeviceNodeSelection"))
    yield from checked_each(
        where, devices, most, lambda spot, each: _device(spot, each, before.get(each.get("name")), chosen=chosen)
    )
    if len(devices) <= most:
        yield from checks.duplicates(where, [each.get("name") or "" for each in devices])
    counters, here = spec.get("sharedCounters") or (), SPEC.child("sharedCounters")
    yield from checked_each(here, counters, _COUNTER_SETS, lambda spot, each: _counters(spot, each, "name"))
    yield from distinct(here, counters, _COUNTER_SETS, lambda each: each.get("name") or "")


def _pool(path: Path, pool: Part) -> Errors:
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    yield from pool_name(path.child("name"), pool.get("name") or "")
    if count <= 0:
        yield fields.invalid(path.child("resourceSliceCount"), count, "must be greater than zero")
    if generation < 0:
        detail = "must be greater than or equal to zero"
        yield fields.invalid(path.child("generation"), generation, detail)


def _nodes(spec: Part) -> Errors:
    given = []
    name, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if name:
        given.append("nodeName")
        yield from named(SPEC.child("nodeName"), name, names.dns1123_subdomain)
    elif name is not None:
        yield fields.invalid(SPEC.child("nodeName"), name, "must be either unset or set to a non-empty string")
    if selector is not None:
        given.append("nodeSelector")
        yield from node_selector(SPEC.child("nodeSelector"), selector)
        if len(selector.get("nodeSelectorTerms") or ()) != 1:
            where = SPEC.child("nodeSelector").child("nodeSelectorTerms")
            yield fields.invalid(where, selector.get("nodeSelectorTerms"), "must have exactly one node selector term")
    for flag in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(flag):
            given.append(flag)
        elif spec.get(flag) is not None:
            yield fields.invalid(SPEC.child(flag), False, "must be either unset or set to true")
    if not given:
        yield fields.required(SPEC, _ONE_OF_NODES)
    elif len(given) > 1:
        yield fields.invalid(SPEC, _shown(given), f"{_ONE_OF_NODES}, but multiple fields are set")


def _shown(given: Sequence[str]) -> str:
    return "{" + ", ".join(f"`{name}`" for name in given) + "}"


def _is_rich(device: Part) -> bool:
    return bool(device.get("taints") or device.get("consumesCounters"))


def _device(path: Path, device: Part, old: Part | None, *, chosen: bool) -> Errors:
    """`chosen`: each device says where it is."""
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    yield from named(path.child("name"), device.get("name") or "", names.dns1123_label)
    if (count := len(attributes) + len(capacity)) > _ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {_ATTRIBUTES}"
        yield fields.invalid(path, count, detail)
    where = path.child("attributes")
    for name, attribute in attributes.items():
        yield from qualified(where, name)
        yield from _attribute(where.key(name), attribute)
    if old is None or (old.get("capacity") or {}) != capacity:
        for name, amount in capacity.items():
            yield from qualified(path.child("capacity"), name)
            several = bool(device.get("allowMultipleAllocations"))
            yield from request_policy(path.child("capacity").key(name), amount, several=several)
    taints = device.get("taints") or ()
    if old is None or (old.get("taints") or ()) != taints:
        yield from checked_each(path.child("taints"), taints, _TAINTS, parts.taint)
    yield from _device_nodes(path, device, chosen=chosen)
    yield from parts.binding_conditions(path, device)
    for name, mapping in (device.get("nodeAllocatableResources") or {}).items():
        yield from _node_resource(path.child("nodeAllocatableResources").key(name), name, mapping, capacity)
    consumed, here = device.get("consumesCounters") or (), path.child("consumesCounters")
    yield from checked_each(here, consumed, _CONSUMED, lambda spot, each: _counters(spot, each, "counterSet"))
    yield from distinct(here, consumed, _CONSUMED, lambda each: each.get("counterSet") or "")


def _attribute(path: Path, attribute: Part) -> Errors:
    given = [name for name in _VALUES if attribute.get(name) is not None]
    if "string" in given and len(attribute["string"].encode()) > _LONGEST_VALUE:
        yield fields.too_long(path.child("string"), _LONGEST_VALUE)
    if "version" in given:
        yield from _version(path.child("version"), attribute["version"])
    names_of_all = ", ".join(f"`{name}`" for name in (*_VALUES, *_LISTS))
    if not given:
        yield from generated([fields.invalid(path, "", f"must specify one of: {names_of_all}")])
    elif len(given) > 1:
        shown = "{" + ", ".join(given) + "}"
        yield from generated([fields.invalid(path, shown, f"must specify exactly one of: {names_of_all}")])


def _version(path: Path, text: str) -> Errors:
    if not _SEMVER.fullmatch(text):
        yield fields.invalid(path, text, "must be a string compatible with semver.org spec 2.0.0")
    if len(text.encode()) > _LONGEST_VALUE:
        yield fields.too_long(path, _LONGEST_VALUE)


def _device_nodes(path: Path, device: Part, *, chosen: bool) -> Errors:
    if not chosen:
        if any(device.get(name) is not None for name in ("nodeName", "nodeSelector", "allNodes")):
            detail = (
                "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true "
            )
            yield fields.invalid(path, None, f"{detail}in the ResourceSlice spec")
        return
    given = []
    if device.get("nodeName"):
        given.append("nodeName")
        yield from named(path.child("nodeName"), device["nodeName"], names.dns1123_subdomain)
    elif device.get("nodeName") is not None:
        yield fields.invalid(path.child("nodeName"), "", "must not be empty")
    if device.get("nodeSelector") is not None:
        given.append("nodeSelector")
        yield from node_selector(path.child("nodeSelector"), device["nodeSelector"])
    if device.get("allNodes"):
        given.append("allNodes")
    elif device.get("allNodes") is not None:
        yield fields.invalid(path.child("allNodes"), False, "must be either unset or set to true")
    if not given:
        yield fields.required(path, _ONE_OF_DEVICE_NODES)
    elif len(given) > 1:
        yield fields.invalid(path, _shown(given), _ONE_OF_DEVICE_NODES)


def _node_resource(path: Path, name: str, part: Part, capacity: Mapping[str, Any]) -> Errors:
    if name not in _NODE_RESOURCES and not name.startswith("hugepages-"):
        yield fields.invalid(path, name, "must be a node allocatable resource name")
    mapping, overhead = part.get("mapping"), part.get("overhead")
    if mapping is None and overhead is None:
        yield fields.required(path, "at least one of mapping or overhead must be set")
    if mapping is not None:
        yield from _node_mapping(path.child("mapping"), mapping, capacity)
    if overhead is None:
        return
    here = path.child("overhead")
    if overhead.get("perPod") is None and overhead.get("perContainer") is None:
        yield fields.invalid(here, "", "at least one of perPod or perContainer must be set")
        return
    for each in ("perPod", "perContainer"):
        if overhead.get(each) is not None and quantities.parse(str(overhead[each])).nano < 0:
            yield fields.invalid(here.child(each), str(overhead[each]), "must be non-negative")


def _node_mapping(path: Path, mapping: Part, capacity: Mapping[str, Any]) -> Errors:
    key, multiplier, factor = (mapping.get(name) for name in ("capacityKey", "capacityMultiplier", "deviceMultiplier"))
    where = path.child("capacityMultiplier")
    if key is not None:
        if not key:
            yield fields.invalid(path.child("capacityKey"), "", "capacityKey must not be an empty string")
        elif key not in capacity:
            yield fields.not_found(path.child("capacityKey"), key)
        if multiplier is None:
            yield fields.required(where, "capacityMultiplier is required when capacityKey is set")
        elif quantities.parse(str(multiplier)).nano <= 0:
            yield fields.invalid(where, str(multiplier), "must be positive")
    if factor is not None and quantities.parse(str(factor)).nano <= 0:
        yield fields.invalid(path.child("deviceMultiplier"), str(factor), "must be positive")
    if multiplier is not None and key is None:
        yield fields.required(path.child("capacityKey"), "capacityKey is required when capacityMultiplier is set")


def _counters(path: Path, part: Part, name: str) -> Errors:
    """A set of counters, or what a device takes of one. `name`: the field of the set's name."""
    return generated(_counters_of(path, part, name))


def _counters_of(path: Path, part: Part, name: str) -> Errors:
    if part.get(name):
        yield from named(path.child(name), part[name], names.dns1123_label)
    else:
        yield fields.required(path.child(name))
    counters, here = part.get("counters") or {}, path.child("counters")
    if not counters:
        yield fields.required(here)
    elif len(counters) > _COUNTERS:
        yield fields.too_many(here, len(counters), _COUNTERS)
    else:
        for each in counters:
            yield from named(here, each, names.dns1123_label)
