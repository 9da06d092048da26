"""A node agent against a real server: what pods get, how they end, and what a new agent finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kube_core.abc.network import Network
from kube_core.abc.node import LogRequest
from kube_core.abc.runtime import ExecRequest, Runtime
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document
from kube_core.meta.status import BadRequest
from kube_core.node.agent import NodeAgent, NodeConfig
from kube_core.node.streams import PodStreams
from kube_drivers.network.fake import FakeNetwork
from kube_drivers.runtime.fake import FakeBehaviour, FakeRuntime
from kube_drivers.runtime.process import ProcessRuntime

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def agent(cluster: Cluster, runtime: Runtime, state: Path | None = None) -> AsyncIterator[NodeAgent]:
    """An agent of the node `n`, running; the node is made anew or found again."""
    network: Network = FakeNetwork(clock=cluster.clock, node_name="n", pod_cidr="10.244.0.0/24")
    async with EventWriter(cluster.client, clock=cluster.clock, random=cluster.random) as events:
        made = NodeAgent(
            NodeConfig("n", pod_cidr="10.244.0.0/24", state_directory=str(state or "")),
            client=cluster.client,
            informers=cluster.informers,
            events=events,
            runtime=runtime,
            network=network,
            volumes=[],
            clock=cluster.clock,
            random=cluster.random,
        )
        ready = asyncio.Event()
        running = asyncio.create_task(made.run(ready=ready.set))
        try:
            await asyncio.wait_for(ready.wait(), 20)
            yield made
            assert not running.done() or running.exception() is None
        finally:
            running.cancel()
            await asyncio.wait([running])


@asynccontextmanager
async def cluster_without_nodes() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, listen=False, controllers=("serviceaccount-controller",)) as cluster:
        yield cluster


async def create(cluster: Cluster, name: str, container: dict[str, Any], **spec: Any) -> None:
    document = {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": "n",
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "x", **container}],
            **spec,
        },
    }
    await until(lambda: exists(cluster))
    await cluster.client.create(resources.PODS, document, "default")


async def exists(cluster: Cluster) -> bool:
    """The service account that pods need."""
    return bool((await cluster.client.list(resources.SERVICE_ACCOUNTS, "default")).items)


async def until(condition: Callable[[], Awaitable[Any]], limit: float = 20.0) -> Any:
    async with asyncio.timeout(limit):
        while not (found := await condition()):  # noqa: ASYNC110 (what is awaited is in a server)
            await asyncio.sleep(0.02)
        return found


async def pod_that(cluster: Cluster, name: str, holds: Callable[[Document], Any]) -> Document:
    async def look() -> Document | None:
        pod = await cluster.client.get(resources.PODS, name, "default")
        return pod if holds(pod) else None

    found: Document = await until(look)
    return found


async def gone(cluster: Cluster) -> bool:
    return not (await cluster.client.list(resources.PODS, "default")).items


def waiting_reason(pod: Document) -> str:
    statuses: Sequence[Document] = (pod.get("status") or {}).get("containerStatuses") or ({},)
    return str(((statuses[0].get("state") or {}).get("waiting") or {}).get("reason") or "")


async def test_a_crashing_container_backs_off_and_a_missing_image_is_told() -> None:
    behaviours = {"crashes": FakeBehaviour(runs_for=0.01, exit_code=2), "missing": FakeBehaviour(pull_error="gone")}
    async with cluster_without_nodes() as cluster:
        runtime = FakeRuntime(clock=cluster.clock, node_name="n", behaviours=behaviours)
        async with agent(cluster, runtime):
            await create(cluster, "crashes", {"image": "crashes"})
            await create(cluster, "missing", {"image": "missing"})
            pod = await pod_that(cluster, "crashes", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
            assert pods.phase_of(pod) == "Running"
            pod = await pod_that(cluster, "missing", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
            assert pods.phase_of(pod) == "Pending"


async def test_a_container_without_its_config_map_waits_until_it_is_there() -> None:
    async with cluster_without_nodes() as cluster:
        runtime = FakeRuntime(clock=cluster.clock, node_name="n")
        async with agent(cluster, runtime) as node:
            await create(cluster, "p", {"envFrom": [{"configMapRef": {"name": "later"}}]})
            await pod_that(cluster, "p", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
            with pytest.raises(BadRequest, match="waiting to start: CreateContainerConfigError"):
                await PodStreams(node).logs("default", "p", "c", LogRequest())


async def test_a_deleted_pod_goes_once_its_containers_have_ended() -> None:
    async with cluster_without_nodes() as cluster:
        runtime = FakeRuntime(clock=cluster.clock, node_name="n", behaviours={"x": FakeBehaviour(stop_latency=0.05)})
        async with agent(cluster, runtime):
            await create(cluster, "p", {})
            await pod_that(cluster, "p", pods.is_ready)
            await cluster.client.delete(resources.PODS, "p", "default")
            assert await cluster.client.get(resources.PODS, "p", "default")
            await until(lambda: gone(cluster))

            async def forgotten() -> bool:
                return not runtime.list_sandboxes() and not runtime.list_containers()

            await until(forgotten)


async def test_a_pod_that_ends_by_itself_has_succeeded_or_failed() -> None:
    behaviours = {"good": FakeBehaviour(runs_for=0.0), "bad": FakeBehaviour(runs_for=0.0, exit_code=1)}
    async with cluster_without_nodes() as cluster:
        runtime = FakeRuntime(clock=cluster.clock, node_name="n", behaviours=behaviours)
        async with agent(cluster, runtime):
            for name in behaviours:
                await create(cluster, name, {"image": name}, restartPolicy="Never")
            await pod_that(cluster, "good", lambda pod: pods.phase_of(pod) == "Succeeded")
            await pod_that(cluster, "bad", lambda pod: pods.phase_of(pod) == "Failed")


async def test_a_process_finds_its_volumes_and_environment(tmp_path: Path) -> None:
    async with cluster_without_nodes() as cluster:
        await cluster.client.create(
            resources.CONFIG_MAPS,
            {"metadata": {"name": "cm"}, "data": {"a": "from a file", "K": "from env"}},
            "default",
        )
        runtime = ProcessRuntime(clock=cluster.clock, node_name="n", state_directory=str(tmp_path))
        async with agent(cluster, runtime, tmp_path) as node:
            mounts = [{"name": "cfg", "mountPath": "/etc/cfg"}, {"name": "tmp", "mountPath": "/scratch"}]
            script = "cat /etc/cfg/a; echo; cat /scratch/init; echo $K $NODE; while true; do sleep 1; done"
            await create(
                cluster,
                "p",
                {
                    "command": ["sh", "-c", script],
                    "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                    "envFrom": [{"configMapRef": {"name": "cm"}}],
                    "volumeMounts": mounts,
                    "readinessProbe": {"exec": {"command": ["test", "-f", "/etc/cfg/a"]}, "periodSeconds": 1},
                },
                volumes=[{"name": "cfg", "configMap": {"name": "cm"}}, {"name": "tmp", "emptyDir": {}}],
                initContainers=[
                    {
                        "name": "init",
                        "image": "x",
                        "command": ["sh", "-c", "echo from init > /scratch/init"],
                        "volumeMounts": mounts,
                    }
                ],
                terminationGracePeriodSeconds=1,
            )
            await pod_that(cluster, "p", pods.is_ready)
            streams = PodStreams(node)
            chunks = await streams.logs("default", "p", "c", LogRequest(follow=True))
            said = b""
            async for chunk in chunks:
                said += chunk
                if b"from env" in said:
                    break
            assert said == b"from a file\nfrom init\nfrom env n\n"
            session = await streams.exec("default", "p", "c", ExecRequest(("cat", "/etc/cfg/a")))
            assert [part async for part in session.output()] == [("stdout", b"from a file")]
            await session.close()
        await runtime.end()


async def test_a_new_agent_finds_what_runs_and_runs_nothing_twice(tmp_path: Path) -> None:
    def made(cluster: Cluster) -> ProcessRuntime:
        return ProcessRuntime(clock=cluster.clock, node_name="n", state_directory=str(tmp_path))

    async with cluster_without_nodes() as cluster:
        started = tmp_path / "started"
        command = {"command": ["sh", "-c", f"echo x >> {started}; while true; do sleep 1; done"]}
        async with agent(cluster, made(cluster), tmp_path):
            await create(cluster, "stays", command, terminationGracePeriodSeconds=1)
            await create(cluster, "goes", command, terminationGracePeriodSeconds=1)
            before = await pod_that(cluster, "stays", pods.is_ready)
            await pod_that(cluster, "goes", pods.is_ready)
        await cluster.client.delete(resources.PODS, "goes", "default", grace_period=0)
        await until(lambda: is_gone_from_informers(cluster, "goes"))
        runtime = made(cluster)
        async with agent(cluster, runtime, tmp_path):

            async def only_one() -> bool:
                return [each.config.name for each in runtime.list_containers()] == ["c"]

            await until(only_one)
            after = await pod_that(cluster, "stays", pods.is_ready)
            assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
            assert started.read_text() == "x\nx\n"
        await runtime.end()


async def is_gone_from_informers(cluster: Cluster, name: str) -> bool:
    informer = cluster.informers.informer(resources.PODS, field_selector="spec.nodeName=n")
    return name not in [each["metadata"]["name"] for each in informer.lister.list()]
