"""A directory of files that changes all at once, as upstream documents it for ConfigMap, Secret and projected volumes.

    <volume>/..2026_01_01_…/   the files
    <volume>/..data            a symbolic link to it, replaced in one step
    <volume>/app.conf          a symbolic link to ..data/app.conf

A reader sees the old files or the new ones, never some of each. Blocking: called on a thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from kube_core.node.volumes.ownership import give_to_group

__all__ = ["File", "replace_files"]

_DATA = "..data"


@attrs.frozen
class File:
    """`user`: who owns it, where that is another one than the agent and the agent may say so."""

    content: bytes
    mode: int
    user: int | None = None


def replace_files(directory: str, files: Mapping[str, File], now: float, *, group: int | None = None) -> bool:
    """Make `files` (by relative path) what is in `directory`; whether that changed anything.

    `group`: whose all of it is (a pod's `fsGroup`), from the moment that it is there.
    """
    os.makedirs(directory, exist_ok=True)
    link = os.path.join(directory, _DATA)
    old = os.readlink(link) if os.path.islink(link) else ""
    if old and _same(os.path.join(directory, old), files):
        return False
    stamp = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S")
    fresh, number = stamp, 0
    while os.path.lexists(os.path.join(directory, fresh)):
        number += 1
        fresh = f"{stamp}.{number}"
    for path, file in files.items():
        place = os.path.join(directory, fresh, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(file.content)
        os.chmod(place, file.mode)
        if file.user is not None and os.geteuid() == 0:
            os.chown(place, file.user, -1)
    os.makedirs(os.path.join(directory, fresh), exist_ok=True)
    if group is not None:
        give_to_group(os.path.join(directory, fresh), group, read_only=True)
    step = os.path.join(directory, "..data_tmp")
    if os.path.lexists(step):
        os.unlink(step)
    os.symlink(fresh, step)
    os.replace(step, link)
    _link_names(directory, {path.split("/", 1)[0] for path in files})
    if group is not None:
        give_to_group(directory, group, read_only=True, only_mismatch=True)
    if old:
        shutil.rmtree(os.path.join(directory, old), ignore_errors=True)
    return True


def _same(place: str, files: Mapping[str, File]) -> bool:
    present = {
        os.path.relpath(os.path.join(parent, name), place) for parent, _, names in os.walk(place) for name in names
    }
    if present != set(files):
        return False
    for path, file in files.items():
        with open(os.path.join(place, path), "rb") as known:
            # A group's rights may have been added.
            if known.read() != file.content or os.fstat(known.fileno()).st_mode & file.mode != file.mode:
                return False
    return True


def _link_names(directory: str, names: set[str]) -> None:
    for name in os.listdir(directory):
        if not name.startswith("..") and name not in names:
            os.unlink(os.path.join(directory, name))
    for name in names:
        place = os.path.join(directory, name)
        if not os.path.lexists(place):
            os.symlink(os.path.join(_DATA, name), place)
