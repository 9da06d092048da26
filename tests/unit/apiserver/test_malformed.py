"""Whatever a client sends, it is the client's fault: no body and no query makes a 500."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from fakes.objects import pod
from fakes.server import Caller

pytestmark = pytest.mark.anyio

DEFAULT = "/api/v1/namespaces/default"
WORKLOAD = {
    "metadata": {"name": "w", "labels": {"app": "web"}, "annotations": {"a": "b"}, "finalizers": ["a.example/b"]},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                        "livenessProbe": {"httpGet": {"port": 80, "path": "/"}},
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    }
                ],
                "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "b"}]}}],
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
            },
        },
    },
}
#: (method, path, content type, a good body)
GOOD: list[tuple[str, str, str, Any]] = [
    (
        "POST",
        f"{DEFAULT}/configmaps",
        "json",
        {"metadata": {"name": "m2"}, "data": {"a": "b"}, "binaryData": {"c": "YQ=="}},
    ),
    ("PUT", f"{DEFAULT}/configmaps/m", "json", {"metadata": {"name": "m", "uid": ""}, "data": {"a": "b"}}),
    ("POST", f"{DEFAULT}/pods", "json", {"metadata": {"name": "p2"}, "spec": WORKLOAD["spec"]["template"]["spec"]}),  # type: ignore[index]
    ("POST", "/apis/apps/v1/namespaces/default/deployments", "json", WORKLOAD),
    (
        "POST",
        f"{DEFAULT}/services",
        "json",
        {
            "metadata": {"name": "s"},
            "spec": {
                "selector": {"a": "b"},
                "ports": [{"port": 80, "targetPort": "x"}],
                "clusterIPs": ["10.96.0.9"],
                "clusterIP": "10.96.0.9",
            },
        },
    ),
    ("POST", f"{DEFAULT}/pods/p/binding", "json", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
    ("POST", f"{DEFAULT}/bindings", "json", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
    (
        "POST",
        f"{DEFAULT}/pods/p/eviction",
        "json",
        {"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": "x"}, "dryRun": ["All"]}},
    ),
    (
        "POST",
        f"{DEFAULT}/serviceaccounts/default/token",
        "json",
        {
            "spec": {
                "audiences": ["a"],
                "expirationSeconds": 600,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"},
            }
        },
    ),
    (
        "PUT",
        "/api/v1/namespaces/default/finalize",
        "json",
        {"metadata": {"name": "default"}, "spec": {"finalizers": ["kubernetes"]}},
    ),
    (
        "PUT",
        "/apis/apps/v1/namespaces/default/deployments/w0/scale",
        "json",
        {"metadata": {"name": "w0"}, "spec": {"replicas": 1}},
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/default/deployments/w0/scale",
        "merge-patch+json",
        {"metadata": {"name": "w0"}, "spec": {"replicas": 1}},
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/default/deployments/w0/scale",
        "apply-patch+yaml",
        {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "w0"}, "spec": {"replicas": 1}},
    ),
    ("PATCH", f"{DEFAULT}/configmaps/m", "merge-patch+json", {"metadata": {"labels": {"a": "b"}}, "data": {"a": None}}),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/default/deployments/w0",
        "strategic-merge-patch+json",
        {
            "metadata": {
                "$deleteFromPrimitiveList/finalizers": ["x"],
                "ownerReferences": [{"uid": "u", "$patch": "delete"}],
            },
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"name": "c", "image": "j"}],
                        "$setElementOrder/containers": [{"name": "c"}],
                    }
                }
            },
        },
    ),
    (
        "PATCH",
        f"{DEFAULT}/configmaps/m",
        "json-patch+json",
        [{"op": "add", "path": "/data", "value": {"a": "b"}}, {"op": "move", "from": "/data/a", "path": "/data/c"}],
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/default/deployments/w1",
        "apply-patch+yaml",
        {"kind": "Deployment", "apiVersion": "apps/v1", **WORKLOAD, "metadata": {"name": "w1", "labels": {"a": "b"}}},
    ),
    (
        "DELETE",
        f"{DEFAULT}/configmaps/m",
        "json",
        {
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 1,
            "propagationPolicy": "Orphan",
            "dryRun": ["All"],
            "preconditions": {"uid": "x", "resourceVersion": "1"},
        },
    ),
    ("DELETE", f"{DEFAULT}/secrets", "json", {"kind": "DeleteOptions", "preconditions": {"uid": "x"}}),
    (
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        "json",
        {
            "spec": {
                "user": "u",
                "groups": ["g"],
                "extra": {"a": ["b"]},
                "resourceAttributes": {"verb": "get", "resource": "pods"},
            }
        },
    ),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "json", {"spec": {"namespace": "default"}}),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "json", {"spec": {"token": "a.b.c", "audiences": ["x"]}}),
    ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "json", {"metadata": {}}),
]
WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**63, 1e300, "", "x", "²", "a\0b", "9" * 5000, [], {}, [None], [[]], [{}], {"": None},
    {"a": {"b": []}},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    copied = copy.copy(value)
    copied[path[0]] = replaced(copied[path[0]], path[1:], wrong)
    return copied


async def prepared(api: Caller) -> None:
    await api.post(f"{DEFAULT}/serviceaccounts", {"metadata": {"name": "default"}})
    await api.post(f"{DEFAULT}/configmaps", {"metadata": {"name": "m"}})
    await api.post(f"{DEFAULT}/pods", {"metadata": {"name": "p"}, "spec": pod("p")["spec"]})
    await api.post("/apis/apps/v1/namespaces/default/deployments", {**WORKLOAD, "metadata": {"name": "w0"}})


@pytest.mark.parametrize("number", range(len(GOOD)), ids=[f"{method} {path}" for method, path, _, _ in GOOD])
async def test_a_body_with_something_wrong_in_it_never_makes_a_500(api: Caller, number: int) -> None:
    await prepared(api)
    method, path, kind, good = GOOD[number]
    query = [("fieldManager", "test")] if method == "PATCH" else []
    for at in places(good):
        for wrong in WRONG:
            body = replaced(good, at, wrong)
            response = await api.ask(method, path, body, query=query, content_type=f"application/{kind}")
            assert response.status < 500, (body, response.decoded())


async def test_the_good_bodies_are_good(api: Caller) -> None:
    await prepared(api)
    for method, path, kind, good in GOOD:
        query = [("fieldManager", "test"), ("dryRun", "All")] if method == "PATCH" else [("dryRun", "All")]
        response = await api.ask(method, path, good, query=query, content_type=f"application/{kind}")
        assert response.status in (200, 201, 409), (path, response.decoded())


PARAMETERS = (
    "limit", "continue", "resourceVersion", "labelSelector", "fieldSelector", "dryRun", "timeoutSeconds", "force",
    "sendInitialEvents", "allowWatchBookmarks", "fieldValidation", "fieldManager", "gracePeriodSeconds", "pretty",
    "propagationPolicy", "orphanDependents", "includeObject", "resourceVersionMatch",
)  # fmt: skip
VALUES = (
    "", "0", "1", "-1", "true", "²", "9" * 30, "9" * 5000, "1.5", "x", "a=b", "a in (", "metadata.name=", "All",
    "Exact", "NotOlderThan", "Orphan", "Strict", "\0", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTF9", "W10",
    "bnVsbA", "MQ", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OTk5OSwic3RhcnQiOiJ4In0",
)  # fmt: skip
COMPANIONS: list[list[tuple[str, str]]] = [
    [],
    [("limit", "1")],
    [("resourceVersion", "1"), ("resourceVersionMatch", "Exact")],
]


@pytest.mark.parametrize("verb", ["list", "watch", "create", "deletecollection"])
async def test_a_query_with_something_wrong_in_it_never_makes_a_500(api: Caller, verb: str) -> None:
    method = {"create": "POST", "deletecollection": "DELETE"}.get(verb, "GET")
    body = {"metadata": {"generateName": "a-"}} if verb == "create" else None
    for name, value, companions in itertools.product(PARAMETERS, VALUES, COMPANIONS):
        query = [(name, value), *companions, *([("watch", "1")] if verb == "watch" else [])]
        response = await api.ask(method, f"{DEFAULT}/configmaps", body, query=query)
        # A revision that has not come yet is waited for in vain: a timeout.
        assert response.status < 500 or response.status == 504, (query, response.decoded())
        if response.stream is not None:
            await response.stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "header", ["Bearer a.b.c", "Bearer \udc80.b.c", "Bearer é.é.é", "Bearer ..", "Bearer e30.e30.e30"]
)
async def test_a_token_of_rubbish_is_unauthorized(api: Caller, header: str) -> None:
    await api.post(f"{DEFAULT}/serviceaccounts", {"metadata": {"name": "default"}})
    await api.post(f"{DEFAULT}/serviceaccounts/default/token", {})
    assert (await api.ask("GET", f"{DEFAULT}/configmaps", token="", authorization=header)).status == 401
