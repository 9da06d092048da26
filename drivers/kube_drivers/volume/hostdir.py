"""Volumes that are directories of this host, below the cluster's state directory.

    <state directory>/volumes/<volume>/volume.json    what was asked for
    <state directory>/volumes/<volume>/content/       what the pod sees

What always holds:

* A volume is there with all of its parts or not at all: it is made beside its place and moved there, and is moved
  away before anything in it is deleted. What a crash leaves half is cleared at the next start.
* A handle names a directory directly below the root, and nothing else: one with a slash, a dot in front, or a
  symbolic link in its place is refused. Links inside a volume are removed, never followed.

The capacity of a volume is written down and not enforced: directories have no size. Every node on this host reaches
every volume, so any access mode may be asked for and there is no node affinity.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

import anyio.to_thread
import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.volume import Published, VolumeCapabilities, VolumeDriver, VolumeError, VolumeRequest, VolumeSource

__all__ = ["HostDirectoryVolumes"]

_HANDLE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NEW = ".new-"
_OLD = ".old-"

_T = TypeVar("_T")


class HostDirectoryVolumes(VolumeDriver):
    """One directory for each volume."""

    capabilities: ClassVar[VolumeCapabilities] = VolumeCapabilities(persistent=True, expansion=True)
    provisioner: ClassVar[str] = "hostdir.kube-core.dev"

    def __init__(self, *, clock: Clock, state_directory: str) -> None:
        super().__init__(clock=clock, state_directory=state_directory)
        if not state_directory:
            raise VolumeError("volumes in host directories need a state directory to be in")
        self._root = Path(state_directory).absolute() / "volumes"

    async def start(self) -> None:
        await self._on_thread("make ready", self._prepare)

    async def stop(self) -> None:
        pass

    async def provision(self, request: VolumeRequest) -> VolumeSource:
        capacity = await self._on_thread(f"provision {request.name}", lambda: self._make(request))
        return VolumeSource(
            handle=request.name,
            capacity=capacity,
            spec={"csi": {"driver": self.provisioner, "volumeHandle": request.name}},
        )

    async def delete(self, handle: str) -> None:
        await self._on_thread(f"delete {handle}", lambda: self._remove(handle))

    async def expand(self, handle: str, capacity: int) -> int:
        return await self._on_thread(f"expand {handle}", lambda: self._grow(handle, capacity))

    async def publish(self, handle: str, *, pod_uid: str, read_only: bool) -> Published:
        content = self._place(handle) / "content"
        if not await self._on_thread(f"publish {handle}", content.is_dir):
            raise VolumeError(f"volume {handle} does not exist")
        return Published(str(content))

    async def unpublish(self, handle: str, *, pod_uid: str) -> None:
        self._place(handle)

    async def _on_thread(self, what: str, work: Callable[[], _T]) -> _T:
        try:
            with self.clock.hold(f"host directory volumes: {what}"):
                return await anyio.to_thread.run_sync(work)
        except OSError as error:
            raise VolumeError(f"cannot {what}: {error.strerror} ({error.filename})") from None

    def _place(self, handle: str) -> Path:
        """Where a volume is. Raises `VolumeError` for what is no name of a volume."""
        if not _HANDLE.fullmatch(handle) or ".." in handle:
            raise VolumeError(f"{handle!r} is not the name of a volume")
        place = self._root / handle
        if place.is_symlink():
            raise VolumeError(f"{place} is a symbolic link, not a volume")
        return place

    def _prepare(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o711)
        for leftover in (*self._root.glob(f"{_NEW}*"), *self._root.glob(f"{_OLD}*")):
            _clear(leftover)

    def _make(self, request: VolumeRequest) -> int:
        place = self._place(request.name)
        if place.exists():
            known = int(orjson.loads((place / "volume.json").read_bytes())["capacity"])
            if known < request.capacity:
                raise VolumeError(f"volume {request.name} exists with {known} bytes, fewer than asked for")
            return known
        fresh = self._root / f"{_NEW}{request.name}"
        if fresh.exists():
            _clear(fresh)
        fresh.mkdir(mode=0o711)
        (fresh / "content").mkdir()
        (fresh / "content").chmod(0o777)  # a pod may run as any user; nobody can list the directory above
        (fresh / "volume.json").write_bytes(
            orjson.dumps(
                {
                    "capacity": request.capacity,
                    "accessModes": list(request.access_modes),
                    "claim": f"{request.claim_namespace}/{request.claim_name}",
                }
            )
        )
        fresh.rename(place)
        return request.capacity

    def _grow(self, handle: str, capacity: int) -> int:
        file = self._place(handle) / "volume.json"
        if not file.is_file():
            raise VolumeError(f"volume {handle} does not exist")
        known = orjson.loads(file.read_bytes())
        if known["capacity"] < capacity:
            known["capacity"] = capacity
            fresh = file.with_name("volume.json.new")
            fresh.write_bytes(orjson.dumps(known))
            fresh.replace(file)
        return int(known["capacity"])

    def _remove(self, handle: str) -> None:
        place = self._place(handle)
        away = self._root / f"{_OLD}{handle}"
        if away.exists():
            _clear(away)
        if place.exists():
            place.rename(away)
            _clear(away)


def _clear(directory: Path) -> None:
    """Remove a whole directory, also where its owner has taken permissions off parts of it."""
    try:
        shutil.rmtree(directory)
    except PermissionError:
        for path, names, _ in os.walk(directory):
            for name in names:
                inner = os.path.join(path, name)
                if not os.path.islink(inner):  # what a link names is not ours
                    os.chmod(inner, 0o700)
        shutil.rmtree(directory)
