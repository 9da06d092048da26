"""The client over HTTPS against a real server: the same answers as without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from fakes.waiting import eventually
from kube_core._kit.random import Random
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.client.discovery import discover
from kube_core.client.http import HttpTransport
from kube_core.client.informer import Informers
from kube_core.client.kubeconfig import load_connection, merge_context
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document, Key, thaw
from kube_core.meta.status import Conflict, Expired, NotFound, Unauthorized

pytestmark = pytest.mark.anyio


@attrs.frozen
class Both:
    cluster: Cluster
    remote: ApiClient


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with Cluster(nodes=0, controllers=()) as cluster:
        kubeconfig: Any = cluster.kubeconfig()
        merge_context(
            tmp_path / "config",
            "here",
            cluster=kubeconfig["clusters"][0]["cluster"],
            user=kubeconfig["users"][0]["user"],
        )
        remote = ApiClient(HttpTransport(load_connection(tmp_path / "config")), field_manager="test")
        try:
            yield Both(cluster, remote)
        finally:
            await remote.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


async def test_object_lives_through_every_verb(both: Both) -> None:
    client, kind = both.remote, resources.CONFIG_MAPS
    created = await client.create(kind, config_map("a", x="1"))
    assert (created["kind"], created["metadata"]["managedFields"][0]["manager"]) == ("ConfigMap", "test")
    changed: Any = thaw(created)
    changed["data"]["x"] = "2"
    updated = await client.update(kind, changed)
    with pytest.raises(Conflict):
        await client.update(kind, changed)
    patched = await client.patch(kind, "a", {"data": {"y": "3"}}, "default")
    assert patched["data"] == {"x": "2", "y": "3"}
    strategic = await client.patch(kind, "a", {"data": {"y": None}}, "default", patch_type="strategic")
    assert strategic["data"] == {"x": "2"}
    by_operations = await client.patch(
        kind, "a", [{"op": "replace", "path": "/data/x", "value": "4"}], "default", patch_type="json"
    )
    assert by_operations["data"] == {"x": "4"}
    applied = await client.apply(kind, config_map("a", z="5"), field_manager="other")
    assert applied["data"] == {"x": "4", "z": "5"}
    listing = await client.list(kind, "default")
    assert [(each["kind"], each["metadata"]["name"]) for each in listing.items] == [("ConfigMap", "a")]
    assert await both.cluster.client.get(kind, "a", "default") == await client.get(kind, "a", "default")
    with pytest.raises(Conflict):
        await client.delete(kind, "a", "default", uid="another")
    await client.delete(kind, "a", "default", uid=updated["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get(kind, "a", "default")


async def test_pages_give_the_whole_list_once(both: Both) -> None:
    for number in range(5):
        await both.remote.create(resources.CONFIG_MAPS, config_map(f"c{number}"))
    names, token = [], ""
    while True:
        page = await both.remote.list(resources.CONFIG_MAPS, "default", limit=2, continue_token=token)
        names += [each["metadata"]["name"] for each in page.items]
        token = page.continue_token
        if not token:
            break
    assert names == [f"c{number}" for number in range(5)]


async def test_watch_shows_each_change_after_the_list(both: Both) -> None:
    client, kind = both.remote, resources.CONFIG_MAPS
    listing = await client.list(kind, "default")
    await client.create(kind, config_map("a"))
    await client.patch(kind, "a", {"data": {"x": "1"}}, "default")
    await client.delete(kind, "a", "default")
    seen = []
    async for event in client.watch_once(kind, "default", resource_version=listing.resource_version):
        if event.type != "BOOKMARK":
            seen.append(event.type)
        if len(seen) == 3:
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_informers_over_https_and_without_a_socket_agree(both: Both) -> None:
    await both.remote.create(resources.CONFIG_MAPS, config_map("before"))
    async with (
        Informers(both.remote, random=Random(1)) as remote,
        Informers(both.cluster.client, random=Random(1)) as local,
    ):
        listers = [informers.informer(resources.CONFIG_MAPS) for informers in (remote, local)]
        for informer in listers:
            await informer.synced()
        await both.remote.create(resources.CONFIG_MAPS, config_map("after", x="1"))
        await both.remote.delete(resources.CONFIG_MAPS, "before", "default")

        async def both_know() -> bool:
            return all(
                informer.lister.get(Key("default", "after")) and not informer.lister.get(Key("default", "before"))
                for informer in listers
            )

        await eventually(both_know)
        shown = [informer.lister.get(Key("default", "after")) for informer in listers]
        assert shown[0] == shown[1]


async def test_metadata_informer_asks_for_no_more_than_metadata(both: Both) -> None:
    await both.remote.create(resources.CONFIG_MAPS, config_map("a", x="1"))
    async with Informers(both.remote) as informers:
        informer = informers.informer(resources.CONFIG_MAPS, metadata_only=True)
        await informer.synced()
        await both.remote.create(resources.CONFIG_MAPS, config_map("b", x="1"))

        async def seen() -> Document | None:
            return informer.lister.get(Key("default", "b"))

        await eventually(seen)
        for document in informer.lister.list("default"):
            assert document["kind"] == "PartialObjectMetadata"
            assert "data" not in document


async def test_discovery_over_https_and_without_a_socket_agree(both: Both) -> None:
    remote, local = await discover(both.remote), await discover(both.cluster.client)
    assert remote == local
    assert resources.DEPLOYMENTS in remote.supporting("list", "watch", "delete", "deletecollection")
    assert not remote.failures


async def test_wrong_token_is_unauthorized(both: Both) -> None:
    connection = attrs.evolve(
        both.remote.transport.connection,  # type: ignore[attr-defined]
        client_certificate=None,
        token="wrong",
    )
    stranger = ApiClient(HttpTransport(connection))
    try:
        with pytest.raises(Unauthorized):
            await stranger.list(resources.CONFIG_MAPS, "default")
    finally:
        await stranger.close()


async def test_watch_from_the_past_that_is_gone_is_expired(both: Both) -> None:
    first = await both.remote.create(resources.CONFIG_MAPS, config_map("a"))
    for number in range(3):
        await both.remote.patch(resources.CONFIG_MAPS, "a", {"data": {"n": str(number)}}, "default")
    await both.cluster.server.store.compact(both.cluster.server.store.revision)
    # What the watch cache still holds may be served; what it cannot must be refused in this way.
    watch = both.remote.watch_once(
        resources.CONFIG_MAPS, "default", resource_version=first["metadata"]["resourceVersion"]
    )
    try:
        event = await anext(watch)
    except Expired:
        return
    assert event.type == "MODIFIED"


async def test_informer_survives_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    options: Any = {"nodes": 0, "controllers": (), "state_directory": tmp_path, "store": f"sqlite://{tmp_path}/kine.db"}
    kind, changes = resources.CONFIG_MAPS, []
    async with Cluster(**options) as cluster:
        port = cluster.port
        document: Any = cluster.kubeconfig()
        merge_context(
            tmp_path / "config",
            "here",
            cluster=document["clusters"][0]["cluster"],
            user=document["users"][0]["user"],
        )
        remote = ApiClient(HttpTransport(load_connection(tmp_path / "config")))
        informers = await Informers(remote).__aenter__()
        informer = informers.informer(kind, field_selector="metadata.namespace=default")
        informer.add_handler(lambda before, after: changes.append((before is None, after is None)))
        await informer.synced()
        await cluster.client.create(kind, config_map("before"))

        async def seen(name: str = "before") -> Document | None:
            return informer.lister.get(Key("default", name))

        await eventually(seen)
    try:
        async with Cluster(**options, port=port) as cluster:
            await cluster.client.create(kind, config_map("after"))
            await eventually(lambda: seen("after"))
            assert changes == [(True, False), (True, False)]
    finally:
        await informers.__aexit__(None, None, None)
        await remote.close()
