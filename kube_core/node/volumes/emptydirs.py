"""emptyDir volumes: a directory that everybody may use; in memory (a tmpfs of its own) where that can be had.

A tmpfs is a mount, which only root may make, and which only containers with mounts of their own see as one; elsewhere a
volume with `medium: Memory` is a directory like any other. A mount is found again by looking at the machine's, so an
agent that starts again makes none twice. Blocking: called on a thread.
"""

from __future__ import annotations

import os

from kube_core._kit import mounts

__all__ = ["make_empty_dir"]

_MODE = 0o777
_MS_NOSUID, _MS_NODEV = 2, 4


def make_empty_dir(path: str, *, in_memory: bool, size: int, group: int | None) -> None:
    """`size` in bytes limits one in memory; 0: half of the machine's memory. Again does nothing."""
    os.makedirs(path, exist_ok=True)
    if in_memory and not os.path.ismount(path):
        options = f"mode={_MODE:o}" + (f",size={size}" if size else "")
        mounts.mount("tmpfs", path, options, flags=_MS_NOSUID | _MS_NODEV)
    os.chmod(path, _MODE | (0o2000 if group is not None and os.geteuid() == 0 else 0))
    if group is not None and os.geteuid() == 0:
        os.chown(path, -1, group)
