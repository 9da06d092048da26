"""emptyDir volumes: a directory that everybody may use; in memory (a tmpfs of its own) where that can be had.

A tmpfs is a mount, which only root may make, and which only containers with mounts of their own see as one; elsewhere a
volume with `medium: Memory` is a directory like any other. A mount is found again by looking at the machine's, so an
agent that starts again makes none twice. Blocking: called on a thread.
"""

from __future__ import annotations

import os

from kube_core.node.volumes.payload import VolumeFailure

__all__ = ["make_empty_dir", "unmount_below"]

_MODE = 0o777
_MS_NOSUID, _MS_NODEV = 2, 4
_MNT_DETACH = 2


def make_empty_dir(path: str, *, in_memory: bool, size: int, group: int | None) -> None:
    """`size` in bytes limits one in memory; 0: half of the machine's memory. Again does nothing."""
    os.makedirs(path, exist_ok=True)
    if in_memory and not os.path.ismount(path):
        options = f"mode={_MODE:o}" + (f",size={size}" if size else "")
        _call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())
    os.chmod(path, _MODE | (0o2000 if group is not None and os.geteuid() == 0 else 0))
    if group is not None and os.geteuid() == 0:
        os.chown(path, -1, group)


def unmount_below(directory: str) -> None:
    """Take down every mount below a directory, the innermost first."""
    root = os.path.realpath(directory).rstrip("/") + "/"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            places = [line.split(" ")[4].encode().decode("unicode_escape") for line in file]
    except OSError:
        return
    for place in sorted((each for each in places if each.startswith(root)), reverse=True):
        _call("umount2", os.fsencode(place), _MNT_DETACH)


def _call(name: str, *arguments: bytes | int) -> None:
    """A function of the C library. Raises `VolumeFailure`."""
    import ctypes  # lazily: few nodes mount anything

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise VolumeFailure(f"{name}: {os.strerror(ctypes.get_errno())}")
