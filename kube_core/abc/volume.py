"""The contract of a volume driver (CSI-shaped): provision → publish on a node → unpublish → delete; expand.

Every call is idempotent: made again after a crash, with the same arguments, it answers the same and leaves no more
behind. A driver names itself (`provisioner`), which is what a StorageClass refers to.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure
from kube_core.abc.snapshots import Snapshots

__all__ = ["Published", "VolumeCapabilities", "VolumeDriver", "VolumeError", "VolumeRequest", "VolumeSource"]


class VolumeError(DriverFailure):
    """Why a volume could not be made, published or deleted: one clear line."""


@attrs.frozen
class VolumeCapabilities:
    persistent: bool
    """Content outlives the process."""
    access_modes: tuple[str, ...] = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    expansion: bool = False
    """Volumes can grow: `expand`."""
    expansion_in_use: bool = True
    """They can while pods use them; otherwise they grow once no pod does."""
    modification: bool = False
    """Volumes have attributes, which can change: `VolumeRequest.attributes`, and `modify`."""
    snapshot: bool = False
    """`snapshot` and `restore` carry the driver's state to another cluster (`kube_core.abc.snapshots`)."""


@attrs.frozen
class VolumeRequest:
    """A volume to make. `name` is the PersistentVolume's name (`pvc-<uid of the claim>`); `capacity` is in bytes."""

    name: str
    capacity: int
    access_modes: Sequence[str]
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    claim_namespace: str = ""
    claim_name: str = ""
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    """Of its VolumeAttributesClass; given only to drivers with the capability `modification`."""


@attrs.frozen
class VolumeSource:
    """What was made: `spec` is the volume source for the PersistentVolume (`{"hostPath": {...}}`, `{"csi": {...}}`)."""

    handle: str
    capacity: int
    spec: Mapping[str, object]
    node_affinity: Mapping[str, object] | None = None


@attrs.frozen
class Published:
    """Where a pod finds the volume on the node: a directory."""

    path: str


class VolumeDriver(Snapshots, abc.ABC):
    """One kind of storage."""

    capabilities: ClassVar[VolumeCapabilities]
    provisioner: ClassVar[str]

    def __init__(self, *, clock: Clock, state_directory: str) -> None:
        """`state_directory`: where the driver may keep content and state; "" keeps nothing on disk."""
        self.clock = clock
        self.state_directory = state_directory

    def storage_class(self, name: str = "standard") -> Mapping[str, object]:
        """The StorageClass for this driver that a cluster creates, as the default one."""
        return {
            "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": self.provisioner,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": self.capabilities.expansion,
        }

    @abc.abstractmethod
    async def start(self) -> None: ...

    @abc.abstractmethod
    async def stop(self) -> None: ...

    @abc.abstractmethod
    async def provision(self, request: VolumeRequest) -> VolumeSource:
        """Make a volume. Raises `VolumeError`."""

    @abc.abstractmethod
    async def delete(self, handle: str) -> None:
        """Delete a volume and its content; an unknown one does nothing. Raises `VolumeError`."""

    async def expand(self, handle: str, capacity: int) -> int:
        """Let a volume hold `capacity` bytes or more; what it holds now. It never shrinks. Raises `VolumeError`.

        Only for drivers with the capability `expansion`.
        """
        raise VolumeError(f"volumes of {self.provisioner} cannot grow")

    async def modify(self, handle: str, attributes: Mapping[str, str]) -> None:
        """Give a volume these attributes, instead of those it has. Raises `VolumeError`.

        Only for drivers with the capability `modification`.
        """
        raise VolumeError(f"volumes of {self.provisioner} have no attributes")

    @abc.abstractmethod
    async def publish(self, handle: str, *, pod_uid: str, read_only: bool) -> Published:
        """Make the volume available to a pod on this node. Raises `VolumeError`."""

    @abc.abstractmethod
    async def unpublish(self, handle: str, *, pod_uid: str) -> None:
        """The pod no longer uses it."""
