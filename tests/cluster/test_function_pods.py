"""Pods whose containers are functions, in whole clusters, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.runtime import NetworkProbe
from kube_core.api import pods, resources
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster, SnapshotRefused
from kube_core.drivers import DriverError
from kube_drivers.runtime.fake import FakeBehaviour, RunningContainer


async def greeter(container: RunningContainer) -> int:
    """Ready after a minute; says hello every ten seconds; ends with 5 when it is asked to."""
    container.ready = False
    await container.sleep(60)
    container.ready = True
    while not container.stop_requested:
        container.log(f"hello from {container.env['WHO']}")
        await container.sleep(10)
    return 5


async def once(container: RunningContainer) -> None:
    await container.sleep(90)


async def broken(container: RunningContainer) -> None:
    raise RuntimeError("no database")


async def hostname(container: RunningContainer, words: tuple[str, ...]) -> str:
    return container.pod


async def never(container: RunningContainer, request: NetworkProbe) -> bool:
    await container.sleep(1000)
    return True


pytestmark = pytest.mark.cluster(
    behaviours={
        "example.org/greeter": FakeBehaviour(function=greeter, exec=hostname),
        "example.org/once": once,
        "example.org/broken": broken,
        "example.org/stuck": {"probe": never},
        "example.org/slow": {"start_latency": 3.0},
    }
)


def pod(name: str, image: str, **container: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": image, **container}]
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "OnFailure", "containers": containers}}


async def test_a_function_is_probed_runs_and_ends_as_a_program_would(cluster: Cluster, client: ApiClient) -> None:
    ready = {"httpGet": {"port": 80}, "periodSeconds": 5}
    env = [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    await client.create(
        resources.PODS, pod("greeter", "example.org/greeter:2", readinessProbe=ready, env=env), "default"
    )
    await cluster.advance(seconds=35)
    running = await client.get(resources.PODS, "greeter", "default")
    assert (pods.phase_of(running), pods.is_ready(running)) == ("Running", False)
    await cluster.advance(minutes=1)
    assert pods.is_ready(await client.get(resources.PODS, "greeter", "default"))
    assert (await client.exec("greeter", ["hostname"], "default")).stdout == b"greeter"
    assert await client.logs("greeter", "default") == "hello from greeter\n" * 4
    with pytest.raises(SnapshotRefused, match="main of default/greeter"):
        await cluster.snapshot()
    await client.delete(resources.PODS, "greeter", "default")
    await cluster.advance(seconds=15)
    assert not (await client.list(resources.PODS, "default")).items
    await cluster.snapshot()


async def test_a_function_that_returns_completes_its_pod(cluster: Cluster, client: ApiClient) -> None:
    await client.create(resources.PODS, pod("once", "example.org/once"), "default")
    await cluster.advance(minutes=1)
    assert pods.phase_of(await client.get(resources.PODS, "once", "default")) == "Running"
    await cluster.advance(minutes=1)
    assert pods.phase_of(await client.get(resources.PODS, "once", "default")) == "Succeeded"


async def test_a_function_that_raises_is_started_again_with_back_off(cluster: Cluster, client: ApiClient) -> None:
    await client.create(resources.PODS, pod("broken", "example.org/broken"), "default")
    await cluster.advance(minutes=2)
    [status] = (await client.get(resources.PODS, "broken", "default"))["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["restartCount"] >= 3


async def test_a_behaviour_may_be_given_by_its_fields(cluster: Cluster, client: ApiClient) -> None:
    await client.create(resources.PODS, pod("slow", "example.org/slow"), "default")
    await cluster.settled()
    assert pods.phase_of(await client.get(resources.PODS, "slow", "default")) == "Pending"
    await cluster.advance(seconds=4)
    assert pods.phase_of(await client.get(resources.PODS, "slow", "default")) == "Running"


async def test_a_probe_that_nobody_answers_in_time_has_failed(cluster: Cluster, client: ApiClient) -> None:
    probe = {"tcpSocket": {"port": 80}, "timeoutSeconds": 2}
    await client.create(resources.PODS, pod("stuck", "example.org/stuck", livenessProbe=probe), "default")
    await cluster.advance(minutes=1)
    messages = [event["message"] for event in (await client.list(resources.EVENTS, "default")).items]
    assert "Liveness probe failed: context deadline exceeded" in messages


@pytest.mark.anyio
async def test_what_is_no_behaviour_is_told_by_its_image() -> None:
    with pytest.raises(DriverError, match=r"example\.org/app"):
        async with Cluster(listen=False, behaviours={"example.org/app": {"runs_fr": 1.0}}):
            pass
