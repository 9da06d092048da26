"""What a worker knows of its pod, beyond the pod itself and what the runtime lists. One owner: the pod's worker.

Everything here can be found again: an agent that is started anew begins with what the pod's status says and what is on
disk, and looks.
"""

from __future__ import annotations

import attrs

from kube_core.abc.runtime import Resources, SandboxStatus
from kube_core.meta.documents import Document, metadata_of, name_of, namespace_of, uid_of
from kube_core.node.pods.host import Host
from kube_core.node.pods.plan import History, history
from kube_core.node.pods.status import rejected_status
from kube_core.node.pods.waiting import Waiting
from kube_core.node.volumes.mounting import Place

__all__ = ["PodState", "grace_of", "pod_text"]

_DEFAULT_GRACE = 30.0


@attrs.define(eq=False)
class PodState:
    """`pod` is the pod as it is to run: its resources are what the node has granted."""

    pod: Document
    places: dict[str, Place] | None = None
    refresh_at: float = 0.0
    sandbox: SandboxStatus | None = None
    ips: tuple[str, ...] = ()
    waiting: dict[str, Waiting] = attrs.field(factory=dict)
    messages: dict[str, str] = attrs.field(factory=dict)
    """What ended containers said, by their ids."""
    hooked: frozenset[str] = frozenset()
    """Containers whose preStop hook was run."""
    attempts: dict[str, int] = attrs.field(factory=dict)
    """The next run of each container, where what the runtime lists does not say it."""
    resources: dict[str, Resources] = attrs.field(factory=dict)
    """What running containers were given since they began, by their ids."""
    whole: Resources | None = None
    """What the pod as a whole was given since it began."""
    unpunished: frozenset[str] = frozenset()
    """Containers that this node ended itself to start them again: no back-off counts from their end."""
    status: Document = attrs.field(factory=dict)
    """As it was last reported or read."""
    start_time: str = ""
    reason: str = ""
    message: str = ""
    """Why the pod failed as a whole."""
    disruption: Document | None = None
    """Its condition `DisruptionTarget`, where the node ended it."""
    rejected: bool = False
    """The node never ran it."""
    admitted: bool = False
    resetting: bool = False
    """All of its containers are being started anew."""
    over: bool = False
    cleaned: bool = False

    @classmethod
    def of(cls, pod: Document) -> PodState:
        status = pod.get("status") or {}
        return cls(
            pod,
            status=status,
            start_time=str(status.get("startTime") or ""),
            ips=tuple(str(each["ip"]) for each in status.get("podIPs") or ()),
        )

    @property
    def uid(self) -> str:
        return uid_of(self.pod)

    def runs(self, host: Host) -> History:
        return history(host.runtime.list_containers(self.uid))

    def forget(self, container_id: str) -> None:
        """A container was removed."""
        self.messages.pop(container_id, None)
        self.resources.pop(container_id, None)
        self.unpunished -= {container_id}
        self.hooked -= {container_id}

    def rejection(self) -> Document:
        """The status of a pod that the node does not run."""
        return rejected_status(self.pod, self.reason, self.message, start_time=self.start_time)

    def with_addresses(self, host: Host) -> Document:
        """The pod with the addresses that its status will have, for `fieldRef`."""
        status = dict(self.pod.get("status") or {})
        if self.ips:
            status |= {"podIP": self.ips[0], "podIPs": [{"ip": ip} for ip in self.ips]}
        if host.node_ips:
            status |= {"hostIP": host.node_ips[0], "hostIPs": [{"ip": ip} for ip in host.node_ips]}
        return {**self.pod, "status": status}


def grace_of(pod: Document) -> float:
    """The seconds that a pod's containers have to end: what deletion asked for, or what the pod says."""
    seconds = metadata_of(pod).get("deletionGracePeriodSeconds")
    if seconds is None:
        seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return _DEFAULT_GRACE if seconds is None else float(seconds)


def pod_text(pod: Document) -> str:
    """As upstream's messages name a pod."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"
