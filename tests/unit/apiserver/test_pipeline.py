"""From request to response: who may, what is not there, what is not allowed, and what nobody foresaw."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fakes.server import ALICE, Caller
from kube_core.abc.transport import Request
from kube_core.apiserver.pipeline import _warning_headers

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


async def status(api: Caller, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str]:
    response = await api.ask(method, path, body, **options)
    document = response.decoded()
    assert document["kind"] == "Status"
    assert document["code"] == response.status
    return response.status, document["message"]


async def test_a_token_that_nobody_knows_is_unauthorized(api: Caller) -> None:
    assert await status(api, "GET", MAPS, token="wrong") == (401, "Unauthorized")
    assert await status(api, "GET", "/nowhere", token="wrong") == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        (
            "GET",
            MAPS,
            'configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the namespace '
            '"default"',
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments/d",
            'deployments.apps "d" is forbidden: User "alice" cannot delete resource "deployments" in API group "apps" '
            'in the namespace "a"',
        ),
        (
            "GET",
            "/api/v1/nodes/n",
            'nodes "n" is forbidden: User "alice" cannot get resource "nodes" in API group "" at the cluster scope',
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/p/log",
            'pods "p" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace "a"',
        ),
        ("GET", "/metrics", 'forbidden: User "alice" cannot get path "/metrics"'),
        ("POST", "/version", 'forbidden: User "alice" cannot post path "/version"'),
    ],
)
async def test_who_may_not_is_told_so_in_upstreams_words(api: Caller, method: str, path: str, why: str) -> None:
    assert await status(api, method, path, token="alice-token") == (403, why)


async def test_nobody_in_particular_is_anonymous(api: Caller) -> None:
    code, message = await status(api, "GET", MAPS, token="")
    assert (code, 'User "system:anonymous" cannot list' in message) == (403, True)
    assert (await api.ask("GET", "/livez", token="")).status == 200
    assert (await api.ask("GET", "/version", token="")).status == 200


async def test_a_path_that_is_nothing_is_a_text_and_a_resource_that_is_none_a_status(api: Caller) -> None:
    for path in ("/nowhere", "/apis/nosuch.example/v1/things", "/apis/nosuch.example/v1/namespaces/a/things/b"):
        response = await api.ask("GET", path)
        assert (response.status, response.content_type) == (404, "text/plain; charset=utf-8")
        assert response.encoded() == b"404 page not found\n"
    for path in ("/api/v1/things", "/apis/apps/v1/things", f"{MAPS}/a/nosuch", "/api/v1/namespaces/a/pods/p/log/more"):
        assert await status(api, "GET", path) == (404, "the server could not find the requested resource")


async def test_a_resource_of_the_cluster_is_not_in_any_namespace(api: Caller) -> None:
    for method, body in (("GET", None), ("POST", {"metadata": {"name": "n"}})):
        found = await status(api, method, "/api/v1/namespaces/default/nodes", body)
        assert found == (404, "the server could not find the requested resource")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/configmaps"),
        ("PUT", MAPS),
        ("PATCH", MAPS),
        ("POST", f"{MAPS}/a"),
        ("BREW", f"{MAPS}/a"),
        ("DELETE", "/api/v1/namespaces"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("DELETE", "/api/v1/namespaces/a/pods/p/status"),
    ],
)
async def test_a_method_that_is_not_served_is_not_allowed(api: Caller, method: str, path: str) -> None:
    found = await status(api, method, path, {"metadata": {"name": "a"}})
    assert found == (405, "the server does not allow this method on the requested resource")


async def test_what_nobody_foresaw_is_500_and_tells_nothing(api: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(request: Request) -> None:
        raise RuntimeError("the password is hunter2")

    api.server.pipeline.routes.insert(0, broken)
    code, message = await status(api, "GET", "/anything")
    assert (code, message) == (500, "Internal error occurred: RuntimeError")
    # The operator can read it, with its trace.
    logged = "".join(capfd.readouterr())
    assert "hunter2" in logged


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("unencodable", "why"),
    [
        (nested(300), "is nested too deeply to be handled"),
        ("\ud800", "has text that is not valid Unicode"),
        (2**64, "has a number that is too large to be handled"),
    ],
    ids=["deep", "no text", "large"],
)
async def test_what_cannot_be_encoded_is_the_clients_fault(api: Caller, unencodable: Any, why: str) -> None:
    def encodes(request: Request) -> None:
        orjson.dumps(unencodable)

    api.server.pipeline.routes.insert(0, encodes)
    assert await status(api, "GET", "/anything") == (400, f"the object provided {why}")


@pytest.mark.parametrize("error", [TypeError("'NoneType' object is not iterable"), orjson.JSONEncodeError("odd")])
async def test_any_other_type_error_is_ours(api: Caller, error: Exception) -> None:
    def broken(request: Request) -> None:
        raise error

    api.server.pipeline.routes.insert(0, broken)
    assert await status(api, "GET", "/anything") == (500, "Internal error occurred: TypeError")


async def test_a_caller_in_this_process_is_who_it_says(api: Caller) -> None:
    response = await api.ask("GET", MAPS, user=ALICE)
    assert response.status == 403
    assert 'User "alice"' in response.decoded()["message"]


async def test_what_is_odd_about_a_request_is_a_warning(api: Caller) -> None:
    response = await api.ask("POST", MAPS, {"metadata": {"name": "a"}, "fantasy": 1, 'quo"te': 2})
    assert response.status == 201
    assert response.warnings == ['299 - "unknown field \\"fantasy\\""', '299 - "unknown field \\"quo\\"te\\""']


async def test_a_warning_holds_no_control_characters(api: Caller) -> None:
    response = await api.ask("POST", MAPS, {"metadata": {"name": "a"}, "line\r\nInjected: yes\0": 1})
    assert response.status == 201
    assert all(warning.isprintable() for warning in response.warnings)


def test_too_many_warnings_are_shortened_and_then_left_out() -> None:
    (shortened,) = _warning_headers(["x" * 5000])
    assert len(shortened) < 300
    headers = _warning_headers([f"{number:04}" + "x" * 500 for number in range(100)])
    assert len(headers) == 16
    assert sum(map(len, headers)) < 4600


async def test_a_body_nested_without_end_is_a_bad_request(api: Caller) -> None:
    for depth in (300, 900, 2_000, 100_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        # A revision's data is any JSON there is.
        body = b'{"metadata": {"name": "r"}, "revision": 1, "data": %b}' % deep
        path = "/apis/apps/v1/namespaces/default/controllerrevisions"
        assert (await status(api, "POST", path, body))[0] == 400
        assert (
            await status(
                api,
                "POST",
                MAPS,
                b'{"metadata": {"name": "a%d"}, "x": ' % depth + deep + b"}",
                query=[("fieldValidation", "Strict")],
            )
        )[0] == 400
