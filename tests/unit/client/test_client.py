"""The verbs: which request each one makes."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.api import DEPLOYMENTS, NODES, PODS
from kube_core.abc.transport import Request, Response, User
from kube_core.client.client import ApiClient
from kube_core.client.discovery import discover
from kube_core.client.local import LocalTransport
from kube_core.meta.documents import FrozenDict, freeze
from kube_core.meta.status import ServiceUnavailable

pytestmark = pytest.mark.anyio


class Recording:
    """Keeps the requests, and answers by path."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.seen: list[Request] = []
        self.client = ApiClient(LocalTransport(self.handle, None, User("me")), field_manager="mine")  # type: ignore[arg-type]

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        answer = self.answers.get(request.path, {})
        if isinstance(answer, Exception):
            assert isinstance(answer, ServiceUnavailable)
            return Response(status=answer.code, document=answer.to_document())
        return Response(document=answer)

    @property
    def last(self) -> Request:
        return self.seen[-1]


@pytest.fixture
def server() -> Recording:
    return Recording()


async def test_creation_takes_the_documents_namespace_and_kind(server: Recording) -> None:
    await server.client.create(PODS, {"metadata": {"name": "a", "namespace": "web"}})
    assert (server.last.method, server.last.path) == ("POST", "/api/v1/namespaces/web/pods")
    assert server.last.document == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "web"},
    }
    assert list(server.last.query) == [("fieldManager", "mine")]


async def test_dry_run_is_asked_for(server: Recording) -> None:
    await server.client.create(NODES, {"metadata": {"name": "n"}}, dry_run=True)
    assert list(server.last.query) == [("fieldManager", "mine"), ("dryRun", "All")]


async def test_status_is_a_subresource(server: Recording) -> None:
    await server.client.update_status(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "web"}})
    assert (server.last.method, server.last.path) == ("PUT", "/apis/apps/v1/namespaces/web/deployments/d/status")


async def test_apply_names_its_manager(server: Recording) -> None:
    document = {"metadata": {"name": "d", "namespace": "web"}}
    await server.client.apply(DEPLOYMENTS, document, field_manager="other", force=True)
    assert server.last.headers["content-type"] == "application/apply-patch+yaml"
    assert list(server.last.query) == [("fieldManager", "other"), ("force", "true")]


async def test_deletion_says_its_options_and_preconditions(server: Recording) -> None:
    await server.client.delete(PODS, "a", "web", propagation="Orphan", grace_period=0, uid="u", resource_version="7")
    assert server.last.document == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Orphan",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u", "resourceVersion": "7"},
    }
    await server.client.delete(PODS, "a", "web")
    assert server.last.document is None
    await server.client.delete_collection(PODS, "web", label_selector="x=y")
    assert (server.last.path, list(server.last.query)) == ("/api/v1/namespaces/web/pods", [("labelSelector", "x=y")])


async def test_list_reads_its_metadata_and_gives_items_their_kind(server: Recording) -> None:
    metadata = {"resourceVersion": "7", "continue": "more", "remainingItemCount": 3}
    plain, frozen = {"metadata": {"name": "a"}}, freeze({"metadata": {"name": "b"}})
    server.answers[PODS.path("web")] = {"metadata": metadata, "items": [plain, frozen]}
    listing = await server.client.list(PODS, "web", limit=2, continue_token="here", resource_version="5")
    assert (listing.resource_version, listing.continue_token, listing.remaining) == ("7", "more", 3)
    assert [(item["apiVersion"], item["kind"]) for item in listing.items] == [("v1", "Pod")] * 2
    assert [isinstance(item, FrozenDict) for item in listing.items] == [False, True]
    assert dict(server.last.query) == {"limit": "2", "continue": "here", "resourceVersion": "5"}


async def test_whole_objects_are_asked_for_where_they_are_shared_anyway(server: Recording) -> None:
    await server.client.list(PODS, metadata_only=True)
    assert server.last.headers["accept"] == "application/json"


AGGREGATED = {
    "/api": {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {
                                "resource": "pods",
                                "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
                                "scope": "Namespaced",
                                "verbs": ["get", "list", "delete"],
                                "subresources": [{"subresource": "log", "verbs": ["get"]}],
                            }
                        ],
                    }
                ],
            }
        ],
    },
    "/apis": {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {"name": "apps"},
                "versions": [
                    {
                        "version": version,
                        "resources": [
                            {
                                "resource": "deployments",
                                "responseKind": {"group": "apps", "version": version, "kind": "Deployment"},
                                "scope": "Namespaced",
                                "verbs": ["get"],
                            }
                        ],
                    }
                    for version in ("v1", "v1beta1")
                ],
            },
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
        ],
    },
}


async def test_aggregated_discovery_takes_two_requests_and_the_preferred_version() -> None:
    server = Recording(AGGREGATED)
    discovered = await discover(server.client)
    assert [resource.type for resource in discovered.resources] == [PODS, DEPLOYMENTS]
    assert discovered.supporting("list", "delete") == [PODS]
    assert set(discovered.failures) == {"metrics.k8s.io/v1"}
    assert [request.path for request in server.seen] == ["/api", "/apis"]


async def test_plain_discovery_finds_the_same_and_names_what_fails() -> None:
    def resources(resource: Any, *verbs: str) -> dict[str, Any]:
        entry = {"name": resource.plural, "kind": resource.kind, "namespaced": resource.namespaced, "verbs": verbs}
        return {"resources": [entry, {**entry, "name": f"{resource.plural}/status"}]}

    server = Recording(
        {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": resources(PODS, "list", "delete"),
            "/apis": {
                "kind": "APIGroupList",
                "groups": [
                    {
                        "name": "apps",
                        "versions": [{"version": "v1beta1"}, {"version": "v1"}],
                        "preferredVersion": {"version": "v1"},
                    },
                    {"name": "metrics.k8s.io", "versions": [{"version": "v1"}]},
                ],
            },
            "/apis/apps/v1": resources(DEPLOYMENTS, "get"),
            "/apis/apps/v1beta1": resources(DEPLOYMENTS, "get"),
            "/apis/metrics.k8s.io/v1": ServiceUnavailable("away"),
        }
    )
    discovered = await discover(server.client)
    assert [resource.type for resource in discovered.resources] == [PODS, DEPLOYMENTS]
    assert discovered.failures == {"metrics.k8s.io/v1": "away"}
