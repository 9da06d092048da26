from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.volume import VolumeContract
from kube_drivers.volume.hostdir import HostDirectoryVolumes


class TestHostDirectoryVolumes(VolumeContract):
    def make(self, state_directory: Path) -> HostDirectoryVolumes:
        return HostDirectoryVolumes(clock=SystemClock(), state_directory=str(state_directory))
