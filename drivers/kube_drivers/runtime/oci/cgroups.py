"""Cgroups of pods: made, limited, measured and removed, whichever version this machine has.

    v2       one tree, at /sys/fs/cgroup
    v1       a tree for each controller
    hybrid   v1 for what there is, v2 beside it (`/sys/fs/cgroup/unified`) for the rest

Those of containers are the OCI runtime's to make, below a pod's (`Resources` go into the bundle); here is everything
else. Limits are given in v1's terms and translated as upstream does. What this machine has no controller for is left
aside.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from kube_core.abc.runtime import Resources, RuntimeFailure
from kube_core.abc.usage import Usage

__all__ = ["Cgroups", "weight_of_shares"]

_ROOT = Path("/sys/fs/cgroup")
#: How often a cgroup is tried whose parents others remove.
_TRIES = 100
#: Of v1, those that a process may be in without further ado (a new cpuset takes none).
_OF_PROCESSES = ("cpu", "cpuacct", "memory", "pids")
_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")


@attrs.frozen
class Cgroups:
    """The trees of this machine. `trees`: v1's by controller; `unified`: v2's, where it is mounted."""

    trees: Mapping[str, Path]
    unified: Path | None

    @classmethod
    def of_machine(cls, mounts: Path = Path("/proc/self/mounts")) -> Cgroups:
        trees: dict[str, Path] = {}
        unified = None
        for line in mounts.read_text().splitlines():
            _, place, kind, options, *_ = line.split(" ")
            if kind == "cgroup2":
                unified = unified or Path(place)
            elif kind == "cgroup":
                for option in options.split(","):
                    if "=" not in option or option.startswith("name="):
                        trees.setdefault(option.removeprefix("name="), Path(place))
        for option in ("rw", "ro", "relatime", "nosuid", "nodev", "noexec", "noatime", "xattr", "clone_children"):
            trees.pop(option, None)
        return cls(trees, unified)

    @property
    def pure(self) -> bool:
        """Only v2."""
        return not self.trees and self.unified is not None

    @property
    def hidden(self) -> list[str]:
        """Mounts that crun is not to see: it refuses a machine that has controllers in both versions."""
        return [str(self.unified)] if self.trees and self.unified is not None else []

    # -- pods --------------------------------------------------------------------------------------------------------

    def create(self, path: str, resources: Resources, *, leaf: bool = False) -> None:
        """Make a pod's cgroup (`/kubepods/pod…`), with its limits. Raises `RuntimeFailure`.

        `leaf`: processes are to be in it, where v2 lets nothing be handed down.
        """
        for attempt in range(_TRIES):
            try:
                for place in self._places(path):
                    place.mkdir(parents=True, exist_ok=True)
                if self.pure and not leaf:
                    self._delegate(path)
                break
            except (FileNotFoundError, FileExistsError) as error:
                # Somebody's last pod went, and an empty parent with it: before, or just when it was looked at.
                if attempt == _TRIES - 1:
                    raise RuntimeFailure(f"the cgroup {path} cannot be made: {error.strerror}") from None
            except OSError as error:
                raise RuntimeFailure(f"the cgroup {path} cannot be made: {error.strerror or error}") from None
        self.limit(path, resources)

    def limit(self, path: str, resources: Resources) -> None:
        """Change limits, of a pod or of a container. Raises `RuntimeFailure`."""
        for place, value in self._settings(path, resources):
            try:
                place.write_text(value)
            except FileNotFoundError:
                continue  # no such controller
            except OSError as error:
                raise RuntimeFailure(f"{place} cannot be set to {value}: {error.strerror or error}") from None

    def remove(self, path: str) -> None:
        """With all that is below it, whose processes have ended; parents that are then empty go, too."""
        for place in self._places(path):
            for below, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(below)
            top = place
            for _ in path.strip("/").split("/")[:-1]:
                top = top.parent
                with contextlib.suppress(OSError):
                    os.rmdir(top)

    # -- containers --------------------------------------------------------------------------------------------------

    def doors(self, path: str) -> list[str]:
        """The files by which a process comes into a cgroup: into what limits and measures it, in every tree."""
        trees = {tree for name, tree in self.trees.items() if name in _OF_PROCESSES}
        places = [*sorted(trees), *([self.unified] if self.unified is not None else [])]
        return [str(place / path.strip("/") / "cgroup.procs") for place in places]

    def procs(self, path: str) -> list[str]:
        """The files that list a cgroup's processes: one suffices, where it is there."""
        trees = [self.trees[each] for each in ("pids", "memory", "freezer") if each in self.trees][:1]
        return [str(tree / path.strip("/") / "cgroup.procs") for tree in trees or [self.unified or _ROOT]]

    def kills(self, path: str) -> str:
        """The file that says whether the kernel has killed something there for want of memory."""
        if (tree := self.trees.get("memory")) is not None:
            return str(tree / path.strip("/") / "memory.oom_control")
        return str((self.unified or _ROOT) / path.strip("/") / "memory.events")

    def usage(self, path: str, now: float) -> Usage | None:
        """What a cgroup uses; None where there is none. Memory is the working set, as upstream counts it."""
        below = path.strip("/")
        try:
            if (tree := self.trees.get("cpuacct")) is not None:
                cpu = int((tree / below / "cpuacct.usage").read_text())
            else:
                cpu = _field((self.unified or _ROOT) / below / "cpu.stat", "usage_usec") * 1000
            if (tree := self.trees.get("memory")) is not None:
                memory = int((tree / below / "memory.usage_in_bytes").read_text())
                idle = _field(tree / below / "memory.stat", "total_inactive_file")
            else:
                memory = int(((self.unified or _ROOT) / below / "memory.current").read_text())
                idle = _field((self.unified or _ROOT) / below / "memory.stat", "inactive_file")
        except (OSError, ValueError):
            return None
        return Usage(now, cpu, max(memory - idle, 0))

    # -- below -------------------------------------------------------------------------------------------------------

    def _places(self, path: str) -> list[Path]:
        trees = {*self.trees.values(), *([self.unified] if self.unified is not None else [])}
        return [tree / path.strip("/") for tree in sorted(trees)]

    def _delegate(self, path: str) -> None:
        """In v2 a cgroup has the controllers that its parent hands down."""
        assert self.unified is not None
        place = self.unified
        for part in ("", *path.strip("/").split("/")):
            place = place / part
            there = (place / "cgroup.controllers").read_text().split()
            for controller in _CONTROLLERS:
                if controller in there:
                    with contextlib.suppress(OSError):
                        (place / "cgroup.subtree_control").write_text(f"+{controller}")

    def _settings(self, path: str, resources: Resources) -> Iterator[tuple[Path, str]]:
        below = path.strip("/")
        if self.pure:
            assert self.unified is not None
            place = self.unified / below
            if resources.cpu_shares:
                yield place / "cpu.weight", str(weight_of_shares(resources.cpu_shares))
            quota = str(resources.cpu_quota) if resources.cpu_quota > 0 else "max"
            yield place / "cpu.max", f"{quota} {resources.cpu_period}"
            yield place / "memory.max", str(resources.memory_bytes or "max")
            if resources.pids:
                yield place / "pids.max", str(resources.pids)
            for name, value in resources.unified.items():
                yield place / name, value
            return
        if (tree := self.trees.get("cpu")) is not None:
            if resources.cpu_shares:
                yield tree / below / "cpu.shares", str(resources.cpu_shares)
            yield tree / below / "cpu.cfs_period_us", str(resources.cpu_period)
            yield tree / below / "cpu.cfs_quota_us", str(resources.cpu_quota or -1)
        if (tree := self.trees.get("memory")) is not None:
            yield tree / below / "memory.limit_in_bytes", str(resources.memory_bytes or -1)
        if resources.pids and (tree := self.trees.get("pids")) is not None:
            yield tree / below / "pids.max", str(resources.pids)


def weight_of_shares(shares: int) -> int:
    """v2's weight (1 to 10000) for v1's shares (2 to 262144), by upstream's formula."""
    return max(1, min(1 + (max(shares, 2) - 2) * 9999 // 262142, 10000))


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
