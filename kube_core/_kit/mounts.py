"""Mounts, by the C library's calls, which the standard library has not. Linux, as who may mount.

What is mounted is found again by looking at the machine, so nothing has to be remembered. Errors are `OSError`.
Blocking: called on a thread. Namespaces are no business of this module.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

__all__ = ["bind", "is_mount", "mount", "mounts_below", "unmount", "unmount_below"]

_MS_BIND = 1 << 12
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount(kind: str, target: Path | str, options: str = "", *, flags: int = 0) -> None:
    """Mount a file system."""
    _call("mount", kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode(), what=target)


def bind(source: str, target: Path | str, *, private: bool = True) -> None:
    """Show what is at `source` at `target` too.

    `private`: what happens to the one mount is no business of the other.
    """
    _call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND, None, what=target)
    if private:
        _call("mount", None, os.fsencode(target), None, _MS_PRIVATE, None, what=target)


def unmount(target: Path | str) -> None:
    """As soon as nobody uses it any more, all that is mounted there; nothing where nothing is."""
    while True:
        # Asking first would not tell: what is bound from the same file system looks like a part of it.
        try:
            _call("umount2", os.fsencode(target), _MNT_DETACH, what=target)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            raise


def is_mount(target: Path | str) -> bool:
    """Whether another file system is mounted at a directory, or a namespace at a file."""
    try:
        return os.lstat(target).st_dev != os.lstat(os.path.dirname(target)).st_dev
    except FileNotFoundError:
        return False


def mounts_below(directory: Path | str) -> list[Path]:
    """What is mounted in there, the innermost first."""
    prefix = os.fsencode(directory).rstrip(b"/") + b"/"
    found = [Path(os.fsdecode(place)) for place in _places() if place.startswith(prefix)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def unmount_below(directory: Path | str) -> None:
    """Take down every mount below a directory, wherever links lead to it."""
    for place in mounts_below(os.path.realpath(directory)):
        unmount(place)


def _places() -> list[bytes]:
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            fields = [line.split(b" ")[4] for line in file]
    except OSError:  # there are machines without
        return []
    return [_ESCAPED.sub(lambda found: bytes([int(found.group(1), 8)]), each) for each in fields]


def _call(name: str, *arguments: bytes | int | None, what: Path | str) -> None:
    import ctypes  # lazily: few programs mount anything

    library: Any = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(what))
