from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("grpc")

from fakes.containerd import Containerd, needs_containerd, running
from fakes.containers import REGISTRIES, image_store, needs_containers
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.network.fake import FakeNetwork
from kube_drivers.runtime.cri import CriRuntime
from kube_drivers.runtime.criserver.process import CriOptions, serve_drivers
from kube_drivers.runtime.oci import OciRuntime


def runtime_at(endpoint: str, state_directory: Path) -> CriRuntime:
    return CriRuntime(
        clock=SystemClock(), node_name="node", state_directory=str(state_directory), url=f"cri:{endpoint}"
    )


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
        return runtime_at(self.containerd.endpoint, state_directory)


@needs_containers("crun")
class TestCriRuntimeWithOurOwnServer(RuntimeContract):
    """`kube-core cri` over the runtime `oci`, which tells of events where Debian's containerd does not."""

    images: ClassVar[Path]
    socket: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.images = image_store(tmp_path_factory, "sleeps", "fails")

    @pytest.fixture(autouse=True)
    async def endpoint(self) -> AsyncIterator[None]:
        clock = SystemClock()
        with tempfile.TemporaryDirectory(prefix="cri-") as folder:
            self.socket = Path(folder, "cri.sock")
            served = OciRuntime(
                clock=clock, node_name="served", state_directory=folder, images=self.images, registries=REGISTRIES
            )
            network = FakeNetwork(clock=clock, node_name="served", pod_cidr="10.244.0.0/24")
            options = CriOptions(
                runtime="oci", network="fake", state=Path(folder), listen=[self.socket], pod_cidr="10.244.0.0/24"
            )
            await served.start()
            try:
                async with serve_drivers(served, network, options, clock):
                    yield
            finally:
                await served.end()

    def make(self, state_directory: Path) -> CriRuntime:
        return runtime_at(f"unix://{self.socket}", state_directory)
