"""Where a pod's volumes are on this node, made before its containers start and taken down after they end.

    <state directory>/pods/<uid>/volumes/<name>

Where containers are no processes nothing is written, but everything that a volume refers to has to be there all the
same. Setting up is idempotent, and is how volumes are brought up to date, too. Called by the pod's worker.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence

import anyio.to_thread

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import Mount
from kube_core.abc.volume import VolumeDriver, VolumeError
from kube_core.meta.documents import Document, namespace_of, uid_of
from kube_core.node.environment import ConfigurationError, expand
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.directory import replace_files
from kube_core.node.volumes.payload import KINDS, Payloads, VolumeFailure

__all__ = ["PodVolumes", "container_mounts", "needs_refreshing"]


def needs_refreshing(pod: Document) -> bool:
    """Whether anything in its volumes may change by itself."""
    return any(kind in volume for volume in pod["spec"].get("volumes") or () for kind in KINDS)


def container_mounts(container: Document, places: Mapping[str, str], variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts of a container. Raises `ConfigurationError` for a `subPath` that leaves its volume."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        name = str(mount["name"])
        place = places.get(name)
        if place is None:
            raise ConfigurationError(f'volume "{name}" is not mounted')
        inside = str(mount.get("subPath") or "") or expand(str(mount.get("subPathExpr") or ""), variables)
        if inside:
            if os.path.isabs(inside) or ".." in inside.split("/"):
                raise ConfigurationError(f'subPath "{inside}" leaves volume "{name}"')
            place = os.path.join(place, inside)
        mounts.append(Mount(name, str(mount["mountPath"]), place, bool(mount.get("readOnly"))))
    return tuple(mounts)


class PodVolumes:
    """The volumes of all pods of this node."""

    def __init__(
        self,
        sources: ApiSources,
        *,
        clock: Clock,
        state_directory: str,
        drivers: Sequence[VolumeDriver],
        write: bool,
        node: Callable[[], Document | None],
    ) -> None:
        """`write`: containers are processes that read files."""
        self._sources = sources
        self._clock = clock
        self._root = os.path.join(state_directory, "pods") if state_directory else ""
        self._drivers = {driver.provisioner: driver for driver in drivers}
        self._write = write
        self._payloads = Payloads(sources, clock, node)
        self._published: dict[str, set[tuple[str, str]]] = {}

    async def set_up(self, pod: Document) -> dict[str, str]:
        """The place of each volume by its name. Raises `VolumeFailure` with upstream's words for the event."""
        places = {}
        for volume in pod["spec"].get("volumes") or ():
            name = str(volume["name"])
            try:
                places[name] = await self._set_up_one(pod, volume)
            except (VolumeFailure, VolumeError) as error:
                raise VolumeFailure(f'MountVolume.SetUp failed for volume "{name}" : {error}') from None
            except OSError as error:
                raise VolumeFailure(f'MountVolume.SetUp failed for volume "{name}" : {error.strerror}') from None
        return places

    async def make_sub_paths(self, mounts: Sequence[Mount]) -> None:
        """A `subPath` that is not there is made, as a directory."""
        if self._write:
            await anyio.to_thread.run_sync(_make_missing, [mount.host_path for mount in mounts])

    async def tear_down(self, uid: str) -> None:
        """Unpublish and remove what this pod had. Content of claims stays."""
        self._payloads.forget(uid)
        for driver, handle in list(self._published.get(uid, ())):
            await self._drivers[driver].unpublish(handle, pod_uid=uid)
            self._published[uid].discard((driver, handle))
        self._published.pop(uid, None)
        if self._write and self._root:
            with self._clock.hold("node: remove a pod's volumes"):
                await anyio.to_thread.run_sync(_remove, os.path.join(self._root, uid))

    async def _set_up_one(self, pod: Document, volume: Document) -> str:
        place = os.path.join(self._root, uid_of(pod), "volumes", str(volume["name"]))
        if "persistentVolumeClaim" in volume:
            source = volume["persistentVolumeClaim"]
            return await self._claim(pod, str(source["claimName"]), bool(source.get("readOnly")))
        if "ephemeral" in volume:
            return await self._claim(pod, f"{pod['metadata']['name']}-{volume['name']}", read_only=False)
        if "hostPath" in volume:
            return await self._host_path(volume["hostPath"])
        if "emptyDir" in volume or len(volume) == 1:
            if self._write:
                await anyio.to_thread.run_sync(_make_directory, place)
            return place
        files = await self._payloads.files(pod, volume, write=self._write)
        if self._write:
            with self._clock.hold("node: write a volume"):
                await anyio.to_thread.run_sync(replace_files, place, files, self._clock.now())
        return place

    async def _host_path(self, source: Document) -> str:
        path, kind = str(source["path"]), str(source.get("type") or "")
        if self._write:
            await anyio.to_thread.run_sync(_check_host_path, path, kind)
        return path

    async def _claim(self, pod: Document, name: str, read_only: bool) -> str:
        claim = await self._sources.claim(namespace_of(pod), name)
        if claim is None:
            raise VolumeFailure(f'persistentvolumeclaim "{name}" not found')
        bound = str((claim.get("spec") or {}).get("volumeName") or "")
        if not bound or (claim.get("status") or {}).get("phase") != "Bound":
            raise VolumeFailure(f'PersistentVolumeClaim is not bound: "{namespace_of(pod)}/{name}"')
        volume = await self._sources.volume(bound)
        if volume is None:
            raise VolumeFailure(f'persistentvolume "{bound}" not found')
        spec = volume["spec"]
        if "hostPath" in spec:
            return await self._host_path(spec["hostPath"])
        if "local" in spec:
            return str(spec["local"]["path"])
        source = spec.get("csi")
        if source is None:
            raise VolumeFailure(f'persistentvolume "{bound}" has no source that this node knows')
        driver = self._drivers.get(str(source["driver"]))
        if driver is None:
            raise VolumeFailure(f"driver name {source['driver']} not found in the list of registered CSI drivers")
        uid, handle = uid_of(pod), str(source["volumeHandle"])
        published = await driver.publish(handle, pod_uid=uid, read_only=read_only)
        self._published.setdefault(uid, set()).add((driver.provisioner, handle))
        return published.path


def _check_host_path(path: str, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        os.makedirs(path, exist_ok=True)
    elif kind == "FileOrCreate" and not os.path.lexists(path):
        with open(path, "ab"):
            pass
    elif kind == "Directory" and not os.path.isdir(path):
        raise VolumeFailure(f"hostPath type check failed: {path} is not a directory")
    elif kind == "File" and not os.path.isfile(path):
        raise VolumeFailure(f"hostPath type check failed: {path} is not a file")


def _make_missing(paths: Sequence[str]) -> None:
    for path in paths:
        if not os.path.lexists(path):
            os.makedirs(path, exist_ok=True)


def _make_directory(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o777)  # a pod may run as any user


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
