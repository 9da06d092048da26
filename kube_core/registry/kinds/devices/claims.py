"""ResourceClaims, ResourceClaimTemplates and DeviceClasses. Documented under "Dynamic Resource Allocation".

What a claim asks for never changes; what it got is in its status.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.conditions import conditions
from kube_core.registry.kinds.devices import parts
from kube_core.registry.kinds.devices.parts import checked_each, device_uid, distinct, driver_name, pool_name
from kube_core.registry.kinds.devices.requests import (
    Requests,
    claim_spec,
    default_spec,
    request_names,
    request_reference,
    request_references,
)
from kube_core.registry.kinds.devices.selectors import selectors
from kube_core.registry.kinds.metadata import template_metadata
from kube_core.registry.kinds.pods.scheduling import node_selector

__all__ = ["ClaimStrategy", "ClaimTemplateStrategy", "DeviceClassStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
STATUS = Path("status")
_RESERVATIONS: Final = 256
_RESULTS: Final = 32
_CONFIG: Final = 32
_CONDITIONS: Final = 8
_ADDRESSES: Final = 16
_SOURCES: Final = ("FromClaim", "FromClass")
#: What the metadata of a template may have; everything else is forbidden, in upstream's order.
_TEMPLATE_METADATA: Final = ("annotations", "labels")


class ClaimStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        default_spec(document.get("spec") or {})

    def validate(self, document: Document) -> Errors:
        return claim_spec(SPEC, document.get("spec") or {})

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        if (document.get("spec") or {}) != (old.get("spec") or {}):
            yield fields.invalid(SPEC, None, checks.IMMUTABLE)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status, before = document.get("status") or {}, old.get("status") or {}
        users: Sequence[Part] = status.get("reservedFor") or ()
        where, allocation, was = STATUS.child("reservedFor"), status.get("allocation"), before.get("allocation")
        yield from checked_each(where, users, _RESERVATIONS, _user)
        devices: Sequence[Part] = status.get("devices") or ()
        allocated = {_identity(each) for each in ((allocation or {}).get("devices") or {}).get("results") or ()}
        for position, device in enumerate(devices):
            yield from _device_status(STATUS.child("devices").index(position), device, allocated)
        if users and allocation is None:
            yield fields.forbidden(where, "may not be specified when `allocated` is not set")
        elif (
            users
            and document["metadata"].get("deletionTimestamp")
            and any(user not in (before.get("reservedFor") or ()) for user in users)
        ):
            detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            yield fields.forbidden(where, detail)
        if allocation is not None and was is None:
            yield from _allocation(STATUS.child("allocation"), allocation, request_names(document.get("spec") or {}))
        yield from distinct(where, users, _RESERVATIONS, lambda user: user.get("uid") or "")
        yield from distinct(STATUS.child("devices"), devices, len(devices), _identity)
        if was is not None and allocation not in (None, was):
            yield from generated([fields.invalid(STATUS.child("allocation"), allocation, checks.IMMUTABLE)])


class ClaimTemplateStrategy(BuiltinStrategy):
    def default(self, document: MutableDocument) -> None:
        default_spec((document.get("spec") or {}).get("spec") or {})

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        metadata, here = spec.get("metadata") or {}, SPEC.child("metadata")
        yield from template_metadata(here, metadata)
        for name in sorted(metadata):
            if name not in _TEMPLATE_METADATA and metadata[name] not in (None, "", 0, [], {}):
                yield fields.forbidden(here.child(name.replace("uid", "uID")), "cannot be set")
        yield from claim_spec(SPEC.child("spec"), spec.get("spec") or {})

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        if (document.get("spec") or {}) != (old.get("spec") or {}):
            yield fields.invalid(SPEC, dict(document.get("spec") or {}), checks.IMMUTABLE)


class DeviceClassStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        return self._spec(document.get("spec") or {}, {})

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._spec(document.get("spec") or {}, old.get("spec") or {})

    def _spec(self, spec: Part, old: Part) -> Errors:
        """What was stored as it is is not looked at again."""
        stored = spec.get("selectors") == old.get("selectors")
        yield from selectors(SPEC.child("selectors"), spec.get("selectors") or (), stored=stored)
        known = spec.get("config") == old.get("config")
        yield from checked_each(
            SPEC.child("config"),
            spec.get("config") or (),
            _CONFIG,
            lambda spot, each: parts.opaque(spot, each, stored=known),
        )
        extended = spec.get("extendedResourceName")
        if extended is not None and extended != old.get("extendedResourceName"):
            yield from generated(_extended_resource(SPEC.child("extendedResourceName"), extended))


def _extended_resource(path: Path, name: str) -> Errors:
    domain, slash, _ = name.partition("/")
    if not slash:
        yield fields.invalid(path, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'")
    elif domain.endswith("kubernetes.io") or name.startswith("requests."):
        yield fields.invalid(path, name, "must be a valid extended resource name")
    for message in names.qualified_name(name):
        if message != "name part must be non-empty":
            yield fields.invalid(path, name, message)


# -- what a claim got --------------------------------------------------------------------------------------------------


def _user(path: Path, user: Part) -> Errors:
    for name in ("resource", "name", "uid"):
        if not user.get(name):
            yield fields.required(path.child(name))


def _identity(device: Part) -> tuple[str, ...]:
    return tuple(device.get(name) or "" for name in ("driver", "pool", "device", "shareID"))


def _allocation(path: Path, allocation: Part, known: Requests) -> Errors:
    devices, here = allocation.get("devices") or {}, path.child("devices")
    yield from checked_each(
        here.child("results"), devices.get("results") or (), _RESULTS, lambda spot, each: _result(spot, each, known)
    )
    yield from checked_each(
        here.child("config"), devices.get("config") or (), 2 * _CONFIG, lambda spot, each: _config(spot, each, known)
    )
    if allocation.get("nodeSelector") is not None:
        yield from node_selector(path.child("nodeSelector"), allocation["nodeSelector"])


def _result(path: Path, result: Part, known: Requests) -> Errors:
    yield from request_reference(path.child("request"), result.get("request") or "", known)
    yield from named(path.child("device"), result.get("device") or "", names.dns1123_label)
    yield from parts.binding_conditions(path, result)
    for position, toleration in enumerate(result.get("tolerations") or ()):
        yield from parts.toleration(path.child("tolerations").index(position), toleration)
    yield from parts.skip_operations(path.child("skipNodeOperations"), result.get("skipNodeOperations") or ())
    yield from generated(parts.opaque_driver(path.child("driver"), result.get("driver") or ""))
    yield from generated(pool_name(path.child("pool"), result.get("pool") or ""))
    if result.get("shareID") is not None:
        yield from generated(device_uid(path.child("shareID"), result["shareID"]))


def _config(path: Path, config: Part, known: Requests) -> Errors:
    yield from request_references(path.child("requests"), config.get("requests") or (), known)
    yield from parts.opaque(path, config)
    source, where = config.get("source") or "", path.child("source")
    yield from generated(checks.one_of(where, source, _SOURCES) if source else [fields.required(where)])


def _device_status(path: Path, device: Part, allocated: set[tuple[str, ...]]) -> Errors:
    yield from driver_name(path.child("driver"), device.get("driver") or "")
    yield from pool_name(path.child("pool"), device.get("pool") or "")
    yield from named(path.child("device"), device.get("device") or "", names.dns1123_label)
    if _identity(device) not in allocated:
        yield fields.invalid(path, dict(device), "must be an allocated device in the claim")
    listed: Sequence[Part] = device.get("conditions") or ()
    if len(listed) > _CONDITIONS:
        yield fields.too_many(path.child("conditions"), len(listed), _CONDITIONS)
    yield from conditions(path.child("conditions"), listed)
    if device.get("data") is not None:
        yield from parts.parameters(path.child("data"), device["data"])
    network, here = device.get("networkData") or {}, path.child("networkData")
    yield from checked_each(here.child("ips"), network.get("ips") or (), _ADDRESSES, _address)
    yield from distinct(here.child("ips"), network.get("ips") or (), _ADDRESSES, lambda each: each)
    if device.get("shareID") is not None:
        yield from generated(device_uid(path.child("shareID"), device["shareID"]))


def _address(path: Path, text: str) -> Errors:
    try:
        good = "/" in text and str(ipaddress.ip_interface(text)) == text
    except ValueError:
        good = False
    if not good:
        detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        yield fields.invalid(path, text, detail)
