"""What of a pod's volumes a container mounts, and where: `volumeMounts` as mounts for the runtime.

`subPathExpr` sees the container's environment, and a name in it that has no value keeps the container from starting.
Paths inside a volume are made where they are missing, and never lead out of it (`subpaths.py`). Words are upstream's,
which say nothing of what is on the host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import anyio.to_thread

from kube_core.abc.runtime import Mount, Propagation, RuntimeCapabilities
from kube_core.meta.documents import Document
from kube_core.node.environment import ConfigurationError, expand, references
from kube_core.node.volumes.mounting import Place
from kube_core.node.volumes.subpaths import SubPathError, bind_sub_path, resolve_sub_path

__all__ = ["container_mounts"]


async def container_mounts(
    container: Document,
    places: Mapping[str, Place],
    variables: Mapping[str, str],
    runtime: RuntimeCapabilities,
    *,
    directory: str = "",
) -> tuple[Mount, ...]:
    """The mounts of a container. `directory`: what of the node is the pod's. Raises `ConfigurationError`."""
    own = f"{directory}/volume-subpaths/{container['name']}" if directory else ""
    mounts = enumerate(container.get("volumeMounts") or ())
    return tuple([
        await _mount(container, mount, places, variables, runtime, f"{own}/{number}" if own else "")
        for number, mount in mounts
    ])  # fmt: skip


async def _mount(
    container: Document,
    mount: Document,
    places: Mapping[str, Place],
    variables: Mapping[str, str],
    runtime: RuntimeCapabilities,
    own: str,
) -> Mount:
    """`own`: a place of the node's for what is inside a volume."""
    volume = str(mount["name"])
    place = places.get(volume)
    if place is None:
        raise ConfigurationError(f'cannot find volume "{volume}" to mount into container "{container["name"]}"')
    inside = str(mount.get("subPath") or "")
    if mount.get("subPathExpr"):
        inside = _expanded(str(mount["subPathExpr"]), variables)
    if os.path.isabs(inside):
        raise ConfigurationError(f"error SubPath `{inside}` must not be an absolute path")
    if ".." in inside.split("/"):
        raise ConfigurationError(f"unable to provision SubPath `{inside}`: must not contain '..'")
    path, image = place.path, place.image
    if inside and image is None:
        path = os.path.join(path, inside)
        if runtime.processes:
            try:
                real = await anyio.to_thread.run_sync(resolve_sub_path, place.path, inside)
                if runtime.own_root and own and os.geteuid() == 0:
                    path = await anyio.to_thread.run_sync(bind_sub_path, place.path, inside, own)
                elif runtime.own_root:
                    path = real
                # A process is told the path, which goes on to mean what it says when the volume is brought up to date.
            except (SubPathError, OSError):
                what = f'subPath for volumeMount "{volume}" of container "{container["name"]}"'
                raise ConfigurationError(f"failed to prepare {what}") from None
    propagation: Propagation = mount.get("mountPropagation") or "None"
    read_only = bool(mount.get("readOnly")) or place.read_only
    recursive = str(mount.get("recursiveReadOnly") or "Disabled")
    return Mount(
        name=volume,
        container_path=os.path.join("/", str(mount["mountPath"])),
        host_path=path if image is None else "",
        read_only=read_only,
        propagation=propagation,
        recursive_read_only=read_only and (recursive == "Enabled" or (recursive == "IfPossible" and runtime.own_root)),
        image=str((image or {}).get("reference") or ""),
        image_path=inside if image is not None else "",
    )


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    missing = sorted({name for name in references(text) if not variables.get(name)})
    if missing:
        raise ConfigurationError(f"missing value for {', '.join(missing)}")
    return expand(text, variables)
