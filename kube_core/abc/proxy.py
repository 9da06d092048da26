"""The contract of a service proxy driver: it is given what should be served, and makes it so.

A driver gets the whole table each time; what has not changed since the last one is the same object, so finding the
difference is cheap. `apply` is level-based and idempotent: it returns once every frontend that can be served is, and
a frontend that cannot (its port is taken) does not keep the others waiting: it is named by `problems` and tried again.

What always holds, whatever the driver:

* A new connection goes to one of the endpoints of its service port, spread evenly, or to the same one for the same
  client address where `affinity_seconds` is set. An endpoint that refuses is passed over.
* A connection that is established is left alone by changes to the table: an endpoint that has left it drains.
* A service port without endpoints refuses connections; with the capability `source_ranges`, an address of a load
  balancer refuses those of clients outside its `allowed_sources`.
* `stop` ends everything that the driver serves, and leaves nothing behind.

Which endpoints are in the table is decided before (`kube_core.proxy.services`), not by drivers.
The suite that holds drivers to this is `kube_core.testing.proxy.ProxyContract`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.snapshots import Snapshots

__all__ = [
    "Endpoint",
    "PortName",
    "ProxyCapabilities",
    "ProxyDriver",
    "ProxyError",
    "ProxyProblem",
    "ServicePort",
    "Table",
]


class ProxyError(DriverFailure):
    """Why a proxy cannot work at all: one clear line."""


@attrs.frozen(slots=True, order=True)
class Endpoint:
    """Where a connection may go."""

    ip: str
    port: int


@attrs.frozen(slots=True, order=True)
class PortName:
    """What identifies a port of a service. `port` is its name, "" for the only port of a service."""

    namespace: str
    service: str
    port: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}" + (f":{self.port}" if self.port else "")


@attrs.frozen(slots=True)
class ServicePort:
    """One port of one service, with the endpoints that new connections may go to."""

    name: PortName
    protocol: str
    """`TCP`, `UDP` or `SCTP`."""
    port: int
    cluster_ips: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    node_port: int = 0
    """Served on every address of the node; 0 for none."""
    external_ips: tuple[str, ...] = ()
    """`spec.externalIPs`, and the addresses of the load balancer."""
    external_endpoints: tuple[Endpoint, ...] = ()
    """Where connections to the node port and to external addresses go: `externalTrafficPolicy` may narrow them."""
    balancer_ips: tuple[str, ...] = ()
    """Those of `external_ips` that are the load balancer's."""
    allowed_sources: tuple[str, ...] = ()
    """Networks in CIDR form from which `balancer_ips` are reached; () for everywhere."""
    affinity_seconds: int = 0
    """How long a client address stays with its endpoint after its last connection; 0 for no affinity."""


Table = Mapping[PortName, ServicePort]


@attrs.frozen(slots=True)
class ProxyProblem:
    """A frontend that is wanted but cannot be served for now."""

    name: PortName
    address: str
    """`127.0.0.1:30080/TCP`"""
    reason: str


@attrs.frozen
class ProxyCapabilities:
    serves: bool
    """Connections really work (a fake only keeps the table)."""
    protocols: tuple[str, ...] = ("TCP", "UDP")
    source_ranges: bool = False
    """Clients outside `ServicePort.allowed_sources` are refused."""
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


class ProxyDriver(Snapshots, abc.ABC):
    """The service proxy of one node, or of all nodes that share this host."""

    capabilities: ClassVar[ProxyCapabilities]

    def __init__(self, *, clock: Clock, node_addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        """`node_addresses`: where node ports are served."""
        self.clock = clock
        self.node_addresses = tuple(node_addresses)

    @abc.abstractmethod
    async def start(self) -> None:
        """Make ready. Raises `ProxyError`."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """End all that is served. Stopping twice does nothing."""

    @abc.abstractmethod
    async def apply(self, table: Table) -> None:
        """Serve exactly this table from now on. Cancelled half-way, the next `apply` puts it right."""

    @abc.abstractmethod
    def problems(self) -> Sequence[ProxyProblem]:
        """What is wanted and not served now, in order of name."""
