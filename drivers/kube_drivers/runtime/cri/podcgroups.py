"""The cgroups of pods as a whole, which CRI leaves to the node: made with their limits, and removed.

A container's is the endpoint's to make, below its pod's. Where systemd keeps the cgroups a pod's is a slice, which the
endpoint makes, and which has no limits. A node that may not make cgroups leaves them, and pods' limits, aside.
"""

from __future__ import annotations

import os

from kube_core.abc.runtime import Resources, RuntimeFailure, SandboxConfig
from kube_drivers.runtime.cri.endpoint import Endpoint
from kube_drivers.runtime.oci.cgroups import Cgroups
from kube_drivers.threads import to_the_end

__all__ = ["PodCgroups"]

_SYSTEMD = 0


class PodCgroups:
    """Those of one endpoint's pods."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._slices = False
        self._cgroups: Cgroups | None = None

    async def learn(self) -> None:
        """How the endpoint has its cgroups; one that does not say keeps them itself."""
        try:
            answer = await self._endpoint.call("RuntimeConfig")
        except RuntimeFailure:
            self._slices = False
        else:
            self._slices = answer.HasField("linux") and answer.linux.cgroup_driver == _SYSTEMD
        if os.geteuid() == 0 and not self._slices:
            self._cgroups = await to_the_end(Cgroups.of_machine)

    def name_of(self, path: str) -> str:
        """A pod's cgroup (`/kubepods/burstable/pod…`) as the endpoint names it."""
        if not self._slices or not path:
            return path
        return "-".join(part.replace("-", "_") for part in path.strip("/").split("/")) + ".slice"

    async def make(self, config: SandboxConfig) -> None:
        """Raises `RuntimeFailure`."""
        if self._cgroups is not None and config.cgroup_parent:
            await to_the_end(self._cgroups.create, config.cgroup_parent, config.resources)

    async def limit(self, config: SandboxConfig, resources: Resources) -> None:
        """Raises `RuntimeFailure`."""
        if self._cgroups is not None and config.cgroup_parent:
            await to_the_end(self._cgroups.limit, config.cgroup_parent, resources)

    async def remove(self, config: SandboxConfig) -> None:
        """One in which something runs stays."""
        if self._cgroups is not None and config.cgroup_parent:
            await to_the_end(self._cgroups.remove, config.cgroup_parent)
