"""The node's own objects: the Node with its status, and the Lease that says that it lives.

The Node is made where it is missing, and brought up to date where this node owns it (labels of its own, addresses,
capacity, what it runs); what others wrote (taints, cordons, labels) stays. The Lease in `kube-node-lease` is renewed
every 10 s; the status is written when it changes and every 5 min, as upstream's kubelet documents. Events tell that the
node started and what its conditions became.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.api.kubelet import DEFAULT_SETTINGS, KubeletSettings
from kube_core.client.client import ApiClient
from kube_core.control.events import EventRecorder
from kube_core.meta import quantities
from kube_core.meta.documents import Document, MutableDocument, labels_of, uid_of
from kube_core.meta.quantities import Quantity
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, StatusError
from kube_core.meta.times import format_micro_time, format_time
from kube_core.node.health import NodeHealth

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["KUBELET_VERSION", "MayWait", "NodeConfig", "Registration", "fresh_node"]

KUBELET_VERSION = "v1.37.2"

_LEASE_NAMESPACE = "kube-node-lease"
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 300.0
_RETRY_SECONDS = 1.0


class MayWait(Protocol):
    """Whether the renewal of a lease, as it was last written, may wait for the next one, at a monotonic moment.

    `failing`: the last one could not be written.
    """

    def __call__(self, lease: Document, until: float, *, failing: bool) -> bool: ...


@attrs.frozen
class NodeConfig:
    """What one node is told about itself. Quantities as Kubernetes writes them; "": this machine's."""

    name: str
    pod_cidr: str = ""
    cpu: str = ""
    memory: str = ""
    pods: int = 110
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    taints: Sequence[Document] = ()
    provider_id: str = ""
    kubelet_port: int = 10250
    """Where `serving/server.py` listens; 0: nowhere."""
    addresses: Sequence[str] = ()
    """By which the node is reached; none: what its network says."""
    state_directory: str = ""
    """Where volumes and logs go; needed by runtimes with processes."""
    goes_on: bool = False
    """Not the start of a machine: what was Ready is still, and there is nothing to tell of."""
    kubelet: KubeletSettings = DEFAULT_SETTINGS


def fresh_node(config: NodeConfig) -> MutableDocument:
    """A Node as it registers itself, where nobody has made it by hand."""
    spec: MutableDocument = {}
    if config.pod_cidr:
        spec |= {"podCIDR": config.pod_cidr, "podCIDRs": [config.pod_cidr]}
    if config.provider_id:
        spec["providerID"] = config.provider_id
    if config.taints:
        spec["taints"] = [dict(taint) for taint in config.taints]
    metadata: MutableDocument = {"name": config.name, "labels": dict(_labels(config))}
    if config.annotations:
        metadata["annotations"] = dict(config.annotations)
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


class Registration:
    """Keeps the Node and the Lease. `node` is the Node as last seen, for those who need its allocatable resources."""

    def __init__(
        self,
        client: ApiClient,
        config: NodeConfig,
        *,
        clock: Clock,
        addresses: Sequence[str],
        health: NodeHealth,
        events: EventRecorder,
        log: FilteringBoundLogger,
        may_wait: MayWait | None = None,
    ) -> None:
        """`may_wait`: asked before each renewal that the lease could do without; None writes them all."""
        self._client = client
        self._config = config
        self._clock = clock
        self._addresses = addresses
        self._events = events
        self._log = log
        self._health = health
        self._may_wait = may_wait
        self._lease: Document | None = None
        self._renewed_at = 0.0
        #: The last heartbeat failed, and that has been told.
        self._failing = False
        self._status_at = 0.0
        #: The conditions as they were written last.
        self._written: Sequence[tuple[str, str, str, str]] = ()
        self.node: Document | None = None

    async def register(self) -> None:
        """Return once the Node is there and Ready; tries until it is."""
        if self._config.goes_on and await self._is_registered():
            return
        self._tell("Starting", "Starting kubelet.")
        for kind, _, reason, _ in self._health.conditions():
            if kind != "Ready":
                self._tell_status(reason.replace("Kubelet", "Node"))
        while True:
            try:
                await self._write_node()
                await self._renew()
            except StatusError as error:
                self._log.warning("the node cannot be registered yet", error=error.message)
                await self._clock.sleep(_RETRY_SECONDS)
            else:
                return

    async def _is_registered(self) -> bool:
        """Whether the Node and its Lease are there, as they are when nothing has come between."""
        try:
            node = await self._client.get(resources.NODES, self._config.name)
            self._lease = await self._client.get(resources.LEASES, self._config.name, _LEASE_NAMESPACE)
        except StatusError:
            return False
        self.node = node
        self._status_at = self._clock.monotonic()
        return _is_ready(node)

    async def run(self) -> None:
        """Renew the Lease and the status, until cancelled."""
        while True:
            await self._clock.sleep(_RENEW_SECONDS)
            try:
                if self._can_wait():
                    if self._failing:
                        continue
                else:
                    await self._renew()
                if self._clock.monotonic() - self._status_at >= _STATUS_SECONDS or self._has_changed():
                    await self._write_node()
            except StatusError as error:
                # A node that is cut off has the same to say for hours.
                tell = self._log.debug if self._failing else self._log.warning
                tell("the node's heartbeat failed", error=error.message)
                self._failing = True
                # Somebody may have said meanwhile that this node is gone.
                self._status_at = -math.inf
            else:
                if self._failing:
                    self._failing = False
                    self._log.info("the node's heartbeat is back")

    async def report(self) -> None:
        """Write the status, as something about the node has changed; where that fails, the next heartbeat does it."""
        try:
            await self._write_node()
        except StatusError:
            self._status_at = -math.inf

    async def see(self) -> None:
        """Look at the Node again, which others change, too. Where that fails, what was seen last has to do."""
        try:
            self.node = await self._client.get(resources.NODES, self._config.name)
        except StatusError:
            self._log.debug("the node cannot be read")

    def _has_changed(self) -> bool:
        """Whether the node is otherwise than it last said: what its runtime is, nobody tells it."""
        return bool(self._written) and self._written != tuple(self._health.conditions())

    def _can_wait(self) -> bool:
        """Whether the renewal that is due may be left out: nobody minds, and the lease holds until the next one."""
        if self._may_wait is None or self._lease is None:
            return False
        following = self._clock.monotonic() + _RENEW_SECONDS
        holds = self._failing or following - self._renewed_at <= _LEASE_SECONDS
        return holds and self._may_wait(self._lease, following, failing=self._failing)

    async def _write_node(self) -> None:
        try:
            present = await self._client.get(resources.NODES, self._config.name)
        except NotFound:
            try:
                present = await self._client.create(resources.NODES, fresh_node(self._config))
            except AlreadyExists:
                present = await self._client.get(resources.NODES, self._config.name)
        wanted = _labels(self._config)
        if any(labels_of(present).get(key) != value for key, value in wanted.items()):
            present = await self._client.patch(
                resources.NODES, self._config.name, {"metadata": {"labels": dict(wanted)}}
            )
        written = tuple(self._health.conditions())
        status = {**self._status(present), **self._health.features()}
        if images := await self._health.images():
            status["images"] = images
        known = present.get("status") or {}
        status = {name: value for name, value in status.items() if known.get(name) != value}
        self.node = await self._client.patch(
            resources.NODES, self._config.name, {"status": status}, patch_type="strategic", subresource="status"
        )
        self._status_at, self._written = self._clock.monotonic(), written
        self._tell_changes(present)

    def _tell_changes(self, before: Document) -> None:
        """Events for conditions that are other ones than before; of a new node's pressures it was told already."""
        known = {each["type"]: each.get("status") for each in (before.get("status") or {}).get("conditions") or ()}
        for kind, status, reason, _ in self._health.conditions():
            if kind == "Ready" and known.get(kind) != status:
                self._tell_status("NodeReady" if status == "True" else "NodeNotReady")
            elif kind != "Ready" and known.get(kind, "False") not in (status, "Unknown"):
                self._tell_status(reason.replace("Kubelet", "Node"))

    def _tell_status(self, reason: str) -> None:
        self._tell(reason, f"Node {self._config.name} status is now: {reason}")

    def _tell(self, reason: str, message: str) -> None:
        # Upstream's kubelet gives the node's name for its uid, since it reports before it has seen the object; clients
        # that look for a node's events ask for both.
        name = self._config.name
        self._events.normal(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}, reason, message
        )

    async def _renew(self) -> None:
        now = format_micro_time(self._clock.now())
        if self._lease is None:
            try:
                self._lease = await self._client.get(resources.LEASES, self._config.name, _LEASE_NAMESPACE)
            except NotFound:
                self._lease = await self._client.create(resources.LEASES, self._fresh_lease(now))
                self._renewed_at = self._clock.monotonic()
                return
        lease: MutableDocument = dict(self._lease)
        lease["spec"] = {**(lease.get("spec") or {}), "holderIdentity": self._config.name, "renewTime": now}
        try:
            self._lease = await self._client.update(resources.LEASES, lease)
        except (Conflict, NotFound):
            self._lease = None
            raise
        self._renewed_at = self._clock.monotonic()

    def _status(self, present: Document) -> MutableDocument:
        config = self._config
        capacity = {
            "cpu": config.cpu or str(os.cpu_count() or 1),
            "ephemeral-storage": "100Gi",
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
            "memory": config.memory or _memory(),
            "pods": str(config.pods),
        }
        allocatable = {**capacity, "memory": str(_less(capacity["memory"], "100Mi"))}
        system, machine = _platform()
        addresses = [{"type": "InternalIP", "address": address} for address in self._addresses]
        return {
            "addresses": [*addresses, {"type": "Hostname", "address": config.name}],
            "allocatable": allocatable,
            "capacity": capacity,
            "conditions": self._conditions(present),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": config.kubelet_port}},
            "nodeInfo": {
                "architecture": machine,
                "bootID": _first_line("/proc/sys/kernel/random/boot_id"),
                "containerRuntimeVersion": self._runtime_version(),
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": KUBELET_VERSION,
                "machineID": _first_line("/etc/machine-id"),
                "operatingSystem": system,
                "osImage": _os_image(),
                "systemUUID": "",
            },
        }

    def _runtime_version(self) -> str:
        runtime = self._health.runtime
        return f"{runtime.name}://{runtime.version or KUBELET_VERSION.lstrip('v')}"

    def _conditions(self, present: Document) -> list[MutableDocument]:
        known = {each["type"]: each for each in (present.get("status") or {}).get("conditions") or ()}
        now = format_time(self._clock.now())
        conditions = []
        for kind, status, reason, message in self._health.conditions():
            before = known.get(kind)
            since = before["lastTransitionTime"] if before is not None and before.get("status") == status else now
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            )
        return conditions

    def _fresh_lease(self, now: str) -> MutableDocument:
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._config.name, "uid": uid_of(self.node or {})}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._config.name, "namespace": _LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": {"holderIdentity": self._config.name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": now},
        }


def _labels(config: NodeConfig) -> Mapping[str, str]:
    system, machine = _platform()
    return {
        "beta.kubernetes.io/arch": machine,
        "beta.kubernetes.io/os": system,
        "kubernetes.io/arch": machine,
        "kubernetes.io/hostname": config.name,
        "kubernetes.io/os": system,
        **config.labels,
    }


def _is_ready(node: Document) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each.get("status") == "True" for each in conditions)


def _platform() -> tuple[str, str]:
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki"


def _less(amount: str, part: str) -> Quantity:
    whole, kept = quantities.parse(amount), quantities.parse(part)
    return whole - kept if kept < whole else whole


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()
