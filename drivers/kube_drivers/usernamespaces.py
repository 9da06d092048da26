"""User namespaces, and mounts in which files belong to their users: Linux, as root.

A program of many threads can enter no user namespace, so whatever is to belong to one is made by a process of its own,
which is there until it is pinned. Mounts are mapped by the kernel (idmapped mounts, since 5.12; below an overlay since
5.19): files are on the disk as they always were. Errors are `OSError`. Blocking.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kube_core._kit import mounts
from kube_drivers import kernel

__all__ = ["available", "bind_mapped", "owner_of", "pin_namespaces_of_users"]

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_FROM_EMPTY = 1, os.O_CLOEXEC, 4
_MOUNT_ATTR_IDMAP = 0x00100000
_NS_GET_USERNS = 0xB701
_KERNEL = (5, 19)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def available() -> bool:
    """Whether this machine has them, and a kernel that maps mounts."""
    try:
        most = int(Path("/proc/sys/user/max_user_namespaces").read_text())
        release = os.uname().release.split(".")
        return most > 0 and (int(release[0]), int(release[1].partition("-")[0])) >= _KERNEL
    except (OSError, ValueError, IndexError):
        return False


def pin_namespaces_of_users(
    kinds: Sequence[kernel.NamespaceKind], directory: Path, first: int, length: int, *, within: str = ""
) -> None:
    """Make namespaces that belong to a user namespace, each to stay as `<directory>/<kind>` until that is unmounted.

    The user namespace is the one that is pinned at `within`, or else a new one (which is pinned as `user`), in which
    `length` ids from 0 are those from `first` here.
    """
    words = [f"--{kind}" for kind in kinds]
    command = ["nsenter", f"--user={within}", "unshare", *words] if within else ["unshare", "--user", *words]
    # What says something has been started, and so is where it is to be.
    with subprocess.Popen(
        [*command, "cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
            if not process.stdout.read(1):
                raise OSError(errno.EPERM, "a user namespace cannot be made or entered", within or None)
            there = Path("/proc", str(process.pid))
            if not within:
                for name in ("uid_map", "gid_map"):
                    (there / name).write_text(f"0 {first} {length}")
            for kind in kinds if within else ("user", *kinds):
                (directory / kind).touch()
                mounts.bind(str(there / "ns" / kind), directory / kind)
        finally:
            process.kill()


def owner_of(namespace: str, target: Path) -> bool:
    """Pin the user namespace that a namespace belongs to; whether it is another one than this program's."""
    with open(namespace) as opened:
        owner = fcntl.ioctl(opened.fileno(), _NS_GET_USERNS)
    try:
        if os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user")):
            return False
        target.touch()
        mounts.bind(f"/proc/self/fd/{owner}", target)
        return True
    finally:
        os.close(owner)


def bind_mapped(source: str, target: Path, users: str) -> None:
    """Show what is at `source` at `target` too, where what belongs to root belongs to root of a user namespace.

    `users`: where that is pinned. EINVAL: the file system cannot do that.
    """
    tree = _call(
        _OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE, what=source
    )
    try:
        with open(users) as namespace:
            wanted = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, namespace.fileno())
            size = ctypes.sizeof(wanted)
            flags = _AT_EMPTY_PATH | _AT_RECURSIVE
            _call(_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(wanted), size, what=source)
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_FROM_EMPTY, what=str(target))
    finally:
        os.close(tree)


def _call(number: int, *arguments: object, what: str) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        reason = ctypes.get_errno()
        raise OSError(reason, os.strerror(reason), what)
    return result
