"""The place of a `subPath` in its volume: made where it is missing, and never outside, whatever links a pod put there.

Links in a volume are followed as long as they stay in it. What they lead to is then opened step by step from the
volume's root, where no step may be a link any more; what is missing is made below a directory that is held open. For a
container with mounts of its own, what was opened is bound to a place of the node's, and that is what it mounts: another
container of the pod that swaps a directory for a link in between gains nothing. Blocking: called on a thread.
"""

from __future__ import annotations

import os
import stat

from kube_core._kit import mounts

__all__ = ["SubPathError", "bind_sub_path", "resolve_sub_path"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC


class SubPathError(Exception):
    """A path that leaves its volume, or that cannot be made."""


def resolve_sub_path(volume: str, inside: str) -> str:
    """The real path of `inside` a volume's directory. Raises `SubPathError`, which says nothing of the host."""
    place, held = _hold(volume, inside)
    os.close(held)
    return place


def bind_sub_path(volume: str, inside: str, target: str) -> str:
    """Have `inside` a volume at `target`, which is returned. Raises `SubPathError` and OSError."""
    _, held = _hold(volume, inside)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        mounts.unmount(target)
        if os.path.lexists(target):
            os.rmdir(target) if os.path.isdir(target) else os.unlink(target)
        if stat.S_ISDIR(os.fstat(held).st_mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        mounts.bind(f"/proc/self/fd/{held}", target, private=False)
    finally:
        os.close(held)
    return target


def _hold(volume: str, inside: str) -> tuple[str, int]:
    """The real path of `inside`, and the place itself, opened."""
    root = os.path.realpath(volume)
    try:
        _make(root, [part for part in inside.split("/") if part not in ("", ".")])
        place = _inside(root, os.path.join(root, inside))
        return place, _open(root, place, _PLACE)
    except OSError:
        raise SubPathError(inside) from None


def _inside(root: str, path: str) -> str:
    """The real path. Raises OSError where it is none, or out of the root."""
    real = os.path.realpath(path, strict=True)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise PermissionError("it leaves the volume")
    return real


def _open(root: str, real: str, flags: int) -> int:
    """Open a real path below the root, of which no step is a link."""
    held = os.open(root, _DIRECTORY)
    parts = [part for part in os.path.relpath(real, root).split("/") if part != "."]
    try:
        for number, part in enumerate(parts):
            below = os.open(part, flags if number == len(parts) - 1 else _DIRECTORY, dir_fd=held)
            os.close(held)
            held = below
            if stat.S_ISLNK(os.fstat(held).st_mode):
                raise PermissionError("it is a link by now")
    except OSError:
        os.close(held)
        raise
    return held


def _make(root: str, parts: list[str]) -> None:
    """Make the directories that are missing, as accessible as the volume itself."""
    mode = os.stat(root).st_mode & 0o7777
    at = root
    for number, part in enumerate(parts):
        step = os.path.join(at, part)
        if os.path.lexists(step):
            at = _inside(root, step)
            continue
        held = _open(root, at, _DIRECTORY)
        try:
            for missing in parts[number:]:
                os.mkdir(missing, dir_fd=held)
                below = os.open(missing, _DIRECTORY, dir_fd=held)
                os.close(held)
                held = below
                os.fchmod(held, mode)
        finally:
            os.close(held)
        return
