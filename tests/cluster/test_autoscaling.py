"""Autoscalers in whole clusters, in virtual time, over containers that seem to use what they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.documents import Document
from kube_drivers.runtime.fake import FakeBehaviour, SharedLoad

pytestmark = pytest.mark.anyio

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


@pytest.fixture
def load() -> SharedLoad:
    return SharedLoad(0.1)


@pytest.fixture
async def cluster(load: SharedLoad) -> AsyncIterator[Cluster]:
    behaviours = {"web": FakeBehaviour(cpu=load, memory="64Mi")}
    async with Cluster(clock=FakeClock(), seed=1, nodes=3, listen=False, behaviours=behaviours) as cluster:
        await cluster.settled()
        yield cluster


async def deploy(cluster: Cluster, replicas: int = 2, requests: Mapping[str, str] | None = None) -> None:
    container: dict[str, Any] = {"name": "web", "image": "web:1"}
    container["resources"] = {"requests": dict(requests if requests is not None else {"cpu": "200m"})}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    await cluster.client.create(resources.DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")


async def autoscale(cluster: Cluster, name: str = "web", target: str = "web", **spec: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    whole = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": [CPU], **spec}
    await cluster.client.create(
        resources.HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": name}, "spec": whole}, "default"
    )


async def replicas(cluster: Cluster) -> int:
    return int((await cluster.client.get(resources.DEPLOYMENTS, "web", "default"))["spec"]["replicas"])


async def look(cluster: Cluster, name: str = "web") -> Document:
    return await cluster.client.get(resources.HORIZONTAL_POD_AUTOSCALERS, name, "default")


def conditions(autoscaler: Document) -> dict[str, tuple[str, str]]:
    found: Sequence[Document] = autoscaler["status"]["conditions"]
    return {each["type"]: (each["status"], each["reason"]) for each in found}


async def messages(cluster: Cluster, reason: str) -> list[str]:
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return [each["message"] for each in found if each["reason"] == reason]


async def test_a_load_that_rises_and_falls_is_followed_up_at_once_and_down_in_time(
    cluster: Cluster, load: SharedLoad
) -> None:
    await deploy(cluster)
    await autoscale(cluster)
    await cluster.advance(minutes=8)
    # A tenth of a core for one pod of 200m is half of what it requests.
    assert await replicas(cluster) == 1
    found = await look(cluster)
    assert found["status"]["currentMetrics"] == [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": 50, "averageValue": "100m"}},
        }
    ]
    assert conditions(found) == {
        "AbleToScale": ("True", "ReadyForNewScale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
        "ScaledToZero": ("False", "NotScaledToZero"),
    }
    load.cores = 0.6
    await cluster.advance(seconds=15)
    # At most doubled, or four.
    assert await replicas(cluster) == 4
    await cluster.advance(minutes=10)
    assert await replicas(cluster) == 6
    assert (await look(cluster))["status"]["currentReplicas"] == 6
    load.cores = 0.18
    await cluster.advance(minutes=4)
    assert await replicas(cluster) == 6
    assert conditions(await look(cluster))["AbleToScale"] == ("True", "ScaleDownStabilized")
    await cluster.advance(minutes=2)
    assert await replicas(cluster) == 2
    told = await messages(cluster, "SuccessfulRescale")
    assert "New size: 4; reason: cpu resource utilization (percentage of request) above target" in told
    assert "New size: 2; reason: All metrics below target" in told


async def test_never_more_nor_fewer_than_it_says(cluster: Cluster, load: SharedLoad) -> None:
    load.cores = 50.0
    await deploy(cluster, replicas=8)
    await autoscale(cluster, minReplicas=2, maxReplicas=5)
    await cluster.settled()
    assert await replicas(cluster) == 5
    assert await messages(cluster, "SuccessfulRescale") == [
        "New size: 5; reason: Current number of replicas above Spec.MaxReplicas"
    ]
    await cluster.advance(minutes=10)
    assert await replicas(cluster) == 5
    assert conditions(await look(cluster))["ScalingLimited"] == ("True", "TooManyReplicas")
    load.cores = 0.0
    await cluster.advance(minutes=15)
    assert await replicas(cluster) == 2
    assert conditions(await look(cluster))["ScalingLimited"] == ("True", "TooFewReplicas")


async def test_policies_and_windows_say_how_fast(cluster: Cluster, load: SharedLoad) -> None:
    rule = {"type": "Pods", "value": 1, "periodSeconds": 60}
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [rule]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [rule], "selectPolicy": "Disabled"},
    }
    load.cores = 1.0
    await deploy(cluster)
    await autoscale(cluster, behavior=behavior)
    await cluster.advance(minutes=6)
    before = await replicas(cluster)
    assert conditions(await look(cluster))["ScalingLimited"] == ("True", "ScaleUpLimit")
    await cluster.advance(minutes=2)
    assert await replicas(cluster) == before + 2
    load.cores = 0.0
    await cluster.advance(minutes=10)
    # Nothing is ever taken away.
    assert await replicas(cluster) >= before + 2
    assert conditions(await look(cluster))["ScalingLimited"] == ("True", "ScaleDownLimit")


async def test_a_tolerance_of_its_own(cluster: Cluster, load: SharedLoad) -> None:
    behavior = {"scaleUp": {"tolerance": "500m"}, "scaleDown": {"tolerance": "0"}}
    load.cores = 0.28  # two pods at 70%: 1.4 times the target
    await deploy(cluster)
    await autoscale(cluster, behavior=behavior)
    await cluster.advance(minutes=10)
    assert await replicas(cluster) == 2
    load.cores = 0.32
    await cluster.advance(seconds=30)
    assert await replicas(cluster) == 4


async def test_it_counts_the_memory_of_one_container(cluster: Cluster) -> None:
    target = {"type": "AverageValue", "averageValue": "32Mi"}
    metric = {
        "type": "ContainerResource",
        "containerResource": {"name": "memory", "container": "web", "target": target},
    }
    await deploy(cluster)
    await autoscale(cluster, metrics=[metric], maxReplicas=4)
    await cluster.advance(minutes=1)
    assert await replicas(cluster) == 4
    [found] = (await look(cluster))["status"]["currentMetrics"]
    assert found["containerResource"]["current"] == {"averageValue": "64Mi"}


async def test_pods_that_request_nothing_cannot_be_judged(cluster: Cluster) -> None:
    await deploy(cluster, requests={})
    await autoscale(cluster)
    await cluster.advance(minutes=6)
    found = await look(cluster)
    assert conditions(found)["ScalingActive"] == ("False", "FailedGetResourceMetric")
    [condition] = [each for each in found["status"]["conditions"] if each["type"] == "ScalingActive"]
    said = "the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in"
    assert condition["message"].startswith(f"{said} container web of Pod web-")
    assert any(
        each.startswith(
            "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: "
        )
        for each in await messages(cluster, "FailedComputeMetricsReplicas")
    )
    assert await replicas(cluster) == 2


async def test_one_metric_that_is_unknown_holds_back_a_decrease_but_no_increase(
    cluster: Cluster, load: SharedLoad
) -> None:
    target = {"type": "AverageValue", "averageValue": "1"}
    unknown = {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": target}}
    await deploy(cluster, replicas=3)
    await autoscale(cluster, metrics=[CPU, unknown])
    await cluster.advance(minutes=10)
    assert await replicas(cluster) == 3
    assert conditions(await look(cluster))["ScalingActive"] == ("False", "FailedGetPodsMetric")
    assert await messages(cluster, "FailedGetPodsMetric") == [
        "unable to get metric requests: unable to fetch metrics from custom metrics API: "
        "no custom metrics API (custom.metrics.k8s.io) registered"
    ]
    load.cores = 0.6
    await cluster.advance(minutes=1)
    assert await replicas(cluster) == 6


async def test_what_is_zero_by_hand_stays_so_and_what_is_missing_is_told(cluster: Cluster) -> None:
    await deploy(cluster, replicas=0)
    await autoscale(cluster)
    await autoscale(cluster, "lost", target="nothing")
    await cluster.advance(minutes=1)
    assert await replicas(cluster) == 0
    assert conditions(await look(cluster))["ScalingActive"] == ("False", "ScalingDisabled")
    assert conditions(await look(cluster, "lost"))["AbleToScale"] == ("False", "FailedGetScale")
    assert await messages(cluster, "FailedGetScale") == ['deployments.apps "nothing" not found']


async def test_a_scale_that_cannot_be_written_is_tried_again_and_told(cluster: Cluster) -> None:
    await deploy(cluster, replicas=8)
    which: dict[str, Any] = {"verb": "update", "resource": "deployments", "subresource": "scale"}
    with cluster.faults.inject(Fault.answers(500, "no room", **which)):
        await autoscale(cluster, maxReplicas=5)
        await cluster.settled()
        assert conditions(await look(cluster))["AbleToScale"] == ("False", "FailedUpdateScale")
        assert await messages(cluster, "FailedRescale") == [
            "New size: 5; reason: Current number of replicas above Spec.MaxReplicas; error: no room"
        ]
    # Somebody who writes at the same time is no reason to give up.
    conflicts = Fault.answers(409, times=2, **which)
    with cluster.faults.inject(conflicts):
        await cluster.advance(seconds=15)
        assert cluster.faults.used(conflicts) == 2
    assert await replicas(cluster) == 5
    assert conditions(await look(cluster))["AbleToScale"] == ("True", "SucceededRescale")


async def test_two_autoscalers_of_the_same_pods_do_nothing(cluster: Cluster) -> None:
    await deploy(cluster)
    await autoscale(cluster, "one")
    await autoscale(cluster, "two")
    await cluster.advance(minutes=1)
    assert conditions(await look(cluster, "two"))["ScalingActive"] == ("False", "AmbiguousSelector")
    assert (
        "pods by selector app=web are controlled by more than one HPA (e.g. [default/one default/two])"
        in await messages(cluster, "AmbiguousSelector")
    )
