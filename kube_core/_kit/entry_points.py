"""What installed packages offer under a group of entry points, read once.

To look through every package takes some ten milliseconds, and a cluster asks for several groups; so all of them are
read together, when the first is asked for, and only what names a group of ours is taken apart. What the package that
this module is in offers comes first, in the order in which its metadata lists it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import metadata

__all__ = ["entry_points"]

_OWN = "kube-core"
#: How the name of each of our groups begins, as it is written in the metadata of packages.
_GROUPS = "[kube_core."


@functools.cache
def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Every entry point of a group: this package's, and then those of others as they are found."""
    found = [distribution.entry_points.select(group=group) for distribution in _offering()]
    return tuple(point for points in found for point in points)


@functools.cache
def _offering() -> Sequence[metadata.Distribution]:
    """The packages that offer anything under our groups, this one first. Of two versions of one package the first on
    the path counts, as it does for imports."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        if _GROUPS in (distribution.read_text("entry_points.txt") or ""):
            found.setdefault(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution)
    return sorted(found.values(), key=lambda distribution: distribution.name != _OWN)
