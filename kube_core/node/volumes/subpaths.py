"""The place of a `subPath` in its volume: made where it is missing, and never outside, whatever links a pod has put
there.

What is there is opened step by step from the volume's root, without following a link out of it, and what is missing is
made below a directory that is held open; so a container that swaps a directory for a link in between gains nothing.
Blocking: called on a thread.
"""

from __future__ import annotations

import os

__all__ = ["SubPathError", "resolve_sub_path"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class SubPathError(Exception):
    """A path that leaves its volume, or that cannot be made."""


def resolve_sub_path(volume: str, inside: str) -> str:
    """The real path of `inside` a volume's directory. Raises `SubPathError`, which says nothing of the host."""
    root = os.path.realpath(volume)
    try:
        _make(root, [part for part in inside.split("/") if part not in ("", ".")])
        place = os.path.realpath(os.path.join(root, inside), strict=True)
    except OSError:
        raise SubPathError(inside) from None
    if place != root and not place.startswith(root.rstrip("/") + "/"):
        raise SubPathError(inside)
    return place


def _make(root: str, parts: list[str]) -> None:
    """Make the directories that are missing, as accessible as the volume itself."""
    mode = os.stat(root).st_mode & 0o7777
    at = root
    for number, part in enumerate(parts):
        step = os.path.join(at, part)
        if os.path.lexists(step):
            real = os.path.realpath(step, strict=True)
            if real != root and not real.startswith(root.rstrip("/") + "/"):
                raise PermissionError("it leaves the volume")
            at = real
            continue
        held = os.open(at, _DIRECTORY | os.O_NOFOLLOW)
        try:
            for missing in parts[number:]:
                os.mkdir(missing, dir_fd=held)
                below = os.open(missing, _DIRECTORY | os.O_NOFOLLOW, dir_fd=held)
                os.close(held)
                held = below
                os.fchmod(held, mode)
        finally:
            os.close(held)
        return
