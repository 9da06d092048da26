"""Bodies, paths and parameters that nobody should send: each is answered, and never with 500."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from fakes.server import Caller, running
from kube_core.abc.transport import Response

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SITES = "/apis/example.dev/v1/namespaces/default/sites"
#: Levels of nesting: the most that is encoded, what no decoder takes, and what no stack holds.
DEPTHS = (200, 260, 1_000, 12_000)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with running(upkeep=False) as started:
        yield started


@pytest.fixture
async def sites(caller: Caller) -> Caller:
    """With a kind of which anything can be said, nested in itself."""
    rules = [{"rule": "!has(self.forbidden)"}]
    spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-validations": rules}
    definition = {
        "metadata": {"name": "sites.example.dev"},
        "spec": {
            "group": "example.dev",
            "names": {"kind": "Site", "plural": "sites"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                }
            ],
        },
    }
    await caller.post(DEFINITIONS, definition)
    await caller.post(SITES, {"apiVersion": "example.dev/v1", "kind": "Site", "metadata": {"name": "a"}})
    return caller


def objects(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def lists(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("nested", [objects, lists])
@pytest.mark.parametrize("depth", DEPTHS)
async def test_deep_nesting_is_the_clients_fault_wherever_it_comes(sites: Caller, depth: int, nested: Any) -> None:
    deep = nested(depth)
    whole = f'{{"apiVersion":"example.dev/v1","kind":"Site","metadata":{{"name":"b"}},"spec":{{"x":{deep}}}}}'
    plain = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"b"}},"data":{{"x":{deep}}}}}'
    operations = f'[{{"op":"add","path":"/spec","value":{{"x":{deep}}}}}]'
    for method, path, body, kind in (
        ("POST", SITES, whole, "application/json"),
        ("POST", f"{SITES}?fieldValidation=Strict", whole, "application/yaml"),
        ("PUT", f"{SITES}/a", whole.replace('"b"', '"a"'), "application/json"),
        ("PATCH", f"{SITES}/a", operations, "application/json-patch+json"),
        ("PATCH", f"{SITES}/a", whole, "application/merge-patch+json"),
        ("PATCH", f"{SITES}/b?fieldManager=m", whole, "application/apply-patch+yaml"),
        ("POST", MAPS, plain, "application/json"),
        ("PATCH", f"{MAPS}/a?fieldManager=m", plain, "application/apply-patch+yaml"),
        ("PATCH", f"{MAPS}/a", plain, "application/strategic-merge-patch+json"),
        ("POST", DEFINITIONS, plain, "application/json"),
        ("DELETE", f"{SITES}/nobody", deep, "application/json"),
    ):
        answer = await sites.ask(method, path, body.encode(), content_type=kind)
        assert answer.status < 500, (method, path, kind, answer.encoded()[:300])
        assert answer.status >= 400 or depth < 250


async def test_what_is_nested_as_deeply_as_can_be_is_served_in_every_form(sites: Caller) -> None:
    document = {"apiVersion": "example.dev/v1", "kind": "Site", "metadata": {"name": "b"}, "spec": {}}
    document["spec"] = json.loads(objects(180))
    await sites.post(SITES, document)
    for accept in ("application/json", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io"):
        for path in (SITES, f"{SITES}/b"):
            assert (await sites.ask("GET", path, accept=accept)).status == 200, (accept, path)
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert (await sites.patch(f"{SITES}/b", patch))["spec"] == document["spec"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xef\xbb\xbf" + b'{"metadata":{"name":"a"}}', 400),
        (b'{"metadata":{"name":"a"},"data":{"k":"\xff"}}', 400),
        (b'{"metadata":{"name":"a"},"data":{"k":"\xed\xa0\x80"}}', 400),
        (b'{"metadata":{"name":"a"},"data":{"k":"\\ud800"}}', 400),
        (b'{"metadata":{"name":"a"},"data":{"k":"\x00"}}', 400),
        (b'{"metadata":{"name":"a"},"data":{"k":"\\u0000"}}', 201),
        (b'{"metadata":{"name":"a\\u0000b"}}', 422),
        (b'{"metadata":{"name":"a","name":"b"}}', 201),
        (b'{"metadata":{"name":"a"},"immutable":NaN}', 400),
        (b'{"metadata":{"name":"a","generation":1e400}}', 400),
        (b'{"metadata":{"name":"a","generation":' + b"9" * 400 + b"}}", 400),
        (b'{"metadata":{"name":"a","generation":99999999999999999999}}', 400),
        (b'{"metadata":{"name":"a","generation":1.5}}', 400),
        (b'{"metadata":{"name":"a"}}{"metadata":{"name":"b"}}', 400),
        (b"null", 422),
        (b"k8s\x00", 400),
    ],
)
async def test_json_that_is_nearly_right(caller: Caller, body: bytes, status: int) -> None:
    answer = await caller.ask("POST", MAPS, body)
    assert answer.status == status, answer.encoded()


async def test_repeated_keys_are_told_and_refused_where_that_is_asked_for(caller: Caller) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
    strict = await caller.ask("POST", f"{MAPS}?fieldValidation=Strict", body)
    assert (strict.status, 'duplicate field "data.k"' in strict.decoded()["message"]) == (400, True)
    made = await caller.ask("POST", MAPS, body)
    assert (made.status, made.decoded()["data"]) == (201, {"k": "2"})
    assert "duplicate field" in made.warnings[0]


@pytest.mark.parametrize("length", [0, 1, 4, 5, 100])
async def test_protobuf_that_was_cut_off(caller: Caller, length: int) -> None:
    body = (b"k8s\x00" + b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12" + b"\xff" * 100)[:length]
    answer = await caller.ask("POST", MAPS, body, content_type="application/vnd.kubernetes.protobuf")
    assert 400 <= answer.status < 500


async def test_protobuf_nested_in_itself(caller: Caller) -> None:
    inner = b""
    for _ in range(5000):
        size, length = len(inner), b""
        while size >= 0x80:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        inner = b"\x0a" + length + bytes([size]) + inner
    kind = b"\x0a\x1d\x0a\x17apiextensions.k8s.io/v1\x12\x02XX"
    answer = await caller.ask(
        "POST", DEFINITIONS, b"k8s\x00" + kind + inner, content_type="application/vnd.kubernetes.protobuf"
    )
    assert 400 <= answer.status < 500


PATHS = (
    "", "/", "//", "//api", "/api//v1", "/api/v1/", "/api/v1/../v1/nodes", "/api/v1/namespaces//configmaps", "/..",
    "/%", "/api/v1/namespaces/default/configmaps/a/b/c/d", "/apis///", "/apis/apps/v1//deployments", "/api/v1/nodes/\0",
    "api", "/api/v1/namespaces/default/configmaps/" + "a" * 10_000, "/api/v1/namespaces/../configmaps/..", "*",
    "/\ud800", "/api/v1/namespaces/default/pods/a/log/b", "/api/v1/nodes/a/proxy/../../x", "/openapi/v3/../v2",
    "/healthz/../x",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")


async def test_odd_paths_and_methods(caller: Caller) -> None:
    for path, method in itertools.product(PATHS, METHODS):
        answer = await caller.ask(method, path)
        await closed(answer)
        assert answer.status < 500, (method, path)


PARAMETERS: Sequence[Sequence[tuple[str, str]]] = (
    [("limit", "x")],
    [("limit", "-1")],
    [("limit", "9" * 4000)],
    [("limit", "1"), ("limit", "x")],
    [("limit", "١")],
    [("timeoutSeconds", "x"), ("watch", "1")],
    [("timeoutSeconds", "-5"), ("watch", "1")],
    [("timeoutSeconds", "9" * 400), ("watch", "1")],
    [("resourceVersion", "9" * 5000)],
    [("resourceVersion", "-1")],
    [("resourceVersion", "1.5"), ("watch", "1")],
    [("continue", "\0\ud800")],
    [("continue", "a" * 100_000)],
    [("labelSelector", ",".join(f"k{n}=v" for n in range(20_000)))],
    [("labelSelector", "a in (" + ",".join(str(n) for n in range(50_000)) + ")")],
    [("labelSelector", "(" * 50_000)],
    [("labelSelector", "!" * 50_000)],
    [("fieldSelector", "metadata.name=" + "\\" * 50_001)],
    [("fieldSelector", ",".join("metadata.name!=a" for _ in range(20_000)))],
    [("\ud800", "\udfff"), ("labelSelector", "\ud800")],
    [("fieldSelector", "metadata.name=\ud800")],
    [("watch", "x")],
    [("pretty", "\0")],
    [("", "")] * 10_000,
)


async def test_odd_parameters(caller: Caller) -> None:
    for query in PARAMETERS:
        answer = await caller.ask("GET", MAPS, query=query)
        await closed(answer)
        assert answer.status < 500, (query, answer.encoded()[:500])
        answer.encoded().decode()


HEADERS: Sequence[dict[str, Any]] = (
    {"accept": "a" * 30_000},
    {"accept": ",".join(f"text/x{n}" for n in range(2000))},
    {"accept": "\udcff"},
    {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1" + ";a=b" * 5000},
    {"content_type": "\udcff"},
    {"content_type": ";;;"},
    {"impersonate_user": "\udcff"},
    {"impersonate_group": "\n" * 1000},
    {"impersonate_extra_" + "%" * 100: "x"},
    {"authorization": "Bearer " + "a.b.c" * 5000},
    {"authorization": "Bearer \udcff"},
    {"authorization": "Bearer ey.ey.ey"},
    {"authorization": "Basic %%%"},
    {"authorization": ""},
    {"user_agent": "\udcff\0"},
    {"sec_websocket_protocol": "base64url.bearer.authorization.k8s.io.\udcff"},
    {"sec_websocket_protocol": "base64url.bearer.authorization.k8s.io.____"},
)


async def test_odd_headers(caller: Caller) -> None:
    for headers in HEADERS:
        token = "" if {"authorization", "sec_websocket_protocol"} & set(headers) else "admin-token"
        for method, body in (("GET", None), ("POST", {"metadata": {"name": "a"}})):
            answer = await caller.ask(method, MAPS, body, token=token, **headers)
            assert answer.status < 500, (headers, answer.encoded()[:500])


async def closed(answer: Response) -> None:
    close = getattr(answer.stream, "aclose", None)
    if close is not None:
        await close()


@pytest.mark.parametrize("metadata", ["x", 1, 1.5, True, [], [1]])
async def test_metadata_that_is_no_object_cannot_be_applied(caller: Caller, metadata: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    answer = await caller.ask("PATCH", f"{MAPS}/a?fieldManager=m", body, content_type="application/apply-patch+yaml")
    assert (answer.status, answer.decoded()["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    ("group", "field", "other"),
    [("/apis/events.k8s.io/v1", "deprecatedLastTimestamp", "/api/v1"), ("/api/v1", "lastTimestamp", "")],
)
async def test_a_value_that_no_form_of_the_kind_can_take_cannot_be_applied(
    caller: Caller, group: str, field: str, other: str, exists: bool
) -> None:
    """Also where the object has an owner who wrote it in the kind's other form, into which it is then brought."""
    events, version = f"{group}/namespaces/default/events", group.removeprefix("/apis/").removeprefix("/api/")
    if exists:
        made = {"metadata": {"name": "a"}, "involvedObject": {"namespace": "default"}, "message": "m", "reason": "r"}
        await caller.post(f"{other or group}/namespaces/default/events", made)
    body = {"apiVersion": version, "kind": "Event", "metadata": {"name": "a"}, field: "1."}
    kind = "application/apply-patch+yaml"
    answer = await caller.ask("PATCH", f"{events}/a?fieldManager=m", body, content_type=kind)
    assert (answer.status, answer.decoded()["reason"]) == (400, "BadRequest")
    assert 'parsing time "1."' in answer.decoded()["message"]


async def test_items_that_nothing_tells_apart_can_be_written_but_not_applied_to(caller: Caller) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    made = await caller.post(accounts, {"metadata": {"name": "a"}, "secrets": [{"kind": "Secret"}]})
    assert "managedFields" not in made["metadata"]
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "labels": {"a": "b"}}}
    kind = "application/apply-patch+yaml"
    answer = await caller.ask("PATCH", f"{accounts}/a?fieldManager=m", body, content_type=kind)
    assert (answer.status, answer.decoded()["reason"]) == (400, "BadRequest")
