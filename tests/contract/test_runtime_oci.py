from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from fakes.containers import REGISTRIES, image_store, needs_containers
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.oci import OciRuntime


class OciContract(RuntimeContract):
    program: ClassVar[str]
    images: ClassVar[Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.images = image_store(tmp_path_factory, "sleeps", "fails")

    def make(self, state_directory: Path) -> OciRuntime:
        return OciRuntime(
            clock=SystemClock(),
            node_name="node",
            state_directory=str(state_directory),
            url=f"oci:{self.program}",
            images=self.images,
            registries=REGISTRIES,
        )


@needs_containers("crun")
class TestOciRuntimeWithCrun(OciContract):
    program = "crun"


@needs_containers("runc")
class TestOciRuntimeWithRunc(OciContract):
    program = "runc"
