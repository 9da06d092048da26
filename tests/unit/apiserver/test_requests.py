"""What a path and a method mean: a table."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import Request
from kube_core.apiserver.requests import RequestInfo, parse

CORE, APPS = {"version": "v1"}, {"group": "apps", "version": "v1"}
TABLE = [
    ("GET", "/api/v1/nodes", RequestInfo("", "list", **CORE, resource="nodes")),
    ("GET", "/api/v1/nodes/n", RequestInfo("", "get", **CORE, resource="nodes", name="n")),
    ("GET", "/api/v1/nodes/n/", RequestInfo("", "get", **CORE, resource="nodes", name="n")),
    ("GET", "/api/v1/nodes?watch=true", RequestInfo("", "watch", **CORE, resource="nodes")),
    ("GET", "/api/v1/nodes?watch=1", RequestInfo("", "watch", **CORE, resource="nodes")),
    ("GET", "/api/v1/nodes?watch=false", RequestInfo("", "list", **CORE, resource="nodes")),
    ("GET", "/api/v1/nodes?watch=", RequestInfo("", "list", **CORE, resource="nodes")),
    ("GET", "/api/v1/nodes/n?watch=true", RequestInfo("", "get", **CORE, resource="nodes", name="n")),
    ("POST", "/api/v1/nodes", RequestInfo("", "create", **CORE, resource="nodes")),
    ("DELETE", "/api/v1/nodes", RequestInfo("", "deletecollection", **CORE, resource="nodes")),
    ("DELETE", "/api/v1/nodes/n", RequestInfo("", "delete", **CORE, resource="nodes", name="n")),
    ("PUT", "/api/v1/nodes/n", RequestInfo("", "update", **CORE, resource="nodes", name="n")),
    ("PATCH", "/api/v1/nodes/n", RequestInfo("", "patch", **CORE, resource="nodes", name="n")),
    ("BREW", "/api/v1/nodes/n", RequestInfo("", "brew", **CORE, resource="nodes", name="n")),
    ("GET", "/api/v1/pods", RequestInfo("", "list", **CORE, resource="pods")),
    ("GET", "/api/v1/namespaces/a/pods", RequestInfo("", "list", **CORE, resource="pods", namespace="a")),
    ("GET", "/api/v1/namespaces/a/pods/p", RequestInfo("", "get", **CORE, resource="pods", namespace="a", name="p")),
    (
        "PUT",
        "/apis/apps/v1/namespaces/a/deployments/d/status",
        RequestInfo("", "update", **APPS, resource="deployments", namespace="a", name="d", subresource="status"),
    ),
    (
        "GET",
        "/api/v1/namespaces/a/pods/p/proxy/some/where",
        RequestInfo(
            "", "get", **CORE, resource="pods", namespace="a", name="p", subresource="proxy", rest="some/where"
        ),
    ),
    ("GET", "/api/v1/namespaces", RequestInfo("", "list", **CORE, resource="namespaces")),
    ("GET", "/api/v1/namespaces/a", RequestInfo("", "get", **CORE, resource="namespaces", name="a")),
    (
        "PUT",
        "/api/v1/namespaces/a/finalize",
        RequestInfo("", "update", **CORE, resource="namespaces", name="a", subresource="finalize"),
    ),
    (
        "GET",
        "/api/v1/namespaces/a/status",
        RequestInfo("", "get", **CORE, resource="namespaces", name="a", subresource="status"),
    ),
    ("GET", "/api", RequestInfo("", "get")),
    ("GET", "/api/v1", RequestInfo("", "get")),
    ("GET", "/apis/apps/v1", RequestInfo("", "get")),
    ("GET", "/apis/apps", RequestInfo("", "get")),
    ("HEAD", "/healthz", RequestInfo("", "head")),
    ("GET", "/", RequestInfo("", "get")),
    ("GET", "", RequestInfo("", "get")),
    ("GET", "/apiv1/pods/x", RequestInfo("", "get")),
]


@pytest.mark.parametrize(("method", "url", "wanted"), TABLE, ids=[f"{method} {url}" for method, url, _ in TABLE])
def test_a_request_is_taken_apart(method: str, url: str, wanted: RequestInfo) -> None:
    path, _, query = url.partition("?")
    name, _, value = query.partition("=")
    found = parse(Request(method, path, [(name, value)] if query else []))
    assert found == RequestInfo(
        path,
        wanted.verb,
        wanted.group,
        wanted.version,
        wanted.resource,
        wanted.namespace,
        wanted.name,
        wanted.subresource,
        wanted.rest,
    )
    assert found.is_resource == bool(wanted.resource)
