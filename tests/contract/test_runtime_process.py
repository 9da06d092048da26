from __future__ import annotations

from pathlib import Path

from fakes.containers import needs_cgroups
from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.process import Images, ProcessRuntime


class TestProcessRuntime(RuntimeContract):
    url = "process"

    def make(self, state_directory: Path) -> ProcessRuntime:
        images = Images({"missing": "/nowhere", "*": "host"})
        return ProcessRuntime(
            clock=SystemClock(), node_name="node", state_directory=str(state_directory), url=self.url, images=images
        )


class TestProcessRuntimeAsElsewhere(TestProcessRuntime):
    """As where there is no Linux: by `ps`, without orphans that become the supervisor's children."""

    url = "process:portable"


@needs_cgroups()
class TestProcessRuntimeWithCgroups(TestProcessRuntime):
    url = "process:cgroups"
