"""Where a pod's volumes are on this node, made before its containers start and taken down after they end.

    <state directory>/pods/<uid>/volumes/<name>

Where containers are no processes nothing is written, but everything that a volume refers to has to be there all the
same. Setting up is idempotent, and is how volumes are brought up to date, too. Called by the pod's worker; which of
them a container mounts, and where, is `mounts.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

import anyio.to_thread
import attrs

from kube_core._kit import mounts
from kube_core._kit.clock import Clock
from kube_core.abc.runtime import RuntimeCapabilities
from kube_core.abc.volume import VolumeDriver, VolumeError
from kube_core.meta import quantities
from kube_core.meta.documents import Document, namespace_of, uid_of
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.directory import replace_files
from kube_core.node.volumes.emptydirs import make_empty_dir
from kube_core.node.volumes.hostpaths import check_host_path
from kube_core.node.volumes.ownership import give_to_group
from kube_core.node.volumes.payload import KINDS, Payloads, VolumeFailure
from kube_core.node.volumes.podcertificates import PodCertificates

__all__ = ["Place", "PodVolumes"]


@attrs.frozen
class Place:
    """Where a volume is: a path of this host, or an image that the runtime mounts."""

    path: str
    read_only: bool = False
    image: Document | None = None
    ours: bool = False
    """Made here for this pod: what a `subPath` names may be made in it."""


class PodVolumes:
    """The volumes of all pods of this node."""

    def __init__(
        self,
        sources: ApiSources,
        *,
        clock: Clock,
        state_directory: str,
        drivers: Sequence[VolumeDriver],
        runtime: RuntimeCapabilities,
        node: Callable[[], Document | None],
        certificates: PodCertificates,
    ) -> None:
        """`runtime`: what the node's is capable of; files are written only for processes."""
        self._sources = sources
        self._clock = clock
        self._root = os.path.join(state_directory, "pods") if state_directory else ""
        self._drivers = {driver.provisioner: driver for driver in drivers}
        self._write = runtime.processes
        self._runtime = runtime
        self._payloads = Payloads(sources, clock, node, certificates)
        self._published: dict[str, set[tuple[str, str]]] = {}

    @property
    def writes(self) -> bool:
        """Whether pods have directories on this node."""
        return self._write and bool(self._root)

    def needs_refreshing(self, pod: Document) -> bool:
        """Whether anything in a pod's volumes may change by itself, and anybody would see it.

        Certificates are seen where nothing is written, too: by those who sign them.
        """
        volumes = pod["spec"].get("volumes") or ()
        if self._write:
            return any(kind in volume for volume in volumes for kind in KINDS)
        return any(
            "podCertificate" in part for each in volumes for part in (each.get("projected") or {}).get("sources") or ()
        )

    def directory(self, uid: str) -> str:
        """What of this node is a pod's; it goes with its volumes."""
        return os.path.join(self._root, uid)

    async def set_up(self, pod: Document) -> dict[str, Place]:
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

    async def tear_down(self, uid: str) -> None:
        """Unpublish and remove what this pod had. Content of claims stays."""
        self._payloads.forget(uid)
        for driver, handle in list(self._published.get(uid, ())):
            await self._drivers[driver].unpublish(handle, pod_uid=uid)
            self._published[uid].discard((driver, handle))
        self._published.pop(uid, None)
        if self._write and self._root:
            with self._clock.hold("node: remove a pod's volumes"):
                await anyio.to_thread.run_sync(_remove, self.directory(uid))

    async def _set_up_one(self, pod: Document, volume: Document) -> Place:
        path = os.path.join(self._root, uid_of(pod), "volumes", str(volume["name"]))
        if "persistentVolumeClaim" in volume:
            source = volume["persistentVolumeClaim"]
            return await self._claim(pod, str(source["claimName"]), bool(source.get("readOnly")))
        if "ephemeral" in volume:
            return await self._claim(pod, f"{pod['metadata']['name']}-{volume['name']}", read_only=False)
        if "hostPath" in volume:
            return Place(await self._host_path(volume["hostPath"]))
        if "image" in volume:
            if self._write and not self._runtime.image_volumes:
                raise VolumeFailure("this node's runtime cannot mount images")
            return Place("", read_only=True, image=volume["image"])
        if "emptyDir" in volume or len(volume) == 1:
            return await self._empty(pod, path, volume.get("emptyDir") or {})
        files = await self._payloads.files(pod, volume, write=self._write)
        if self._write:
            with self._clock.hold("node: write a volume"):
                await anyio.to_thread.run_sync(lambda: replace_files(path, files, self._clock.now(), group=_group(pod)))
        return Place(path, read_only=True, ours=True)

    async def _empty(self, pod: Document, path: str, source: Document) -> Place:
        if self._write:
            in_memory = source.get("medium") == "Memory" and self._runtime.own_root and os.geteuid() == 0
            size = quantities.parse(source["sizeLimit"]).value if source.get("sizeLimit") else 0
            with self._clock.hold("node: make a volume"):
                await anyio.to_thread.run_sync(
                    lambda: make_empty_dir(path, in_memory=in_memory, size=size, group=_group(pod))
                )
        return Place(path, ours=True)

    async def _host_path(self, source: Document) -> str:
        path, kind = str(source["path"]), str(source.get("type") or "")
        if self._write:
            await anyio.to_thread.run_sync(check_host_path, path, kind)
        return path

    async def _claim(self, pod: Document, name: str, read_only: bool) -> Place:
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
            return Place(await self._host_path(spec["hostPath"]), read_only)
        if "local" in spec:
            return Place(str(spec["local"]["path"]), read_only, ours=True)
        source = spec.get("csi")
        if source is None:
            raise VolumeFailure(f'persistentvolume "{bound}" has no source that this node knows')
        driver = self._drivers.get(str(source["driver"]))
        if driver is None:
            raise VolumeFailure(f"driver name {source['driver']} not found in the list of registered CSI drivers")
        uid, handle = uid_of(pod), str(source["volumeHandle"])
        published = await driver.publish(handle, pod_uid=uid, read_only=read_only)
        self._published.setdefault(uid, set()).add((driver.provisioner, handle))
        group = _group(pod)
        if self._write and group is not None and not read_only:
            policy = (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
            with self._clock.hold("node: give a volume to its group"):
                await anyio.to_thread.run_sync(
                    lambda: give_to_group(published.path, group, only_mismatch=policy == "OnRootMismatch")
                )
        return Place(published.path, read_only, ours=True)


def _group(pod: Document) -> int | None:
    found = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if found is None else int(found)


def _remove(path: str) -> None:
    mounts.unmount_below(path)
    shutil.rmtree(path, ignore_errors=True)
