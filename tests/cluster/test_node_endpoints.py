"""What a node answers by its endpoints, through the API server's node proxy: in this program, without a socket."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import Request
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.cluster.faults import Fault
from kube_core.meta.status import NotFound, ServiceUnavailable, StatusError

pytestmark = pytest.mark.anyio

LOAD = '{"*": {"cpu": 0.25, "memory": 1048576, "log": "hello\\nworld\\n"}}'
POD: dict[str, Any] = {
    "metadata": {"name": "web", "annotations": {"fake.kube-core.dev/behaviour": LOAD}},
    "spec": {"containers": [{"name": "main", "image": "web:1"}]},
}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(clock=FakeClock(), seed=1, listen=False) as cluster:
        await cluster.client.create(resources.PODS, POD, "default")
        await cluster.advance(seconds=100)
        yield cluster


def path(rest: str, node: str = "node-1") -> str:
    return f"/api/v1/nodes/{node}/proxy{rest}"


async def text(cluster: Cluster, rest: str, node: str = "node-1", **query: str) -> str:
    chunks = cluster.client.stream(path(rest, node), list(query.items()))
    return b"".join([chunk async for chunk in chunks]).decode()


async def test_it_is_well_by_its_name_and_by_its_port(cluster: Cluster) -> None:
    assert await text(cluster, "/healthz") == await text(cluster, "/healthz", "node-1:10250") == "ok"


async def test_who_asks_for_no_path_is_sent_to_its_root(cluster: Cluster) -> None:
    for query, to in (("", "/"), ("a=b", "/?a=b")):
        request = Request("GET", path(""), tuple(urllib.parse.parse_qsl(query)), raw_query=query)
        answer = await cluster.client.transport.request(request)
        assert (answer.status, answer.headers["Location"]) == (301, path(to))
    with pytest.raises(NotFound):
        await text(cluster, "/")


async def test_its_pods_are_those_that_are_bound_to_it_with_their_status(cluster: Cluster) -> None:
    found = await cluster.client.get_path(path("/pods"))
    [pod] = found["items"]
    assert (found["kind"], pod["metadata"]["name"], pod["status"]["phase"]) == ("PodList", "web", "Running")


async def test_logs_are_read_and_what_cannot_be_is_told_in_plain_words(cluster: Cluster) -> None:
    assert await text(cluster, "/containerLogs/default/web/main") == "hello\nworld\n"
    assert await text(cluster, "/containerLogs/default/web/main", tailLines="1") == "world\n"
    with pytest.raises(StatusError, match="previous terminated container") as refused:
        await text(cluster, "/containerLogs/default/web/main", previous="true")
    assert refused.value.code == 400


async def test_the_summary_says_what_node_and_pods_use(cluster: Cluster) -> None:
    found = await cluster.client.get_path(path("/stats/summary"))
    assert found["node"]["nodeName"] == "node-1"
    [pod] = found["pods"]
    assert pod["podRef"]["name"] == "web"
    [container] = pod["containers"]
    for used in (container, pod):
        assert used["cpu"]["usageNanoCores"] == 250_000_000
        assert used["memory"]["workingSetBytes"] == 1 << 20
    assert 0 < container["cpu"]["usageCoreNanoSeconds"] <= 25_000_000_000


async def test_metrics_carry_upstreams_names(cluster: Cluster) -> None:
    resource = await text(cluster, "/metrics/resource")
    labels = 'container="main",namespace="default",pod="web"'
    [value] = re.findall(rf"^container_cpu_usage_seconds_total{{{labels}}} ([0-9.]+) \d+$", resource, re.MULTILINE)
    assert 0 < float(value) <= 25
    assert f"container_memory_working_set_bytes{{{labels}}} 1048576 " in resource
    assert 'pod_memory_working_set_bytes{namespace="default",pod="web"} 1048576 ' in resource
    assert "\nnode_cpu_usage_seconds_total " in resource
    assert "\nresource_scrape_error 0\n" in resource
    cadvisor = await text(cluster, "/metrics/cadvisor")
    assert (
        f'container_cpu_usage_seconds_total{{container="main",cpu="total",namespace="default",pod="web"}} {value} '
        in (cadvisor)
    )
    assert re.search(r"^machine_memory_bytes [1-9]\d+$", cadvisor, re.MULTILINE)
    assert 'kubelet_running_containers{container_state="running"} 1' in await text(cluster, "/metrics")


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    for rest in ("/nothing", "/pods/more"):
        with pytest.raises(StatusError) as refused:
            await text(cluster, rest)
        assert refused.value.code == 404
    with pytest.raises(NotFound):
        await text(cluster, "/healthz", "node-9")


async def test_a_node_that_is_cut_off_answers_nothing(cluster: Cluster) -> None:
    with cluster.faults.inject(Fault.partitions("node-1")), pytest.raises(ServiceUnavailable, match="node-1"):
        await text(cluster, "/healthz")
