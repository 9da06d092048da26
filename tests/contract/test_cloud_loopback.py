from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.abc.network import NetworkRanges
from kube_core.testing.cloud import CloudContract
from kube_drivers.cloud.loopback import LoopbackCloud


class TestLoopbackCloud(CloudContract):
    def make(self, state_directory: Path) -> LoopbackCloud:
        directory = str(state_directory)
        return LoopbackCloud(clock=SystemClock(), cluster="test", ranges=NetworkRanges(), state_directory=directory)
