"""Choosing a driver by name or URL: `memory`, `sqlite:///var/lib/x.db`, `etcd://host:2379`.

Each seam (`store`, `runtime`, `network`, `volume`, `proxy`, `ingress`, `cloud`) is a group of entry points,
`kube_core.<seam>`; a driver is a class and one line in its package's metadata. A driver is imported only when it is
chosen, so that one with a broken dependency harms nobody else. A URL's scheme is the driver's name; the rest is the
driver's own business.

Called by whoever puts a cluster or a node together. What a driver does is in `kube_core.abc`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kube_core._kit.clock import Clock
from kube_core._kit.entry_points import entry_points

if TYPE_CHECKING:
    from kube_core.abc.network import Network
    from kube_core.abc.runtime import Runtime

__all__ = ["SEAMS", "DriverError", "available_drivers", "driver_name", "load_driver", "make_node_drivers"]

SEAMS = ("store", "runtime", "network", "volume", "proxy", "ingress", "cloud")


class DriverError(Exception):
    """A driver that cannot be had; the message is one clear line for a person."""


def driver_name(choice: str) -> str:
    """The driver's name in a name or URL."""
    return choice.partition(":")[0]


def available_drivers(seam: str) -> Mapping[str, str]:
    """The drivers of a seam that are installed: name → where it is (`package.module:Class`)."""
    return {name: point.value for name, point in _entry_points(seam).items()}


def load_driver(seam: str, choice: str) -> Any:
    """The class of the driver that `choice` (a name or a URL) names. Raises `DriverError`."""
    points = _entry_points(seam)
    name = driver_name(choice)
    point = points.get(name)
    if point is None:
        known = ", ".join(points) or "none"
        raise DriverError(f"unknown {seam} driver {name!r}; available: {known}")
    try:
        return point.load()
    except Exception as error:
        raise DriverError(f"the {seam} driver {name!r} ({point.value}) cannot be imported: {error}") from error


def make_node_drivers(
    runtime: str,
    network: str,
    *,
    clock: Clock,
    node_name: str,
    state: Path,
    pod_cidr: str,
    images: Sequence[Path] = (),
) -> tuple[Runtime, Network]:
    """The runtime and the network of one node on its state folder, neither started yet. Raises `DriverError`.

    `images` are folders or archives for a runtime that takes them; what follows a runtime's name is handed on to it.
    """
    given: dict[str, Any] = {"clock": clock, "node_name": node_name, "state_directory": str(state)}
    own: dict[str, Any] = {}
    if ":" in runtime:
        own["url"] = runtime
    if images:
        own["image_folders"] = tuple(images)
    return load_driver("runtime", runtime)(**given, **own), load_driver("network", network)(**given, pod_cidr=pod_cidr)


@functools.cache
def _entry_points(seam: str) -> Mapping[str, EntryPoint]:
    """By name; where two packages offer one name, the first that is found has it."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(f"kube_core.{seam}"):
        found.setdefault(point.name, point)
    return found
