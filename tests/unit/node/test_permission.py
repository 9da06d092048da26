"""Who may ask a node's server: by certificate or token, and by what the API server says of it."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core._kit.certificates import Authority
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import Request, Response
from kube_core.client.client import ApiClient
from kube_core.client.transport import Transport
from kube_core.meta.status import ServiceUnavailable
from kube_core.node.serving.permission import ALLOWED_SECONDS, REFUSED_SECONDS, Permission, subresources, verb_of

pytestmark = pytest.mark.anyio


class Reviews(Transport):
    """An API server that only reviews: users by token, and who may do what, as `user/verb/subresource`."""

    shares_documents = False

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.allowed: set[str] = set()
        self.asked: list[str] = []
        self.gone = False

    async def request(self, request: Request) -> Response:
        if self.gone:
            raise ServiceUnavailable("nobody is there")
        spec = request.document["spec"] if request.document is not None else {}
        if request.path.endswith("/tokenreviews"):
            self.asked.append(f"token {spec['token']}")
            user = self.tokens.get(spec["token"])
            return Response(201, document={"status": {"authenticated": user is not None, "user": user or {}}})
        wanted = spec["resourceAttributes"]
        assert (wanted["resource"], wanted["name"], wanted["version"]) == ("nodes", "here", "v1")
        question = f"{spec['user']}/{wanted['verb']}/{wanted['subresource']}"
        self.asked.append(question)
        return Response(201, document={"status": {"allowed": question in self.allowed}})

    def watch(self, wanted: Any) -> Any:
        raise NotImplementedError

    async def connect(self, request: Request) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        pass


@pytest.fixture
def reviews() -> Reviews:
    found = Reviews()
    found.tokens["good"] = {"username": "alice", "groups": ["system:authenticated"], "extra": {"a": ["b"]}}
    return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authority(clock: FakeClock) -> Authority:
    return Authority.create("test", now=clock.now())


@pytest.fixture
def permission(reviews: Reviews, clock: FakeClock, authority: Authority) -> Permission:
    return Permission("here", ApiClient(reviews, clock=clock), authority.certificate, clock)


def asking(path: str = "/pods", token: str = "good", method: str = "GET") -> Request:
    return Request(method, path, headers={"authorization": f"Bearer {token}"} if token else {})


async def told(permission: Permission, request: Request) -> tuple[int, str]:
    refused = await permission.refusal(request)
    return (200, "") if refused is None else (refused.status, refused.encoded().decode())


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/stats/summary", ["stats"]),
        ("/metrics", ["metrics"]),
        ("/metrics/cadvisor", ["metrics"]),
        ("/logs/messages", ["log"]),
        ("/checkpoint/ns/pod/container", ["checkpoint"]),
        ("/pods", ["pods", "proxy"]),
        ("/runningpods/", ["pods", "proxy"]),
        ("/healthz", ["healthz", "proxy"]),
        ("/healthz/ping", ["healthz", "proxy"]),
        ("/configz", ["configz", "proxy"]),
        ("/exec/ns/pod/container", ["proxy"]),
        ("/podsandmore", ["proxy"]),
        ("/", ["proxy"]),
    ],
)
def test_a_path_is_a_subresource_of_nodes(path: str, wanted: list[str]) -> None:
    assert list(subresources(path)) == wanted


def test_a_method_is_a_verb() -> None:
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
    assert [verb_of(method) for method in methods] == ["get", "create", "update", "patch", "delete", ""]


async def test_who_shows_nothing_is_unauthorised(permission: Permission, reviews: Reviews) -> None:
    assert await told(permission, asking("/healthz", token="")) == (401, "Unauthorized")
    assert not reviews.asked


async def test_an_unknown_token_is_unauthorised(permission: Permission) -> None:
    assert await told(permission, asking(token="bad")) == (401, "Unauthorized")


async def test_who_may_not_is_told_what_was_needed(permission: Permission) -> None:
    code, text = await told(permission, asking())
    assert code == 403
    assert text == "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"


async def test_either_of_two_subresources_is_enough(permission: Permission, reviews: Reviews) -> None:
    reviews.allowed = {"alice/get/proxy"}
    assert await told(permission, asking("/pods")) == (200, "")
    assert reviews.asked == ["token good", "alice/get/pods", "alice/get/proxy"]
    assert (await told(permission, asking("/stats/summary")))[0] == 403


async def test_a_yes_holds_for_five_minutes_and_a_no_for_half_of_one(
    permission: Permission, reviews: Reviews, clock: FakeClock
) -> None:
    reviews.allowed = {"alice/get/stats"}
    assert await told(permission, asking("/stats/summary")) == (200, "")
    assert (await told(permission, asking("/metrics")))[0] == 403
    reviews.allowed = {"alice/get/metrics"}
    await clock.advance(REFUSED_SECONDS - 1)
    assert (await told(permission, asking("/metrics")))[0] == 403
    await clock.advance(1)
    assert await told(permission, asking("/metrics")) == (200, "")
    await clock.advance(ALLOWED_SECONDS - REFUSED_SECONDS - 1)
    assert await told(permission, asking("/stats/summary")) == (200, "")
    await clock.advance(1)
    assert (await told(permission, asking("/stats/summary")))[0] == 403


async def test_a_certificate_of_the_authority_is_a_user(
    permission: Permission, reviews: Reviews, authority: Authority, clock: FakeClock
) -> None:
    reviews.allowed = {"server/create/proxy"}
    request = asking("/exec/a/b/c", token="", method="POST")
    request.peer_certificates = (der(authority, clock),)
    assert await told(permission, request) == (200, "")
    assert reviews.asked == ["server/create/proxy"]


async def test_a_certificate_of_another_authority_is_none(permission: Permission, clock: FakeClock) -> None:
    request = asking(token="")
    request.peer_certificates = (der(Authority.create("test", now=clock.now()), clock),)
    assert await told(permission, request) == (401, "Unauthorized")


async def test_nobody_gets_in_while_the_api_server_is_away(permission: Permission, reviews: Reviews) -> None:
    reviews.gone = True
    assert (await told(permission, asking()))[0] == 401
    reviews.gone = False
    reviews.allowed = {"alice/get/stats"}
    assert await told(permission, asking("/stats/summary")) == (200, "")
    reviews.gone = True
    assert await told(permission, asking("/stats/summary")) == (200, "")
    assert (await told(permission, asking("/metrics")))[0] == 500


def der(authority: Authority, clock: FakeClock) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(authority.issue_client("server", now=clock.now()).certificate.decode())
