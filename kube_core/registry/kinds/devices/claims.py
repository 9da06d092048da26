"""ResourceClaims, ResourceClaimTemplates and DeviceClasses. Documented under "Dynamic Resource Allocation".

What a claim asks for never changes; what it got is in its status. Selectors in CEL are only checked for being there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.devices.selectors import selectors
from kube_core.registry.kinds.metadata import template_metadata

__all__ = ["ClaimStrategy", "ClaimTemplateStrategy", "DeviceClassStrategy", "qualified"]

Part = Mapping[str, Any]

SPEC = Path("spec")
STATUS = Path("status")
MODES = ("All", "ExactCount")
_REQUESTS = 32
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BAD_IDENTIFIER = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    f"or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '{_IDENTIFIER.pattern}')"
)
_IS_A_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"


class ClaimStrategy(BuiltinStrategy):
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        _default_spec(document.get("spec") or {})

    def validate(self, document: Document) -> Errors:
        return claim_spec(SPEC, document.get("spec") or {})

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        if (document.get("spec") or {}) != (old.get("spec") or {}):
            yield fields.invalid(SPEC, None, checks.IMMUTABLE)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status, before = document.get("status") or {}, old.get("status") or {}
        where = STATUS.child("reservedFor")
        users: Sequence[Part] = status.get("reservedFor") or ()
        for position, user in enumerate(users):
            for name in ("resource", "name", "uid"):
                if not user.get(name):
                    yield fields.required(where.index(position).child(name))
            if user.get("uid") in [each.get("uid") for each in users[:position]]:
                yield fields.duplicate(where.index(position), {"uid": user.get("uid")})
        if users and status.get("allocation") is None:
            yield fields.forbidden(where, "may not be specified when `allocated` is not set")
        was = before.get("allocation")
        if was is not None and status.get("allocation") not in (None, was):
            yield fields.invalid(STATUS.child("allocation"), status["allocation"], checks.IMMUTABLE)


class ClaimTemplateStrategy(BuiltinStrategy):
    def default(self, document: MutableDocument) -> None:
        _default_spec((document.get("spec") or {}).get("spec") or {})

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        yield from template_metadata(SPEC.child("metadata"), spec.get("metadata") or {})
        yield from claim_spec(SPEC.child("spec"), spec.get("spec") or {})

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        if (document.get("spec") or {}) != (old.get("spec") or {}):
            yield fields.invalid(SPEC, dict(document.get("spec") or {}), checks.IMMUTABLE)


class DeviceClassStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        yield from selectors(SPEC.child("selectors"), spec.get("selectors") or ())
        for position, config in enumerate(spec.get("config") or ()):
            yield from _opaque(SPEC.child("config").index(position), config)


def claim_spec(path: Path, spec: Part) -> Errors:
    devices: Part = spec.get("devices") or {}
    here = path.child("devices")
    requests: Sequence[Part] = devices.get("requests") or ()
    if len(requests) > _REQUESTS:
        yield fields.too_many(here.child("requests"), len(requests), _REQUESTS)
    known: set[str] = set()
    for position, request in enumerate(requests):
        spot, name = here.child("requests").index(position), request.get("name") or ""
        yield from _request(spot, request)
        if name and name in known:
            yield fields.duplicate(spot, dict(request))
        known.add(name)
        known |= {f"{name}/{each.get('name')}" for each in request.get("firstAvailable") or ()}
    for position, constraint in enumerate(devices.get("constraints") or ()):
        spot = here.child("constraints").index(position)
        yield from _requests(spot.child("requests"), constraint.get("requests") or (), known)
        attribute = constraint.get("matchAttribute") or constraint.get("distinctAttribute")
        if not attribute:
            yield fields.required(spot.child("matchAttribute"))
        else:
            which = "matchAttribute" if constraint.get("matchAttribute") else "distinctAttribute"
            yield from qualified(spot.child(which), attribute, domain_needed=True)
    for position, config in enumerate(devices.get("config") or ()):
        spot = here.child("config").index(position)
        yield from _requests(spot.child("requests"), config.get("requests") or (), known)
        yield from _opaque(spot, config)


def qualified(path: Path, name: str, *, domain_needed: bool = False) -> Errors:
    """The name of an attribute or capacity: an identifier, which a domain and a slash may precede."""
    if not name:
        yield fields.required(path, "name required")
        return
    domain, slash, identifier = name.rpartition("/")
    if not slash and domain_needed:
        yield fields.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")
        return
    if slash:
        yield from named(path, domain, names.dns1123_subdomain)
    if len(identifier) > 32:
        yield fields.too_long(path, 32)
    if not _IDENTIFIER.fullmatch(identifier):
        yield fields.invalid(path, identifier, _BAD_IDENTIFIER)


def _default_spec(spec: dict[str, Any]) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for part in (request.get("exactly"), *request.get("firstAvailable", ())):
            if part is None:
                continue
            if not part.get("allocationMode"):
                part["allocationMode"] = "ExactCount"
            if part["allocationMode"] == "ExactCount":
                part.setdefault("count", 1)
            for toleration in part.get("tolerations", ()):
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


def _request(path: Path, request: Part) -> Errors:
    yield from named(path.child("name"), request.get("name") or "", names.dns1123_label)
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or ()
    detail = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not alternatives:
        yield fields.required(path, detail)
    elif exactly is not None and alternatives:
        yield fields.invalid(path, None, f"{detail}, but multiple fields are set")
    elif exactly is not None:
        yield from _exact(path.child("exactly"), exactly)
    seen: set[str] = set()
    for position, each in enumerate(alternatives if exactly is None else ()):
        here, name = path.child("firstAvailable").index(position), each.get("name") or ""
        yield from named(here.child("name"), name, names.dns1123_label)
        if name in seen:
            yield fields.duplicate(here, dict(each))
        seen.add(name)
        yield from _exact(here, each)


def _exact(path: Path, part: Part) -> Errors:
    name = part.get("deviceClassName") or ""
    if not name:
        yield fields.required(path.child("deviceClassName"))
    else:
        yield from named(path.child("deviceClassName"), name, names.dns1123_subdomain)
    yield from selectors(path.child("selectors"), part.get("selectors") or ())
    mode, count = part.get("allocationMode") or "", part.get("count") or 0
    if mode == "All":
        if count:
            yield fields.invalid(path.child("count"), count, f"must not be specified when allocationMode is '{mode}'")
    elif mode == "ExactCount":
        if count <= 0:
            yield fields.invalid(path.child("count"), count, "must be greater than zero")
    else:
        yield from checks.one_of(path.child("allocationMode"), mode, MODES)
    for position, toleration in enumerate(part.get("tolerations") or ()):
        here = path.child("tolerations").index(position)
        operator = toleration.get("operator") or ""
        yield from checks.one_of(here.child("operator"), operator, ("Equal", "Exists"))
        if toleration.get("effect"):
            yield from checks.one_of(here.child("effect"), toleration["effect"], ("NoExecute", "NoSchedule", "None"))


def _requests(path: Path, listed: Sequence[str], known: Collection[str]) -> Errors:
    for position, name in enumerate(listed):
        if name not in known:
            yield fields.invalid(path.index(position), name, _IS_A_REQUEST)
        if name in listed[:position]:
            yield fields.duplicate(path.index(position), name)


def _opaque(path: Path, config: Part) -> Errors:
    opaque, here = config.get("opaque"), path.child("opaque")
    if opaque is None:
        yield fields.required(here)
        return
    driver = opaque.get("driver") or ""
    if not driver:
        yield fields.required(here.child("driver"))
    else:
        yield from named(here.child("driver"), driver, names.dns1123_subdomain)
    parameters = opaque.get("parameters")
    if parameters is None:
        yield fields.required(here.child("parameters"))
    elif not isinstance(parameters, Mapping):
        yield fields.invalid(here.child("parameters"), "<value omitted>", "must be a valid JSON object")
