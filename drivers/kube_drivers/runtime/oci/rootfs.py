"""A container's root: its image's layers, and a layer of its own on top, as one overlay.

    <files>/merged   the root        <files>/upper, work   what the container writes

The overlay is `volatile` where the kernel can: what a container writes into its root ends with it, and need not wait
for the disk. Everything here blocks: callers use a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import attrs

from kube_core._kit import mounts
from kube_core.abc.runtime import RuntimeFailure
from kube_drivers import kernel, usernamespaces
from kube_drivers.runtime.oci.images.store import ImageStore, StoredImage
from kube_drivers.runtime.oci.users import inside

__all__ = ["Users", "bind_for", "discard_root", "make_directory", "make_root", "mount_image"]

_MS_RDONLY = 1


@attrs.frozen
class Users:
    """Whose files are: those of a pinned user namespace, whose root is `first` to the host, or the host's."""

    namespace: str = ""
    first: int = 0


def make_root(store: ImageStore, image: StoredImage, files: Path, users: Users | None = None) -> Path:
    """Mount a root in the folder `files`; returns it. Raises `RuntimeFailure`; `discard_root` removes it."""
    users = users or Users()
    merged, upper, work = (files / name for name in ("merged", "upper", "work"))
    lowers = store.lowers(image)
    try:
        for path in (merged, upper, work):
            path.mkdir()
        if not lowers:
            (files / "empty").mkdir()
            (files / "empty").chmod(0o755)
            lowers = [str(files / "empty")]
        # The root looks as the uppermost of the overlay's directories does.
        there = (store.layers_directory / lowers[0]).stat()
        os.chown(upper, there.st_uid + users.first, there.st_gid + users.first)
        upper.chmod(stat.S_IMODE(there.st_mode))
        own = f",upperdir={upper},workdir={work}"
        try:
            _overlay(store, lowers, merged, own + ",volatile", users=users)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _overlay(store, lowers, merged, own, users=users)
    except OSError as error:
        raise RuntimeFailure(f"the root of the container cannot be made: {error.strerror}") from None
    return merged


def mount_image(store: ImageStore, image: StoredImage, target: Path, users: Users | None = None) -> None:
    """Mount the content of an image, read-only, at a folder that is made. Raises `RuntimeFailure`."""
    try:
        target.mkdir(parents=True)
        empty = target.with_name(f"{target.name}.empty")
        empty.mkdir()
        # An overlay without a layer of its own has two lower ones at least.
        _overlay(store, [*store.lowers(image), str(empty)], target, "", flags=_MS_RDONLY, users=users or Users())
    except OSError as error:
        raise RuntimeFailure(f"the image cannot be mounted: {error.strerror}") from None


def bind_for(users: Users, source: str, target: Path) -> None:
    """Show what is at `source` at `target`, its owners mapped. Raises `OSError`, and `RuntimeFailure` with a reason."""
    try:
        usernamespaces.bind_mapped(source, target, users.namespace)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise RuntimeFailure(f"{source} is on a file system that cannot give its files to a pod's own users") from None


def make_directory(root: Path, path: str, owner: tuple[int, int], users: Users | None = None) -> None:
    """Have a directory in a root (a working directory that the image lacks). Raises `RuntimeFailure`."""
    users = users or Users()
    place = inside(root, path)
    missing = []
    while not os.path.isdir(place) and len(place) > len(str(root)):
        missing.append(place)
        place = os.path.dirname(place)
    try:
        for each in reversed(missing):
            os.mkdir(each)
            os.chmod(each, 0o755)
            os.chown(each, users.first, users.first)
        if missing:
            os.chown(missing[0], *(each + users.first for each in owner))
    except OSError as error:
        raise RuntimeFailure(f"the working directory {path} cannot be made: {error.strerror}") from None


def discard_root(files: Path) -> None:
    for path in mounts.mounts_below(files):
        with contextlib.suppress(OSError):
            mounts.unmount(path)
    shutil.rmtree(files, ignore_errors=True)


def _overlay(
    store: ImageStore, lowers: Sequence[str], target: Path, more: str, *, users: Users, flags: int = 0
) -> None:
    # Relative to the layers, as all options together fit into one page of memory.
    if not users.namespace:
        kernel.mount_from(store.layers_directory, "overlay", target, f"lowerdir={':'.join(lowers)}{more}", flags=flags)
        return
    # An overlay cannot be mapped, but what it is made of can; it keeps that when the mounts have gone.
    directory = target.with_name(f"{target.name}.lower")
    directory.mkdir(exist_ok=True)
    mapped: list[Path] = []
    try:
        for number, lower in enumerate(lowers):
            mapped.append(directory / str(number))
            mapped[-1].mkdir(exist_ok=True)
            bind_for(users, str(store.layers_directory / lower), mapped[-1])
        names = ":".join(each.name for each in mapped)
        kernel.mount_from(directory, "overlay", target, f"lowerdir={names}{more}", flags=flags)
    finally:
        for each in mapped:
            mounts.unmount(each)
