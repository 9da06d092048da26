"""How a process without a file system of its own finds its volumes: the path rule.

A container has a directory of its own, its root, and a volume is somewhere on the host. So that a pod's manifest works
unchanged:

1. Wherever a `mountPath` stands in the container's command, args, working directory or an environment variable's value,
   as a whole path or as the beginning of one, the volume's real path stands instead. With a volume at
   `/etc/guestbook`, `--config=/etc/guestbook/app.conf` becomes `--config=<real path>/app.conf`; `/etc/guestbook2` and
   `/data/etc/guestbook` are left alone. Of two mount paths the longer one wins. (What a variable or argument says of
   other things than files must not look like a mount path.)
2. The environment has `KUBE_ROOT`, the root, in which a symbolic link stands at each mount path, and for each volume
   `KUBE_MOUNT_<NAME>` (the volume's name in capitals, `-` and `.` as `_`), its real path.
3. A working directory that is not in a volume is made in the root; without one, the root is the working directory.

A program that has a mount path written into it does not find it. That is what namespaces are for (the oci runtime).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from kube_core.abc.runtime import Mount

__all__ = ["link_mounts", "mount_variables", "path_rule"]

_NOT_IN_A_PATH = r"[^A-Za-z0-9._/~-]"


def path_rule(mounts: Sequence[Mount]) -> Callable[[str], str]:
    """The function that rewrites a text by rule 1."""
    places = {mount.container_path.rstrip("/"): mount.host_path for mount in mounts if mount.container_path != "/"}
    if not places:
        return lambda text: text
    longest_first = "|".join(re.escape(path) for path in sorted(places, key=len, reverse=True))
    pattern = re.compile(rf"(?:(?<={_NOT_IN_A_PATH})|^)({longest_first})(?=/|{_NOT_IN_A_PATH}|$)")
    return lambda text: pattern.sub(lambda found: places[found.group(1)], text)


def mount_variables(mounts: Sequence[Mount]) -> dict[str, str]:
    """The variables of rule 2. Of several mounts of one volume, the first."""
    variables: dict[str, str] = {}
    for mount in mounts:
        variables.setdefault("KUBE_MOUNT_" + re.sub(r"[^A-Za-z0-9]", "_", mount.name).upper(), mount.host_path)
    return variables


def link_mounts(root: str, mounts: Sequence[Mount]) -> None:
    """Put the symbolic links of rule 2 into a root. A mount inside another one gets none: it would be in the volume."""
    linked: list[str] = []
    for mount in sorted(mounts, key=lambda mount: mount.container_path):
        path = os.path.normpath("/" + mount.container_path).lstrip("/")
        if not path or any(path.startswith(outer + "/") for outer in linked):
            continue
        place = os.path.join(root, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(mount.host_path, place)
        linked.append(path)
