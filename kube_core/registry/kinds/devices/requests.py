"""What a claim asks for: requests of devices, constraints between them, and configuration for their drivers.

Documented under "Dynamic Resource Allocation".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import fields, names
from kube_core.meta.fields import FieldError, Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.devices import parts
from kube_core.registry.kinds.devices.parts import MOST_REQUESTS, checked_each, distinct, qualified
from kube_core.registry.kinds.devices.selectors import selectors

__all__ = ["Requests", "claim_spec", "default_spec", "request_names", "request_references"]

Part = Mapping[str, Any]
#: By the names of requests, those of their alternatives.
Requests = Mapping[str, frozenset[str]]

_MODES: Final = ("All", "ExactCount")
_MOST: Final = 32
_ALTERNATIVES: Final = 8
_ONE_OF: Final = "exactly one of `exactly` or `firstAvailable` is required"
_IS_A_REQUEST: Final = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)


def default_spec(spec: dict[str, Any]) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for part in (request.get("exactly"), *request.get("firstAvailable", ())):
            if part is None:
                continue
            if not part.get("allocationMode"):
                part["allocationMode"] = "ExactCount"
            if part["allocationMode"] == "ExactCount":
                part.setdefault("count", 1)
            part.pop("derivedAttributes", None)  # their feature is off
            for toleration in part.get("tolerations", ()):
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


def request_names(spec: Part) -> Requests:
    devices = spec.get("devices") or {}
    return {
        request.get("name") or "": frozenset(each.get("name") or "" for each in request.get("firstAvailable") or ())
        for request in devices.get("requests") or ()
    }


def claim_spec(path: Path, spec: Part) -> Errors:
    devices: Part = spec.get("devices") or {}
    here, known = path.child("devices"), request_names(spec)
    requests: Sequence[Part] = devices.get("requests") or ()
    where = here.child("requests")
    yield from distinct(where, requests, MOST_REQUESTS, lambda each: each.get("name") or "")
    yield from checked_each(where, requests, MOST_REQUESTS, _request)
    yield from checked_each(
        here.child("constraints"),
        devices.get("constraints") or (),
        _MOST,
        lambda spot, each: _constraint(spot, each, known),
    )
    yield from checked_each(
        here.child("config"), devices.get("config") or (), _MOST, lambda spot, each: _config(spot, each, known)
    )


def request_references(path: Path, listed: Sequence[str], known: Requests) -> Errors:
    """Names of requests, or of alternatives of them."""
    yield from checked_each(path, listed, MOST_REQUESTS, lambda spot, name: request_reference(spot, name, known))
    yield from distinct(path, listed, MOST_REQUESTS, lambda name: name)


def request_reference(path: Path, name: str, known: Requests) -> Errors:
    segments = name.split("/")
    if len(segments) > 2:
        yield fields.invalid(path, name, _IS_A_REQUEST)
        return
    for segment in segments:
        yield from named(path, segment, names.dns1123_label)
    alternatives = known.get(segments[0])
    if alternatives is None or (len(segments) == 2 and segments[1] not in alternatives):
        yield fields.invalid(path, name, _IS_A_REQUEST)


def _request(path: Path, request: Part) -> Errors:
    yield from named(path.child("name"), request.get("name") or "", names.dns1123_label)
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or ()
    if exactly is None and not alternatives:
        yield fields.required(path, _ONE_OF)
    elif exactly is not None and alternatives:
        yield fields.invalid(path, None, f"{_ONE_OF}, but multiple fields are set")
    elif exactly is not None:
        yield from _exact(path.child("exactly"), exactly)
    else:
        where = path.child("firstAvailable")
        yield from checked_each(where, alternatives, _ALTERNATIVES, _alternative)
        yield from distinct(where, alternatives, _ALTERNATIVES, lambda each: each.get("name") or "")
    if exactly is not None and alternatives:
        # Generated checks look at each all the same.
        for position, each in enumerate(alternatives):
            if not each.get("deviceClassName"):
                where = path.child("firstAvailable").index(position).child("deviceClassName")
                yield from generated([fields.required(where)])


def _alternative(path: Path, part: Part) -> Errors:
    yield from named(path.child("name"), part.get("name") or "", names.dns1123_label)
    yield from generated(_class_name(path.child("deviceClassName"), part.get("deviceClassName") or ""))
    yield from _request_of_one(path, part)


def _exact(path: Path, part: Part) -> Errors:
    yield from _class_name(path.child("deviceClassName"), part.get("deviceClassName") or "")
    yield from _request_of_one(path, part)


def _class_name(path: Path, name: str) -> Iterable[FieldError]:
    return named(path, name, names.dns1123_subdomain) if name else [fields.required(path)]


def _request_of_one(path: Path, part: Part) -> Errors:
    yield from selectors(path.child("selectors"), part.get("selectors") or ())
    mode, count = part.get("allocationMode") or "", part.get("count") or 0
    if mode == "All" and count:
        yield fields.invalid(path.child("count"), count, f"must not be specified when allocationMode is '{mode}'")
    elif mode == "ExactCount" and count <= 0:
        yield fields.invalid(path.child("count"), count, "must be greater than zero")
    for position, toleration in enumerate(part.get("tolerations") or ()):
        yield from parts.toleration(path.child("tolerations").index(position), toleration)
    yield from generated(checks.one_of(path.child("allocationMode"), mode, _MODES))


def _constraint(path: Path, constraint: Part, known: Requests) -> Errors:
    yield from request_references(path.child("requests"), constraint.get("requests") or (), known)
    for which in ("matchAttribute", "distinctAttribute"):
        if (attribute := constraint.get(which)) is not None:
            yield from generated(qualified(path.child(which), attribute, domain_needed=True))
    if constraint.get("matchAttribute") is None and constraint.get("distinctAttribute") is None:
        detail = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        yield fields.required(path, detail)


def _config(path: Path, config: Part, known: Requests) -> Errors:
    yield from request_references(path.child("requests"), config.get("requests") or (), known)
    yield from parts.opaque(path, config)
