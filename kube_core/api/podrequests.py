"""What a pod asks of its node: resources, and ports of the host. Pure.

What a pod requests is the sum of its containers' requests, or that of an init container where it is more: sidecars
(init containers that are always restarted) count from where they stand on, beside everything that starts after them.
The pod's overhead comes on top, and requests for the pod as a whole (`spec.resources`) take the place of the sum, as
upstream documents under "Sidecar Containers" and "Pod-level resources". The scheduler and the node both reckon so.

Amounts are whole numbers: thousandths for cpu, units for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import quantities
from kube_core.meta.documents import Document

__all__ = ["Amounts", "HostPort", "amount", "host_ports_of", "ports_overlap", "requests_of"]

Amounts = dict[str, int]

#: Address, protocol, port.
HostPort = tuple[str, str, int]

_WILDCARDS = ("0.0.0.0", "::", "")


def amount(resource: str, quantity: Any) -> int:
    """A quantity as a whole number."""
    parsed = quantities.parse(quantity)
    return parsed.milli_value if resource == "cpu" else parsed.value


def requests_of(document: Document) -> Amounts:
    """What a pod requests in all, by resource."""
    spec = document["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _requests(container))
    init_containers = spec.get("initContainers")
    if init_containers:
        sidecars: Amounts = {}
        peak: Amounts = {}
        for container in init_containers:
            if container.get("restartPolicy") == "Always":
                _add(sidecars, _requests(container))
                _raise(peak, sidecars)
            else:
                together = dict(sidecars)
                _add(together, _requests(container))
                _raise(peak, together)
        _add(total, sidecars)
        _raise(total, peak)
    pod_level = (spec.get("resources") or {}).get("requests")
    if pod_level:
        total |= {resource: amount(resource, quantity) for resource, quantity in pod_level.items()}
    overhead = spec.get("overhead")
    if overhead:
        _add(total, {resource: amount(resource, quantity) for resource, quantity in overhead.items()})
    return total


def host_ports_of(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    """The ports of the host that a pod wants, of containers that go on."""
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        (str(port.get("hostIP") or "0.0.0.0"), str(port.get("protocol") or "TCP"), int(port["hostPort"]))
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def ports_overlap(one: HostPort, other: HostPort) -> bool:
    """Whether both cannot be had on one host."""
    return one[1:] == other[1:] and (one[0] == other[0] or bool({one[0], other[0]} & {*_WILDCARDS}))


def _requests(container: Mapping[str, Any]) -> Amounts:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {resource: amount(resource, quantity) for resource, quantity in requests.items()}


def _add(total: Amounts, more: Amounts) -> None:
    for resource, number in more.items():
        total[resource] = total.get(resource, 0) + number


def _raise(total: Amounts, least: Amounts) -> None:
    for resource, number in least.items():
        if number > total.get(resource, 0):
            total[resource] = number
