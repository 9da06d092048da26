from __future__ import annotations

import os
from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.network import NetworkContract
from kube_drivers.network.loopback import LoopbackNetwork


class TestLoopbackNetwork(NetworkContract):
    pod_cidr = f"127.{32 + os.getpid() % 16}.{os.getpid() // 16 % 256}.0/28"

    def make(self, state_directory: Path) -> LoopbackNetwork:
        return LoopbackNetwork(
            clock=SystemClock(), node_name="node", pod_cidr=self.pod_cidr, state_directory=str(state_directory)
        )
