"""The contract of a cloud driver: load balancers, instances and routes of whatever the cluster stands on.

A driver says by its capabilities what it has; nothing else of it is asked for. Every call is idempotent: made again
after a crash, with the same arguments, it answers the same and leaves no more behind. Nothing is deleted that the
driver has not made for this cluster.

* **Load balancers** make Services of the type LoadBalancer reachable from outside. They lead to node ports of the nodes
  named, or their addresses (`ip_mode` "VIP") are served by the cluster's own service proxies.
* **Instances** are the machines below nodes: whether they exist, what they are, where, and by which addresses.
* **Routes** lead pod ranges to nodes, where the network does not do that itself.

Called by the cloud's controllers, which are plugins: service-lb, cloud-node, cloud-node-lifecycle and node-route. The
suite that holds drivers to this is `kube_core.testing.cloud.CloudContract`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.network import NetworkRanges
from kube_core.abc.snapshots import Snapshots

__all__ = [
    "BalancerAddress",
    "BalancerPort",
    "BalancerRequest",
    "CloudCapabilities",
    "CloudDriver",
    "CloudError",
    "Instance",
    "Route",
]


class CloudError(DriverFailure):
    """Why something was not made, found or deleted: one clear line."""


@attrs.frozen
class CloudCapabilities:
    load_balancers: bool = False
    instances: bool = False
    routes: bool = False
    serves: bool = False
    """An address of a load balancer answers on this machine, as soon as a service proxy serves it."""
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


@attrs.frozen
class BalancerPort:
    name: str
    protocol: str
    port: int
    node_port: int = 0
    """0 for a Service that has none."""


@attrs.frozen
class BalancerRequest:
    """A load balancer that there should be. `name` is its own for good; `nodes` are those that may be led to."""

    name: str
    namespace: str
    service: str
    ports: tuple[BalancerPort, ...]
    source_ranges: tuple[str, ...] = ()
    """Networks in CIDR form; () for everybody."""
    wanted_address: str = ""
    """`spec.loadBalancerIP`; "" for any."""
    families: tuple[str, ...] = ("IPv4",)
    nodes: tuple[str, ...] = ()
    annotations: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class BalancerAddress:
    """Where a load balancer answers: an `ip`, or a `hostname`."""

    ip: str = ""
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] = "VIP"
    """`VIP`: service proxies serve the address, too. `Proxy`: only the load balancer does."""


@attrs.frozen
class Instance:
    """A machine. `addresses` as in a node's status: `("InternalIP", "10.0.0.1")`."""

    provider_id: str
    kind: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    zone: str = ""
    region: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    shut_down: bool = False


@attrs.frozen
class Route:
    """`cidr` is a pod range of the node."""

    node: str
    cidr: str


class CloudDriver(Snapshots, abc.ABC):
    """One cloud. `name` is what `spec.providerID` of its nodes begins with: `fake://node-1`."""

    name: ClassVar[str]
    capabilities: ClassVar[CloudCapabilities]

    def __init__(self, *, clock: Clock, cluster: str, ranges: NetworkRanges, state_directory: str = "") -> None:
        """`cluster`: its name. `ranges`: its addresses. `state_directory`: where state may be kept; "" keeps none."""
        self.clock = clock
        self.cluster = cluster
        self.ranges = ranges
        self.state_directory = state_directory

    @abc.abstractmethod
    async def start(self) -> None:
        """Make ready. Raises `CloudError`."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Let go of what is held here; what was made stays. Stopping twice does nothing."""

    # With the capability `load_balancers`.

    async def ensure_balancer(self, request: BalancerRequest) -> Sequence[BalancerAddress]:
        """Have a load balancer as it is asked for, made or changed; where it answers. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no load balancers")

    async def balancer(self, name: str) -> Sequence[BalancerAddress] | None:
        """Where a load balancer answers; None where there is none of the name. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no load balancers")

    async def delete_balancer(self, name: str) -> None:
        """An unknown one does nothing. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no load balancers")

    # With the capability `instances`.

    async def instance(self, node: str, provider_id: str = "") -> Instance | None:
        """The machine of a node; None where there is none (any more). Raises `CloudError` where that is not known."""
        raise CloudError(f"{self.name} has no instances")

    # With the capability `routes`.

    async def routes(self) -> Sequence[Route]:
        """Those of this cluster. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no routes")

    async def create_route(self, route: Route) -> None:
        """One that is there does nothing. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no routes")

    async def delete_route(self, route: Route) -> None:
        """An unknown one does nothing. Raises `CloudError`."""
        raise CloudError(f"{self.name} has no routes")
