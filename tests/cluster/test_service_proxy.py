"""The agents against a real server: what Services and Ingresses ask for reaches the drivers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kube_core._kit.clock import SystemClock
from kube_core.abc.ingress import IngressError
from kube_core.abc.proxy import Endpoint
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.cluster import Cluster
from kube_core.meta.documents import thaw
from kube_core.proxy.agent import IngressAgent, ServiceProxyAgent
from kube_core.proxy.ingresses import ingress_class
from kube_drivers.ingress.fake import FakeIngress
from kube_drivers.proxy.fake import FakeProxy

pytestmark = pytest.mark.anyio


class Running:
    """A server, and both agents with their fakes."""

    def __init__(self, cluster: Cluster) -> None:
        self.client: ApiClient = cluster.client
        self.proxy = FakeProxy(clock=cluster.clock)
        self.ingress = FakeIngress(clock=cluster.clock, port=8080)
        self.agents = (
            ServiceProxyAgent(cluster.informers, self.proxy, clock=cluster.clock),
            IngressAgent(cluster.informers, self.ingress, cluster.client, clock=cluster.clock),
        )

    def endpoint(self, ip: str, port: int = 80) -> Endpoint | None:
        return self.proxy.connect(ip, port)

    def route(self, host: str, path: str) -> str | None:
        backend = self.ingress.resolve(host, path)
        return backend.service if backend else None


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with Cluster(nodes=0, listen=False, controllers=()) as cluster:
        running = Running(cluster)
        tasks = [asyncio.create_task(agent.run()) for agent in running.agents]
        try:
            for agent in running.agents:
                await agent.started()
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (tables are looked at, not announced)
            await asyncio.sleep(0.01)


def service(name: str = "web", ip: str = "10.96.0.77") -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "selector": {"app": "web"}, "ports": ports},
    }


def endpoint_slice(*ips: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def ingress(name: str = "main", **spec: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    rule = {"host": f"{name}.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"rules": [rule], **spec},
    }


async def test_a_service_is_served_as_its_endpoints_come_and_go(running: Running) -> None:
    ip = (await running.client.create(resources.SERVICES, service()))["spec"]["clusterIP"]
    await running.client.create(resources.ENDPOINT_SLICES, endpoint_slice("10.244.0.5"))
    await until(lambda: running.endpoint(ip) == Endpoint("10.244.0.5", 8080))
    changed = thaw(await running.client.get(resources.ENDPOINT_SLICES, "web-1", "default"))
    changed["endpoints"][0]["addresses"] = ["10.244.0.6"]
    await running.client.update(resources.ENDPOINT_SLICES, changed)
    await until(lambda: running.endpoint(ip) == Endpoint("10.244.0.6", 8080))
    await running.client.delete(resources.ENDPOINT_SLICES, "web-1", "default")
    await until(lambda: running.endpoint(ip) is None)
    await running.client.delete(resources.SERVICES, "web", "default")
    await until(lambda: not any(name.service == "web" for name in running.proxy.table))


async def test_rows_of_other_services_stay_the_same_objects(running: Running) -> None:
    await running.client.create(resources.SERVICES, service())
    await until(lambda: any(name.service == "web" for name in running.proxy.table))
    before = {name: row for name, row in running.proxy.table.items() if name.service == "web"}
    await running.client.create(resources.SERVICES, service("other", "10.96.0.78"))
    await until(lambda: any(name.service == "other" for name in running.proxy.table))
    assert all(running.proxy.table[name] is row for name, row in before.items())


async def test_an_ingress_gets_routes_and_an_address(running: Running) -> None:
    await running.client.create(resources.SERVICES, service())
    await running.client.create(resources.INGRESSES, ingress())
    await until(lambda: running.route("main.example", "/x") == "web")

    async def status() -> Any:
        found = await running.client.get(resources.INGRESSES, "main", "default")
        return (found.get("status") or {}).get("loadBalancer")

    async with asyncio.timeout(10):
        while not await status():  # noqa: ASYNC110 (the status is the server's)
            await asyncio.sleep(0.01)
    assert await status() == {"ingress": [{"ip": "127.0.0.1", "ports": [{"port": 8080, "protocol": "TCP"}]}]}


async def test_an_ingress_of_another_class_is_left_alone(running: Running) -> None:
    await running.client.create(resources.INGRESS_CLASSES, ingress_class())
    await running.client.create(resources.INGRESSES, ingress("theirs", ingressClassName="nginx"))
    await running.client.create(resources.INGRESSES, ingress("ours", ingressClassName="kube-core"))
    await until(lambda: running.route("ours.example", "/") == "web")
    assert running.route("theirs.example", "/") is None
    theirs = await running.client.get(resources.INGRESSES, "theirs", "default")
    assert not (theirs.get("status") or {}).get("loadBalancer")


async def test_a_driver_that_fails_is_given_the_table_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = running.proxy.apply
    failures = [OSError("no"), None]

    async def failing(table: Any) -> None:
        if (error := failures.pop(0) if failures else None) is not None:
            raise error
        await apply(table)

    monkeypatch.setattr(running.proxy, "apply", failing)
    monkeypatch.setattr("kube_core.proxy.agent.RETRY", 0.01)
    await running.client.create(resources.SERVICES, service())
    await until(lambda: any(name.service == "web" for name in running.proxy.table))
    with contextlib.suppress(IndexError):
        failures.pop()
    await until(lambda: all(agent.idle for agent in running.agents))


async def test_what_keeps_a_driver_from_starting_is_told_to_who_waits(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise IngressError("the ingress address 127.0.0.1:80 is in use by another program")

    driver = FakeIngress(clock=SystemClock())
    monkeypatch.setattr(driver, "start", refuse)
    informers = Informers(running.client)
    agent = IngressAgent(informers, driver, running.client, clock=SystemClock())
    task = asyncio.create_task(agent.run())
    with pytest.raises(IngressError, match="in use by another program"):
        await agent.started()
    with pytest.raises(IngressError):
        await task
