"""The driver of CRI endpoints, at the CRI endpoint that this project serves: both sides keep the contract together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fakes.containers import image_store, needs_containers
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.cri import CriRuntime

pytest.importorskip("grpc")

#: One that no other test has, of those that run beside this one.
_RANGE = f"10.{192 + os.getpid() % 16}.{os.getpid() // 16 % 256}.16/28"


@needs_containers()
class TestCriRuntimeWithKubeCore(RuntimeContract):
    endpoint: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder, store = tmp_path_factory.mktemp("cri"), image_store(tmp_path_factory, "sleeps", "fails")
        (store / "registries.json").write_text('{"registries": {"*": {"offline": true}}}')
        environment = {**os.environ, "KUBE_CORE_IMAGES": str(store)}
        cls.endpoint = f"unix://{folder}/cri.sock"
        command = [sys.executable, "-m", "kube_core.cli", "cri", "--state", f"{folder}/state", "--pod-cidr", _RANGE]
        process = subprocess.Popen(
            [*command, "--listen", cls.endpoint], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "serving CRI" in process.stdout.readline()
        yield
        process.terminate()
        process.wait(30)
        process.stdout.close()
        subprocess.run([*command, "--end"], env=environment, check=True, timeout=50)

    def make(self, state_directory: Path) -> CriRuntime:
        return CriRuntime(
            clock=SystemClock(), node_name="node", state_directory=str(state_directory), url=f"cri:{self.endpoint}"
        )
