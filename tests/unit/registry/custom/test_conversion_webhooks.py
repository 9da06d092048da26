"""Custom resources that a webhook converts, over TLS, in a whole server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from fakes.hooks import Hooks, answering, nobody
from fakes.server import Caller, running
from fakes.waiting import eventually

pytestmark = pytest.mark.anyio

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "hosts.example.org"
V1 = "/apis/example.org/v1/namespaces/default/hosts"
V2 = "/apis/example.org/v2/namespaces/default/hosts"


def version(name: str, **fields: str) -> dict[str, Any]:
    spec = {"type": "object", "properties": {field: {"type": kind} for field, kind in fields.items()}}
    schema = {"type": "object", "properties": {"spec": spec}}
    selectable = [{"jsonPath": f".spec.{field}"} for field in fields]
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "schema": {"openAPIV3Schema": schema},
        "selectableFields": selectable,
    }


def convert(document: Any, wanted: str) -> Any:
    """`hostPort` of v1 is `host` and `port` of v2."""
    document = orjson.loads(orjson.dumps(document))
    spec = document.get("spec") or {}
    if wanted == "example.org/v2" and "hostPort" in spec:
        spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
    elif wanted == "example.org/v1" and "host" in spec:
        spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return {**document, "apiVersion": wanted}


def reviewed(review: Any, **more: Any) -> Any:
    request = review["request"]
    objects = [convert(each, request["desiredAPIVersion"]) for each in request["objects"]]
    response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects, **more}
    return {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}


@attrs.frozen
class World:
    api: Caller
    hooks: Hooks

    async def define(self, **conversion: Any) -> None:
        webhook = {"clientConfig": self.hooks.client("/convert"), "conversionReviewVersions": ["v1"], **conversion}
        await self.api.post(
            DEFINITIONS,
            {
                "metadata": {"name": NAME},
                "spec": {
                    "group": "example.org",
                    "scope": "Namespaced",
                    "names": {"plural": "hosts", "kind": "Host"},
                    "versions": [version("v1", hostPort="string"), version("v2", host="string", port="string")],
                    "conversion": {"strategy": "Webhook", "webhook": webhook},
                },
            },
        )

        async def served() -> bool:
            return (await self.api.ask("GET", V2)).status == 200

        await eventually(served)

    async def create(self, name: str, port: int = 80) -> Any:
        body = {"apiVersion": "example.org/v1", "kind": "Host", "metadata": {"name": name}}
        return await self.api.post(V1, {**body, "spec": {"hostPort": f"{name}:{port}"}})

    def counts(self) -> list[int]:
        """How many objects each review had."""
        return [len(request["objects"]) for request in self.hooks.asked("/convert")]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running() as api, answering(tmp_path) as hooks:
        hooks.paths["/convert"] = reviewed
        world = World(api, hooks)
        await world.define()
        yield world


async def test_objects_are_read_in_another_version_and_asked_for_once(world: World) -> None:
    created = await world.create("a")
    assert not world.hooks.reviews
    for _ in range(3):
        found = await world.api.get(f"{V2}/a")
        assert found["apiVersion"] == "example.org/v2"
        assert found["spec"] == {"host": "a", "port": "80"}
        assert found["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert world.counts() == [1]
    assert world.hooks.queries == ["timeout=30s"]


async def test_what_is_written_in_another_version_is_stored_in_the_storage_version(world: World) -> None:
    body = {"apiVersion": "example.org/v2", "kind": "Host", "metadata": {"name": "a"}}
    created = await world.api.post(V2, {**body, "spec": {"host": "a", "port": "81"}})
    assert created["spec"] == {"host": "a", "port": "81"}
    assert (await world.api.get(f"{V1}/a"))["spec"] == {"hostPort": "a:81"}
    patched = await world.api.patch(f"{V2}/a", {"spec": {"port": "82"}})
    assert patched["spec"] == {"host": "a", "port": "82"}
    assert (await world.api.get(f"{V1}/a"))["spec"] == {"hostPort": "a:82"}


async def test_a_list_is_converted_in_one_review(world: World) -> None:
    for name in "abc":
        await world.create(name)
    listed = await world.api.get(V2)
    assert [each["spec"]["host"] for each in listed["items"]] == ["a", "b", "c"]
    assert world.counts() == [3]
    await world.create("d")
    await world.api.get(V2)
    assert world.counts() == [3, 1]


@contextlib.asynccontextmanager
async def watching(world: World, query: str = "") -> AsyncIterator[tuple[list[Any], Callable[[int], Awaitable[None]]]]:
    """The events of a watch of v2, and how to wait until there are so many."""
    response = await world.api.ask("GET", f"{V2}?watch=true&timeoutSeconds=60{query}")
    stream = response.stream
    assert stream is not None
    events: list[Any] = []

    async def read() -> None:
        async for chunk in stream:
            events.extend(orjson.loads(line) for line in chunk.splitlines())

    async def seen(count: int) -> None:
        async def enough() -> bool:
            return len(events) >= count

        await eventually(enough)

    task = asyncio.create_task(read())
    try:
        yield events, seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stream.aclose()  # type: ignore[attr-defined]


async def test_a_watch_shows_what_there_is_and_what_comes_in_its_version(world: World) -> None:
    await world.create("a")
    async with watching(world) as (events, seen):
        await seen(1)
        await world.create("b")
        await seen(2)
        await world.api.delete(f"{V1}/a")
        await seen(3)
    assert [(event["type"], event["object"]["spec"]["host"]) for event in events] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]


async def test_fields_of_a_version_that_a_webhook_makes_select_in_lists(world: World) -> None:
    for name, port in (("a", 80), ("b", 81), ("c", 80)):
        await world.create(name, port)
    listed = await world.api.get(f"{V2}?fieldSelector=spec.port=80")
    assert [each["metadata"]["name"] for each in listed["items"]] == ["a", "c"]
    assert world.counts() == [3]
    gone = await world.api.ask("DELETE", f"{V2}?fieldSelector=spec.port=80,spec.host!=a")
    assert gone.status == 200
    assert [each["metadata"]["name"] for each in (await world.api.get(V1))["items"]] == ["a", "b"]


async def test_fields_of_a_version_that_a_webhook_makes_select_in_watches(world: World) -> None:
    for name, port in (("a", 80), ("b", 81)):
        await world.create(name, port)
    async with watching(world, "&fieldSelector=spec.port=80") as (events, seen):
        await seen(1)
        await world.create("c")
        await seen(2)
        await world.create("d", 81)
        await world.api.patch(f"{V1}/c", {"metadata": {"labels": {"seen": "yes"}}})
        await seen(3)
        await world.api.patch(f"{V1}/b", {"spec": {"hostPort": "b:80"}})
        await seen(4)
        await world.api.patch(f"{V2}/a", {"spec": {"port": "82"}})
        await seen(5)
        await world.api.delete(f"{V2}/c")
        await seen(6)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "a"),
        ("ADDED", "c"),
        ("MODIFIED", "c"),
        ("ADDED", "b"),
        ("DELETED", "a"),
        ("DELETED", "c"),
    ]
    assert {event["object"]["apiVersion"] for event in events} == {"example.org/v2"}


async def test_a_watch_by_fields_that_nobody_can_convert_does_not_begin(world: World) -> None:
    await world.create("a")
    world.hooks.paths.pop("/convert")
    answer = await world.api.ask("GET", f"{V2}?watch=true&timeoutSeconds=60&fieldSelector=spec.port=80")
    assert answer.status == 500
    assert b"conversion webhook" in answer.encoded()


async def test_objects_are_migrated_by_being_written_again(world: World) -> None:
    await world.create("a")
    stored = [{"op": "replace", "path": "/spec/versions/0/storage", "value": False}]
    stored += [{"op": "replace", "path": "/spec/versions/1/storage", "value": True}]
    await world.api.patch(f"{DEFINITIONS}/{NAME}", stored, "json-patch")

    async def both() -> bool:
        definition = await world.api.get(f"{DEFINITIONS}/{NAME}")
        return bool(definition["status"]["storedVersions"] == ["v1", "v2"])

    await eventually(both)
    found = await world.api.get(f"{V1}/a")
    assert found["spec"] == {"hostPort": "a:80"}
    again = await world.api.put(f"{V1}/a", found)
    assert again["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    asked = len(world.hooks.reviews)
    assert (await world.api.get(f"{V2}/a"))["spec"] == {"host": "a", "port": "80"}
    assert len(world.hooks.reviews) == asked


async def test_a_definition_goes_with_its_objects_though_its_webhook_is_gone(world: World) -> None:
    await world.create("a")
    world.hooks.paths["/convert"] = lambda review: {}
    await world.api.delete(f"{DEFINITIONS}/{NAME}")

    async def gone() -> bool:
        return (await world.api.ask("GET", f"{DEFINITIONS}/{NAME}")).status == 404

    await eventually(gone)


FAILED = "conversion webhook for example.org/v1, Kind=Host failed: "
RETURNED = "conversion webhook for example.org/v1, Kind=Host returned "
AT = f"{RETURNED}invalid object at index 0: "


def changed(**metadata: Any) -> Any:
    def answer(review: Any) -> Any:
        document = convert(review["request"]["objects"][0], review["request"]["desiredAPIVersion"])
        document["metadata"] |= metadata
        return reviewed(review, convertedObjects=[document])

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda review: {}, f"{FAILED}expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview"),
        (lambda review: {**reviewed(review), "response": None}, f"{FAILED}no response provided"),
        (lambda review: reviewed(review, uid="x"), f'{FAILED}expected response.uid="'),
        (lambda review: reviewed(review, result={"status": "Failure", "message": "no way"}), f"{FAILED}no way"),
        (lambda review: reviewed(review, result={}), f"{FAILED}response.result.status was '', expected 'Success'"),
        (lambda review: reviewed(review, convertedObjects=[]), f"{RETURNED}0 objects, expected 1"),
        (
            lambda review: reviewed(review, convertedObjects=review["request"]["objects"]),
            f"{AT}invalid groupVersion (expected example.org/v2, received example.org/v1)",
        ),
        (changed(name="b"), f"{AT}must have the same name: a != b"),
        (changed(uid="other"), f"{AT}must have the same UID: "),
        (changed(labels=["x"]), f"{AT}invalid metadata.labels"),
    ],
)
async def test_what_a_webhook_may_not_answer_is_an_error_of_the_read(world: World, answer: Any, why: str) -> None:
    await world.create("a")
    world.hooks.paths["/convert"] = answer
    response = await world.api.ask("GET", f"{V2}/a")
    status = response.decoded()
    assert response.status == 500
    assert status["message"].startswith(why)
    assert "reason" not in status or not status["reason"]
    assert (await world.api.get(f"{V1}/a"))["spec"] == {"hostPort": "a:80"}


async def test_labels_may_change_and_other_metadata_is_kept(world: World) -> None:
    created = await world.create("a")
    world.hooks.paths["/convert"] = changed(labels={"new": "1"}, generation=9, finalizers=["example.org/x"])
    found = (await world.api.get(f"{V2}/a"))["metadata"]
    assert found["labels"] == {"new": "1"}
    assert found["generation"] == created["metadata"]["generation"]
    assert "finalizers" not in found


async def test_nobody_listens(world: World) -> None:
    await world.create("a")
    with nobody() as port:
        address = f"127.0.0.1:{port}"
        patch = {"spec": {"conversion": {"webhook": {"clientConfig": {"url": f"https://{address}/convert"}}}}}
        await world.api.patch(f"{DEFINITIONS}/{NAME}", patch)
        why = f'Post "https://{address}/convert?timeout=30s": dial tcp {address}: connect: connection refused'

        async def refused() -> bool:
            return bool((await world.api.ask("GET", f"{V2}/a")).decoded().get("message") == f"{FAILED}{why}")

        await eventually(refused)
