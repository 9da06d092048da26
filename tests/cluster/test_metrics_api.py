"""metrics.k8s.io, as a cluster serves it from its nodes' own figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import Request, User
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.documents import Document
from kube_core.meta.status import MethodNotSupported, NotFound

pytestmark = pytest.mark.anyio

ROOT = "/apis/metrics.k8s.io/v1beta1"
BEHAVIOURS = {"web": {"cpu": "250m", "memory": "64Mi"}, "side": {"cpu": "50m", "memory": "1Mi"}}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, nodes=2, listen=False, behaviours=BEHAVIOURS) as cluster:
        for name, node, images in (("one", "node-1", ("web", "side")), ("two", "node-2", ("web",))):
            containers = [{"name": image, "image": f"{image}:1"} for image in images]
            pod = {
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"containers": containers, "nodeName": node},
            }
            await cluster.client.create(resources.PODS, pod, "default")
        await cluster.settled()
        yield cluster


async def get(cluster: Cluster, path: str, *query: tuple[str, str], accept: str = "") -> Document:
    return await cluster.client.get_path(f"{ROOT}{path}", query, accept=accept)


async def test_pods_are_listed_with_what_each_of_their_containers_uses(cluster: Cluster) -> None:
    found = await get(cluster, "/namespaces/default/pods")
    assert (found["kind"], found["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    one, two = found["items"]
    assert one["metadata"]["labels"] == {"app": "one"}
    assert one["containers"] == [
        {"name": "web", "usage": {"cpu": "250m", "memory": "64Mi"}},
        {"name": "side", "usage": {"cpu": "50m", "memory": "1Mi"}},
    ]
    assert (two["metadata"]["name"], two["window"], two["timestamp"]) == ("two", "15s", "2026-01-01T00:00:00Z")
    assert (await get(cluster, "/pods"))["items"] == found["items"]
    assert (await get(cluster, "/namespaces/other/pods"))["items"] == []


async def test_metrics_are_selected_by_the_labels_of_what_they_are_of(cluster: Cluster) -> None:
    found = await get(cluster, "/pods", ("labelSelector", "app in (two)"))
    assert [each["metadata"]["name"] for each in found["items"]] == ["two"]
    found = await get(cluster, "/nodes", ("fieldSelector", "metadata.name=node-2"))
    assert [each["metadata"]["name"] for each in found["items"]] == ["node-2"]


async def test_a_node_uses_what_its_containers_do(cluster: Cluster) -> None:
    assert (await get(cluster, "/nodes/node-1"))["usage"] == {"cpu": "300m", "memory": "65Mi"}


async def test_metrics_are_tables_for_who_wants_them_so(cluster: Cluster) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    found = await get(cluster, "/namespaces/default/pods", accept=accept)
    assert [each["name"] for each in found["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert [row["cells"] for row in found["rows"]] == [["one", "300m", "65Mi", "15s"], ["two", "250m", "64Mi", "15s"]]
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_what_does_not_run_has_no_metrics_and_nothing_is_written(cluster: Cluster) -> None:
    await cluster.client.delete(resources.PODS, "one", "default", grace_period=0)
    await cluster.settled()
    with pytest.raises(NotFound, match=r'podmetrics.metrics.k8s.io "default/one" not found'):
        await get(cluster, "/namespaces/default/pods/one")
    with pytest.raises(NotFound, match=r'nodemetrics.metrics.k8s.io "node-9" not found'):
        await get(cluster, "/nodes/node-9")
    response = await cluster.server.handle(Request("POST", f"{ROOT}/nodes", user=User("a", ("system:masters",))))
    assert response.status == MethodNotSupported.default_code


async def test_a_node_that_is_cut_off_has_none_and_the_others_go_on(cluster: Cluster) -> None:
    with cluster.faults.inject(Fault.partitions("node-1")):
        await cluster.advance(seconds=1)
        assert [each["metadata"]["name"] for each in (await get(cluster, "/nodes"))["items"]] == ["node-2"]
        assert [each["metadata"]["name"] for each in (await get(cluster, "/pods"))["items"]] == ["two"]


async def test_the_group_is_discovered_and_its_service_is_local(cluster: Cluster) -> None:
    groups = (await cluster.client.get_path("/apis"))["groups"]
    assert groups[-1]["preferredVersion"]["groupVersion"] == "metrics.k8s.io/v1beta1"
    found = await cluster.client.resource("podmetrics")
    assert (found.plural, found.namespaced) == ("pods", True)
    service = await cluster.client.get(resources.API_SERVICES, "v1beta1.metrics.k8s.io")
    assert service["spec"].get("service") is None
    assert service["status"]["conditions"][0]["reason"] == "Local"


async def test_somebody_elses_server_for_the_group_stands_in_the_place_of_ours(cluster: Cluster) -> None:
    spec: dict[str, Any] = {"service": {"namespace": "kube-system", "name": "metrics-server"}}
    await cluster.client.patch(resources.API_SERVICES, "v1beta1.metrics.k8s.io", {"spec": spec})
    await cluster.settled()
    response = await cluster.server.handle(Request("GET", f"{ROOT}/nodes", user=User("a", ("system:masters",))))
    assert response.status == 503


async def test_whoever_may_view_a_namespace_may_see_what_its_pods_use(cluster: Cluster) -> None:
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "viewer"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    await cluster.client.create(
        resources.ROLE_BINDINGS, {"metadata": {"name": "viewers"}, "roleRef": role, "subjects": [subject]}, "default"
    )
    await cluster.settled()
    viewer = User("viewer", ("system:authenticated",))
    for path, status in (("/namespaces/default/pods", 200), ("/namespaces/kube-system/pods", 403), ("/nodes", 403)):
        response = await cluster.server.handle(Request("GET", f"{ROOT}{path}", user=viewer))
        assert response.status == status


async def test_a_cluster_may_go_without() -> None:
    async with Cluster(nodes=1, listen=False, metrics=False) as cluster:
        with pytest.raises(NotFound):
            await get(cluster, "/nodes")
