"""Deployments, replica sets, endpoints and the scheduler against a real server; only the node is pretended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import structlog

from fakes.kubelet import PretendedKubelet
from fakes.objects import node
from kube_core.api import pods, resources
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document, Key, annotations_of, is_deleting, labels_of, name_of
from kube_core.scheduler.scheduler import Scheduler
from kube_plugins.scheduler.builtin import BUILT_IN

pytestmark = pytest.mark.anyio

CONTROLLERS = (
    "serviceaccount-controller",
    "deployment-controller",
    "replicaset-controller",
    "endpoints-controller",
    "endpointslice-controller",
)
WORKLOAD_RESOURCES = (
    resources.DEPLOYMENTS,
    resources.REPLICA_SETS,
    resources.PODS,
    resources.ENDPOINTS,
    resources.ENDPOINT_SLICES,
    resources.EVENTS,
)


class Running:
    """A cluster with pretended nodes, and what is looked at in it."""

    def __init__(self, cluster: Cluster, kubelet: PretendedKubelet, scheduler: Scheduler) -> None:
        self.cluster = cluster
        self.client: ApiClient = cluster.client
        self.kubelet = kubelet
        self.scheduler = scheduler

    def get(self, resource: ResourceType, name: str) -> Document | None:
        return self.cluster.informers.lister(resource).get(Key("default", name))

    def all(self, resource: ResourceType) -> Sequence[Document]:
        return self.cluster.informers.lister(resource).list("default")

    @property
    def running(self) -> list[Document]:
        return [pod for pod in self.all(resources.PODS) if not is_deleting(pod) and pods.node_name_of(pod)]

    def images(self) -> Counter[str]:
        return Counter(pod["spec"]["containers"][0]["image"] for pod in self.running)

    def complete(self, name: str = "web") -> bool:
        found = self.get(resources.DEPLOYMENTS, name)
        status = (found or {}).get("status") or {}
        return (
            found is not None
            and status.get("observedGeneration") == found["metadata"].get("generation", 0)
            and all(
                status.get(counter, 0) == found["spec"]["replicas"]
                for counter in ("replicas", "updatedReplicas", "availableReplicas")
            )
        )

    async def set_image(self, image: str) -> None:
        containers = [{"name": "web", "image": image}]
        await self.patch({"spec": {"template": {"spec": {"containers": containers}}}})

    async def patch(self, patch: dict[str, Any], name: str = "web") -> None:
        await self.client.patch(resources.DEPLOYMENTS, name, patch, "default", patch_type="strategic")

    def events(self, reason: str) -> list[str]:
        return [each["message"] for each in self.all(resources.EVENTS) if each["reason"] == reason]

    def progressing(self, name: str = "web") -> str:
        found = self.get(resources.DEPLOYMENTS, name)
        conditions = ((found or {}).get("status") or {}).get("conditions") or ()
        return next((each["reason"] for each in conditions if each["type"] == "Progressing"), "")


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with Cluster(nodes=0, listen=False, controllers=CONTROLLERS, seed=1) as cluster:
        for resource in WORKLOAD_RESOURCES:
            await cluster.informers.informer(resource).synced()
        kubelet = PretendedKubelet(cluster.client, cluster.informers, cluster.clock)
        async with EventWriter(cluster.client, clock=cluster.clock, random=cluster.random) as writer:
            scheduler = Scheduler(
                cluster.client,
                cluster.informers,
                cluster.clock,
                cluster.random,
                BUILT_IN,
                structlog.get_logger(),
                events=writer.recorder("default-scheduler"),
            )
            tasks = [asyncio.create_task(kubelet.run()), asyncio.create_task(scheduler.run())]
            await kubelet.register(*(node(f"n{i}") for i in range(3)))
            try:
                yield Running(cluster, kubelet, scheduler)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 (caches are looked at, not announced)
            await asyncio.sleep(0.01)


def deployment(replicas: int = 3, image: str = "web:1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"kubernetes.io/change-cause": "first"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


async def test_a_deployment_gets_its_pods_spread_over_the_nodes(running: Running) -> None:
    await running.client.create(resources.DEPLOYMENTS, deployment(6))
    await until(running.complete)
    assert Counter(pods.node_name_of(pod) for pod in running.running) == {"n0": 2, "n1": 2, "n2": 2}
    [replica_set] = running.all(resources.REPLICA_SETS)
    assert annotations_of(replica_set)["deployment.kubernetes.io/revision"] == "1"
    assert annotations_of(replica_set)["kubernetes.io/change-cause"] == "first"
    assert all(name_of(pod).startswith(f"{name_of(replica_set)}-") for pod in running.running)
    await until(lambda: running.progressing() == "NewReplicaSetAvailable")
    await until(lambda: len(running.events("Scheduled")) == 6)
    assert running.events("ScalingReplicaSet") == [f"Scaled up replica set {name_of(replica_set)} from 0 to 6"]
    assert len(running.events("SuccessfulCreate")) == 6


async def test_a_rolling_update_keeps_its_limits_and_can_be_undone(running: Running) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    await running.client.create(resources.DEPLOYMENTS, deployment(5, strategy=strategy))
    await until(running.complete)
    seen: list[tuple[int, int]] = []

    def count(_before: Document | None, _after: Document | None) -> None:
        there = [pod for pod in running.all(resources.PODS) if not is_deleting(pod)]
        seen.append((len(there), sum(1 for pod in there if pods.is_ready(pod))))

    running.cluster.informers.informer(resources.PODS).add_handler(count)
    await running.set_image("web:2")
    await until(lambda: running.complete() and running.images() == {"web:2": 5})
    assert max(there for there, _ in seen) <= 6
    assert min(ready for _, ready in seen) >= 4
    revisions = {
        name_of(each): annotations_of(each)["deployment.kubernetes.io/revision"]
        for each in running.all(resources.REPLICA_SETS)
    }
    assert sorted(revisions.values()) == ["1", "2"]
    await running.set_image("web:1")
    await until(lambda: running.complete() and running.images() == {"web:1": 5})
    after = {
        name_of(each): annotations_of(each)["deployment.kubernetes.io/revision"]
        for each in running.all(resources.REPLICA_SETS)
    }
    assert set(after) == set(revisions)  # the old replica set was used again
    assert sorted(after.values()) == ["2", "3"]
    found = running.get(resources.DEPLOYMENTS, "web")
    assert found is not None
    assert annotations_of(found)["deployment.kubernetes.io/revision"] == "3"


async def test_a_rollout_that_cannot_go_on_leaves_the_old_pods_and_times_out(running: Running) -> None:
    running.kubelet.broken.add("web:bad")
    await running.client.create(resources.DEPLOYMENTS, deployment(3, progressDeadlineSeconds=1))
    await until(running.complete)
    await running.set_image("web:bad")
    await until(lambda: running.progressing() == "ProgressDeadlineExceeded")
    assert running.images() == {"web:1": 3, "web:bad": 1}
    await running.set_image("web:1")
    await until(lambda: running.complete() and running.images() == {"web:1": 3})
    await until(lambda: running.progressing() == "NewReplicaSetAvailable")


async def test_recreate_lets_every_old_pod_end_first(running: Running) -> None:
    await running.client.create(resources.DEPLOYMENTS, deployment(3, strategy={"type": "Recreate"}))
    await until(running.complete)
    mixed: list[set[str]] = []

    def look(_before: Document | None, _after: Document | None) -> None:
        mixed.append({pod["spec"]["containers"][0]["image"] for pod in running.all(resources.PODS)})

    running.cluster.informers.informer(resources.PODS).add_handler(look)
    await running.set_image("web:2")
    await until(lambda: running.complete() and running.images() == {"web:2": 3})
    assert {"web:1", "web:2"} not in mixed


async def test_a_paused_deployment_scales_but_does_not_roll(running: Running) -> None:
    await running.client.create(resources.DEPLOYMENTS, deployment(2))
    await until(running.complete)
    await running.patch({"spec": {"paused": True}})
    await until(lambda: running.progressing() == "DeploymentPaused")
    await running.set_image("web:2")
    await running.patch({"spec": {"replicas": 4}})
    await until(lambda: running.images() == {"web:1": 4})
    await running.patch({"spec": {"paused": False}})
    await until(lambda: running.complete() and running.images() == {"web:2": 4})


async def test_history_is_cleaned_up(running: Running) -> None:
    await running.client.create(resources.DEPLOYMENTS, deployment(1, revisionHistoryLimit=1))
    await until(running.complete)
    for image in ("web:2", "web:3", "web:4"):
        await running.set_image(image)
        await until(lambda image=image: running.complete() and running.images() == {image: 1})  # type: ignore[misc]
    await until(lambda: len(running.all(resources.REPLICA_SETS)) == 2)


async def test_a_pod_that_is_deleted_is_replaced_and_one_relabelled_is_let_go(running: Running) -> None:
    await running.client.create(resources.DEPLOYMENTS, deployment(3))
    await until(running.complete)
    victim, stray = running.running[:2]
    await running.client.delete(resources.PODS, name_of(victim), "default")
    await running.client.patch(
        resources.PODS, name_of(stray), {"metadata": {"labels": {"pod-template-hash": "x"}}}, "default"
    )
    await until(lambda: len(running.running) == 4 and running.complete())
    let_go = running.get(resources.PODS, name_of(stray))
    assert let_go is not None
    assert not let_go["metadata"].get("ownerReferences")
    [replica_set] = running.all(resources.REPLICA_SETS)
    mark = labels_of(replica_set)["pod-template-hash"]
    await running.client.patch(
        resources.PODS, name_of(stray), {"metadata": {"labels": {"pod-template-hash": mark}}}, "default"
    )
    await until(lambda: len(running.running) == 3)  # taken back, and then one is too many


async def test_endpoints_follow_the_pods(running: Running) -> None:
    service = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    await running.client.create(resources.SERVICES, service)
    await until(lambda: len(running.all(resources.ENDPOINT_SLICES)) == 1)  # empty, but there
    await running.client.create(resources.DEPLOYMENTS, deployment(3))

    def addresses() -> tuple[list[str], list[str]]:
        endpoints = running.get(resources.ENDPOINTS, "web") or {}
        old = [each["ip"] for subset in endpoints.get("subsets") or () for each in subset.get("addresses") or ()]
        new = [
            endpoint["addresses"][0]
            for each in running.all(resources.ENDPOINT_SLICES)
            for endpoint in each.get("endpoints") or ()
            if endpoint["conditions"]["ready"]
        ]
        return sorted(old), sorted(new)

    def expected() -> list[str]:
        return sorted(next(pods.pod_ips(pod), "") for pod in running.running)

    await until(lambda: running.complete() and addresses() == (expected(), expected()) and len(expected()) == 3)
    await running.patch({"spec": {"replicas": 1}})
    await until(lambda: len(expected()) == 1 and addresses() == (expected(), expected()))
    assert len(running.all(resources.ENDPOINT_SLICES)) == 1
    await running.client.delete(resources.SERVICES, "web", "default")
    await until(lambda: running.get(resources.ENDPOINTS, "web") is None)


async def test_a_pod_without_room_says_why_and_is_placed_when_there_is(running: Running) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "6"}}}]},
    }
    await running.client.create(resources.DEPLOYMENTS, deployment(1, template=template))

    def message() -> str:
        conditions = [pods.pod_condition(pod, "PodScheduled") or {} for pod in running.all(resources.PODS)]
        return next((str(each.get("message")) for each in conditions if each.get("reason") == "Unschedulable"), "")

    await until(message)
    assert message() == (
        "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: "
        "3 Preemption is not helpful for scheduling."
    )
    await until(lambda: running.events("FailedScheduling"))
    await running.kubelet.register(node("big", cpu="16"))
    await until(running.complete)
    assert [pods.node_name_of(pod) for pod in running.running] == ["big"]


async def test_no_room_is_given_away_twice(running: Running) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "900m"}}}]},
    }
    await running.client.create(resources.DEPLOYMENTS, deployment(20, template=template))
    await until(lambda: len(running.running) == 12 and len(running.scheduler.queue.unschedulable) == 8)
    assert Counter(pods.node_name_of(pod) for pod in running.running) == {"n0": 4, "n1": 4, "n2": 4}


async def test_what_others_keep_changing_is_still_brought_about(running: Running) -> None:
    """Scaling at random in the middle of rollouts ends where the last wish says."""
    await running.client.create(resources.DEPLOYMENTS, deployment(3))
    for step in range(12):
        await running.patch({"spec": {"replicas": running.cluster.random.below(9)}})
        if step % 3 == 0:
            await running.set_image(f"web:{step}")
        await asyncio.sleep(0)
    await running.patch({"spec": {"replicas": 4}})
    await running.set_image("web:last")
    await until(lambda: running.complete() and running.images() == {"web:last": 4})
