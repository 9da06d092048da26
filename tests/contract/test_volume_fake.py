from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.volume import VolumeContract
from kube_drivers.volume.fake import FakeVolumes


class TestFakeVolumes(VolumeContract):
    def make(self, state_directory: Path) -> FakeVolumes:
        return FakeVolumes(clock=SystemClock())
