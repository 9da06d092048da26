"""What the scheduler knows about nodes, and about the pods on them.

`Nodes` is kept by the scheduler alone, from its informers and from its own decisions: a pod for which a node was
chosen is *assumed* to be there from that moment, so that its room is never given away twice, until its binding shows
in the cache or fails. Every change is reckoned as it comes, so nothing is added up for each pod.

A pod may be known before its node, and a node may go before its pods; both come together again when the node is back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kube_core.api.podrequests import Amounts, HostPort, amount, ports_overlap
from kube_core.meta.documents import Document, labels_of, name_of
from kube_core.scheduler.pods import PodInfo

__all__ = ["NodeInfo", "Nodes"]


@attrs.define(slots=True, eq=False)
class NodeInfo:
    """A node, what it has to give, and what its pods take."""

    name: str
    document: Document
    labels: Mapping[str, str]
    allocatable: Amounts
    pod_limit: int
    unschedulable: bool
    hard_taints: tuple[Mapping[str, Any], ...]
    """Those that keep pods away (NoSchedule, NoExecute)."""
    soft_taints: tuple[Mapping[str, Any], ...]
    """Those that are to be avoided (PreferNoSchedule)."""
    images: Mapping[str, int] = attrs.field(factory=dict)
    """The images that are there, by each of their names, with their sizes in bytes."""
    pods: dict[str, PodInfo] = attrs.field(factory=dict)
    requested: Amounts = attrs.field(factory=dict)
    assumed_cpu: int = 0
    assumed_memory: int = 0
    owners: dict[str, int] = attrs.field(factory=dict)
    """How many of its pods each controller has here, by the controller's uid."""
    host_ports: dict[HostPort, int] = attrs.field(factory=dict)
    demanding: dict[str, PodInfo] = attrs.field(factory=dict)
    """Those of its pods that say near to which pods, or far from which, they want to be."""

    def add(self, pod: PodInfo) -> None:
        if pod.uid not in self.pods:
            self.pods[pod.uid] = pod
            if pod.demanding:
                self.demanding[pod.uid] = pod
            self._count(pod, 1)

    def remove(self, pod: PodInfo) -> None:
        known = self.pods.pop(pod.uid, None)
        if known is not None:
            self.demanding.pop(pod.uid, None)
            self._count(known, -1)

    def port_taken(self, port: HostPort) -> bool:
        """Whether a pod here has this host port, on an overlapping address."""
        if not self.host_ports:
            return False
        return any(ports_overlap(port, used) for used in self.host_ports)

    def _count(self, pod: PodInfo, sign: int) -> None:
        requested = self.requested
        for resource, number in pod.requests.items():
            requested[resource] = requested.get(resource, 0) + sign * number
        self.assumed_cpu += sign * pod.assumed_cpu
        self.assumed_memory += sign * pod.assumed_memory
        _step(self.owners, pod.owner_uid, sign)
        for port in pod.host_ports:
            _step(self.host_ports, port, sign)


def _step(counts: dict[Any, int], key: Any, sign: int) -> None:
    count = counts.get(key, 0) + sign
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)


class Nodes:
    """The nodes that there are, each with its pods."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._ordered: list[NodeInfo] | None = None
        #: Every pod that has a node, whether the node is known or not.
        self._places: dict[str, tuple[str, PodInfo]] = {}
        self._assumed: set[str] = set()
        #: Pods for which room is being made, by uid: on which node.
        self._nominated: dict[str, tuple[str, PodInfo]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[NodeInfo]:
        return iter(self._nodes.values())

    def get(self, name: str) -> NodeInfo | None:
        return self._nodes.get(name)

    @property
    def ordered(self) -> list[NodeInfo]:
        """The nodes in a fixed order, to go round in."""
        if self._ordered is None:
            self._ordered = [*self._nodes.values()]
        return self._ordered

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def set_node(self, document: Document) -> None:
        """A node came or changed; its pods stay with it."""
        name = name_of(document)
        info = _read_node(document)
        before = self._nodes.get(name)
        if before is None:
            found = [pod for place, pod in self._places.values() if place == name]
        else:
            found = [*before.pods.values()]
        for pod in found:
            info.add(pod)
        self._nodes[name] = info
        self._ordered = None

    def remove_node(self, name: str) -> None:
        if self._nodes.pop(name, None) is not None:
            self._ordered = None

    def add_pod(self, pod: PodInfo, node: str) -> None:
        """A pod is on a node, as the server says; what was assumed about it ends."""
        self.remove_pod(pod.uid)
        self._put(pod, node)

    def remove_pod(self, uid: str) -> None:
        """A pod takes room no more: it ended, is gone, or was not bound after all."""
        self.withdraw(uid)
        self._assumed.discard(uid)
        place = self._places.pop(uid, None)
        if place is not None and (node := self._nodes.get(place[0])) is not None:
            node.remove(place[1])

    def assume(self, pod: PodInfo, node: str) -> None:
        """A node was chosen: the pod takes its room from now on."""
        self.withdraw(pod.uid)
        self._put(pod, node)
        self._assumed.add(pod.uid)

    def nominate(self, pod: PodInfo, node: str) -> None:
        """Room is being made for a pod on a node: nobody of less priority is to take it meanwhile."""
        self._nominated[pod.uid] = node, pod

    def withdraw(self, uid: str) -> bool:
        """No room is being made for a pod any more. Tells whether there was."""
        return self._nominated.pop(uid, None) is not None

    @property
    def has_nominated(self) -> bool:
        """Whether room is being made for anybody."""
        return bool(self._nominated)

    def nominated_before(self, pod: PodInfo, node: str) -> list[PodInfo]:
        """The others for whom room is being made on a node, and who come before a pod."""
        return [
            other
            for place, other in self._nominated.values()
            if place == node and other.priority >= pod.priority and other.uid != pod.uid
        ]

    def _put(self, pod: PodInfo, node: str) -> None:
        self._places[pod.uid] = (node, pod)
        info = self._nodes.get(node)
        if info is not None:
            info.add(pod)


def _read_node(document: Document) -> NodeInfo:
    spec, status = document.get("spec") or {}, document.get("status") or {}
    quantities = status.get("allocatable") or status.get("capacity") or {}
    allocatable = {resource: amount(resource, quantity) for resource, quantity in quantities.items()}
    taints = spec.get("taints") or ()
    return NodeInfo(
        name=name_of(document),
        document=document,
        labels=labels_of(document),
        allocatable=allocatable,
        pod_limit=allocatable.pop("pods", 0),
        unschedulable=bool(spec.get("unschedulable")),
        hard_taints=tuple(taint for taint in taints if taint.get("effect") in ("NoSchedule", "NoExecute")),
        soft_taints=tuple(taint for taint in taints if taint.get("effect") == "PreferNoSchedule"),
        images={
            name: int(image.get("sizeBytes") or 0)
            for image in status.get("images") or ()
            for name in image.get("names") or ()
        },
    )
