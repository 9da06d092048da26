from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.fake import FakeBehaviour, FakeRuntime
from kube_drivers.runtime.mixed import MixedRuntime
from kube_drivers.runtime.process import Images, ProcessRuntime


class TestMixedRuntimeWithProcesses(RuntimeContract):
    def make(self, state_directory: Path) -> MixedRuntime:
        clock, images = SystemClock(), Images({"missing": "/nowhere", "*": "host"})
        runtimes = {
            "process": ProcessRuntime(
                clock=clock, node_name="node", state_directory=str(state_directory), images=images
            ),
            "fake": FakeRuntime(clock=clock, node_name="node"),
        }
        return MixedRuntime(
            clock=clock, node_name="node", state_directory=str(state_directory), url="", runtimes=runtimes
        )


class TestMixedRuntimeWithFakes(RuntimeContract):
    def make(self, state_directory: Path) -> MixedRuntime:
        behaviours = {
            "fails": FakeBehaviour(runs_for=0.0, exit_code=3, log="hello\n"),
            "missing": FakeBehaviour(pull_error="there is no such image"),
        }
        return MixedRuntime(
            clock=SystemClock(), node_name="node", state_directory="", url="mixed:fake", behaviours=behaviours
        )
