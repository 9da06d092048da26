"""Mounts that the node itself makes: memory, a second place for what is somewhere else; and taking them down.

Linux's own calls, which only root may make. What is mounted is found again by looking at the machine's mounts, so
nothing has to be remembered. Blocking: called on a thread.
"""

from __future__ import annotations

import os
import re

from kube_core.node.volumes.payload import VolumeFailure

__all__ = ["bind", "mount_memory", "unmount", "unmount_below"]

_MS_NOSUID, _MS_NODEV, _MS_BIND = 2, 4, 4096
_MNT_DETACH = 2
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_memory(place: str, options: str) -> None:
    """A file system in memory. Raises `VolumeFailure`."""
    _call("mount", b"tmpfs", os.fsencode(place), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())


def bind(source: str, place: str) -> None:
    """Have what is at `source` at `place`, too. Raises `VolumeFailure`."""
    _call("mount", os.fsencode(source), os.fsencode(place), None, _MS_BIND, None)


def unmount(place: str) -> None:
    """Take down what is mounted at `place`; what still uses it goes on. Raises `VolumeFailure`."""
    _call("umount2", os.fsencode(place), _MNT_DETACH)


def unmount_below(directory: str) -> None:
    """Take down every mount below a directory, the innermost first."""
    root = os.fsencode(os.path.realpath(directory)).rstrip(b"/") + b"/"
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            fields = [line.split(b" ")[4] for line in file]
    except OSError:
        return
    places = [_ESCAPED.sub(lambda found: bytes([int(found.group(1), 8)]), each) for each in fields]
    for place in sorted((each for each in places if each.startswith(root)), reverse=True):
        unmount(os.fsdecode(place))


def _call(name: str, *arguments: bytes | int | None) -> None:
    import ctypes  # lazily: few nodes mount anything

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise VolumeFailure(f"{name}: {os.strerror(ctypes.get_errno())}")
