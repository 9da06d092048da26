"""Whether the backend of an APIService can be asked: upstream's conditions, in the order of its checks.

What the store says comes first (the Service, its port, its endpoints), and then the backend itself, which must answer
discovery. `observed` is pure but for reading; `asked` sends a request. Both give the condition `Available`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kube_core.meta.documents import Document, Key, MutableDocument
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time
from kube_core.registry.kinds.api_services import LOCAL
from kube_core.registry.service_endpoints import ServiceEndpoints, find_port

__all__ = [
    "LOCAL",
    "PASSED",
    "Condition",
    "condition_of",
    "failed_discovery",
    "is_available",
    "observed",
    "set_condition",
]


@attrs.frozen
class Condition:
    status: str
    reason: str
    message: str


PASSED = Condition("True", "Passed", "all checks passed")


def observed(service: Document, endpoints: ServiceEndpoints) -> Condition | None:
    """What the store says against an APIService with a backend; None where nothing does."""
    reference = service["spec"]["service"]
    namespace, name, port = reference["namespace"], reference["name"], reference.get("port", 443)
    key, shown = Key(namespace, name), f'service/{name} in "{namespace}"'
    try:
        document = endpoints.service(key)
    except NotFound:
        return Condition("False", "ServiceNotFound", f"{shown} is not present")
    if (document.get("spec") or {}).get("type", "ClusterIP") != "ClusterIP":
        return None
    found = find_port(document, port)
    if found is None:
        return Condition("False", "ServicePortError", f"{shown} is not listening on port {port}")
    if not endpoints.known(key):
        return Condition("False", "EndpointsNotFound", f"cannot find endpointslices for {shown}")
    port_name = found.get("name") or ""
    if next(endpoints.ready(key, port_name), None) is None:
        why = f'endpointslices for {shown} have no addresses with port name "{port_name}"'
        return Condition("False", "MissingEndpoints", why)
    return None


def failed_discovery(why: str) -> Condition:
    return Condition("False", "FailedDiscoveryCheck", why)


def condition_of(service: Document) -> Mapping[str, Any] | None:
    conditions = (service.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Available"), None)


def is_available(service: Document) -> bool:
    condition = condition_of(service)
    return condition is not None and condition["status"] == "True"


def set_condition(document: MutableDocument, condition: Condition, now: float) -> None:
    """Write the condition; its time is that of its last change of status."""
    conditions = document.setdefault("status", {}).setdefault("conditions", [])
    present = next((each for each in conditions if each["type"] == "Available"), None)
    if present is None:
        present = {"type": "Available"}
        conditions.append(present)
    changed = present.get("status") != condition.status
    present.update(status=condition.status, reason=condition.reason, message=condition.message)
    if changed or "lastTransitionTime" not in present:
        present["lastTransitionTime"] = format_time(now)
