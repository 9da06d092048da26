"""The composition root: options, several clusters at once, plugins as arguments, and what is left at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.admission.chain import AdmissionPlugin, AdmissionSpec
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection
from kube_core.cluster import Cluster
from kube_core.config import ConfigError
from kube_core.drivers import DriverError
from kube_core.hookspecs import hookimpl
from kube_core.meta.status import Forbidden
from kube_core.registry.context import Attributes

pytestmark = pytest.mark.anyio

MAPS = resources.CONFIG_MAPS


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": {}}


async def test_two_clusters_at_once_know_nothing_of_each_other() -> None:
    async with Cluster(nodes=0, controllers=()) as one, Cluster(nodes=0, controllers=()) as other:
        assert one.port != other.port
        await one.client.create(MAPS, config_map("a"))
        assert [each["metadata"]["name"] for each in (await one.client.list(MAPS, "default")).items] == ["a"]
        assert not (await other.client.list(MAPS, "default")).items
        assert one.authority.certificate != other.authority.certificate


async def test_a_cluster_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with Cluster(nodes=1) as cluster:
        await cluster.client.create(MAPS, config_map("a"))
    assert asyncio.all_tasks() == before


class Stamp(AdmissionPlugin):
    name = "Stamp"
    resources = frozenset({"configmaps"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.object is not None:
            attributes.object["data"] = {"stamped": "yes"}


class Stamping:
    @hookimpl
    def kube_core_admission(self) -> Iterable[AdmissionSpec]:
        return [AdmissionSpec("Stamp", Stamp)]


async def test_plugins_given_as_an_argument_work_beside_the_installed_ones() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False, plugins=[Stamping()]) as cluster:
        created = await cluster.client.create(MAPS, config_map("a"))
        assert created["data"] == {"stamped": "yes"}
        with pytest.raises(Forbidden, match="this namespace may not be deleted"):
            await cluster.client.delete(resources.NAMESPACES, "default")
    async with Cluster(nodes=0, controllers=(), listen=False) as without:
        assert "data" not in await without.client.create(MAPS, config_map("a"))


async def test_an_address_that_is_taken_is_one_clear_line_and_nothing_is_left() -> None:
    before = asyncio.all_tasks()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: "):
            await Cluster(nodes=0, controllers=(), port=port).__aenter__()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"controllers": ("nosuch",)}, ConfigError, "unknown controller nosuch"),
        ({"store": "nosuch:"}, DriverError, "unknown store driver 'nosuch'; available: "),
        ({"network": "nosuch"}, DriverError, "unknown network driver 'nosuch'"),
        ({"pod_cidr": "10.0.0.0/28", "nodes": 5}, ConfigError, "too small for 5 nodes"),
        ({"bind": "192.0.2.1"}, ConfigError, "cannot listen on 192.0.2.1:0: "),
    ],
)
async def test_what_cannot_be_started_is_one_clear_line_and_nothing_is_left(
    options: dict[str, Any], error: type[Exception], why: str
) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(error, match=why):
        await Cluster(**{"nodes": 0, **options}).__aenter__()
    assert asyncio.all_tasks() == before


async def test_changes_can_be_heard_on_the_bus() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        subscription = cluster.bus.subscribe(MAPS, "app=web")
        await cluster.client.create(MAPS, config_map("a"))
        labelled = config_map("b")
        labelled["metadata"]["labels"] = {"app": "web"}
        await cluster.client.create(MAPS, labelled)
        await cluster.client.patch(MAPS, "b", {"metadata": {"labels": {"app": "db"}}}, "default")
        heard = [await anext(subscription) for _ in range(2)]
        assert [(change.key.name, subscription.kind_of(change)) for change in heard] == [
            ("b", "ADDED"),
            ("b", "DELETED"),
        ]
        subscription.close()


async def test_the_kubeconfig_lets_a_client_in_as_the_admin(tmp_path: Path) -> None:
    from kube_core.api import yaml

    async with Cluster(nodes=0, controllers=(), name="here") as cluster:
        file = tmp_path / "config"
        document = cluster.kubeconfig()
        file.write_bytes(yaml.dump(document))
        assert document["current-context"] == "kube-core-here"
        client = ApiClient(HttpTransport(load_connection(file)))
        await client.create(resources.NAMESPACES, {"metadata": {"name": "made"}})
        assert (await cluster.client.get(resources.NAMESPACES, "made"))["metadata"]["name"] == "made"
        await client.close()


async def test_a_cluster_without_a_socket_has_no_address() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        assert (cluster.url, cluster.port) == ("", 0)


async def test_a_client_for_somebody_may_do_what_that_one_may() -> None:
    async with Cluster(nodes=0, controllers=(), listen=False) as cluster:
        alice = cluster.client_for(User("alice", ("system:authenticated",)))
        with pytest.raises(Forbidden, match='User "alice" cannot list resource "configmaps"'):
            await alice.list(MAPS, "default")


async def test_the_ranges_that_are_asked_for_are_used() -> None:
    options: dict[str, Any] = {"pod_cidr": "10.99.0.0/16", "service_cidr": "10.98.0.0/24", "clock": FakeClock()}
    async with Cluster(nodes=2, controllers=(), listen=False, **options) as cluster:
        service = await cluster.client.get(resources.SERVICES, "kubernetes", "default")
        assert service["spec"]["clusterIP"] == "10.98.0.1"
        assert [agent.config.pod_cidr for agent in cluster.nodes.values()] == ["10.99.0.0/24", "10.99.1.0/24"]


async def test_a_state_directory_brings_a_cluster_back(tmp_path: Path) -> None:
    options: dict[str, Any] = {"nodes": 0, "controllers": (), "state_directory": tmp_path}
    options["store"] = f"sqlite://{tmp_path}/state.db"
    async with Cluster(**options) as first:
        created = await first.client.create(MAPS, config_map("a"))
        authority = first.authority.certificate
    async with Cluster(**options) as again:
        assert await again.client.get(MAPS, "a", "default") == created
        assert again.authority.certificate == authority


@pytest.mark.parametrize("bind", ["localhost", "0.0.0.0", "::1"])
async def test_a_cluster_listens_where_it_is_told(bind: str) -> None:
    async with Cluster(nodes=1, controllers=(), bind=bind) as cluster:
        assert cluster.port
        assert cluster.url.endswith(str(cluster.port))
