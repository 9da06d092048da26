"""What of the node's resources each of its pods was given: the ground of admission, and of resizing in place.

A pod gets what it asks for when it is admitted. When its spec asks for something else later, it keeps what it has until
the rest of the node has room for that: until then the resize is pending (`PodResizePending`, `Deferred`), and from then
on in progress until its containers have it (`PodResizeInProgress`), as upstream documents under "Resize CPU and Memory
Resources". Workers see their pods with what was granted (`applied`).

Sums are kept, so that admitting a pod costs the same on a full node. One owner: the agent; called by the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import orjson

from kube_core.api.podrequests import Amounts, HostPort, amount, host_ports_of, ports_overlap, requests_of
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document, metadata_of, uid_of

__all__ = ["Allocations", "Refusal"]

_LISTS = ("initContainers", "containers")


@attrs.frozen
class Refusal:
    """Why the node has no room: the reason and the message of the pod's status."""

    reason: str
    message: str


@attrs.define
class _Grant:
    """`pod` is what it was given for. `resources` are those of the pod (by "") and of its containers, where they are
    not what its spec says by now.
    """

    pod: Document
    requests: Amounts
    ports: tuple[HostPort, ...]
    resources: dict[str, Document] | None = None
    pending: Document | None = None
    in_progress: Document | None = None


class Allocations:
    """Of one node. `node` gives the Node, with its allocatable resources."""

    def __init__(
        self, node: Callable[[], Document | None], events: EventRecorder, look_again: Callable[[str], None]
    ) -> None:
        """`look_again` is told the uids of pods whose resize may have room now."""
        self._node = node
        self._events = events
        self._look_again = look_again
        self._grants: dict[str, _Grant] = {}
        self._sums: Amounts = {}

    def room_for(self, pod: Document, requests: Amounts | None = None) -> Refusal | None:
        """None where there is room for a pod, beside all others."""
        uid = uid_of(pod)
        held = self._grants.get(uid)
        if held is None and any(ports_overlap(*pair) for pair in self._pairs(host_ports_of(pod["spec"]))):
            return _refused("NodePorts", "node(s) didn't have free ports for the requested pod ports")
        wanted = requests_of(_as_before(pod)) if requests is None else requests
        allocatable: Mapping[str, Any] = ((self._node() or {}).get("status") or {}).get("allocatable") or {}
        count = len(self._grants) - (held is not None)
        if "pods" in allocatable and count + 1 > (most := amount("pods", allocatable["pods"])):
            return _out_of("pods", 1, count, most)
        for resource, number in wanted.items():
            if number <= 0 or resource not in allocatable:
                continue  # what the node does not know is for the cluster to count
            capacity = amount(resource, allocatable[resource])
            used = self._sums.get(resource, 0) - (held.requests.get(resource, 0) if held is not None else 0)
            if used + number > capacity:
                return _out_of(resource, number, used, capacity)
        return None

    def grant(self, pod: Document) -> None:
        """Give a pod what it asks for, or what it had already when an earlier agent looked after it."""
        uid = uid_of(pod)
        if uid not in self._grants:
            had = _had_before(pod)
            grant = _Grant(pod if had is None else _with(pod, had), {}, host_ports_of(pod["spec"]), had)
            self._grants[uid] = grant
            self._count(grant, requests_of(_as_before(pod)))

    def forget(self, uid: str) -> None:
        """The pod has ended."""
        grant = self._grants.pop(uid, None)
        if grant is not None:
            self._count(grant, {})
            self._tell_waiting()

    def applied(self, pod: Document) -> Document:
        """The pod with what it was granted."""
        grant = self._grants.get(uid_of(pod))
        return pod if grant is None or grant.resources is None else _with(pod, grant.resources)

    def consider(self, pod: Document) -> None:
        """Grant what the spec asks for now, if it is something else and there is room."""
        grant = self._grants.get(uid_of(pod))
        if grant is None or pod["spec"] is grant.pod["spec"]:
            return
        granted = _resources(grant.pod)
        if _resources(pod) == granted:
            grant.pending = grant.resources = None
            return
        generation = metadata_of(pod).get("generation") or 0
        requests = requests_of(pod)
        refusal = self.room_for(pod, requests)
        if refusal is not None:
            before, grant.resources = grant.pending, granted
            grant.pending = _condition("PodResizePending", generation, "Deferred", refusal.message)
            if before is None or before["observedGeneration"] != generation:
                self._tell(pod, "ResizeDeferred", "Pod resize Deferred", refusal.message)
            return
        grant.pod, grant.resources, grant.pending = pod, None, None
        grant.in_progress = _condition("PodResizeInProgress", generation)
        self._count(grant, requests)
        self._tell(pod, "ResizeStarted", "Pod resize started")
        self._tell_waiting()

    def finish(self, pod: Document) -> None:
        """Its containers have what was granted."""
        grant = self._grants.get(uid_of(pod))
        if grant is not None and grant.in_progress is not None:
            grant.in_progress = None
            self._tell(pod, "ResizeCompleted", "Pod resize completed")

    def fail(self, pod: Document, message: str) -> None:
        """Its containers could not be given what was granted; it is tried again."""
        grant = self._grants.get(uid_of(pod))
        if grant is not None and grant.in_progress is not None and grant.in_progress.get("message") != message:
            generation = grant.in_progress["observedGeneration"]
            grant.in_progress = _condition("PodResizeInProgress", generation, "Error", message)
            self._tell(pod, "ResizeError", "Pod resize error", message)

    def is_resizing(self, uid: str) -> bool:
        grant = self._grants.get(uid)
        return grant is not None and grant.in_progress is not None

    def conditions(self, uid: str) -> Iterator[Document]:
        """What the pod's status says of its resize."""
        grant = self._grants.get(uid)
        if grant is not None:
            yield from (each for each in (grant.pending, grant.in_progress) if each is not None)

    def _tell_waiting(self) -> None:
        for uid in [uid for uid, grant in self._grants.items() if grant.pending is not None]:
            self._look_again(uid)

    def _pairs(self, ports: tuple[HostPort, ...]) -> Iterator[tuple[HostPort, HostPort]]:
        for port in ports:
            yield from ((port, used) for grant in self._grants.values() for used in grant.ports)

    def _count(self, grant: _Grant, requests: Amounts) -> None:
        for resource, number in grant.requests.items():
            self._sums[resource] = self._sums.get(resource, 0) - number
        for resource, number in requests.items():
            self._sums[resource] = self._sums.get(resource, 0) + number
        grant.requests = requests

    def _tell(self, pod: Document, reason: str, prefix: str, error: str = "") -> None:
        summary: dict[str, Any] = {
            field: [{"name": each["name"], "resources": each.get("resources") or {}} for each in pod["spec"][field]]
            for field in _LISTS
            if pod["spec"].get(field)
        }
        summary["generation"] = metadata_of(pod).get("generation") or 0
        if error:
            summary["error"] = error
        tell = self._events.warning if error else self._events.normal
        tell(pod, reason, f"{prefix}: {orjson.dumps(summary).decode()}")


def _refused(predicate: str, why: str) -> Refusal:
    return Refusal(predicate, f"Predicate {predicate} failed: {why}")


def _out_of(resource: str, requested: int, used: int, capacity: int) -> Refusal:
    counted = f"requested: {requested}, used: {used}, capacity: {capacity}"
    return Refusal(f"OutOf{resource}", f"Node didn't have enough resource: {resource}, {counted}")


def _condition(kind: str, generation: int, reason: str = "", message: str = "") -> Document:
    condition = {"type": kind, "status": "True", "observedGeneration": generation}
    return {**condition, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}


def _resources(pod: Document) -> dict[str, Document]:
    spec = pod["spec"]
    found = {str(each["name"]): each.get("resources") or {} for field in _LISTS for each in spec.get(field) or ()}
    return {**found, "": spec.get("resources") or {}}


def _with(pod: Document, resources: Mapping[str, Document]) -> Document:
    spec = dict(pod["spec"])
    for field in _LISTS:
        if spec.get(field):
            spec[field] = [
                {**each, "resources": resources.get(each["name"], each.get("resources"))} for each in spec[field]
            ]
    if "" in resources and spec.get("resources"):
        spec["resources"] = resources[""]
    return {**pod, "spec": spec}


def _as_before(pod: Document) -> Document:
    """The pod with what it had when an earlier agent looked after it."""
    had = _had_before(pod)
    return pod if had is None else _with(pod, had)


def _had_before(pod: Document) -> dict[str, Document] | None:
    """What a pod's containers had, by its status, where that is not what its spec asks for."""
    status = pod.get("status") or {}
    had: dict[str, Document] = {}
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if each.get("containerID") and ("allocatedResources" in each or "resources" in each):
            limits = (each.get("resources") or {}).get("limits")
            had[str(each["name"])] = {
                **({"limits": limits} if limits else {}),
                **({"requests": each["allocatedResources"]} if each.get("allocatedResources") else {}),
            }
    asked = _resources(pod)
    return had if any(had[name] != asked.get(name) for name in had) else None
