"""The forms of an answer: object, list, Table, metadata, YAML, and documents for callers in this process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest

from fakes.server import ADMIN, Caller
from kube_core.api import yaml
from kube_core.apiserver import responses

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.fixture
async def maps(api: Caller) -> Caller:
    for name in ("a", "b"):
        await api.post(MAPS, {"metadata": {"name": name}, "data": {"x": "1"}})
    return api


async def shown(api: Caller, path: str, accept: str = "") -> Any:
    response = await api.ask("GET", path, accept=accept)
    assert response.status == 200, response.decoded()
    return orjson.loads(response.encoded())


async def test_items_of_a_list_do_not_repeat_their_kind(maps: Caller) -> None:
    listed = await shown(maps, MAPS)
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    single = await shown(maps, f"{MAPS}/a")
    assert listed["items"][0] == {name: single[name] for name in ("metadata", "data")}
    assert listed["metadata"] == {"resourceVersion": str(maps.server.cache.revision)}


async def test_yaml_and_indented_json_say_the_same(maps: Caller) -> None:
    for path in (MAPS, f"{MAPS}/a"):
        plain = await shown(maps, path)
        assert await shown(maps, path, "application/json;pretty=1") == plain
        response = await maps.ask("GET", path, accept="application/yaml")
        assert response.content_type == "application/yaml"
        assert yaml.load(response.encoded()) == plain


async def test_a_scale_is_a_table_too(api: Caller) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await api.post(path, {"metadata": {"name": "d"}, "spec": spec})
    table = await shown(api, f"{path}/d/scale", TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert [row["cells"] for row in table["rows"]] == [["d", 3, 0, "0s"]]


async def test_a_table_has_a_row_for_each_object(maps: Caller) -> None:
    table = await shown(maps, MAPS, TABLE)
    assert [row["cells"][:2] for row in table["rows"]] == [["a", 1], ["b", 1]]
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert (await shown(maps, f"{MAPS}/a?includeObject=Object", TABLE))["rows"][0]["object"]["data"] == {"x": "1"}
    assert (await shown(maps, f"{MAPS}/a?includeObject=None", TABLE))["rows"][0]["object"] is None
    wrong = await maps.ask("GET", f"{MAPS}?includeObject=Some", accept=TABLE)
    assert (wrong.status, 'includeObject: Invalid value: "Some"' in wrong.decoded()["message"]) == (400, True)


async def test_metadata_alone_is_metadata_alone(maps: Caller) -> None:
    single = await shown(maps, f"{MAPS}/a", PARTIAL)
    assert (single["kind"], set(single)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})
    listed = await shown(maps, MAPS, PARTIAL_LIST)
    assert (listed["kind"], listed["items"][0]) == ("PartialObjectMetadataList", single)


@pytest.mark.parametrize(
    ("path", "accept", "why"),
    [
        (MAPS, PARTIAL, "you requested PartialObjectMetadata, but the requested object is a list"),
        (f"{MAPS}/a", PARTIAL_LIST, "you requested PartialObjectMetadataList, but the requested object is not a list"),
        (MAPS, "text/html", "406: Not Acceptable"),
    ],
)
async def test_a_form_that_does_not_fit_is_not_acceptable(maps: Caller, path: str, accept: str, why: str) -> None:
    response = await maps.ask("GET", path, accept=accept)
    assert response.status == 406
    assert why in response.encoded().decode()


async def test_an_error_is_said_in_json_whatever_was_asked_for(maps: Caller) -> None:
    for accept in (TABLE, "text/html", PARTIAL):
        response = await maps.ask("GET", f"{MAPS}/nosuch", accept=accept)
        assert (response.status, orjson.loads(response.encoded())["kind"]) == (404, "Status")


async def test_a_caller_in_this_process_gets_the_stored_document_itself(maps: Caller) -> None:
    one, other = [(await maps.ask("GET", f"{MAPS}/a", user=ADMIN)).document for _ in range(2)]
    assert one is other
    with pytest.raises(TypeError):
        one["data"]["x"] = "2"
    listed = (await maps.ask("GET", MAPS, user=ADMIN)).document
    assert listed["items"][0] is one


async def test_what_a_dry_run_would_create_has_no_resource_version(maps: Caller) -> None:
    for accept in ("", "application/yaml"):
        response = await maps.ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "c"}}, accept=accept)
        assert response.status == 201
        assert "resourceVersion" not in yaml.load(response.encoded())["metadata"]
    local = await maps.ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "c"}}, user=ADMIN)
    assert "resourceVersion" not in local.document["metadata"]


async def test_metadata_is_cut_out_of_what_is_stored(maps: Caller) -> None:
    whole = await shown(maps, f"{MAPS}/a")
    single = await shown(maps, f"{MAPS}/a", PARTIAL)
    assert single == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": whole["metadata"],
    }
    assert await shown(maps, f"{MAPS}/a?pretty=true", PARTIAL) == single
    listed = await shown(maps, MAPS, PARTIAL_LIST)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0] == single


@pytest.mark.parametrize("accept", ["application/json", PARTIAL_LIST])
async def test_a_long_list_gives_way_between_its_pieces(
    maps: Caller, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    for number in range(30):
        await maps.post(MAPS, {"metadata": {"name": f"more-{number:02}"}})
    at_once = await maps.ask("GET", MAPS, accept=accept)
    monkeypatch.setattr(responses, "_LONG", 20)
    monkeypatch.setattr(responses, "_PIECE", 2)
    response = await maps.ask("GET", MAPS, accept=accept)
    assert response.finite
    assert response.stream is not None
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    seen = []
    body = b""
    async for piece in response.stream:
        body += piece
        seen.append(turns)
    beside.cancel()
    assert orjson.loads(body)["items"] == orjson.loads(at_once.encoded())["items"]
    # Whoever else is ready is called after each of the sixteen pieces.
    assert len(set(seen)) >= 16


@pytest.mark.parametrize("accept", [TABLE, "application/yaml", "application/json;pretty=1"])
async def test_what_takes_long_to_make_is_made_on_a_thread(
    maps: Caller, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    expected = await maps.ask("GET", MAPS, accept=accept)
    threads = []
    made = responses.listing

    def noting(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return made(*arguments, **options)

    monkeypatch.setattr(responses, "listing", noting)
    monkeypatch.setattr(responses, "_SLOW", 1)
    answer = await maps.ask("GET", MAPS, accept=accept)
    assert answer.encoded() == expected.encoded()
    assert threads[0] is not threading.main_thread()
