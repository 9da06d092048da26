"""Who a container's process is: users and groups of an image, by its `/etc/passwd` and `/etc/group`.

The files are read within the image's root, whatever links they are. By CRI: a user of the pod stands before the
image's; a group that nobody names is that of the user, or root's; groups that the image gives the user are added,
unless the policy is `Strict`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from kube_core.abc.runtime import ContainerUser, RuntimeFailure
from kube_core.abc.security import SecurityContext

__all__ = ["ResolvedUser", "inside", "resolve_user"]

_MOST_LINKS = 40
_MOST_BYTES = 4 << 20
_MOST_ID = (1 << 32) - 2


@attrs.frozen
class ResolvedUser:
    """A container's first process: who it is, and its home directory."""

    id: ContainerUser
    home: str


def resolve_user(root: Path, image_user: str, security: SecurityContext) -> ResolvedUser:
    """`image_user`: as the image's configuration says it (`web`, `1000:1000`, ""). Raises `RuntimeFailure`."""
    named, _, group_named = (security.user_name or image_user).partition(":")
    wanted = str(security.user) if security.user is not None else named or "0"
    entry = _entry(root, wanted)
    if entry is None and not _is_id(wanted):
        raise RuntimeFailure(f"unable to find user {wanted}: no matching entries in passwd file")
    user = int(entry[2]) if entry is not None else int(wanted)
    if security.group is not None:
        group = security.group
    elif security.user is None and group_named:
        group = _group(root, group_named)
    else:
        group = int(entry[3]) if entry is not None else 0
    groups = {*security.supplemental_groups, group}
    if entry is not None and security.supplemental_groups_policy == "Merge":
        groups.update(int(line[2]) for line in _lines(root, "/etc/group", 4) if entry[0] in line[3].split(","))
    home = entry[5] if entry is not None and entry[5] else "/"
    return ResolvedUser(ContainerUser(user, group, tuple(sorted(groups))), home)


def inside(root: Path, path: str) -> str:
    """Where a path of a container is on the host, its links followed within the container's root.

    For a container that does not run: nobody changes the links meanwhile. Raises `RuntimeFailure` for a circle.
    """
    current: list[str] = []
    waiting = [part for part in path.split("/") if part]
    followed = 0
    while waiting:
        name = waiting.pop(0)
        if name == ".":
            continue
        if name == "..":
            del current[-1:]
            continue
        place = os.path.join(root, *current, name)
        if os.path.islink(place):
            followed += 1
            if followed > _MOST_LINKS:
                raise RuntimeFailure(f"{path} goes round in circles in the image")
            link = os.readlink(place)
            if link.startswith("/"):
                current.clear()
            waiting[:0] = [part for part in link.split("/") if part]
        else:
            current.append(name)
    return os.path.join(root, *current)


def _entry(root: Path, user: str) -> list[str] | None:
    """The line of `/etc/passwd` of a user, by name or else by number."""
    lines = list(_lines(root, "/etc/passwd", 7))
    by_name = next((line for line in lines if line[0] == user), None)
    return by_name or next((line for line in lines if line[2] == user), None)


def _group(root: Path, group: str) -> int:
    lines = list(_lines(root, "/etc/group", 4))
    found = next((line for line in lines if line[0] == group), None)
    if found is not None:
        return int(found[2])
    if not _is_id(group):
        raise RuntimeFailure(f"unable to find group {group}: no matching entries in group file")
    return int(group)


def _lines(root: Path, path: str, fields: int) -> Iterator[list[str]]:
    """The lines of such a file that are as they should be."""
    place = inside(root, path)
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            return
        with open(place, "rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) >= fields and not line.startswith("#") and _is_id(parts[2]):
            yield parts


def _is_id(text: str) -> bool:
    return text.isdigit() and int(text) <= _MOST_ID
