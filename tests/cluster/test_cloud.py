"""A cluster on a cloud: load balancers of Services, nodes that begin and end, and routes; one of them on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core._kit.clock import FakeClock
from kube_core.abc.cloud import Instance, Route
from kube_core.api import core, resources
from kube_core.cluster import Cluster
from kube_core.control.conditions import condition_of
from kube_core.meta.documents import Document, finalizers_of
from kube_core.meta.status import NotFound
from kube_drivers.cloud.fake import FakeCloud

pytestmark = pytest.mark.anyio

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=1, cloud="fake", listen=False, seed=1, clock=FakeClock()) as cluster:
        yield cluster


def cloud_of(cluster: Cluster) -> FakeCloud:
    driver = cluster._drivers["cloud"]
    assert isinstance(driver, FakeCloud)
    return driver


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports, **spec},
    }


async def get(cluster: Cluster) -> Document:
    await cluster.settled()
    return await cluster.client.get(resources.SERVICES, "web", "default")


async def reasons(cluster: Cluster, name: str) -> list[str]:
    await cluster.settled()
    found = await cluster.client.list(resources.EVENTS, field_selector=f"involvedObject.name={name}")
    return [event["reason"] for event in found.items]


async def change(cluster: Cluster, **spec: Any) -> None:
    await cluster.client.patch(resources.SERVICES, "web", {"spec": spec}, "default")


async def test_a_load_balancer_is_made_told_and_deleted_with_its_service(cluster: Cluster) -> None:
    cloud = cloud_of(cluster)
    await cluster.client.create(resources.SERVICES, service(loadBalancerSourceRanges=["10.0.0.0/8"]))
    made = await get(cluster)
    [request] = cloud.balancers.values()
    assert request.nodes == ("node-1",)
    assert request.source_ranges == ("10.0.0.0/8",)
    assert request.ports[0].node_port == made["spec"]["ports"][0]["nodePort"]
    assert FINALIZER in finalizers_of(made)
    [ingress] = made["status"]["loadBalancer"]["ingress"]
    assert ingress["ipMode"] == "VIP"
    assert await reasons(cluster, "web") == ["EnsuringLoadBalancer", "EnsuredLoadBalancer"]
    await cluster.client.delete(resources.SERVICES, "web", "default")
    await cluster.settled()
    with pytest.raises(NotFound):
        await get(cluster)
    assert not cloud.balancers
    assert (await reasons(cluster, "web"))[-2:] == ["DeletingLoadBalancer", "DeletedLoadBalancer"]


async def test_a_load_balancer_follows_its_service_and_goes_when_that_is_of_another_type(cluster: Cluster) -> None:
    cloud = cloud_of(cluster)
    await cluster.client.create(resources.SERVICES, service())
    before = (await get(cluster))["status"]["loadBalancer"]
    await change(cluster, ports=[{"name": "https", "port": 443, "targetPort": 8443}])
    assert (await get(cluster))["status"]["loadBalancer"] == before
    [request] = cloud.balancers.values()
    assert [port.port for port in request.ports] == [443]
    await change(cluster, type="ClusterIP")
    found = await get(cluster)
    assert not found["status"]["loadBalancer"]
    assert FINALIZER not in finalizers_of(found)
    assert not cloud.balancers


async def test_a_service_of_another_class_is_somebody_elses(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service(loadBalancerClass="example.dev/lb"))
    assert not (await get(cluster))["status"]["loadBalancer"]
    assert not cloud_of(cluster).balancers


async def test_a_cloud_that_fails_is_asked_again_and_it_is_told(cluster: Cluster) -> None:
    cloud_of(cluster).failures.append("no quota")
    await cluster.client.create(resources.SERVICES, service())
    assert "SyncLoadBalancerFailed" in await reasons(cluster, "web")
    await cluster.advance(seconds=10)
    assert (await get(cluster))["status"]["loadBalancer"]["ingress"]


async def test_the_clusters_own_nodes_are_in_the_zones_of_the_cloud() -> None:
    async with Cluster(nodes=4, cloud="fake", listen=False, seed=1, clock=FakeClock()) as cluster:
        await cluster.settled()
        nodes = (await cluster.client.list(resources.NODES)).items
        zones = [node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes]
        assert zones == ["here-1", "here-2", "here-3", "here-1"]
        assert [node["spec"]["providerID"] for node in nodes][:2] == ["fake://node-1", "fake://node-2"]
        assert all({each["type"] for each in node["status"]["addresses"]} >= {"InternalIP"} for node in nodes)
        # Nothing keeps pods from them any longer.
        container = {"name": "main", "image": "main:1"}
        pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [container]}}
        await cluster.client.create(resources.PODS, pod)
        await cluster.advance(seconds=60)
        assert (await cluster.client.get(resources.PODS, "p", "default"))["status"]["phase"] == "Running"


async def external_node(cluster: Cluster, **spec: Any) -> None:
    await cluster.client.create(resources.NODES, {"metadata": {"name": "far"}, "spec": spec})


async def far(cluster: Cluster) -> Document:
    await cluster.settled()
    return await cluster.client.get(resources.NODES, "far")


async def test_a_node_of_the_cloud_is_initialised(cluster: Cluster) -> None:
    cloud_of(cluster).instances["far"] = Instance(
        "fake://far", "big", (("InternalIP", "192.0.2.9"),), zone="z", region="r"
    )
    await external_node(
        cluster, taints=[{"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}]
    )
    node = await far(cluster)
    keys = [taint["key"] for taint in node["spec"].get("taints") or ()]
    assert "node.cloudprovider.kubernetes.io/uninitialized" not in keys
    assert node["spec"]["providerID"] == "fake://far"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
    assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "192.0.2.9"}]
    assert "Synced" in await reasons(cluster, "far")


async def test_a_node_goes_with_its_machine_and_is_marked_while_that_is_off(cluster: Cluster) -> None:
    cloud = cloud_of(cluster)
    cloud.instances["far"] = Instance("fake://far", shut_down=True)
    await external_node(cluster)
    assert "node.cloudprovider.kubernetes.io/shutdown" in [
        each["key"] for each in (await far(cluster))["spec"]["taints"]
    ]
    cloud.instances["far"] = None
    await cluster.advance(seconds=10)
    with pytest.raises(NotFound):
        await far(cluster)
    assert "DeletingNode" in await reasons(cluster, "far")


async def test_routes_lead_to_nodes_while_they_are_there(cluster: Cluster) -> None:
    cloud = cloud_of(cluster)
    cloud.instances["far"] = Instance("fake://far")
    await external_node(cluster, podCIDR="10.99.0.0/24", podCIDRs=["10.99.0.0/24"])
    route = Route("far", "10.99.0.0/24")
    condition = condition_of(await far(cluster), "NetworkUnavailable")
    assert route in cloud.made_routes
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "RouteCreated")
    await cluster.client.delete(resources.NODES, "far")
    await cluster.settled()
    assert route not in cloud.made_routes


async def test_a_forks_cloud_is_its_own(cluster: Cluster) -> None:
    await cluster.client.create(resources.SERVICES, service())
    before = await get(cluster)
    async with cluster.fork() as fork:
        assert (await get(fork))["status"] == before["status"]
        assert list(cloud_of(fork).balancers) == list(cloud_of(cluster).balancers)
        await fork.client.delete(resources.SERVICES, "web", "default")
        await fork.settled()
        assert not cloud_of(fork).balancers
    assert cloud_of(cluster).balancers


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await writer.drain()
    writer.close()


async def _reply(ip: str, port: int) -> bytes:
    """What a server says; b"" where it does not answer."""
    try:
        reader, writer = await asyncio.open_connection(ip, port)
        try:
            return await reader.read()
        finally:
            writer.close()
    except OSError:
        return b""


async def _external(cluster: Cluster) -> str:
    """The Service's EXTERNAL-IP; "" while it has none."""
    found = await cluster.client.get(resources.SERVICES, "web", "default")
    listed = (found["status"].get("loadBalancer") or {}).get("ingress") or ()
    return listed[0]["ip"] if listed else ""


async def _until_reply(ip: str, port: int, reply: bytes) -> None:
    async def replies() -> bool:
        return await _reply(ip, port) == reply

    await eventually(replies)


async def test_a_load_balancer_on_loopback_has_an_address_of_its_own_that_serves(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "nodes": 1,
        "network": "loopback",
        "proxy": "userspace",
        "cloud": "loopback",
        "listen": False,
        "state_directory": tmp_path,
        "store": f"sqlite://{tmp_path}/store.db",
    }
    async with Cluster(**options) as cluster:
        # A backend where pods are, that is none; the Service's port is one that is free, and needs no privileges.
        backend = str(ipaddress.ip_network(cluster.ranges.pod_cidr)[-2])
        async with await asyncio.start_server(_answer, backend, 0) as server:
            port = server.sockets[0].getsockname()[1]
            ports = [{"name": "http", "port": port, "targetPort": port}]
            await cluster.client.create(resources.SERVICES, service(selector=None, ports=ports))
            slice_ = {
                "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [backend], "conditions": {"ready": True}}],
                "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            }
            await cluster.client.create(resources.ENDPOINT_SLICES, slice_)
            address = await eventually(lambda: _external(cluster))
            await _until_reply(address, port, b"hello")
            await change(cluster, loadBalancerSourceRanges=["192.0.2.0/24"])
            await _until_reply(address, port, b"")
            await change(cluster, loadBalancerSourceRanges=["127.0.0.0/8"])
            await _until_reply(address, port, b"hello")
    async with Cluster(**options) as cluster:
        assert await _external(cluster) == address
        await cluster.client.delete(resources.SERVICES, "web", "default")
        await cluster.client.wait(core.Service, "web", "default", condition="deleted")
        await cluster.client.create(resources.SERVICES, service())
        assert await eventually(lambda: _external(cluster)) != address
