"""Websites in a whole cluster with simulated nodes."""

from __future__ import annotations

import pytest
from website_operator import Website

import kube_core as kube
from kube_core.api import apps, core, networking
from kube_core.meta.status import Invalid, NotFound

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_site_is_served(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("<h1>Hello</h1>", replicas=2, host="hello.example"), name="hello")
    await cluster.settled()
    assert (await cluster.client.get(apps.Deployment, "hello")).status.ready_replicas == 2
    assert (await cluster.client.get(core.ConfigMap, "hello")).data == {"index.html": "<h1>Hello</h1>"}
    rules = (await cluster.client.get(networking.Ingress, "hello")).spec.rules
    assert [rule.host for rule in rules] == ["hello.example"]
    status = kube.status_of(await cluster.client.get(Website, "hello"))
    assert status.ready_replicas == 2
    assert [(each.type, each.status, each.reason) for each in status.conditions] == [("Ready", "True", "Serving")]


async def test_a_new_page_is_rolled_out(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("one"), name="hello")
    await cluster.settled()
    [before] = [pod async for pod in cluster.client.list(core.Pod, labels={"website": "hello"})]
    await cluster.client.apply(Website("two"), name="hello")
    await cluster.settled()
    [after] = [pod async for pod in cluster.client.list(core.Pod, labels={"website": "hello"})]
    assert after.metadata.uid != before.metadata.uid


async def test_a_site_without_a_host_any_more_loses_its_ingress(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("one", host="hello.example"), name="hello")
    await cluster.settled()
    await cluster.client.apply(Website("one"), name="hello")
    await cluster.settled()
    with pytest.raises(NotFound):
        await cluster.client.get(networking.Ingress, "hello")


async def test_a_site_scales(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("one"), name="hello")
    await cluster.client.scale(Website, "hello", 3)
    await cluster.settled()
    assert (await cluster.client.get(apps.Deployment, "hello")).status.ready_replicas == 3


async def test_a_site_that_goes_takes_everything_along(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("one"), name="hello")
    await cluster.settled()
    await cluster.client.delete(Website, "hello")
    await cluster.settled()
    for kind in (apps.Deployment, core.Service, core.Pod):
        assert [
            each.metadata.name async for each in cluster.client.list(kind) if each.metadata.name != "kubernetes"
        ] == []


async def test_an_empty_page_is_refused(cluster: kube.Cluster) -> None:
    await cluster.client.apply(Website("one"), name="hello")
    with pytest.raises(Invalid, match=r"spec\.html"):
        await cluster.client.patch(Website, "hello", {"spec": {"html": ""}})
