"""The driver keeps the contract of every runtime, and containers fail where their pod asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from unreliable_runtime import MEAN_LIFETIME, UnreliableRuntime

import kube_core as kube
from kube_core._kit.clock import SystemClock
from kube_core.api import core, meta
from kube_core.testing.runtime import RuntimeContract
from kube_drivers.runtime.fake import FakeBehaviour


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TestUnreliableRuntime(RuntimeContract):
    def make(self, state_directory: Path) -> UnreliableRuntime:
        behaviours = {
            "fails": FakeBehaviour(runs_for=0.0, exit_code=3, log="hello\n"),
            "missing": FakeBehaviour(pull_error="there is no such image"),
        }
        return UnreliableRuntime(clock=SystemClock(), node_name="node", behaviours=behaviours)


def pod(name: str, **annotations: str) -> core.Pod:
    container = core.Container(name="main", image="example.org/app")
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, annotations=annotations), spec=core.PodSpec(containers=(container,))
    )


@pytest.mark.anyio
@pytest.mark.cluster(runtime="unreliable", network="fake", volume="fake", proxy="fake", ingress="fake")
async def test_containers_fail_and_are_started_again(cluster: kube.Cluster) -> None:
    await cluster.client.create(pod("unlucky", **{MEAN_LIFETIME: "5"}))
    await cluster.client.create(pod("lucky"))
    await cluster.client.create(pod("confused", **{MEAN_LIFETIME: "soon"}))
    await cluster.advance(minutes=2)
    restarts = {}
    async for each in cluster.client.list(core.Pod):
        [container] = each.status.container_statuses
        restarts[each.metadata.name] = container.restart_count
    assert restarts["unlucky"] > 0
    assert restarts["lucky"] == restarts["confused"] == 0
