"""The driver of CRI endpoints, at the CRI endpoint that this project serves: both sides keep the contract together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fakes.containers import image_store, needs_containers
from fakes.criserver import ended, serving
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.cri import CriRuntime

pytest.importorskip("grpc")


@needs_containers()
class TestCriRuntimeWithKubeCore(RuntimeContract):
    endpoint: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("cri")
        with ended(folder), serving(folder, image_store(tmp_path_factory, "sleeps", "fails")):
            cls.endpoint = f"unix://{folder}/cri.sock"
            yield

    def make(self, state_directory: Path) -> CriRuntime:
        return CriRuntime(
            clock=SystemClock(), node_name="node", state_directory=str(state_directory), url=f"cri:{self.endpoint}"
        )
