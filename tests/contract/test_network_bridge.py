from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from fakes.containers import needs_containers
from kube_core._kit.clock import SystemClock
from kube_core.testing.network import NetworkContract
from kube_drivers.network.bridge import BridgeNetwork


@needs_containers()
class TestBridgeNetwork(NetworkContract):
    pod_cidr = f"10.{128 + os.getpid() % 64}.{os.getpid() // 64 % 256}.0/28"

    @pytest.fixture(autouse=True)
    def clean(self) -> Iterator[None]:
        self.made: list[BridgeNetwork] = []
        yield
        for network in self.made:
            anyio.run(network.end)

    def make(self, state_directory: Path) -> BridgeNetwork:
        network = BridgeNetwork(
            clock=SystemClock(), node_name="node", pod_cidr=self.pod_cidr, state_directory=str(state_directory)
        )
        self.made.append(network)
        return network
