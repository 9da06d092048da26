from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fakes.containerd import Containerd, needs_containerd, running
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.cri import CriRuntime

pytest.importorskip("grpc")


@needs_containerd()
@pytest.mark.timeout(180)
class TestCriRuntimeWithContainerd(RuntimeContract):
    containerd: ClassVar[Containerd]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def endpoint(cls) -> Iterator[None]:
        with running() as cls.containerd:
            yield

    def make(self, state_directory: Path) -> CriRuntime:
        return CriRuntime(
            clock=SystemClock(),
            node_name="node",
            state_directory=str(state_directory),
            url=f"cri:{self.containerd.endpoint}",
        )
