"""Subresources with a meaning of their own, through a whole server: scale, binding, eviction, finalize, reviews."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import pod, template
from fakes.server import Caller

pytestmark = pytest.mark.anyio

ROOT = "/api/v1/namespaces/default"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
ACCESS = "/apis/authorization.k8s.io/v1"


@pytest.fixture
async def pods(api: Caller) -> Caller:
    """A server with a service account and a pod `p`."""
    await api.post(f"{ROOT}/serviceaccounts", {"metadata": {"name": "default"}})
    await api.post(f"{ROOT}/pods", {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": pod("p")["spec"]})
    return api


async def refusal(api: Caller, method: str, path: str, body: Any, **options: Any) -> tuple[int, str]:
    response = await api.ask(method, path, body, **options)
    return response.status, response.decoded().get("message", "")


# -- scale ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def scaled(api: Caller) -> Caller:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    await api.post(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    return api


async def test_a_workload_is_read_and_written_as_a_scale(scaled: Caller) -> None:
    scale = await scaled.get(f"{DEPLOYMENTS}/d/scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 5
    written = await scaled.put(f"{DEPLOYMENTS}/d/scale", scale)
    deployment = await scaled.get(f"{DEPLOYMENTS}/d")
    assert (written["spec"]["replicas"], deployment["spec"]["replicas"]) == (5, 5)
    assert deployment["metadata"]["generation"] == 2
    patched = await scaled.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 0}})
    assert patched["spec"] == {}
    assert (await scaled.get(f"{DEPLOYMENTS}/d"))["spec"]["replicas"] == 0


async def test_a_scale_that_cannot_be_is_refused(scaled: Caller) -> None:
    path = f"{DEPLOYMENTS}/d/scale"
    scale = await scaled.get(path)
    code, why = await refusal(scaled, "PUT", path, {**scale, "spec": {"replicas": -1}})
    assert (code, "must be greater than or equal to 0" in why) == (422, True)
    code, why = await refusal(scaled, "PUT", path, {**scale, "spec": {"replicas": "many"}})
    assert (code, "cannot unmarshal string into Go struct field ScaleSpec.spec.replicas" in why) == (400, True)
    stale = {**scale, "metadata": {**scale["metadata"], "resourceVersion": "1"}}
    assert (await refusal(scaled, "PUT", path, stale))[0] == 409
    other = {**scale, "metadata": {**scale["metadata"], "name": "e"}}
    assert "does not match the name on the URL (d)" in (await refusal(scaled, "PUT", path, other))[1]
    assert (await refusal(scaled, "GET", f"{DEPLOYMENTS}/nosuch/scale", None))[0] == 404


# -- binding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pods/p/binding", "bindings"])
async def test_a_pod_is_bound_to_a_node_once(pods: Caller, path: str) -> None:
    binding = {"metadata": {"name": "p", "annotations": {"by": "me"}}, "target": {"kind": "Node", "name": "n"}}
    answer = await pods.post(f"{ROOT}/{path}", binding)
    assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Success", 201)
    bound = await pods.get(f"{ROOT}/pods/p")
    assert (bound["spec"]["nodeName"], bound["metadata"]["annotations"]) == ("n", {"by": "me"})
    condition = bound["status"]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    again = await refusal(pods, "POST", f"{ROOT}/{path}", binding)
    assert again[0] == 409
    assert 'pod p is already assigned to node "n"' in again[1]


@pytest.mark.parametrize(
    ("binding", "code", "why"),
    [
        (
            {"target": {"name": "n"}, "metadata": {"name": "q"}},
            400,
            "name in URL does not match name in Binding object",
        ),
        ({"target": {}}, 422, "target.name: Required value"),
        ({"target": {"kind": "Pod", "name": "n"}}, 422, 'target.kind: Unsupported value: "Pod"'),
        ({"target": {"name": "n"}, "metadata": {"name": "p", "uid": "other"}}, 409, "UID in precondition: other"),
    ],
)
async def test_a_binding_that_cannot_be_is_refused(pods: Caller, binding: Any, code: int, why: str) -> None:
    found = await refusal(pods, "POST", f"{ROOT}/pods/p/binding", binding)
    assert (found[0], why in found[1]) == (code, True), found
    assert "nodeName" not in (await pods.get(f"{ROOT}/pods/p"))["spec"]


async def test_neither_a_binding_nor_a_status_changes_the_rest_of_a_pod(pods: Caller) -> None:
    path = f"{ROOT}/pods/p"
    spec = (await pods.get(path))["spec"]
    await pods.post(f"{path}/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    ready = {"type": "Ready", "status": "True"}
    for patch in (
        {"status": {"phase": "Running", "conditions": [ready]}},
        {"spec": {"containers": None, "nodeName": "m"}, "status": {"podIP": "10.0.0.1"}},
        {"metadata": {"annotations": {"of": "the node"}}},
    ):
        await pods.patch(f"{path}/status", patch, "strategic-merge-patch")
    found = await pods.get(path)
    assert found["spec"] == {**spec, "nodeName": "n"}
    assert (found["status"]["phase"], found["status"]["podIPs"]) == ("Running", [{"ip": "10.0.0.1"}])
    assert {each["type"] for each in found["status"]["conditions"]} == {"PodScheduled", "Ready"}
    assert found["metadata"]["generation"] == 1
    # What was shared with the stored object is still anybody's to change by the ways that there are.
    await pods.patch(path, {"spec": {"activeDeadlineSeconds": 60}})
    assert (await pods.get(path))["spec"]["activeDeadlineSeconds"] == 60


async def test_a_pod_that_is_gated_or_going_is_not_bound(pods: Caller) -> None:
    spec = {**pod("g")["spec"], "schedulingGates": [{"name": "wait"}]}
    await pods.post(f"{ROOT}/pods", {"metadata": {"name": "g"}, "spec": spec})
    binding = {"target": {"name": "n"}}
    assert "non-empty .spec.schedulingGates" in (await refusal(pods, "POST", f"{ROOT}/pods/g/binding", binding))[1]
    await pods.patch(f"{ROOT}/pods/p", {"metadata": {"finalizers": ["a.example/b"]}})
    await pods.delete(f"{ROOT}/pods/p")
    assert "is being deleted" in (await refusal(pods, "POST", f"{ROOT}/pods/p/binding", binding))[1]


# -- eviction ------------------------------------------------------------------------------------------------------


async def budget(api: Caller, allowed: int, *, observed: bool = True) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    made = await api.post(path, {"metadata": {"name": "b"}, "spec": spec})
    made["status"] = {
        "observedGeneration": made["metadata"]["generation"] if observed else 0,
        "disruptionsAllowed": allowed,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
    }
    await api.put(f"{path}/b/status", made)


async def run(api: Caller) -> None:
    await api.post(f"{ROOT}/pods/p/binding", {"target": {"name": "n"}})
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.patch(f"{ROOT}/pods/p/status", {"status": ready}, "strategic-merge-patch")


async def test_an_eviction_is_a_deletion_where_no_budget_minds(pods: Caller) -> None:
    answer = await pods.post(f"{ROOT}/pods/p/eviction", {"metadata": {"name": "p"}})
    assert (answer["status"], answer["code"]) == ("Success", 201)
    assert (await pods.ask("GET", f"{ROOT}/pods/p")).status == 404
    assert (await pods.ask("POST", f"{ROOT}/pods/p/eviction", {"metadata": {"name": "p"}})).status == 404


async def test_a_budget_that_is_spent_refuses_with_429(pods: Caller) -> None:
    await run(pods)
    await budget(pods, 0)
    response = await pods.ask("POST", f"{ROOT}/pods/p/eviction", {"metadata": {"name": "p"}})
    document = response.decoded()
    assert (response.status, document["reason"]) == (429, "TooManyRequests")
    assert document["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert document["details"]["causes"][0]["message"] == (
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    )


async def test_a_budget_that_nobody_has_looked_at_asks_to_come_again(pods: Caller) -> None:
    await run(pods)
    await budget(pods, 1, observed=False)
    response = await pods.ask("POST", f"{ROOT}/pods/p/eviction", {"metadata": {"name": "p"}})
    assert (response.status, response.headers["Retry-After"]) == (429, "10")


async def test_an_eviction_spends_the_budget_unless_it_is_dry(pods: Caller) -> None:
    await run(pods)
    await budget(pods, 1)
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b"
    await pods.post(f"{ROOT}/pods/p/eviction?dryRun=All", {"metadata": {"name": "p"}})
    assert (await pods.get(path))["status"]["disruptionsAllowed"] == 1
    assert "deletionTimestamp" not in (await pods.get(f"{ROOT}/pods/p"))["metadata"]
    await pods.post(f"{ROOT}/pods/p/eviction", {"metadata": {"name": "p"}})
    status = (await pods.get(path))["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p"]


# -- finalize ------------------------------------------------------------------------------------------------------


async def test_a_namespace_goes_with_its_last_finalizer(api: Caller) -> None:
    await api.post("/api/v1/namespaces", {"metadata": {"name": "a"}})
    marked = await api.delete("/api/v1/namespaces/a")
    assert (marked["status"]["phase"], marked["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    code, why = await refusal(api, "PUT", "/api/v1/namespaces/a/finalize", {"metadata": {"name": "b"}})
    assert (code, "does not match the name on the URL (a)" in why) == (400, True)
    await api.put("/api/v1/namespaces/a/finalize", {"metadata": {"name": "a"}, "spec": {"finalizers": []}})
    assert (await api.ask("GET", "/api/v1/namespaces/a")).status == 404


# -- reviews -------------------------------------------------------------------------------------------------------


async def test_everybody_may_ask_who_they_are(api: Caller) -> None:
    review = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token="alice-token")
    info = review["status"]["userInfo"]
    assert (info["username"], info["uid"]) == ("alice", "7")
    assert info["groups"] == ["developers", "system:authenticated"]


async def test_everybody_may_ask_what_they_may(api: Caller) -> None:
    for token, wanted in (("admin-token", True), ("alice-token", False)):
        spec = {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}
        review = await api.post(f"{ACCESS}/selfsubjectaccessreviews", {"spec": spec}, token=token)
        assert review["status"]["allowed"] is wanted


async def test_the_admin_may_ask_what_others_may(api: Caller) -> None:
    for groups, wanted in ((["system:masters"], True), (["nobody"], False)):
        spec = {"user": "bob", "groups": groups, "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}
        review = await api.post(f"{ACCESS}/subjectaccessreviews", {"spec": spec})
        assert review["status"]["allowed"] is wanted
    assert (await refusal(api, "POST", f"{ACCESS}/subjectaccessreviews", {}, token="alice-token"))[0] == 403


@pytest.mark.parametrize(
    ("path", "spec", "why"),
    [
        (
            "selfsubjectaccessreviews",
            {},
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"verb": "get"}},
            "exactly one of",
        ),
        (
            "subjectaccessreviews",
            {"resourceAttributes": {"verb": "get"}},
            "at least one of user or group must be specified",
        ),
        (
            "namespaces/a/localsubjectaccessreviews",
            {"user": "u", "resourceAttributes": {"verb": "get", "namespace": "b"}},
            "must match metadata.namespace",
        ),
    ],
)
async def test_a_review_that_asks_nothing_is_invalid(api: Caller, path: str, spec: Any, why: str) -> None:
    code, message = await refusal(api, "POST", f"{ACCESS}/{path}", {"spec": spec})
    assert (code, why in message) == (422, True), message


async def test_a_token_that_does_not_hold_is_reviewed_as_such(api: Caller) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    review = await api.post(path, {"spec": {"token": "nonsense"}})
    assert not review["status"].get("authenticated")
    assert review["status"]["error"]
    assert (await refusal(api, "POST", path, {"spec": {}}))[0] == 400
