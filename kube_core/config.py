"""What a cluster is made of: the options of `Cluster(...)` and `kube-core up`, checked when they are given."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.transport import User
from kube_core.api.kubelet import KubeletSettings
from kube_core.auth.options import SecurityOptions

__all__ = ["ClusterConfig", "ConfigError"]


_FEWEST_SERVICES = 8


class ConfigError(ValueError):
    """An option that cannot be; the message is one clear line for a person."""


def _cidr(instance: ClusterConfig, attribute: attrs.Attribute[str], value: str) -> None:
    if not value:
        return
    if "," in value:
        raise ConfigError(
            f"{attribute.name}: {value} is several ranges; a cluster has one, and so one family of addresses"
        )
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ConfigError(f"{attribute.name}: {error}") from None


def _service_cidr(instance: ClusterConfig, attribute: attrs.Attribute[str], value: str) -> None:
    _cidr(instance, attribute, value)
    if value and ipaddress.ip_network(value).num_addresses < _FEWEST_SERVICES:
        raise ConfigError(f"{attribute.name}: {value} is too small; it needs {_FEWEST_SERVICES} addresses or more")


def _address(instance: ClusterConfig, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError as error:
        raise ConfigError(f"{attribute.name}: {error}") from None


def _local(value: str) -> str:
    return "127.0.0.1" if value == "localhost" else value


def _positive(instance: ClusterConfig, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 0:
        raise ConfigError(f"{attribute.name}: {value} is less than 0")


def _not_negative(instance: ClusterConfig, attribute: attrs.Attribute[float], value: float) -> None:
    if not value >= 0:
        raise ConfigError(f"{attribute.name}: {value} is less than 0")


def _port(instance: ClusterConfig, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= 65535:
        raise ConfigError(f"{attribute.name}: {value} is not a port")


@attrs.frozen(kw_only=True)
class ClusterConfig:
    """One cluster. Drivers are named as their entry points are, or by URL; "" takes what goes with the runtime.

    `runtime="fake"` goes with the fake network, volumes and proxy, so that a cluster needs nothing of its machine;
    any other runtime goes with `loopback` (network and cloud), `hostdir`, `userspace` and `http`, but `oci` and
    `cri` with the network `bridge`.
    """

    name: str = "embedded"
    nodes: int = attrs.field(default=1, validator=_positive)
    #: Nodes are to come that are processes of their own (`kube-core node`): what they need is there from the start.
    outside_nodes: bool = False
    store: str = "memory:"
    runtime: str = "fake"
    network: str = ""
    volume: str = ""
    proxy: str = ""
    ingress: str = ""
    #: Load balancers, instances and routes; `none` for a cluster that stands on nothing.
    cloud: str = ""
    #: The address to listen on; other parts of the cluster are told it, so a name will not do.
    bind: str = attrs.field(default="127.0.0.1", converter=_local, validator=_address)
    port: int = attrs.field(default=0, validator=_port)
    #: Listen with HTTPS; without it only clients in the same program reach the cluster.
    listen: bool = True
    #: Names of controllers; `("all",)` runs every one but those that must be named (`bootstrap-signer-controller`,
    #: `token-cleaner-controller`), `()` none.
    controllers: tuple[str, ...] = ("all",)
    pod_cidr: str = attrs.field(default="", validator=_cidr)
    service_cidr: str = attrs.field(default="", validator=_service_cidr)
    #: Where the ingress listens; 0 takes a free port.
    ingress_port: int = attrs.field(default=0, validator=_port)
    #: Where everything that outlives the program is kept; None: a temporary directory, removed at the end.
    state_directory: Path | None = None
    #: Folders in which the process runtime finds images by name.
    images: tuple[Path, ...] = ()
    #: By image, what containers of the fake runtime do: a function, or a `kube_drivers.runtime.fake.FakeBehaviour`.
    behaviours: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    #: Bearer tokens that hold for good, and whose they are (upstream's static token file).
    tokens: Mapping[str, User] = attrs.field(factory=dict, repr=False)
    #: Who may come in, what they may do, what is encrypted and noted.
    security: SecurityOptions = attrs.field(factory=SecurityOptions)
    #: What nodes are told: thresholds, periods, static pods, the cluster's DNS.
    kubelet: KubeletSettings = attrs.field(factory=KubeletSettings)
    #: Seconds for which Events are kept after they were last written; 0 keeps them.
    event_ttl: float = attrs.field(default=3600.0, validator=attrs.validators.ge(0))
    #: Serve metrics.k8s.io from what the nodes say that they use.
    metrics: bool = True
    #: Of chance; None takes one from the operating system.
    seed: int | None = None
    #: Write every renewal of the nodes' leases, also while virtual time is moved and nobody could tell.
    every_heartbeat: bool = False
    #: Keep a record of requests, writes and reconciles, with their causes.
    record: bool = False
    #: Seconds from when `/readyz` fails to when the cluster begins to stop, for balancers to notice.
    shutdown_delay: float = attrs.field(default=0.0, validator=_not_negative)

    @classmethod
    def from_yaml(cls, path: Path | str) -> ClusterConfig:
        """The options that a YAML file names. Raises `ConfigError`, which names file, line and field."""
        from kube_core.config_file import read_options  # lazily: it reads YAML, which few programs do

        return cls(**read_options(path))

    @property
    def simulated(self) -> bool:
        """Whether pods only seem to run."""
        return self.runtime.partition(":")[0] == "fake"

    @property
    def has_nodes(self) -> bool:
        """Whether there are nodes, here or elsewhere, for which pods are scheduled."""
        return bool(self.nodes) or self.outside_nodes

    def driver(self, seam: str) -> str:
        """The driver chosen for a seam, or the one that goes with the runtime."""
        chosen: str = getattr(self, seam)
        if chosen:
            return chosen
        if seam == "cloud":
            # Load balancers lead to pods, of which there are none without nodes, or only seem to be.
            return "none" if self.simulated or not self.has_nodes else "loopback"
        network = "bridge" if self._contained else "loopback"
        real = {"network": network, "volume": "hostdir", "proxy": "userspace", "ingress": "http"}
        return "fake" if self.simulated else real[seam]

    @property
    def _contained(self) -> bool:
        """Whether no pod is a process that has only the machine's own network."""
        name, _, rest = self.runtime.partition(":")
        names = set(rest.split("+")) if name == "mixed" else {name}
        return bool(names & {"oci", "cri"}) and names <= {"oci", "cri", "fake"}
