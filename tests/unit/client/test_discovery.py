"""Discovery that is asked again: what has not changed is neither sent nor read again."""

from __future__ import annotations

from typing import Any

import pytest

import kube_core as kube
from kube_core.abc.transport import Request, Response
from kube_core.client.client import ApiClient
from kube_core.client.discovery import Discovery

pytestmark = pytest.mark.anyio


def group(name: str, *plurals: str, freshness: str = "Current") -> dict[str, Any]:
    resources = [
        {"resource": each, "responseKind": {"kind": each.title()}, "scope": "Namespaced", "verbs": ["list"]}
        for each in plurals
    ]
    version = {"version": "v1", "freshness": freshness, "resources": resources}
    return {"metadata": {"name": name}, "versions": [version]}


class Server:
    """Answers by tag, as the server does."""

    def __init__(self) -> None:
        self.groups: dict[str, list[Any]] = {"/api": [group("", "pods")], "/apis": [group("apps", "deployments")]}
        self.answers: list[int] = []

    async def request(self, request: Request) -> Response:
        document = {"kind": "APIGroupDiscoveryList", "items": self.groups[request.path]}
        tag = f'"{hash(str(document))}"'
        if request.headers.get("if-none-match") == tag:
            self.answers.append(304)
            return Response(304, headers={"ETag": tag})
        self.answers.append(200)
        return Response(document=document, headers={"ETag": tag})


async def test_the_same_is_the_same_object() -> None:
    server: Any = Server()
    discovery = Discovery(ApiClient(server))
    first = await discovery.ask()
    assert [each.type.plural for each in first.resources] == ["pods", "deployments"]
    assert await discovery.ask() is first
    assert server.answers == [200, 200, 304, 304]


async def test_what_changed_is_read() -> None:
    server: Any = Server()
    discovery = Discovery(ApiClient(server))
    await discovery.ask()
    server.groups["/apis"].append(group("example.dev", "websites"))
    changed = await discovery.ask()
    assert [each.type.plural for each in changed.resources] == ["pods", "deployments", "websites"]
    assert server.answers == [200, 200, 304, 200]


async def test_a_group_that_does_not_answer_is_looked_at_again() -> None:
    server: Any = Server()
    server.groups["/apis"].append(group("example.dev", "websites", freshness="Stale"))
    discovery = Discovery(ApiClient(server))
    first = await discovery.ask()
    assert list(first.failures) == ["example.dev/v1"]
    assert await discovery.ask() is not first


async def test_a_cluster_says_when_nothing_changed() -> None:
    async with kube.Cluster(nodes=0, controllers=(), listen=False) as cluster:
        await cluster.settled()
        discovery = Discovery(cluster.client)
        assert await discovery.ask() is await discovery.ask()
