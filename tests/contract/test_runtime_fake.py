from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import SystemClock
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.fake import Behaviour, FakeBehaviour, FakeRuntime, RunningContainer


class TestFakeRuntime(RuntimeContract):
    def make(self, state_directory: Path) -> FakeRuntime:
        behaviours = {
            "fails": FakeBehaviour(runs_for=0.0, exit_code=3, log="hello\n"),
            "missing": FakeBehaviour(pull_error="there is no such image"),
        }
        return FakeRuntime(clock=SystemClock(), node_name="node", behaviours=behaviours)


async def sleeps(container: RunningContainer) -> None:
    await container.stopping()


async def fails(container: RunningContainer) -> int:
    container.log("hello")
    return 3


class TestFakeRuntimeWithFunctions(RuntimeContract):
    def make(self, state_directory: Path) -> FakeRuntime:
        missing = {"pull_error": "there is no such image"}
        behaviours: dict[str, Behaviour] = {"sleeps": sleeps, "fails": fails, "missing": missing}
        return FakeRuntime(clock=SystemClock(), node_name="node", behaviours=behaviours)
