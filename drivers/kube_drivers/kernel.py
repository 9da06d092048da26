"""Namespaces, by the C library: what the standard library has no calls for. Mounts are `kube_core._kit.mounts`'.

Errors are `OSError`. Namespaces are entered and left in threads that end afterwards, so that no other thread of this
program ever is in one of them.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from kube_core._kit import mounts

__all__ = ["in_namespace", "mount_from", "pin_namespaces", "socket_in"]

T = TypeVar("T")

NamespaceKind = Literal["ipc", "net", "uts"]

_FLAGS: dict[str, int] = {"ipc": 0x08000000, "net": 0x40000000, "uts": 0x04000000}


def mount_from(directory: Path, kind: str, target: Path, options: str, *, flags: int = 0) -> None:
    """Mount a file system whose options have paths relative to a directory."""

    def act() -> None:
        # The thread's own, not the program's.
        _check(_libc().unshare(0x200), "unshare")
        os.chdir(directory)
        mounts.mount(kind, target, options, flags=flags)

    _apart(act)


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
            mounts.bind(f"/proc/thread-self/ns/{kind}", directory / kind)

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
