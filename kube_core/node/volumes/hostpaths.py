"""Checking, and making, what a hostPath volume names: by its `type`, with upstream's words. Blocking: on a thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping

from kube_core.node.volumes.payload import VolumeFailure

__all__ = ["check_host_path"]

_KINDS: Mapping[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def check_host_path(path: str, kind: str) -> None:
    """Raises `VolumeFailure` where `path` is not what `kind` says. "" says nothing."""
    if not kind:
        return
    if kind not in _KINDS:
        raise VolumeFailure(f"{kind} is an invalid volume type")
    fits, what = _KINDS[kind]
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not kind.endswith("OrCreate"):
            raise VolumeFailure(f"hostPath type check failed: {path} is not a {what}") from None
        _make(path, directory=kind.startswith("Directory"))
        return
    if not fits(mode):
        raise VolumeFailure(f"hostPath type check failed: {path} is not a {what}")


def _make(path: str, *, directory: bool) -> None:
    if directory:
        os.makedirs(path, mode=0o755, exist_ok=True)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
