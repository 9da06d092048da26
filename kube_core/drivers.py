"""Choosing a driver by name or URL: `memory`, `sqlite:///var/lib/x.db`, `etcd://host:2379`.

Each seam (`store`, `runtime`, `network`, `volume`, `proxy`, `ingress`, `cloud`) is a group of entry points,
`kube_core.<seam>`; a driver is a class and one line in its package's metadata. A driver is imported only when it is
chosen, so that one with a broken dependency harms nobody else. A URL's scheme is the driver's name; the rest is the
driver's own business.

Called by `cluster.py` and the command line. What a driver does is in `kube_core.abc`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

from kube_core._kit.entry_points import entry_points

__all__ = ["SEAMS", "DriverError", "available_drivers", "driver_name", "load_driver"]

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


@functools.cache
def _entry_points(seam: str) -> Mapping[str, EntryPoint]:
    """By name; where two packages offer one name, the first that is found has it."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(f"kube_core.{seam}"):
        found.setdefault(point.name, point)
    return found
