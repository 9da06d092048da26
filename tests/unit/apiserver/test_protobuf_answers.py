"""What the server answers to clients that speak protobuf."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller
from fakes.waiting import eventually
from kube_core.abc.transport import Response
from kube_core.api import protobuf
from kube_core.api.schemas import builtin_name

pytestmark = pytest.mark.anyio

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAPS = "/api/v1/namespaces/default/configmaps"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def read(answer: Response) -> dict[str, Any]:
    assert answer.content_type == PROTOBUF
    return protobuf.decode(answer.encoded(), name_of)


def name_of(api_version: str, kind: str) -> str:
    partial = f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"
    return partial if kind.startswith("PartialObjectMetadata") else builtin_name(api_version, kind)


async def test_an_object_and_a_list_say_what_they_say_in_json(api: Caller) -> None:
    body = protobuf.encode(
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}, name_of("v1", "ConfigMap")
    )
    made = await api.ask("POST", MAPS, body, content_type=PROTOBUF, accept=PROTOBUF)
    assert (made.status, read(made)) == (201, await api.get(f"{MAPS}/a"))
    listed = read(await api.ask("GET", MAPS, accept=PROTOBUF))
    assert listed == await api.get(MAPS)


async def test_a_long_list_is_whole(api: Caller) -> None:
    for number in range(50):
        await api.post(MAPS, {"metadata": {"name": f"m-{number}"}})
    assert read(await api.ask("GET", MAPS, accept=PROTOBUF)) == await api.get(MAPS)


async def test_what_goes_wrong_is_a_status(api: Caller) -> None:
    answer = await api.ask("GET", f"{MAPS}/none", accept=f"{PROTOBUF},application/json")
    assert (answer.status, read(answer)["reason"]) == (404, "NotFound")


async def test_metadata_alone_is_told(api: Caller) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    one = read(await api.ask("GET", f"{MAPS}/a", accept=PARTIAL))
    assert (one["kind"], one["metadata"]["name"], "data" in one) == ("PartialObjectMetadata", "a", False)
    many = read(await api.ask("GET", MAPS, accept=PARTIAL.replace("Metadata;", "MetadataList;")))
    assert [each["metadata"]["name"] for each in many["items"]] == ["a"]


async def test_a_watch_is_of_frames(api: Caller) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}})
    watch = await api.ask("GET", f"{MAPS}?watch=true", accept=f"{PROTOBUF};stream=watch,{PROTOBUF}")
    assert (watch.content_type, watch.stream is not None) == (f"{PROTOBUF};stream=watch", True)
    assert watch.stream is not None
    first = await anext(watch.stream)
    assert first == protobuf.frame("ADDED", (await api.ask("GET", f"{MAPS}/a", accept=PROTOBUF)).encoded())
    assert int.from_bytes(first[:4], "big") == len(first) - 4
    await api.delete(f"{MAPS}/a")
    assert b"DELETED" in await anext(watch.stream)
    await watch.stream.aclose()  # type: ignore[attr-defined]


async def test_custom_resources_are_not_told_in_protobuf(api: Caller) -> None:
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    await api.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]},
        },
    )
    path = "/apis/example.com/v1/things"

    async def served() -> bool:
        return (await api.ask("GET", path)).status == 200

    await eventually(served)
    assert (await api.ask("GET", path, accept=PROTOBUF)).status == 406
    assert (await api.ask("GET", path, accept=f"{PROTOBUF},application/json")).content_type == "application/json"
