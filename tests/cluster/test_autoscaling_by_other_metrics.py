"""Autoscalers by metrics that are not what pods use: of pods, of objects, and from outside; and down to nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import Request, Response
from kube_core.api import resources
from kube_core.apiserver.aggregation.local import LocalService
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, name_of
from kube_core.meta.gvk import GroupVersion
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time

pytestmark = pytest.mark.anyio

PER_POD = re.compile(r".*/namespaces/default/pods/\*/hits$")
OF_OBJECT = re.compile(r".*/namespaces/default/services/front/hits$")
OF_NAMESPACE = re.compile(r".*/namespaces/default/metrics/hits$")
OUTSIDE = re.compile(r".*/namespaces/default/queue$")


class Adapter:
    """Serves custom.metrics.k8s.io and external.metrics.k8s.io in the cluster's own program."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.value = "0"
        self.asked: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        moment = format_time(self.cluster.clock.now())
        if PER_POD.match(request.path):
            selector = request.parameter("labelSelector")
            pods = (await self.cluster.client.list(resources.PODS, "default", label_selector=selector)).items
            found: list[dict[str, Any]] = [{"describedObject": {"kind": "Pod", "name": name_of(each)}} for each in pods]
        elif OF_OBJECT.match(request.path) or OF_NAMESPACE.match(request.path):
            found = [{"describedObject": {"name": "front"}}]
        elif OUTSIDE.match(request.path):
            found = [{"metricName": "queue", "metricLabels": {}}]
        else:
            raise NotFound(f"the server could not find the metric of {request.path}", details={})
        return Response(document={"items": [{**each, "timestamp": moment, "value": self.value} for each in found]})


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=2, listen=False) as cluster:
        container = {"name": "web", "image": "web:1"}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        await cluster.client.create(resources.DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")
        await cluster.settled()
        yield cluster


@pytest.fixture
def adapter(cluster: Cluster) -> Adapter:
    adapter = Adapter(cluster)
    for group_version in (
        GroupVersion("custom.metrics.k8s.io", "v1beta2"),
        GroupVersion("external.metrics.k8s.io", "v1beta1"),
    ):
        cluster.server.aggregation.serve(LocalService(group_version, [], adapter.handle))
    return adapter


async def autoscale(cluster: Cluster, kind: str, source: dict[str, Any], **spec: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    metric = {"type": kind, kind[0].lower() + kind[1:]: source}
    whole = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": [metric], **spec}
    document = {"metadata": {"name": "web"}, "spec": whole}
    await cluster.client.create(resources.HORIZONTAL_POD_AUTOSCALERS, document, "default")


async def replicas(cluster: Cluster) -> int:
    return int((await cluster.client.get(resources.DEPLOYMENTS, "web", "default"))["spec"]["replicas"])


async def look(cluster: Cluster) -> Document:
    return await cluster.client.get(resources.HORIZONTAL_POD_AUTOSCALERS, "web", "default")


async def test_by_what_pods_say_of_themselves(cluster: Cluster, adapter: Adapter) -> None:
    adapter.value = "15"
    metric = {"name": "hits", "selector": {"matchLabels": {"verb": "GET"}}}
    await autoscale(cluster, "Pods", {"metric": metric, "target": {"type": "AverageValue", "averageValue": "10"}})
    await cluster.settled()
    assert await replicas(cluster) == 3
    [found] = (await look(cluster))["status"]["currentMetrics"]
    assert found == {"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": "15"}}}
    assert adapter.asked[0].parameter("labelSelector") == "app=web"
    assert adapter.asked[0].parameter("metricLabelSelector") == "verb=GET"


@pytest.mark.parametrize(
    ("described", "target", "wanted"),
    [
        ({"kind": "Service", "apiVersion": "v1", "name": "front"}, {"type": "Value", "value": "10"}, 4),
        ({"kind": "Service", "apiVersion": "v1", "name": "front"}, {"type": "AverageValue", "averageValue": "7"}, 3),
        ({"kind": "Namespace", "name": "any"}, {"type": "Value", "value": "10"}, 4),
    ],
)
async def test_by_what_is_said_of_an_object(
    cluster: Cluster, adapter: Adapter, described: dict[str, Any], target: dict[str, Any], wanted: int
) -> None:
    adapter.value = "20"
    source = {"describedObject": described, "metric": {"name": "hits"}, "target": target}
    await autoscale(cluster, "Object", source)
    await cluster.settled()
    assert await replicas(cluster) == wanted


async def test_an_object_of_which_nothing_is_said(cluster: Cluster, adapter: Adapter) -> None:
    described = {"kind": "Service", "apiVersion": "v1", "name": "other"}
    source = {"describedObject": described, "metric": {"name": "hits"}, "target": {"type": "Value", "value": "1"}}
    await autoscale(cluster, "Object", source)
    await cluster.settled()
    [condition] = [each for each in (await look(cluster))["status"]["conditions"] if each["type"] == "ScalingActive"]
    assert (condition["status"], condition["reason"]) == ("False", "FailedGetObjectMetric")
    assert condition["message"].startswith(
        "the HPA was unable to compute the replica count: unable to get metric hits on Service default/other: "
        "unable to fetch metrics from custom metrics API: the server could not find the metric of "
    )


async def test_by_what_comes_from_outside_down_to_nothing_and_up_again(cluster: Cluster, adapter: Adapter) -> None:
    source = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "5"}}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    await autoscale(cluster, "External", source, minReplicas=0, behavior=behavior)
    await cluster.advance(minutes=1)
    assert await replicas(cluster) == 0
    conditions = {each["type"]: each for each in (await look(cluster))["status"]["conditions"]}
    assert conditions["ScaledToZero"]["status"] == "True"
    assert conditions["ScalingActive"]["status"] == "True"
    adapter.value = "12"
    await cluster.advance(seconds=15)
    assert await replicas(cluster) == 3
    conditions = {each["type"]: each for each in (await look(cluster))["status"]["conditions"]}
    assert conditions["ScaledToZero"]["status"] == "False"


async def test_without_anybody_who_serves_them_it_is_told(cluster: Cluster) -> None:
    source = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "5"}}
    await autoscale(cluster, "External", source)
    await cluster.settled()
    [condition] = [each for each in (await look(cluster))["status"]["conditions"] if each["type"] == "ScalingActive"]
    assert condition["reason"] == "FailedGetExternalMetric"
    assert condition["message"] == (
        "the HPA was unable to compute the replica count: failed to get external metric queue: unable to get external "
        "metric default/queue/nil: unable to fetch metrics from external metrics API: the server could not find the "
        "requested resource (get queue.external.metrics.k8s.io)"
    )
