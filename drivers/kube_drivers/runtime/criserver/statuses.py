"""What the runtime tells of sandboxes, containers and images, in CRI's words. Pure.

Times are nanoseconds. A container's image is told as the image is known now: by its first tag, and as a reference by
its digest where it has one; an image that is gone, by what the container was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.abc.runtime import ContainerStatus, ImageStatus, Mount, SandboxStatus
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver.resources import said
from kube_drivers.runtime.criserver.sandbox_configs import namespaces_of, without_notes
from kube_drivers.runtime.criserver.signals import signal_value

__all__ = ["KnownImages", "container", "container_status", "image", "nanoseconds", "sandbox", "sandbox_status"]

_STATES: Final = {"created": "CONTAINER_CREATED", "running": "CONTAINER_RUNNING", "exited": "CONTAINER_EXITED"}
_PROPAGATIONS: Final = ("None", "HostToContainer", "Bidirectional")


@attrs.frozen
class KnownImages:
    """The images that there are, by whatever a container may call them."""

    by_name: Mapping[str, ImageStatus]

    @classmethod
    def of(cls, images: Iterable[ImageStatus]) -> KnownImages:
        return cls({name: each for each in images for name in (each.id, *each.references)})

    def name(self, identity: str, otherwise: str) -> str:
        found = self.by_name.get(identity)
        return next(iter((*_tags(found), *_digests(found))), found.id) if found is not None else otherwise

    def reference(self, identity: str, otherwise: str) -> str:
        found = self.by_name.get(identity)
        return next(iter(_digests(found)), found.id) if found is not None else otherwise

    def identity(self, name: str) -> str:
        found = self.by_name.get(name)
        return found.id if found is not None else ""


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def sandbox(status: SandboxStatus) -> Any:
    """As `ListPodSandbox` has it."""
    return message("PodSandbox")(**_sandbox(status))


def sandbox_status(status: SandboxStatus) -> Any:
    first, *further = status.ips or ("",)
    network = {"ip": first, "additional_ips": [{"ip": each} for each in further]} if status.ready else {}
    return message("PodSandboxStatus")(
        **_sandbox(status),
        network=network,
        linux={"namespaces": {"options": namespaces_of(status.config)}},
    )


def container(status: ContainerStatus, images: KnownImages) -> Any:
    """As `ListContainers` has it."""
    config = status.config
    return message("Container")(
        id=status.id,
        pod_sandbox_id=status.sandbox_id,
        metadata={"name": config.name, "attempt": config.attempt},
        image={"image": config.image},
        image_ref=images.reference(status.image_id, status.image_id),
        image_id=status.image_id,
        state=_STATES[status.state],
        created_at=nanoseconds(status.created_at),
        labels=dict(config.labels),
        annotations=dict(config.annotations),
    )


def container_status(status: ContainerStatus, images: KnownImages) -> Any:
    config, user = status.config, status.user
    return message("ContainerStatus")(
        id=status.id,
        metadata={"name": config.name, "attempt": config.attempt},
        state=_STATES[status.state],
        created_at=nanoseconds(status.created_at),
        started_at=nanoseconds(status.started_at),
        finished_at=nanoseconds(status.finished_at),
        exit_code=status.exit_code,
        image={"image": images.name(status.image_id, config.image)},
        image_ref=images.reference(status.image_id, status.image_id),
        image_id=status.image_id,
        reason=status.reason,
        message=status.message,
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        mounts=[_mount(each, images) for each in config.mounts],
        log_path=status.log_path,
        resources={"linux": said(status.resources or config.resources)},
        user={"linux": {"uid": user.user, "gid": user.group, "supplemental_groups": list(user.supplemental_groups)}}
        if user is not None
        else None,
        stop_signal=signal_value(status.stop_signal),
    )


def image(status: ImageStatus) -> Any:
    """A user of `1000:1000` is told as the number, one of `www:www` by the name."""
    user = (status.user or "").partition(":")[0]
    return message("Image")(
        id=status.id,
        repo_tags=_tags(status),
        repo_digests=_digests(status),
        size=status.size,
        uid={"value": int(user)} if user.isdigit() else None,
        username="" if user.isdigit() else user,
        spec={"image": status.id},
        pinned=status.pinned,
    )


def _sandbox(status: SandboxStatus) -> dict[str, Any]:
    config = status.config
    return {
        "id": status.id,
        "metadata": {
            "name": config.name,
            "namespace": config.namespace,
            "uid": config.uid,
            "attempt": config.attempt,
        },
        "state": "SANDBOX_READY" if status.ready else "SANDBOX_NOTREADY",
        "created_at": nanoseconds(status.created_at),
        "labels": dict(config.labels),
        "annotations": without_notes(config.annotations),
        "runtime_handler": config.handler,
    }


def _mount(mount: Mount, images: KnownImages) -> dict[str, Any]:
    image = {"image": mount.image, "image_ref": images.identity(mount.image)} if mount.image else None
    return {
        "container_path": mount.container_path,
        "host_path": mount.host_path,
        "readonly": mount.read_only,
        "propagation": _PROPAGATIONS.index(mount.propagation),
        "recursive_read_only": mount.recursive_read_only,
        "image": image,
        "image_sub_path": mount.image_path,
    }


def _tags(status: ImageStatus) -> Sequence[str]:
    return [each for each in status.references if "@" not in each]


def _digests(status: ImageStatus) -> Sequence[str]:
    return [each for each in status.references if "@" in each]
