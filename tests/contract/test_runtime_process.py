from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.process import Images, ProcessRuntime


class TestProcessRuntime(RuntimeContract):
    def make(self, state_directory: Path) -> ProcessRuntime:
        images = Images({"missing": "/nowhere", "*": "host"})
        return ProcessRuntime(
            clock=SystemClock(), node_name="node", state_directory=str(state_directory), images=images
        )
