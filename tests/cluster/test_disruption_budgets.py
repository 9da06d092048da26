"""Disruption budgets in a whole cluster, in virtual time: what they allow, and what an eviction then may do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import pods, resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, is_deleting, name_of
from kube_core.meta.status import TooManyRequests
from kube_drivers.runtime.fake import BEHAVIOUR_ANNOTATION

pytestmark = pytest.mark.anyio

BUDGETS = resources.POD_DISRUPTION_BUDGETS


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, listen=False, clock=FakeClock(), seed=1) as made:
        yield made


def deployment(replicas: int = 3, *, ready: bool = True, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "web:1"}
    annotations = {}
    if not ready:
        container["readinessProbe"] = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
        annotations[BEHAVIOUR_ANNOTATION] = json.dumps({"web": {"ready_after": 1_000_000}})
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": annotations},
                "spec": {"containers": [container]},
            },
            **spec,
        },
    }


def budget(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def status_of(cluster: Cluster, name: str = "web") -> Document:
    found: Document = (await cluster.client.get(BUDGETS, name, "default")).get("status") or {}
    return found


async def numbers(cluster: Cluster) -> tuple[int, int, int, int]:
    status = await status_of(cluster)
    names = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    healthy, desired, allowed, expected = (int(status[name]) for name in names)
    return healthy, desired, allowed, expected


async def running(cluster: Cluster) -> list[str]:
    found = (await cluster.client.list(resources.PODS, "default")).items
    return [name_of(pod) for pod in found if not is_deleting(pod)]


async def reasons(cluster: Cluster, kind: str) -> set[str]:
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return {each["reason"] for each in found if each["involvedObject"]["kind"] == kind}


async def test_evictions_go_as_far_as_the_budget_and_no_further(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(4))
    await cluster.client.create(BUDGETS, budget(maxUnavailable="25%"))
    await cluster.advance(seconds=5)
    assert await numbers(cluster) == (4, 3, 1, 4)
    first, second, *_ = await running(cluster)
    await cluster.client.evict(first, "default")
    with pytest.raises(TooManyRequests) as refused:
        await cluster.client.evict(second, "default")
    assert refused.value.causes[0]["reason"] == "DisruptionBudget"
    await cluster.advance(minutes=1)
    assert await numbers(cluster) == (4, 3, 1, 4)
    assert "disruptedPods" not in await status_of(cluster)
    await cluster.client.evict(second, "default")


async def test_a_rollout_with_two_replica_sets_counts_the_deployment_once(cluster: Cluster) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    await cluster.client.create(resources.DEPLOYMENTS, deployment(4, strategy=strategy))
    await cluster.client.create(BUDGETS, budget(minAvailable="50%"))
    await cluster.advance(seconds=5)
    stuck = deployment(4, ready=False)["spec"]["template"]
    await cluster.client.patch(resources.DEPLOYMENTS, "web", {"spec": {"template": stuck}}, "default")
    await cluster.advance(seconds=5)
    assert len(await running(cluster)) == 6
    assert await numbers(cluster) == (4, 2, 2, 4)


async def test_pods_that_are_not_ready_go_as_the_policy_says(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(2, ready=False))
    await cluster.client.create(BUDGETS, budget(minAvailable=1))
    await cluster.advance(seconds=5)
    assert await numbers(cluster) == (0, 1, 0, 2)
    sick, *_ = await running(cluster)
    with pytest.raises(TooManyRequests):
        await cluster.client.evict(sick, "default")
    await cluster.client.patch(BUDGETS, "web", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}, "default")
    await cluster.settled()
    await cluster.client.evict(sick, "default")
    assert sick not in await running(cluster)


async def test_the_scale_of_a_custom_resource_counts(cluster: Cluster) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
    }
    definition = {
        "metadata": {"name": "farms.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "farms", "singular": "farm", "kind": "Farm", "listKind": "FarmList"},
            "versions": [version],
        },
    }
    await cluster.client.create(resources.CUSTOM_RESOURCE_DEFINITIONS, definition)
    await cluster.settled()
    farms = await cluster.client.resource("farms")
    farm = await cluster.client.create(farms, {"metadata": {"name": "f", "namespace": "default"}, "spec": {"size": 4}})
    owner = {"apiVersion": "example.dev/v1", "kind": "Farm", "name": "f", "uid": farm["metadata"]["uid"]}
    for number in range(2):
        pod = {
            "metadata": {
                "name": f"f-{number}",
                "namespace": "default",
                "labels": {"app": "web"},
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        await cluster.client.create(resources.PODS, pod)
    await cluster.client.create(BUDGETS, budget(maxUnavailable="50%"))
    await cluster.advance(seconds=5)
    assert await numbers(cluster) == (2, 2, 0, 4)


async def test_a_controller_without_a_scale_fails_the_budget_safely(cluster: Cluster) -> None:
    template = deployment()["spec"]["template"]
    selector = {"matchLabels": {"app": "web"}}
    daemon = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": selector, "template": template}}
    await cluster.client.create(resources.DAEMON_SETS, daemon)
    await cluster.client.create(BUDGETS, budget(maxUnavailable=1))
    await cluster.advance(seconds=5)
    status = await status_of(cluster)
    assert status["disruptionsAllowed"] == 0
    [condition] = status["conditions"]
    assert (condition["reason"], condition["status"]) == ("SyncFailed", "False")
    assert condition["message"] == "daemonsets.apps does not implement the scale subresource"
    assert "CalculateExpectedPodCountFailed" in await reasons(cluster, "PodDisruptionBudget")
    [name] = await running(cluster)
    with pytest.raises(TooManyRequests) as refused:
        await cluster.client.evict(name, "default")
    assert "because it failed sync" in refused.value.causes[0]["message"]


async def test_what_is_odd_is_told_in_events(cluster: Cluster) -> None:
    await cluster.client.create(BUDGETS, budget(maxUnavailable=1))
    await cluster.settled()
    assert await reasons(cluster, "PodDisruptionBudget") == {"NoPods"}
    pod = {
        "metadata": {"name": "lone", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    await cluster.client.create(resources.PODS, pod)
    await cluster.client.create(BUDGETS, budget("other", minAvailable=0))
    await cluster.advance(seconds=5)
    assert await reasons(cluster, "PodDisruptionBudget") == {"NoPods", "UnmanagedPods"}
    assert "MultiplePodDisruptionBudgets" in await reasons(cluster, "Pod")


async def test_an_end_that_was_announced_and_did_not_come_is_taken_back(cluster: Cluster) -> None:
    await cluster.client.create(resources.DEPLOYMENTS, deployment(1))
    await cluster.advance(seconds=5)
    [name] = await running(cluster)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    moment = (await cluster.client.get(resources.PODS, name, "default"))["status"]["startTime"]
    patch = {"status": {"conditions": [{**condition, "lastTransitionTime": moment}]}}
    await cluster.client.patch(resources.PODS, name, patch, "default", patch_type="strategic", subresource="status")
    await cluster.advance(minutes=1)
    assert await announced(cluster, name) == "True"
    await cluster.advance(minutes=2)
    assert await announced(cluster, name) == "False"


async def announced(cluster: Cluster, name: str) -> str:
    found = pods.pod_condition(await cluster.client.get(resources.PODS, name, "default"), "DisruptionTarget")
    return str((found or {}).get("status"))


async def test_a_pod_that_is_preempted_is_told_why(cluster: Cluster) -> None:
    [node] = (await cluster.client.list(resources.NODES)).items
    everything = {"requests": {"cpu": node["status"]["allocatable"]["cpu"]}}
    container = {"name": "web", "image": "web:1", "resources": everything}
    for name, value in (("low", 1), ("high", 9)):
        await cluster.client.create(resources.PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value})
        spec = {"priorityClassName": name, "containers": [container]}
        pod = {"metadata": {"name": name, "namespace": "default", "finalizers": ["test.dev/watched"]}, "spec": spec}
        await cluster.client.create(resources.PODS, pod)
        await cluster.advance(seconds=3)
    victim = await cluster.client.get(resources.PODS, "low", "default")
    assert is_deleting(victim)
    condition = pods.pod_condition(victim, "DisruptionTarget") or {}
    assert (condition["status"], condition["reason"]) == ("True", "PreemptionByScheduler")
    assert condition["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
