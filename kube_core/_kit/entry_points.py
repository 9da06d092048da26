"""What installed packages offer under a group of entry points, read once.

To look through every package takes some ten milliseconds, and a cluster asks for several groups; so all of them are
read together, when the first is asked for. What the package that this module is in offers comes first, in the order in
which its metadata lists it.
"""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

__all__ = ["entry_points"]

_OWN = "kube-core"


@functools.cache
def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Every entry point of a group: this package's, and then those of others as they are found."""
    own = _own().select(group=group)
    return (*own, *(point for point in _all().select(group=group) if point not in own))


@functools.cache
def _all() -> Any:
    """`EntryPoints`, or what Python 3.11 has for them."""
    return metadata.entry_points()


@functools.cache
def _own() -> metadata.EntryPoints:
    try:
        return metadata.distribution(_OWN).entry_points
    except metadata.PackageNotFoundError:
        return metadata.EntryPoints()
