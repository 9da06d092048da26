"""A Pod's status: what a node may report, and what it may not take back.

Documented under "Pod Lifecycle". A container that ended and will not start again has ended for good.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import IMMUTABLE, Errors, named
from kube_core.registry.kinds.rules import ValidationContext

__all__ = ["default_status", "validate_status"]

Part = Mapping[str, Any]

STATUS = Path("status")
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def default_status(status: dict[str, Any]) -> None:
    """`podIP` and the first of `podIPs` are one: where they differ, `podIP` is right."""
    # Behind gates that are closed upstream.
    status.pop("nodeAllocatableResourceClaimStatuses", None)
    status.pop("volumeHealth", None)
    address, many = status.get("podIP"), status.get("podIPs") or []
    if address:
        if not many or many[0].get("ip") != address:
            status["podIPs"] = [{"ip": address}]
    elif many and many[0].get("ip"):
        status["podIP"] = many[0]["ip"]


def validate_status(document: Document, old: Document, context: ValidationContext) -> Errors:
    status: Part = document.get("status") or {}
    before: Part = old.get("status") or {}
    for position, condition in enumerate(status.get("conditions") or ()):
        generation = condition.get("observedGeneration")
        yield from _generation(STATUS.child("conditions").index(position).child("observedGeneration"), generation)
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            here = STATUS.child("conditions").index(position).child("Type")
            yield from named(here, condition.get("type") or "", names.qualified_name)
    node, where = status.get("nominatedNodeName"), STATUS.child("nominatedNodeName")
    if node and node != before.get("nominatedNodeName"):
        yield from named(where, node, names.dns1123_subdomain)
        if old["spec"].get("nodeName"):
            yield fields.forbidden(where, "may not be set on pods that are already bound to a node")
    if (document["spec"].get("nodeName") or "") != (old["spec"].get("nodeName") or ""):
        yield fields.forbidden(STATUS.child("nodeName"), "may not be changed directly")
    yield from _container_states(status, before, old["spec"])
    yield from _claim_statuses(status.get("resourceClaimStatuses") or (), document["spec"])
    if status.get("extendedResourceClaimStatus") is not None:
        yield from _extended_claim(status["extendedResourceClaimStatus"], document["spec"])
    addresses = status.get("podIPs") or ()
    yield from _addresses("podIPs", addresses)
    if bool(status.get("podIP")) != bool(addresses):
        detail = "podIP and podIPs must either both be set or both be unset"
        yield fields.invalid(STATUS.child("podIPs"), [dict(each) for each in addresses], detail)
    hosts = status.get("hostIPs") or ()
    if hosts and (status.get("hostIP") or "") != (hosts[0].get("ip") or ""):
        here = STATUS.child("hostIPs").index(0).child("ip")
        yield fields.invalid(here, hosts[0].get("ip") or "", "must be equal to `hostIP`")
    yield from _addresses("hostIPs", hosts)
    if before.get("qosClass") and status.get("qosClass") != before["qosClass"]:
        yield fields.invalid(STATUS.child("qosClass"), status.get("qosClass") or "", IMMUTABLE)
    yield from _generation(STATUS.child("observedGeneration"), status.get("observedGeneration"))


def _generation(path: Path, value: int | None) -> Errors:
    if value is not None and value < 0:
        yield fields.invalid(path, value, "must be a non-negative integer")


def _extended_claim(claim: Part, spec: Part) -> Errors:
    """Which requests of a claim stand for the extended resources of which containers."""
    path = STATUS.child("extendedResourceClaimStatus")
    containers = {
        each.get("name"): (each.get("resources") or {}).get("requests") or {}
        for name in ("initContainers", "containers")
        for each in spec.get(name) or ()
    }
    mappings: Sequence[Part] = claim.get("requestMappings") or ()
    if not mappings:
        yield fields.required(path.child("requestMappings"), "at least one request mapping is required")
    seen: set[tuple[str, ...]] = set()
    for position, each in enumerate(mappings):
        here = path.child("requestMappings").index(position)
        parts = {name: each.get(name) or "" for name in ("containerName", "resourceName", "requestName")}
        requests = containers.get(parts["containerName"])
        if requests is None:
            detail = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
            yield fields.invalid(here.child("containerName"), parts["containerName"], detail)
        elif parts["resourceName"] not in requests:
            detail = (
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests"
            )
            yield fields.invalid(here.child("resourceName"), parts["resourceName"], detail)
        yield from named(path.child("requestName"), parts["requestName"], names.dns1123_label)
        if tuple(parts.values()) in seen:
            for name, text in parts.items():
                yield fields.duplicate(here.child(name), text)
        seen.add(tuple(parts.values()))
    if not claim.get("resourceClaimName"):
        yield fields.required(path.child("resourceClaimName"))
    else:
        yield from named(path.child("resourceClaimName"), claim["resourceClaimName"], names.dns1123_subdomain)


def _container_states(status: Part, before: Part, spec: Part) -> Errors:
    policy = spec.get("restartPolicy")
    own = {
        container.get("name"): container.get("restartPolicy")
        for name in ("containers", "initContainers")
        for container in spec.get(name) or ()
    }
    for name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        present = {each.get("name"): each for each in status.get(name) or ()}
        for position, earlier in enumerate(before.get(name) or ()):
            ended = (earlier.get("state") or {}).get("terminated")
            new = present.get(earlier.get("name"))
            if ended is None or new is None or (new.get("state") or {}).get("terminated") is not None:
                continue
            rule = "Never" if name == "ephemeralContainerStatuses" else own.get(earlier.get("name")) or policy
            if rule == "Always" or (rule == "OnFailure" and ended.get("exitCode")):
                continue
            here = STATUS.child(name).index(position).child("state")
            yield fields.forbidden(here, "may not be transitioned to non-terminated state")


def _claim_statuses(listed: Sequence[Part], spec: Part) -> Errors:
    known = [claim.get("name") for claim in spec.get("resourceClaims") or ()]
    seen: set[str] = set()
    for position, each in enumerate(listed):
        here, name = STATUS.child("resourceClaimStatuses").index(position).child("name"), each.get("name") or ""
        if name not in known:
            yield fields.invalid(here, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield fields.duplicate(here, name)
        seen.add(name)
        if each.get("resourceClaimName") is not None:
            claim = STATUS.child("resourceClaimStatuses").index(position).child("resourceClaimName")
            yield from named(claim, each["resourceClaimName"], names.dns1123_subdomain)


def _addresses(name: str, listed: Sequence[Part]) -> Errors:
    path = STATUS.child(name)
    texts = [each.get("ip") or "" for each in listed]
    wrong = False
    for position, text in enumerate(texts):
        for message in names.ip_address(text):
            wrong = True
            yield fields.invalid(path.index(position), text, message)
    if wrong or len(texts) < 2:
        return
    versions = {ipaddress.ip_address(text).version for text in texts}
    if len(versions) < 2 or len(texts) > 2:
        detail = "may specify no more than one IP for each IP family"
        yield fields.invalid(path, [dict(each) for each in listed], detail)
