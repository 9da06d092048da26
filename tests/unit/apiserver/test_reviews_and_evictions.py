"""Reviews that are refused, bindings that own nothing, evictions that say why, and acting as another."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller

pytestmark = pytest.mark.anyio

REVIEWS = "/apis/authorization.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods"
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i:1"}]}}


@pytest.fixture
async def pod(api: Caller) -> Any:
    await api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    return await api.post(PODS, POD)


async def refused(api: Caller, path: str, body: Any) -> list[str]:
    response = await api.ask("POST", path, body)
    assert response.status == 422
    return [cause["field"] for cause in response.decoded()["details"]["causes"]]


async def test_a_review_has_no_name_and_one_kind_of_selector(api: Caller) -> None:
    both = {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}
    asked = {"verb": "list", "resource": "pods"}
    spec = {"user": "ann", "resourceAttributes": asked}
    assert await refused(api, f"{REVIEWS}/subjectaccessreviews", {"metadata": {"name": "n"}, "spec": spec}) == [
        "metadata"
    ]
    spec = {"user": "ann", "resourceAttributes": {**asked, "labelSelector": both, "fieldSelector": {}}}
    assert await refused(api, f"{REVIEWS}/subjectaccessreviews", {"spec": spec}) == [
        "spec.resourceAttributes.fieldSelector.requirements",
        "spec.resourceAttributes.labelSelector.rawSelector",
    ]


async def test_what_is_empty_inside_of_a_review_is_there_all_the_same(api: Caller) -> None:
    spec = {"user": "ann", "extra": {"scopes": []}, "nonResourceAttributes": {"verb": "get", "path": "/"}}
    answered = await api.post(f"{REVIEWS}/subjectaccessreviews", {"spec": spec})
    assert answered["spec"]["extra"] == {"scopes": []}


async def test_a_review_is_no_table(api: Caller) -> None:
    spec = {"nonResourceAttributes": {"verb": "get", "path": "/"}}
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    response = await api.ask("POST", f"{REVIEWS}/selfsubjectaccessreviews", {"spec": spec}, accept=table)
    assert response.status == 406


async def test_a_review_in_a_namespace_is_of_no_path(api: Caller) -> None:
    path = f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"
    spec: dict[str, Any] = {"user": "ann", "nonResourceAttributes": {"verb": "get", "path": "/x"}}
    assert await refused(api, path, {"spec": spec}) == ["spec.nonResourceAttributes"]


async def test_a_binding_is_owned_by_nobody_and_no_new_generation(api: Caller, pod: Any) -> None:
    await api.post(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    bound = await api.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n"
    assert bound["metadata"]["generation"] == pod["metadata"]["generation"]
    assert bound["metadata"]["managedFields"] == pod["metadata"]["managedFields"]


async def test_a_pod_that_is_evicted_says_so(api: Caller, pod: Any) -> None:
    await api.post(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    await api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 3}})
    evicted = await api.get(f"{PODS}/p")
    assert evicted["metadata"]["deletionGracePeriodSeconds"] == 3
    reasons = {each["type"]: each.get("reason") for each in evicted["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"


async def test_an_eviction_that_only_tries_changes_nothing(api: Caller, pod: Any) -> None:
    await api.post(f"{PODS}/p/eviction?dryRun=All", {"metadata": {"name": "p"}})
    assert await api.get(f"{PODS}/p") == pod


async def test_the_admin_acts_as_another_and_others_may_not(api: Caller) -> None:
    path, body = "/apis/authentication.k8s.io/v1/selfsubjectreviews", dict[str, Any]()
    review = await api.post(path, body, impersonate_user="ann", impersonate_group="crew")
    assert review["status"]["userInfo"] == {"username": "ann", "groups": ["crew", "system:authenticated"]}
    response = await api.ask("POST", path, body, token="alice-token", impersonate_user="ann")
    assert response.status == 403
    assert 'User "alice" cannot impersonate resource "users"' in response.decoded()["message"]
