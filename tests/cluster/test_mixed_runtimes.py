"""One node, several runtimes: each pod on the one that its RuntimeClass names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.config import ConfigError
from kube_core.meta.documents import Document
from kube_drivers.runtime.fake import RunningContainer

pytestmark = pytest.mark.anyio


async def reads(container: RunningContainer) -> int:
    container.log((container.volumes["/notes"] / "text").read_text())
    return 4


@pytest.fixture(scope="module")
async def mixed() -> AsyncIterator[Cluster]:
    behaviours = {"example.org/reads": reads}
    options: dict[str, Any] = {"listen": False, "behaviours": behaviours}
    async with Cluster(name="mixed-runtimes", runtime="mixed:fake+process", **options) as cluster:
        await cluster.settled()
        for name in ("process", "gvisor"):
            await cluster.client.create(resources.RUNTIME_CLASSES, {"metadata": {"name": name}, "handler": name})
        yield cluster


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def create(cluster: Cluster, name: str, image: str = "x", **spec: Any) -> None:
    container = {
        "name": "c",
        "image": image,
        "command": ["sh", "-c", "exit 3"],
        "volumeMounts": [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in spec.get("volumes", ())],
    }
    document = {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}
    await cluster.client.create(resources.PODS, document, "default")


async def in_phase(cluster: Cluster, name: str, phase: str) -> Document:
    async with asyncio.timeout(30):
        while True:
            pod = await cluster.client.get(resources.PODS, name, "default")
            if pods.phase_of(pod) == phase:
                return pod
            await asyncio.sleep(0.02)


async def sandbox_failure(cluster: Cluster, name: str) -> str:
    async with asyncio.timeout(30):
        while True:
            events = await cluster.client.list(resources.EVENTS, "default")
            for event in events.items:
                if event["reason"] == "FailedCreatePodSandBox" and event["involvedObject"]["name"] == name:
                    return str(event["message"])
            await asyncio.sleep(0.02)


async def test_a_pod_runs_where_its_runtime_class_says(mixed: Cluster) -> None:
    await create(mixed, "pretends")
    await create(mixed, "is-a-process", runtimeClassName="process")
    failed = await in_phase(mixed, "is-a-process", "Failed")
    # Where it runs as a process, the same command ends.
    running = await in_phase(mixed, "pretends", "Running")
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert running["status"]["containerStatuses"][0]["imageID"].startswith("fake:")


async def test_a_function_beside_processes_finds_its_volumes_on_disk(mixed: Cluster) -> None:
    await mixed.client.create(
        resources.CONFIG_MAPS, {"metadata": {"name": "notes"}, "data": {"text": "Hi."}}, "default"
    )
    notes = {"name": "notes", "configMap": {"name": "notes"}}
    await create(mixed, "function", "example.org/reads", volumes=[notes])
    failed = await in_phase(mixed, "function", "Failed")
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert [line async for line in mixed.client.logs("function", "default")] == ["Hi."]


async def test_a_handler_that_no_runtime_has_is_told_by_an_event(mixed: Cluster) -> None:
    await create(mixed, "in-gvisor", runtimeClassName="gvisor")
    assert await sandbox_failure(mixed, "in-gvisor") == (
        'Failed to create pod sandbox: no runtime for "gvisor" is configured'
    )
    assert pods.phase_of(await mixed.client.get(resources.PODS, "in-gvisor", "default")) == "Pending"


async def test_a_pod_whose_class_went_is_told_by_an_event(mixed: Cluster) -> None:
    await mixed.client.create(resources.RUNTIME_CLASSES, {"metadata": {"name": "brief"}, "handler": "process"})
    await create(mixed, "late", runtimeClassName="brief", schedulingGates=[{"name": "example.org/wait"}])
    await mixed.client.delete(resources.RUNTIME_CLASSES, "brief")
    await mixed.client.patch(resources.PODS, "late", {"spec": {"schedulingGates": None}}, "default")
    assert 'runtimeclass.node.k8s.io "brief" not found' in await sandbox_failure(mixed, "late")


async def test_a_runtime_that_is_told_nothing_takes_no_behaviours() -> None:
    with pytest.raises(ConfigError, match="behaviours"):
        async with Cluster(runtime="process", listen=False, behaviours={"app": {"runs_for": 1.0}}):
            pass
