"""A node that is shut down: its pods end, and it is not ready."""

from __future__ import annotations

import pytest

from fakes.waiting import eventually
from kube_core.api import pods, resources
from kube_core.api.kubelet import KubeletSettings
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio


async def test_a_node_that_is_shut_down_ends_its_pods_and_takes_none() -> None:
    settings = KubeletSettings(shutdown_grace_period=10)
    async with Cluster(listen=False, kubelet=settings) as cluster:

        async def pod_that(name: str, phase: str) -> Document | None:
            found = await cluster.client.get(resources.PODS, name, "default")
            return found if pods.phase_of(found) == phase else None

        async def not_ready() -> Document | None:
            node = await cluster.client.get(resources.NODES, "node-1")
            ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
            return ready if ready["status"] == "False" else None

        async def create(name: str) -> None:
            spec = {"nodeName": "node-1", "containers": [{"name": "c", "image": "x"}]}
            spec["tolerations"] = [{"operator": "Exists"}]
            await cluster.client.create(resources.PODS, {"metadata": {"name": name}, "spec": spec}, "default")

        async def accounts() -> bool:
            return bool((await cluster.client.list(resources.SERVICE_ACCOUNTS, "default")).items)

        await eventually(accounts)
        await create("before")
        await eventually(lambda: pod_that("before", "Running"))
        await cluster.nodes["node-1"].shut_down()
        ended = await eventually(lambda: pod_that("before", "Failed"))
        message = "Pod was terminated in response to imminent node shutdown."
        assert (ended["status"]["reason"], ended["status"]["message"]) == ("Terminated", message)
        ready = await eventually(not_ready)
        assert (ready["reason"], ready["message"]) == ("KubeletNotReady", "node is shutting down")
        await create("after")
        refused = await eventually(lambda: pod_that("after", "Failed"))
        assert refused["status"]["message"] == "Pod was rejected: Pod was rejected as the node is shutting down."
