"""Volumes in memory: they exist, are published and go, and hold nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.volume import Published, VolumeCapabilities, VolumeDriver, VolumeError, VolumeRequest, VolumeSource

__all__ = ["FakeVolumes"]


class FakeVolumes(VolumeDriver):
    """Keeps books. Tests read `volumes` and `published`, and put in `failures` what the next calls raise."""

    capabilities: ClassVar[VolumeCapabilities] = VolumeCapabilities(
        persistent=False, expansion=True, modification=True, snapshot=True
    )
    provisioner: ClassVar[str] = "fake.kube-core.dev"

    def __init__(self, *, clock: Clock, state_directory: str = "") -> None:
        super().__init__(clock=clock, state_directory=state_directory)
        self.volumes: dict[str, VolumeRequest] = {}
        self.published: dict[str, set[str]] = {}
        self.failures: list[str] = []

    def snapshot(self) -> tuple[Mapping[str, VolumeRequest], Mapping[str, frozenset[str]]]:
        return dict(self.volumes), {handle: frozenset(pods) for handle, pods in self.published.items()}

    def restore(self, state: tuple[Mapping[str, VolumeRequest], Mapping[str, frozenset[str]]]) -> None:
        volumes, published = state
        self.volumes = dict(volumes)
        self.published = {handle: set(pods) for handle, pods in published.items()}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def provision(self, request: VolumeRequest) -> VolumeSource:
        self._maybe_fail()
        known = self.volumes.setdefault(request.name, request)
        if known.capacity < request.capacity:
            raise VolumeError(f"volume {request.name} exists with {known.capacity} bytes, fewer than asked for")
        return VolumeSource(
            handle=request.name,
            capacity=known.capacity,
            spec={"csi": {"driver": self.provisioner, "volumeHandle": request.name}},
        )

    async def delete(self, handle: str) -> None:
        self._maybe_fail()
        if self.published.get(handle):
            raise VolumeError(f"volume {handle} is in use by a pod")
        self.volumes.pop(handle, None)

    async def expand(self, handle: str, capacity: int) -> int:
        self._maybe_fail()
        if (known := self.volumes.get(handle)) is None:
            raise VolumeError(f"volume {handle} does not exist")
        self.volumes[handle] = known = attrs.evolve(known, capacity=max(known.capacity, capacity))
        return known.capacity

    async def modify(self, handle: str, attributes: Mapping[str, str]) -> None:
        self._maybe_fail()
        if (known := self.volumes.get(handle)) is None:
            raise VolumeError(f"volume {handle} does not exist")
        self.volumes[handle] = attrs.evolve(known, attributes=dict(attributes))

    async def publish(self, handle: str, *, pod_uid: str, read_only: bool) -> Published:
        self._maybe_fail()
        if handle not in self.volumes:
            raise VolumeError(f"volume {handle} does not exist")
        self.published.setdefault(handle, set()).add(pod_uid)
        return Published(f"/fake-volumes/{handle}")

    async def unpublish(self, handle: str, *, pod_uid: str) -> None:
        self._maybe_fail()
        self.published.get(handle, set()).discard(pod_uid)

    def _maybe_fail(self) -> None:
        if self.failures:
            raise VolumeError(self.failures.pop(0))
