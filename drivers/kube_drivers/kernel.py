"""Mounts and namespaces, by the C library: what the standard library has no calls for.

Errors are `OSError`. Namespaces are entered and left in threads that end afterwards, so that no other thread of this
program ever is in one of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

__all__ = ["bind", "in_namespace", "is_mount", "mount", "mounts_below", "pin_namespaces", "socket_in", "unmount"]

T = TypeVar("T")

NamespaceKind = Literal["ipc", "net", "uts"]

_FLAGS: dict[str, int] = {"ipc": 0x08000000, "net": 0x40000000, "uts": 0x04000000}
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2


def mount(kind: str, target: Path, options: str = "", *, flags: int = 0, cwd: Path | None = None) -> None:
    """Mount a file system. `cwd`: what paths in the options are relative to."""

    def act() -> None:
        if cwd is not None:
            # The thread's own, not the program's.
            _check(_libc().unshare(0x200), "unshare")
            os.chdir(cwd)
        _check(_libc().mount(kind.encode(), str(target).encode(), kind.encode(), flags, options.encode()), str(target))

    _apart(act) if cwd is not None else act()


def bind(source: str, target: Path) -> None:
    """Show what is at `source` at `target` too; what happens to the one mount is no business of the other."""
    _check(_libc().mount(source.encode(), str(target).encode(), None, _MS_BIND, None), str(target))
    _check(_libc().mount(None, str(target).encode(), None, _MS_PRIVATE, None), str(target))


def unmount(target: Path) -> None:
    """As soon as nobody uses it any more; nothing where nothing is mounted."""
    # Asking first would not tell: what is bound from the same file system looks like a part of it.
    while _libc().umount2(str(target).encode(), _MNT_DETACH) == 0:
        pass
    if (number := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOENT):
        raise OSError(number, os.strerror(number), str(target))


def is_mount(target: Path) -> bool:
    try:
        return os.lstat(target).st_dev != os.lstat(target.parent).st_dev
    except FileNotFoundError:
        return False


def mounts_below(directory: Path) -> list[Path]:
    """What is mounted in there, the innermost first."""
    prefix = f"{directory}/"
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            place = line.split(" ")[4].replace("\\040", " ")
            if place.startswith(prefix):
                found.append(Path(place))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def pin_namespaces(kinds: Sequence[NamespaceKind], directory: Path, inside: Callable[[], None]) -> None:
    """Make new namespaces, each to stay as `<directory>/<kind>` until that is unmounted; do something in them first."""
    for kind in kinds:
        (directory / kind).touch()

    def act() -> None:
        flags = 0
        for kind in kinds:
            flags |= _FLAGS[kind]
        _check(_libc().unshare(flags), "unshare")
        inside()
        for kind in kinds:
            bind(f"/proc/thread-self/ns/{kind}", directory / kind)

    _apart(act)


def in_namespace(path: str, kind: NamespaceKind, act: Callable[[], T]) -> T:
    """Do something in a namespace that is pinned there."""

    def there() -> T:
        with open(path) as file:
            _check(_libc().setns(file.fileno(), _FLAGS[kind]), path)
        return act()

    return _apart(there)


def socket_in(path: str, family: int) -> socket.socket:
    """A TCP socket of a network namespace, which stays of that wherever it is used."""
    return in_namespace(path, "net", lambda: socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))


def _apart(act: Callable[[], T]) -> T:
    """In a thread that ends with it."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, act()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    done, result = outcome[0]
    if not done:
        raise result
    return result  # type: ignore[no-any-return]


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
