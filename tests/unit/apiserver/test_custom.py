"""Custom resources over HTTP: what bodies must say, and watches by the fields that their definition names."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fakes.server import Caller
from fakes.waiting import eventually

pytestmark = pytest.mark.anyio

GADGETS = "/apis/example.org/v1/namespaces/default/gadgets"
EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture
async def gadgets(api: Caller) -> Caller:
    spec = {"type": "object", "properties": {"color": {"type": "string"}, "inner": EMBEDDED}}
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version["selectableFields"] = [{"jsonPath": ".spec.color"}]
    names = {"plural": "gadgets", "kind": "Gadget"}
    definition = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    await api.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {"metadata": {"name": "gadgets.example.org"}, "spec": definition},
    )

    async def served() -> bool:
        return (await api.ask("GET", GADGETS)).status == 200

    await eventually(served)
    return api


def gadget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("kind", "the object provided is unrecognized (must be of type Gadget): Object 'Kind' is missing in '{"),
        ("apiVersion", "the API version in the data (/) does not match the expected API version (example.org/v1)"),
    ],
)
async def test_only_the_body_says_what_a_custom_resource_is(gadgets: Caller, missing: str, said: str) -> None:
    body = gadget("a")
    del body[missing]
    answer = await gadgets.ask("POST", GADGETS, body)
    assert (answer.status, answer.decoded()["message"][: len(said)]) == (400, said)


async def test_custom_resources_come_and_go_with_the_fields_of_their_definition(gadgets: Caller) -> None:
    response = await gadgets.ask("GET", f"{GADGETS}?watch=1&fieldSelector=spec.color=red")
    await gadgets.post(GADGETS, gadget("a", color="red"))
    await gadgets.post(GADGETS, gadget("b", color="blue"))
    await gadgets.patch(f"{GADGETS}/a", {"spec": {"color": "blue"}})
    await gadgets.patch(f"{GADGETS}/b", {"spec": {"color": "red"}})
    found: list[tuple[str, str]] = []
    stream: Any = response.stream
    while len(found) < 3:
        events = map(orjson.loads, (await anext(stream)).splitlines())
        found += [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert found == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]


async def test_unknown_metadata_of_an_embedded_resource_is_warned_of_and_dropped(gadgets: Caller) -> None:
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "color": "red"}, "free": True}
    answer = await gadgets.ask("POST", GADGETS, gadget("a", inner=inner))
    assert answer.warnings == ['299 - "unknown field \\"spec.inner.metadata.color\\""']
    assert answer.decoded()["spec"]["inner"] == {**inner, "metadata": {"name": "p"}}
    inner["metadata"] = {"labels": {"a": 1}}
    wrong = await gadgets.ask("POST", GADGETS, gadget("b", inner=inner))
    assert wrong.status == 400
    assert "spec.inner.metadata: json: cannot unmarshal number into" in wrong.decoded()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("PUT", "", 400, "name must be provided"),
        ("PATCH", "", 400, "name must be provided"),
        ("OPTIONS", "", 405, ' is not supported on resources of kind "gadgets.example.org"'),
        ("GET", "/a/nothing", 404, 'gadgets.example.org "a" not found'),
        ("GET", "/a/nothing/more", 404, 'gadgets.example.org "a" not found'),
        ("GET", "/a/scale", 404, 'gadgets.example.org "a" not found'),
    ],
)
async def test_what_a_custom_resource_does_not_serve_is_told_of_it(
    gadgets: Caller, method: str, path: str, status: int, message: str
) -> None:
    response = await gadgets.ask(method, f"{GADGETS}{path}", {}, content_type="application/merge-patch+json")
    assert (response.status, response.decoded()["message"]) == (status, message)


@pytest.mark.parametrize("path", ["/apis/example.org/v1/gadgets/a", "/apis/example.org/v9/gadgets"])
async def test_where_custom_resources_are_not_there_is_nothing(gadgets: Caller, path: str) -> None:
    response = await gadgets.ask("GET", path)
    assert (response.status, response.body) == (404, b"404 page not found\n")


async def test_the_name_of_a_custom_resource_that_is_made_is_in_its_body(gadgets: Caller) -> None:
    assert (await gadgets.post(f"{GADGETS}/other", gadget("a")))["metadata"]["name"] == "a"
    assert (await gadgets.ask("HEAD", f"{GADGETS}/a")).status == 200


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ("text/html", "only the following media types are accepted: application/json, application/yaml, "
         "application/vnd.kubernetes.protobuf"),
        ("application/vnd.kubernetes.protobuf", "object *unstructured.Unstructured does not implement the protobuf "
         "marshalling interface and cannot be encoded to a protobuf message"),
    ],
)  # fmt: skip
async def test_custom_resources_are_not_spoken_in_every_form(gadgets: Caller, accept: str, message: str) -> None:
    await gadgets.post(GADGETS, gadget("a"))
    response = await gadgets.ask("GET", f"{GADGETS}/a", accept=accept)
    assert response.status == 406
    assert message.encode() in (response.body or b"")


async def test_a_selector_of_shards_is_ignored_as_its_feature_is_off(gadgets: Caller) -> None:
    await gadgets.post(GADGETS, gadget("a"))
    half = "shardRange(object.metadata.uid, '0x0', '0x0')"
    assert len((await gadgets.ask("GET", GADGETS, query=[("shardSelector", half)])).decoded()["items"]) == 1
