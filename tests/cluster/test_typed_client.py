"""The client on objects of classes, without a socket and over HTTPS: the same tests, the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from ruamel.yaml import YAML

import kube_core as kube
from kube_core.api import apiextensions, apps, core, meta, resources
from kube_core.api.models import evolve
from kube_core.client.client import ApiClient
from kube_core.meta.status import AlreadyExists, BadRequest, Conflict, NotFound, ServiceUnavailable

pytestmark = pytest.mark.anyio


@attrs.frozen
class Place:
    cluster: kube.Cluster
    client: ApiClient


def write_kubeconfig(cluster: kube.Cluster, path: Path) -> Path:
    with path.open("w") as file:
        YAML().dump(dict(cluster.kubeconfig()), file)
    return path


async def opened(cluster: kube.Cluster, way: str, directory: Path) -> AsyncIterator[Place]:
    if way == "local":
        yield Place(cluster, cluster.client)
        return
    async with kube.connect(kubeconfig=write_kubeconfig(cluster, directory / "config")) as client:
        yield Place(cluster, client)


@pytest.fixture(params=["local", "https"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with kube.Cluster(nodes=0, controllers=(), listen=request.param == "https") as cluster:
        async for each in opened(cluster, request.param, tmp_path):
            yield each


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, labels=labels or {}), data=data)


def deployment(name: str, replicas: int = 1) -> apps.Deployment:
    labels = {"app": name}
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=name),
        spec=apps.DeploymentSpec(
            replicas=replicas,
            selector=meta.LabelSelector(match_labels=labels),
            template=core.PodTemplateSpec(
                metadata=meta.ObjectMeta(labels=labels),
                spec=core.PodSpec(containers=(core.Container(name="main", image="web"),)),
            ),
        ),
    )


async def test_an_object_lives_through_every_verb(place: Place) -> None:
    client = place.client
    made = await client.create(config_map("a", x="1"))
    assert (made.metadata.namespace, made.data) == ("default", {"x": "1"})
    with pytest.raises(AlreadyExists):
        await client.create(config_map("a"))
    changed = await client.update(evolve(made, data={"x": "2"}))
    with pytest.raises(Conflict):
        await client.update(made)
    assert await client.get(core.ConfigMap, "a") == changed
    merged = await client.patch(core.ConfigMap, "a", {"data": {"y": "3"}})
    assert merged.data == {"x": "2", "y": "3"}
    replaced = await client.patch(core.ConfigMap, "a", [{"op": "remove", "path": "/data/x"}])
    assert replaced.data == {"y": "3"}
    applied = await client.apply(config_map("a", z="4"), field_manager="other")
    assert applied.data == {"y": "3", "z": "4"}
    assert await client.apply(applied, field_manager="other", force=True) is not None
    assert await client.delete(core.ConfigMap, "a") is None
    with pytest.raises(NotFound):
        await client.get(core.ConfigMap, "a")
    assert await client.delete(core.ConfigMap, "a", missing_ok=True) is None


async def test_a_name_and_a_namespace_are_given_with_an_object_that_has_none(place: Place) -> None:
    await place.client.create(core.Namespace(metadata=meta.ObjectMeta(name="site")))
    nameless = core.ConfigMap(data={"x": "1"})
    applied = await place.client.apply(nameless, name="a", namespace="site")
    assert (applied.metadata.name, applied.metadata.namespace) == ("a", "site")
    there = place.client.with_namespace("site")
    assert await there.get(core.ConfigMap, "a") == applied
    assert [each.metadata.name async for each in there.list(core.ConfigMap)] == ["a"]


async def test_an_object_that_was_replaced_is_not_deleted_for_the_old_one(place: Place) -> None:
    old = await place.client.create(config_map("a"))
    await place.client.delete(old)
    await place.client.create(config_map("a"))
    with pytest.raises(Conflict):
        await place.client.delete(old)


async def test_an_object_with_a_finalizer_stays_and_is_waited_for(place: Place) -> None:
    kept = core.ConfigMap(metadata=meta.ObjectMeta(name="a", finalizers=("example.dev/kept",)))
    made = await place.client.create(kept)
    going = await place.client.delete(made)
    assert going is not None
    assert going.metadata.deletion_timestamp is not None
    with pytest.raises(TimeoutError, match='configmaps "a" in namespace "default" is not deleted after'):
        await place.client.wait(made, condition="deleted", timeout=0.01)
    await place.client.patch(core.ConfigMap, "a", {"metadata": {"finalizers": None}})
    await place.client.wait(made, condition="deleted")


async def test_lists_are_awaited_or_gone_through(place: Place) -> None:
    for number in range(5):
        await place.client.create(config_map(f"c{number}", {"odd": str(number % 2)}))
    whole = await place.client.list(core.ConfigMap)
    assert [each.metadata.name for each in whole.items] == [f"c{number}" for number in range(5)]
    by_pages = [each.metadata.name async for each in place.client.list(core.ConfigMap, limit=2)]
    assert by_pages == [f"c{number}" for number in range(5)]
    odd = [each.metadata.name async for each in place.client.list(core.ConfigMap, labels={"odd": "1"})]
    assert odd == ["c1", "c3"]
    assert [each.metadata.name async for each in place.client.list(core.ConfigMap, labels="odd!=1,odd")] == [
        "c0",
        "c2",
        "c4",
    ]
    named = place.client.list(core.ConfigMap, kube.ALL_NAMESPACES, fields={"metadata.name": "c4"})
    assert [each.metadata.name async for each in named] == ["c4"]
    documents = [
        each["metadata"]["name"] async for each in place.client.list(resources.CONFIG_MAPS, "default", limit=3)
    ]
    assert documents == by_pages


async def test_a_list_whose_moment_is_forgotten_goes_on_without_giving_anything_twice(place: Place) -> None:
    for number in range(4):
        await place.client.create(config_map(f"c{number}"))
    seen = []
    async for each in place.client.list(core.ConfigMap, limit=2):
        seen.append(each.metadata.name)
        if len(seen) == 2:
            await place.client.create(config_map("c9"))
            await place.cluster.server.store.compact(place.cluster.server.store.revision)
    assert seen[:4] == [f"c{number}" for number in range(4)]
    assert len(seen) == len(set(seen))


async def test_a_watch_tells_what_there_is_and_then_every_change(place: Place) -> None:
    await place.client.create(config_map("a", x="1"))
    events = place.client.watch(core.ConfigMap)
    async with asyncio.timeout(20):
        seen = [await anext(events)]
        await place.client.patch(core.ConfigMap, "a", {"data": {"x": "2"}})
        seen.append(await anext(events))
        await place.client.delete(core.ConfigMap, "a")
        seen.append(await anext(events))
    assert [(each.type, each.object.data) for each in seen] == [
        ("ADDED", {"x": "1"}),
        ("MODIFIED", {"x": "2"}),
        ("DELETED", {"x": "2"}),
    ]
    await events.aclose()


async def test_a_watch_after_a_list_tells_what_happened_since(place: Place) -> None:
    await place.client.create(config_map("a"))
    await place.client.create(config_map("b"))
    listing = await place.client.list(core.ConfigMap)
    await place.client.delete(core.ConfigMap, "a")
    await place.client.patch(core.ConfigMap, "b", {"data": {"x": "2"}})
    events = place.client.watch(core.ConfigMap, after=listing)
    async with asyncio.timeout(20):
        seen = [await anext(events), await anext(events)]
    assert [(each.type, each.object.metadata.name) for each in seen] == [("DELETED", "a"), ("MODIFIED", "b")]
    await events.aclose()


async def test_status_and_scale_are_written_apart(place: Place) -> None:
    made = await place.client.create(deployment("web", 2))
    condition = apps.DeploymentCondition(type="Available", status="True", reason="Enough")
    waiting = asyncio.ensure_future(place.client.wait(made, condition="Available"))
    updated = await place.client.update_status(
        evolve(made, status=apps.DeploymentStatus(replicas=2, conditions=(condition,)))
    )
    assert (updated.status.replicas, updated.spec.replicas) == (2, 2)
    assert (await waiting).status.replicas == 2
    patched = await place.client.patch_status(apps.Deployment, "web", {"status": {"readyReplicas": 1}})
    assert patched.status.ready_replicas == 1
    assert await place.client.scale(apps.Deployment, "web", 5) == 2
    scaled = await place.client.wait(apps.Deployment, "web", condition=lambda each: each.spec.replicas == 5)
    assert scaled.spec.replicas == 5
    with pytest.raises(TimeoutError, match=r"is not Progressing after 2.0 s: Available=True \(Enough\)"):
        await place.client.wait(apps.Deployment, "web", condition="Progressing", timeout=2.0)


async def test_any_kind_is_found_by_any_of_its_names(place: Place) -> None:
    client = place.client
    for name in ("deployments", "deployment", "deploy", "Deployment", "deployments.apps", "deployments.v1.apps"):
        assert await client.resource(name) == resources.DEPLOYMENTS
    assert await client.resource("Deployment", "apps/v1") == resources.DEPLOYMENTS
    older = await client.resource("HorizontalPodAutoscaler", "autoscaling/v1")
    assert older == resources.HORIZONTAL_POD_AUTOSCALERS_V1
    with pytest.raises(NotFound, match='the server has no resource type "gadgets"'):
        await client.resource("gadgets")
    assert resources.PODS in [each.type for each in await client.api_resources()]
    version = await client.version()
    assert (version.major, version.minor) == ("1", "37")
    assert str(version) == version.git_version
    assert version.git_version.startswith("v1.37.")


GADGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.dev"},
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


async def test_a_document_that_says_its_kind_needs_no_resource(place: Place) -> None:
    client = place.client
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"x": "1"}}
    assert (await client.create(document))["metadata"]["namespace"] == "default"
    assert (await client.apply({**document, "data": {"x": "2"}}, force=True))["data"] == {"x": "2"}
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "site"}})
    assert (await client.apply(document, namespace="site"))["metadata"]["namespace"] == "site"
    assert "namespace" not in document["metadata"]

    gadget = {"apiVersion": "example.dev/v1", "kind": "Gadget", "metadata": {"name": "one", "namespace": "site"}}
    with pytest.raises(NotFound, match=r'no matches for kind "Gadget" in version "example\.dev/v1"'):
        await client.create(gadget)
    await client.create(GADGETS)
    await client.wait(apiextensions.CustomResourceDefinition, "gadgets.example.dev", condition="Established")
    assert (await client.create(gadget))["metadata"]["namespace"] == "site"
    assert (await client.apply({**gadget, "size": 3}))["size"] == 3
    with pytest.raises(BadRequest, match="says no kind"):
        await client.create({"apiVersion": "v1", "metadata": {"name": "plain"}})


async def test_a_token_is_made_and_taken(place: Place) -> None:
    account = core.ServiceAccount(metadata=meta.ObjectMeta(name="robot"))
    await place.client.create(account)
    token = await place.client.create_token("robot", seconds=600)
    assert token.count(".") == 2


async def test_a_missing_object_is_told_by_name(place: Place) -> None:
    with pytest.raises(NotFound, match=r'deployments\.apps "none" not found'):
        await place.client.get(apps.Deployment, "none")


async def test_a_watch_outlives_its_server(tmp_path: Path) -> None:
    options: Any = {"nodes": 0, "controllers": (), "state_directory": tmp_path, "store": f"sqlite://{tmp_path}/kine.db"}
    async with kube.Cluster(**options) as cluster:
        port = cluster.port
        client = kube.connect(kubeconfig=write_kubeconfig(cluster, tmp_path / "config"))
        events = client.watch(core.ConfigMap)
        await cluster.client.create(config_map("before"))
        await cluster.client.create(config_map("doomed"))
        async with asyncio.timeout(20):
            seen = [await anext(events), await anext(events)]
    async with client, kube.Cluster(**options, port=port) as cluster:
        await cluster.client.delete(core.ConfigMap, "doomed")
        await cluster.client.create(config_map("after"))
        async with asyncio.timeout(30):
            seen += [await anext(events), await anext(events)]
        assert [(each.type, each.object.metadata.name) for each in seen] == [
            ("ADDED", "before"),
            ("ADDED", "doomed"),
            ("DELETED", "doomed"),
            ("ADDED", "after"),
        ]
        await events.aclose()


@pytest.fixture(params=["local", "https"])
async def pod(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A pod `p` that is a process: it has written two lines, and sleeps."""
    async with kube.Cluster(nodes=1, runtime="process", listen=True, state_directory=tmp_path) as cluster:
        async for place in opened(cluster, request.param, tmp_path):
            command = ("sh", "-c", "echo one; echo two; exec sleep 1000")
            container = core.Container(name="main", image="host", command=command)
            spec = core.PodSpec(containers=(container,), termination_grace_period_seconds=0)
            await place.client.wait(core.ServiceAccount, "default", condition=lambda _: True)
            made = await place.client.create(core.Pod(metadata=meta.ObjectMeta(name="p"), spec=spec))
            await place.client.wait(made, condition="Ready")
            yield place


async def test_logs_commands_and_ports_of_a_pod(pod: Place) -> None:
    client = pod.client
    async with asyncio.timeout(40):
        lines = []
        async for line in client.logs("p", follow=True):
            lines.append(line)
            if len(lines) == 2:
                break
        assert lines == ["one", "two"]
        assert await client.logs("p", tail=1) == "two\n"

        done = await client.exec("p", ["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (done.exit_code, done.text, done.stderr) == (7, "out\n", b"err\n")
        assert (await client.exec("p", ["cat"], stdin=b"x" * 200_000)).stdout == b"x" * 200_000
        async with client.exec("p", ["cat"]) as session:
            await session.send(b"hello")
            assert await session.stdout.receive() == b"hello"
            await session.end_input()
            assert await session.wait() == 0
        with pytest.raises(NotFound):
            await client.exec("none", ["true"])

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        address = (await client.get(core.Pod, "p")).status.pod_ip
        server = await asyncio.start_server(answer, address, 0)
        port = server.sockets[0].getsockname()[1]
        async with client.port_forward("p", port) as connection:
            await connection.send(b"hello\n")
            assert await connection.receive() == b"HELLO\n"
        async with client.port_forward("p", port).listen() as here:
            reader, writer = await asyncio.open_connection(*here)
            writer.write(b"there\n")
            assert await reader.readline() == b"THERE\n"
            writer.close()
        server.close()
        async with client.port_forward("p", port) as connection:
            with pytest.raises(ServiceUnavailable):
                await connection.receive()
        await client.evict("p", grace_period=0)
        await client.wait(core.Pod, "p", condition="deleted")
