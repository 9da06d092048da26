"""The contract of an ingress driver: it is given routes, and carries HTTP requests to their backends.

A driver gets the whole route table each time and switches to it at once: a request that has begun ends with the
routes it began with. `apply` is idempotent. Which route a request takes is the same for every driver: the rules are
written once, in `kube_core.proxy.routing`.

The suite that holds drivers to this is `kube_core.testing.ingress.IngressContract`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.proxy import Endpoint
from kube_core.abc.snapshots import Snapshots

__all__ = [
    "Backend",
    "Certificate",
    "IngressAddress",
    "IngressCapabilities",
    "IngressDriver",
    "IngressError",
    "Route",
    "RouteTable",
]


class IngressError(DriverFailure):
    """Why an ingress cannot work: one clear line."""


@attrs.frozen(slots=True)
class Backend:
    """A port of a service, with the endpoints that are ready. No endpoints: requests are answered with 503."""

    namespace: str
    service: str
    port: str
    """The port's name or number, as the Ingress gives it."""
    endpoints: tuple[Endpoint, ...] = ()


@attrs.frozen(slots=True)
class Route:
    """One path of one rule."""

    host: str
    """"" for every host; `*.example.org` for any single label in front."""
    path: str
    path_type: str
    """`Exact`, `Prefix` or `ImplementationSpecific` (which is read as `Prefix`)."""
    backend: Backend
    ingress: str = ""
    """Where it comes from: `namespace/name`."""


@attrs.frozen(slots=True)
class Certificate:
    """A certificate chain and its key, PEM."""

    chain: bytes
    key: bytes = attrs.field(repr=False)


@attrs.frozen(slots=True)
class RouteTable:
    """All routes, in order of their Ingress's age; of two equal routes the first counts."""

    routes: tuple[Route, ...] = ()
    default: Backend | None = None
    """For requests that no route matches; None: 404."""
    certificates: Mapping[str, Certificate] = attrs.field(factory=dict)
    """By host name; "" is the one for all others."""


@attrs.frozen(slots=True)
class IngressAddress:
    """Where the ingress listens, for `status.loadBalancer` (and a person's browser)."""

    ip: str = ""
    hostname: str = ""
    ports: tuple[int, ...] = ()


@attrs.frozen
class IngressCapabilities:
    serves: bool
    """Requests really arrive (a fake only resolves them)."""
    tls: bool = False
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


class IngressDriver(Snapshots, abc.ABC):
    """One ingress."""

    capabilities: ClassVar[IngressCapabilities]

    def __init__(self, *, clock: Clock, address: str = "127.0.0.1", port: int = 0) -> None:
        """`address`, `port`: where to listen; port 0 takes a free one."""
        self.clock = clock
        self.address = address
        self.port = port

    @abc.abstractmethod
    async def start(self) -> None:
        """Listen. Raises `IngressError` where the port is taken."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Take no more requests, and let those under way end within a short time. Stopping twice does nothing."""

    @abc.abstractmethod
    async def apply(self, table: RouteTable) -> None:
        """Use this table for every request that begins from now on."""

    @abc.abstractmethod
    def addresses(self) -> Sequence[IngressAddress]:
        """Where it can be reached once started."""
