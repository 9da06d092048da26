"""What this machine has left: memory, disk, inodes, processes; and what pods have on its disk. Blocking: on a thread.

Memory is reckoned as upstream's: what is free, and the pages of files that nobody used lately.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from kube_core.abc.runtime import ImageUsage
from kube_core.node.eviction.thresholds import Measured

__all__ = ["bytes_below", "measure_machine"]


def measure_machine(directory: str, images: ImageUsage | None) -> dict[str, Measured]:
    """By signal. `directory`: what the node keeps is in it. What cannot be read is left out."""
    measured: dict[str, Measured] = {}
    measured |= _memory()
    measured |= _file_system("nodefs", directory)
    measured |= _file_system("imagefs", images.mountpoint if images is not None else directory)
    measured |= _processes()
    return measured


def bytes_below(paths: Iterable[str]) -> int:
    """What the files below take of the disk; a file that goes away meanwhile takes nothing."""
    total, waiting = 0, list(paths)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def _memory() -> dict[str, Measured]:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in file)}
        available = fields["MemFree"] + fields["Inactive(file)"]
        return {"memory.available": Measured(available, fields["MemTotal"])}
    except (OSError, KeyError, ValueError):
        return {}


def _file_system(name: str, directory: str) -> dict[str, Measured]:
    try:
        found = os.statvfs(directory)
    except OSError:
        return {}
    size = found.f_frsize
    measured = {f"{name}.available": Measured(found.f_bavail * size, found.f_blocks * size)}
    if found.f_files:  # some file systems count none
        measured[f"{name}.inodesFree"] = Measured(found.f_favail, found.f_files)
    return measured


def _processes() -> dict[str, Measured]:
    try:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            most = int(file.read())
        with open("/proc/loadavg", encoding="ascii") as file:
            running = int(file.read().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return {}
    return {"pid.available": Measured(most - running, most)}
