from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.network import NetworkContract
from kube_drivers.network.fake import FakeNetwork


class TestFakeNetwork(NetworkContract):
    pod_cidr = "10.244.7.0/28"

    def make(self, state_directory: Path) -> FakeNetwork:
        return FakeNetwork(clock=SystemClock(), node_name="node", pod_cidr=self.pod_cidr)
