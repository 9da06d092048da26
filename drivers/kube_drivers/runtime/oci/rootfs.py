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

from kube_core.abc.runtime import RuntimeFailure
from kube_drivers import kernel
from kube_drivers.runtime.oci.images.store import ImageStore, StoredImage
from kube_drivers.runtime.oci.users import inside

__all__ = ["discard_root", "make_directory", "make_root", "mount_image"]

_MS_RDONLY = 1


def make_root(store: ImageStore, image: StoredImage, files: Path) -> Path:
    """Mount a root in the folder `files`; returns it. Raises `RuntimeFailure`; `discard_root` removes it."""
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
        os.chown(upper, there.st_uid, there.st_gid)
        upper.chmod(stat.S_IMODE(there.st_mode))
        own = f",upperdir={upper},workdir={work}"
        try:
            _overlay(store, lowers, merged, own + ",volatile")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _overlay(store, lowers, merged, own)
    except OSError as error:
        raise RuntimeFailure(f"the root of the container cannot be made: {error.strerror}") from None
    return merged


def mount_image(store: ImageStore, image: StoredImage, target: Path) -> None:
    """Mount the content of an image, read-only, at a folder that is made. Raises `RuntimeFailure`."""
    try:
        target.mkdir(parents=True)
        empty = target.with_name(f"{target.name}.empty")
        empty.mkdir()
        # An overlay without a layer of its own has two lower ones at least.
        _overlay(store, [*store.lowers(image), str(empty)], target, "", flags=_MS_RDONLY)
    except OSError as error:
        raise RuntimeFailure(f"the image cannot be mounted: {error.strerror}") from None


def make_directory(root: Path, path: str, owner: tuple[int, int]) -> None:
    """Have a directory in a root (a working directory that the image lacks). Raises `RuntimeFailure`."""
    place = inside(root, path)
    missing = []
    while not os.path.isdir(place) and len(place) > len(str(root)):
        missing.append(place)
        place = os.path.dirname(place)
    try:
        for each in reversed(missing):
            os.mkdir(each)
            os.chmod(each, 0o755)
        if missing:
            os.chown(missing[0], *owner)
    except OSError as error:
        raise RuntimeFailure(f"the working directory {path} cannot be made: {error.strerror}") from None


def discard_root(files: Path) -> None:
    for path in kernel.mounts_below(files):
        with contextlib.suppress(OSError):
            kernel.unmount(path)
    shutil.rmtree(files, ignore_errors=True)


def _overlay(store: ImageStore, lowers: Sequence[str], target: Path, more: str, *, flags: int = 0) -> None:
    # Relative to the layers, as all options together fit into one page of memory.
    kernel.mount("overlay", target, f"lowerdir={':'.join(lowers)}{more}", flags=flags, cwd=store.layers_directory)
