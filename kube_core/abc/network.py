"""The contract of a network driver (CNI-shaped): it gives pods addresses and takes them back.

A driver is made once a node. `attach` is idempotent for a sandbox: asked again, it answers the same. `detach` of an
unknown sandbox does nothing. What a driver holds survives the death of the node agent where `capabilities.persistent`
says so: after a restart `attach` finds it again, and `attached` says whose there is, so that the agent can detach those
of pods that are gone. `end` leaves nothing on the machine, whoever was attached.

Addresses that a driver declares as its own (`pod_cidr`, `service_cidr`, such as parts of 127.0.0.0/8 for loopback)
are exempt from the server's rule against such addresses.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.security import IdMapping
from kube_core.abc.snapshots import Snapshots

if TYPE_CHECKING:
    from kube_core.abc.runtime import PortMapping

__all__ = ["Attachment", "Network", "NetworkCapabilities", "NetworkError", "NetworkRanges", "SandboxRequest"]


class NetworkError(DriverFailure):
    """Why a pod could not be given a network: one clear line."""


@attrs.frozen
class NetworkRanges:
    """What a cluster with this driver uses unless told otherwise. CIDR texts."""

    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"


@attrs.frozen
class NetworkCapabilities:
    reachable: bool
    """Something that listens on a pod's address can be reached from the host."""
    namespaces: bool = False
    """Each pod has a network namespace of its own (so any port, and 0.0.0.0, belongs to it)."""
    host_ports: bool = False
    """Ports of the host lead to pods (`hostPort`). Elsewhere they are only kept from being given twice."""
    persistent: bool = False
    """Attachments outlive the node agent."""
    own_ranges: bool = False
    """It takes pods' addresses from ranges that it chose itself, so nodes that come later are not given any."""
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


@attrs.frozen
class SandboxRequest:
    """Which pod asks. `annotations` are the pod's."""

    sandbox_id: str
    namespace: str
    name: str
    uid: str
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    ports: Sequence[PortMapping] = ()
    """Of the host, which are to lead to the pod's (`capabilities.host_ports`). No two pods of a node want the same."""
    users: IdMapping | None = None
    """The pod's own users, to whom a network namespace that is made for it is to belong."""


@attrs.frozen
class Attachment:
    """The pod's addresses, the first being `status.podIP`; the path of its network namespace, where it has one."""

    ips: tuple[str, ...]
    namespace_path: str = ""


class Network(Snapshots, abc.ABC):
    """Pod networking of one node."""

    capabilities: ClassVar[NetworkCapabilities]
    ranges: ClassVar[NetworkRanges] = NetworkRanges()

    def __init__(self, *, clock: Clock, node_name: str, pod_cidr: str, state_directory: str) -> None:
        """`pod_cidr`: the node's own part of the cluster's pod range. `state_directory`: "" keeps nothing on disk."""
        self.clock = clock
        self.node_name = node_name
        self.pod_cidr = pod_cidr
        self.state_directory = state_directory

    @classmethod
    def ranges_for(cls, cluster: str) -> NetworkRanges:
        """The ranges for a cluster of this name, where clusters on one machine must not meet."""
        return cls.ranges

    @classmethod
    def reserve(cls, ranges: NetworkRanges) -> Callable[[], None] | None:
        """Keep other clusters of this machine from choosing these ranges; returns what lets go of them.

        None where another cluster has them. Where clusters cannot meet, there is nothing to keep.
        """
        return _nothing

    @abc.abstractmethod
    async def start(self) -> None:
        """Make ready; find earlier attachments again."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Let go, leaving attachments of running pods as they are."""

    @abc.abstractmethod
    async def node_addresses(self) -> Sequence[str]:
        """The node's own addresses (`status.addresses` of type InternalIP), the first being `status.hostIP`."""

    @abc.abstractmethod
    async def attach(self, request: SandboxRequest) -> Attachment:
        """Give a pod its addresses. Raises `NetworkError`."""

    @abc.abstractmethod
    async def detach(self, sandbox_id: str) -> None:
        """Take a pod's addresses back."""

    def attached(self) -> Sequence[str]:
        """The sandboxes that have addresses, those of an earlier life among them."""
        return ()

    async def end(self) -> None:
        """Take everything off the machine that this driver put there. Needs no `start` before."""
        await self.stop()


def _nothing() -> None:
    """There was nothing to let go of."""
