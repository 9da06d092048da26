"""Giving a volume to a pod's `fsGroup`, as upstream documents under "Configure volume permission and ownership change".

Everything in it gets the group, which may then read it (and write it, unless the volume is read-only); directories pass
the group on to what is made in them. Only who may change owners does so; elsewhere the volume stays as it is, as its
containers run as the very user who made it. Blocking: called on a thread.
"""

from __future__ import annotations

import os
import stat

__all__ = ["give_to_group"]

_WRITABLE = 0o660
_READABLE = 0o440
_SEARCHABLE = 0o110


def give_to_group(path: str, group: int, *, read_only: bool = False, only_mismatch: bool = False) -> None:
    """`only_mismatch`: not where the root of the volume is the group's already."""
    if os.geteuid() != 0:
        return
    if only_mismatch and _fits(path, group, read_only=read_only):
        return
    for parent, directories, files in os.walk(path, topdown=False):
        for name in (*files, *directories):
            _give(os.path.join(parent, name), group, read_only=read_only)
    _give(path, group, read_only=read_only)


def _fits(path: str, group: int, *, read_only: bool) -> bool:
    found = os.stat(path)
    wanted = (_READABLE if read_only else _WRITABLE) | _SEARCHABLE | stat.S_ISGID
    return found.st_gid == group and found.st_mode & wanted == wanted


def _give(path: str, group: int, *, read_only: bool) -> None:
    try:
        found = os.lstat(path)
        os.chown(path, -1, group, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return
        more = _READABLE if read_only else _WRITABLE
        if stat.S_ISDIR(found.st_mode):
            more |= _SEARCHABLE | stat.S_ISGID
        os.chmod(path, stat.S_IMODE(found.st_mode) | more)
    except FileNotFoundError:
        pass  # a container is at work in it
