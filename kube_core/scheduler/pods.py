"""What the scheduler knows about a pod: its document, and what it asks for (`api/podrequests.py`), reckoned once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from kube_core.api.podrequests import Amounts, HostPort, amount, host_ports_of, requests_of
from kube_core.meta.documents import Document, Key, controller_of, key_of, uid_of

__all__ = ["DEFAULT_SCHEDULER", "Amounts", "HostPort", "PodInfo", "amount", "read_pod", "requests_of"]

DEFAULT_SCHEDULER: Final = "default-scheduler"

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
    demanding: bool = False
    """It says near to which pods, or far from which, it wants to be."""

    @property
    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["spec"]
        return found


def read_pod(document: Document) -> PodInfo:
    spec = document["spec"]
    containers = spec.get("containers") or ()
    requests = requests_of(document)
    owner = controller_of(document)
    affinity = spec.get("affinity") or {}
    return PodInfo(
        document=document,
        key=key_of(document),
        uid=uid_of(document),
        priority=int(spec.get("priority") or 0),
        owner_uid=str(owner["uid"]) if owner is not None else "",
        requests=requests,
        assumed_cpu=requests.get("cpu", 0) + _ASSUMED_CPU * _without(containers, "cpu"),
        assumed_memory=requests.get("memory", 0) + _ASSUMED_MEMORY * _without(containers, "memory"),
        host_ports=host_ports_of(spec),
        demanding=bool(affinity.get("podAffinity") or affinity.get("podAntiAffinity")),
    )


def _without(containers: Iterable[Mapping[str, Any]], resource: str) -> int:
    """How many containers do not say how much of a resource they want."""
    return sum(1 for each in containers if resource not in ((each.get("resources") or {}).get("requests") or {}))
