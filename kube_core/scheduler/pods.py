"""What the scheduler knows about a pod: its document, and what it asks for, reckoned once.

What a pod requests is the sum of its containers' requests, or that of an init container where it is more: sidecars
(init containers that are always restarted) count from where they stand on, beside everything that starts after them.
The pod's overhead comes on top, and requests for the pod as a whole (`spec.resources`) take the place of the sum, as
upstream documents under "Sidecar Containers" and "Pod-level resources".

Amounts are whole numbers: thousandths for cpu, units for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, controller_of, key_of, uid_of

__all__ = ["DEFAULT_SCHEDULER", "Amounts", "HostPort", "PodInfo", "amount", "read_pod", "requests_of"]

DEFAULT_SCHEDULER: Final = "default-scheduler"

Amounts = dict[str, int]

#: Address, protocol, port.
HostPort = tuple[str, str, int]

#: What scoring takes a container to use that requests nothing.
_ASSUMED_CPU, _ASSUMED_MEMORY = 100, 200 * 1024 * 1024


@attrs.frozen(slots=True, eq=False)
class PodInfo:
    """A pod, read once. `assumed_cpu` and `assumed_memory` are its requests, with a guess where it has none."""

    document: Document
    key: Key
    uid: str
    priority: int
    owner_uid: str
    requests: Amounts
    assumed_cpu: int
    assumed_memory: int
    host_ports: tuple[HostPort, ...]

    @property
    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["spec"]
        return found


def read_pod(document: Document) -> PodInfo:
    spec = document["spec"]
    containers = spec.get("containers") or ()
    requests = requests_of(document)
    owner = controller_of(document)
    return PodInfo(
        document=document,
        key=key_of(document),
        uid=uid_of(document),
        priority=int(spec.get("priority") or 0),
        owner_uid=str(owner["uid"]) if owner is not None else "",
        requests=requests,
        assumed_cpu=requests.get("cpu", 0) + _ASSUMED_CPU * _without(containers, "cpu"),
        assumed_memory=requests.get("memory", 0) + _ASSUMED_MEMORY * _without(containers, "memory"),
        host_ports=_host_ports(spec),
    )


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


def _without(containers: Iterable[Mapping[str, Any]], resource: str) -> int:
    """How many containers do not say how much of a resource they want."""
    return sum(1 for each in containers if resource not in ((each.get("resources") or {}).get("requests") or {}))


def _host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        (str(port.get("hostIP") or "0.0.0.0"), str(port.get("protocol") or "TCP"), int(port["hostPort"]))
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )
