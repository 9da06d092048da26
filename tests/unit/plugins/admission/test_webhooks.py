"""Admission webhooks, asked over TLS by a whole server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from aiohttp import web

from fakes.backend import authority
from fakes.hooks import Hooks, allowed, answering, json_patch, nobody
from fakes.server import Caller, running
from kube_core.abc.transport import Response, User
from kube_core.admission import conditions
from kube_core.auth.options import SecurityOptions

pytestmark = pytest.mark.anyio

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
CREATES = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"


@attrs.frozen
class World:
    """A server, and webhooks that it may call."""

    api: Caller
    hooks: Hooks

    async def configure(self, kind: str, *webhooks: dict[str, Any], name: str = "w") -> None:
        await self.api.post(f"{GROUP}/{kind}", {"metadata": {"name": name}, "webhooks": list(webhooks)})

    def webhook(self, path: str = "/hook", rule: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        return {
            "name": f"{path.strip('/')}.example.org",
            "clientConfig": self.hooks.client(path),
            "rules": [rule or CREATES],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **fields,
        }

    async def create(self, name: str = "a", **query: Any) -> Response:
        body = {"metadata": {"name": name, "labels": {"app": "x"}}, "data": {"k": "v"}}
        return await self.api.ask("POST", MAPS, body, query=list(query.items()))

    async def refusal(self, name: str = "a") -> Any:
        response = await self.create(name)
        assert response.status >= 400, response.decoded()
        return response.decoded()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running() as api, answering(tmp_path) as hooks:
        yield World(api, hooks)


def denied(review: Any, **status: Any) -> Any:
    return allowed(review, allowed=False, status=status)


# -- what is asked ---------------------------------------------------------------------------------------------------


async def test_a_review_says_who_does_what_to_which_object(world: World) -> None:
    world.hooks.paths["/hook"] = allowed
    await world.configure(VALIDATING, world.webhook())
    user = User("ann", ("system:masters",), "7", {"scopes": ("all",)})
    await world.api.ask("POST", f"{MAPS}?fieldManager=me", {"metadata": {"name": "a"}}, user=user, token="")
    (request,) = world.hooks.asked("/hook")
    document = request.pop("object")
    assert document["kind"] == "ConfigMap"
    assert document["apiVersion"] == "v1"
    assert len(request.pop("uid")) == 36
    assert request == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "a",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "ann", "uid": "7", "groups": ["system:masters"], "extra": {"scopes": ["all"]}},
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"},
    }
    assert world.hooks.queries == ["timeout=10s"]


async def test_updates_and_deletions_bring_the_old_object(world: World) -> None:
    world.hooks.paths["/hook"] = allowed
    await world.configure(VALIDATING, world.webhook(rule={**CREATES, "operations": ["UPDATE", "DELETE"]}))
    await world.create()
    await world.api.patch(f"{MAPS}/a", {"data": {"k": "w"}})
    await world.api.delete(f"{MAPS}/a?gracePeriodSeconds=0")
    update, delete = world.hooks.asked("/hook")
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"k": "v"}, {"k": "w"})
    assert (delete["oldObject"]["data"], delete["object"]) == ({"k": "w"}, None)
    assert delete["options"] == {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0}


async def test_each_object_of_a_collection_is_reviewed_before_it_goes(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: denied(review) if review["request"]["name"] == "b" else allowed(review)
    await world.configure(VALIDATING, world.webhook(rule={**CREATES, "operations": ["DELETE"]}))
    await world.create("a")
    await world.create("b")
    assert (await world.api.ask("DELETE", MAPS)).status == 400
    assert {request["name"] for request in world.hooks.asked("/hook")} >= {"b"}
    assert await world.api.get(f"{MAPS}/b")


async def test_a_dry_run_is_told_and_writes_nothing(world: World) -> None:
    world.hooks.paths["/hook"] = allowed
    await world.configure(VALIDATING, world.webhook())
    assert (await world.create(dryRun="All")).status == 201
    (request,) = world.hooks.asked("/hook")
    assert request["dryRun"] is True
    assert request["options"]["dryRun"] == ["All"]
    assert (await world.api.ask("GET", f"{MAPS}/a")).status == 404


async def test_connections_are_used_again(world: World) -> None:
    world.hooks.paths["/hook"] = allowed
    await world.configure(VALIDATING, world.webhook())
    for name in "abc":
        await world.create(name)
    assert len(world.hooks.connections) == 1


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({"rules": [{**CREATES, "resources": ["*"]}]}, True),
        ({"rules": [{**CREATES, "resources": ["*/*"]}]}, True),
        ({"rules": [{**CREATES, "resources": ["configmaps/status"]}]}, False),
        ({"rules": [{**CREATES, "apiGroups": ["apps"]}]}, False),
        ({"rules": [{**CREATES, "operations": ["*"]}]}, True),
        ({"rules": [{**CREATES, "scope": "Cluster"}]}, False),
        ({"rules": [{**CREATES, "scope": "Namespaced"}]}, True),
        ({"objectSelector": {"matchLabels": {"app": "x"}}}, True),
        ({"objectSelector": {"matchLabels": {"app": "y"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
        ({"matchConditions": [{"name": "c", "expression": "object.data.k == 'v'"}]}, True),
        ({"matchConditions": [{"name": "c", "expression": "request.operation == 'DELETE'"}]}, False),
    ],
)
async def test_rules_selectors_and_conditions_decide_who_is_asked(
    world: World, fields: dict[str, Any], matches: bool
) -> None:
    world.hooks.paths["/hook"] = allowed
    await world.configure(VALIDATING, world.webhook(**fields))
    await world.create()
    assert bool(world.hooks.reviews) == matches


async def test_a_condition_without_a_value_refuses_as_the_failure_policy_says(world: World) -> None:
    condition = {"name": "c", "expression": "object.data.missing == 'v'"}
    await world.configure(VALIDATING, world.webhook(matchConditions=[condition]))
    assert (await world.refusal())["message"] == (
        "configmaps \"a\" is forbidden: expression 'object.data.missing == 'v'' resulted in error: no such key: missing"
    )
    await world.configure(
        VALIDATING, world.webhook("/open", matchConditions=[condition], failurePolicy="Ignore"), name="open"
    )
    await world.api.delete(f"{GROUP}/{VALIDATING}/w")
    assert (await world.create()).status == 201


async def test_conditions_that_cost_too_much_refuse_as_the_failure_policy_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "CONDITIONS_BUDGET", 5_000)
    pairs = "object.data.k.split('').all(x, '{}'.split('').all(y, x != y))"
    condition = [{"name": "c", "expression": pairs.format("b" * 1000)}]
    await world.configure(VALIDATING, world.webhook(matchConditions=condition))
    assert (await world.refusal())["message"] == (
        'configmaps "a" is forbidden: validation failed due to running out of cost budget, '
        "no further validation rules will be run"
    )


async def test_another_version_of_the_same_objects_is_converted_for_a_rule(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: json_patch(
        review, {"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 33}
    )
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["autoscaling"],
        "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"],
    }
    await world.configure(MUTATING, world.webhook(rule=rule))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    made = await world.api.post(path, {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}})
    (request,) = world.hooks.asked("/hook")
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1", "v2")
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 33

    await world.api.delete(f"{GROUP}/{MUTATING}/w")
    await world.configure(MUTATING, world.webhook("/exact", rule=rule, matchPolicy="Exact"))
    await world.api.post(path, {"metadata": {"name": "i"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}})
    assert not world.hooks.asked("/exact")


PODS = "/api/v1/namespaces/default/pods"


async def pod(world: World, **spec: Any) -> None:
    await world.api.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    containers = [{"name": "c", "image": "i"}]
    await world.api.post(PODS, {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}})


@pytest.mark.parametrize(
    ("method", "path", "body", "operation", "kind"),
    [
        ("POST", "exec?command=ls&stdout=true", None, "CONNECT", ("", "v1", "PodExecOptions")),
        ("POST", "attach?stdout=true", None, "CONNECT", ("", "v1", "PodAttachOptions")),
        ("POST", "portforward?ports=80", None, "CONNECT", ("", "v1", "PodPortForwardOptions")),
        ("GET", "proxy/x", None, "CONNECT", ("", "v1", "PodProxyOptions")),
        ("POST", "binding", {"target": {"name": "n"}}, "CREATE", ("", "v1", "Binding")),
        ("POST", "eviction", {"metadata": {"name": "p"}}, "CREATE", ("policy", "v1", "Eviction")),
        ("PATCH", "status", {"status": {"reason": "x"}}, "UPDATE", ("", "v1", "Pod")),
    ],
)
async def test_connections_and_subresources_are_reviewed_as_what_they_are(
    world: World, method: str, path: str, body: Any, operation: str, kind: tuple[str, str, str]
) -> None:
    await pod(world)
    world.hooks.paths["/hook"] = lambda review: denied(review, message="no")
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*"]}
    await world.configure(VALIDATING, world.webhook(rule=rule))
    sent = "application/merge-patch+json" if method == "PATCH" else "application/json"
    response = await world.api.ask(method, f"{PODS}/p/{path}", body, content_type=sent)
    assert response.decoded()["message"] == 'admission webhook "hook.example.org" denied the request: no'
    (request,) = world.hooks.asked("/hook")
    assert request["operation"] == operation
    assert tuple(request["kind"][part] for part in ("group", "version", "kind")) == kind
    assert request["object"]["kind"] == kind[2]
    assert request["subResource"] == path.partition("?")[0].partition("/")[0]
    assert (request["name"], request["namespace"]) == ("p", "default")


async def test_a_scale_is_reviewed_as_one(world: World) -> None:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await world.api.post(path, {"metadata": {"name": "d"}, "spec": spec})
    world.hooks.paths["/hook"] = allowed
    rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}
    await world.configure(VALIDATING, world.webhook(rule=rule))
    await world.api.patch(f"{path}/d/scale", {"spec": {"replicas": 4}})
    (request,) = world.hooks.asked("/hook")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (request["oldObject"]["spec"], request["object"]["spec"]) == ({"replicas": 1}, {"replicas": 4})


async def test_what_follows_from_an_eviction_is_not_reviewed_again(world: World) -> None:
    await pod(world)
    world.hooks.paths["/hook"] = allowed
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/*"]}
    await world.configure(VALIDATING, world.webhook(rule=rule))
    await world.api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert [(each["operation"], each["subResource"]) for each in world.hooks.asked("/hook")] == [("CREATE", "eviction")]


async def test_configurations_themselves_are_never_reviewed(world: World) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    world.hooks.paths["/hook"] = denied
    await world.configure(VALIDATING, world.webhook(rule=everything))
    assert (await world.create()).status == 400
    await world.api.delete(f"{GROUP}/{VALIDATING}/w")
    assert (await world.create()).status == 201


async def test_a_service_is_reached_at_its_endpoint_and_known_by_its_name(tmp_path: Path) -> None:
    async with running(exempt_ranges=("127.0.0.0/8",)) as api, answering(tmp_path, hosts=("hook.prod.svc",)) as hooks:
        world = World(api, hooks)
        hooks.paths["/validate"] = allowed
        await api.post("/api/v1/namespaces", {"metadata": {"name": "prod"}})
        service = {"namespace": "prod", "name": "hook", "path": "/validate", "port": 8443}
        webhook = {**world.webhook(), "clientConfig": {"service": service, "caBundle": hooks.ca}}
        await world.configure(VALIDATING, webhook)
        called = 'failed calling webhook "hook.example.org": failed to call webhook: Post '
        url = '"https://hook.prod.svc:8443/validate?timeout=10s"'
        assert (await world.refusal())["message"].endswith(f'{called}{url}: service "hook" not found')

        ports = [{"port": 8443, "targetPort": hooks.port}]
        await api.post("/api/v1/namespaces/prod/services", {"metadata": {"name": "hook"}, "spec": {"ports": ports}})
        assert (await world.refusal())["message"].endswith(f'{called}{url}: no endpoints available for service "hook"')
        labels = {"kubernetes.io/service-name": "hook"}
        await api.post(
            "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices",
            {
                "metadata": {"name": "hook-1", "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"]}],
                "ports": [{"port": hooks.port, "name": ""}],
            },
        )
        assert (await world.create()).status == 201
        assert len(hooks.asked("/validate")) == 1


# -- what is answered ------------------------------------------------------------------------------------------------


async def test_a_denial_has_the_webhooks_words_code_and_reason(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: denied(review, message="not today", code=403, reason="Forbidden")
    await world.configure(VALIDATING, world.webhook())
    status = await world.refusal()
    assert status["message"] == 'admission webhook "hook.example.org" denied the request: not today'
    assert (status["code"], status["reason"]) == (403, "Forbidden")


async def test_a_denial_without_words_is_a_400(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: denied(review, code=200)
    await world.configure(VALIDATING, world.webhook())
    status = await world.refusal()
    assert status["message"] == 'admission webhook "hook.example.org" denied the request without explanation'
    assert status["code"] == 400


async def test_of_several_refusals_the_first_by_name_counts(world: World) -> None:
    late = asyncio.Event()

    async def first(review: Any) -> Any:
        await late.wait()
        return denied(review, message="first")

    def second(review: Any) -> Any:
        late.set()
        return denied(review, message="second")

    world.hooks.paths.update({"/first": first, "/second": second})
    await world.configure(VALIDATING, world.webhook("/second"), name="b")
    await world.configure(VALIDATING, world.webhook("/first"), name="a")
    assert (await world.refusal())["message"].endswith("first")


async def test_warnings_become_headers(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: allowed(review, warnings=["old style"])
    await world.configure(VALIDATING, world.webhook())
    response = await world.create()
    assert response.status == 201
    assert any("old style" in warning for warning in response.warnings)


async def test_a_patch_is_applied_typed_and_defaulted(world: World) -> None:
    port = {"port": 80}
    world.hooks.paths["/hook"] = lambda review: json_patch(
        review, {"op": "add", "path": "/spec/ports", "value": [port]}
    )
    await world.configure(MUTATING, world.webhook(rule={**CREATES, "resources": ["services"]}))
    path = "/api/v1/namespaces/default/services"
    made = await world.api.post(path, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}})
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


async def test_what_a_patch_makes_is_validated(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: json_patch(
        review, {"op": "add", "path": "/metadata/labels", "value": {"not a label": "x"}}
    )
    await world.configure(MUTATING, world.webhook())
    status = await world.refusal()
    assert status["code"] == 422
    assert "metadata.labels" in status["message"]


async def test_mutating_webhooks_see_what_earlier_ones_made(world: World) -> None:
    def append(letter: str) -> Any:
        def answer(review: Any) -> Any:
            value = review["request"]["object"]["data"]["k"] + letter
            return json_patch(review, {"op": "replace", "path": "/data/k", "value": value})

        return answer

    world.hooks.paths.update({"/one": append("1"), "/two": append("2"), "/three": append("3")})
    await world.configure(MUTATING, world.webhook("/three"), name="b")
    await world.configure(MUTATING, world.webhook("/one"), world.webhook("/two"), name="a")
    assert (await world.create()).decoded()["data"]["k"] == "v123"


async def test_who_wants_it_is_asked_again_when_a_later_webhook_changed_something(world: World) -> None:
    world.hooks.paths["/again"] = allowed
    world.hooks.paths["/once"] = allowed
    world.hooks.paths["/change"] = lambda review: json_patch(review, {"op": "add", "path": "/data/new", "value": "1"})
    await world.configure(
        MUTATING,
        world.webhook("/again", reinvocationPolicy="IfNeeded"),
        world.webhook("/once"),
        world.webhook("/change"),
    )
    await world.create()
    counts = {path: len(world.hooks.asked(path)) for path in ("/again", "/once", "/change")}
    assert counts == {"/again": 2, "/once": 1, "/change": 1}
    assert world.hooks.asked("/again")[1]["object"]["data"] == {"k": "v", "new": "1"}


def patching(*operations: dict[str, Any]) -> Any:
    return lambda review: json_patch(review, *operations)


async def test_a_scale_can_be_patched(world: World) -> None:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await world.api.post(path, {"metadata": {"name": "d"}, "spec": spec})
    world.hooks.paths["/hook"] = patching({"op": "replace", "path": "/spec/replicas", "value": 2})
    rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}
    await world.configure(MUTATING, world.webhook(rule=rule))
    assert (await world.api.patch(f"{path}/d/scale", {"spec": {"replicas": 4}}))["spec"] == {"replicas": 2}
    assert (await world.api.get(f"{path}/d"))["spec"]["replicas"] == 2
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 7}}
    asked = f"{path}/d/scale?fieldManager=me&force=true"
    answer = await world.api.ask("PATCH", asked, applied, content_type="application/apply-patch+yaml")
    assert answer.decoded()["spec"] == {"replicas": 2}
    assert (await world.api.get(f"{path}/d"))["spec"]["replicas"] == 2


async def test_a_request_for_a_token_can_be_patched(world: World) -> None:
    await pod(world)
    world.hooks.paths["/hook"] = patching({"op": "add", "path": "/spec/audiences", "value": ["vault"]})
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"]}
    await world.configure(MUTATING, world.webhook(rule=rule))
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    assert (await world.api.post(path, {"spec": {}}))["spec"]["audiences"] == ["vault"]


async def test_a_binding_and_an_eviction_can_be_patched(world: World) -> None:
    await pod(world)
    world.hooks.paths["/bound"] = patching({"op": "replace", "path": "/target/name", "value": "other"})
    options = {"dryRun": ["All"]}
    world.hooks.paths["/evicted"] = patching({"op": "add", "path": "/deleteOptions", "value": options})
    for path, resource in (("/bound", "pods/binding"), ("/evicted", "pods/eviction")):
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]}
        await world.configure(MUTATING, world.webhook(path, rule=rule), name=path.strip("/"))
    await world.api.post(f"{PODS}/p/binding", {"target": {"name": "n"}})
    await world.api.post(f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    found = await world.api.get(f"{PODS}/p")
    assert found["spec"]["nodeName"] == "other"
    assert "deletionTimestamp" not in found["metadata"]


async def test_what_a_connection_asks_for_can_be_patched(world: World) -> None:
    await pod(world)
    world.hooks.paths["/hook"] = patching({"op": "add", "path": "/container", "value": "another"})
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}
    await world.configure(MUTATING, world.webhook(rule=rule))
    response = await world.api.ask("POST", f"{PODS}/p/exec?command=ls&stdout=true")
    assert response.decoded()["message"] == "container another is not valid for pod p"


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (
            [{"manager": "old", "operation": "Remove", "apiVersion": "v1", "fieldsType": "FieldsV1"}],
            "operation must be",
        ),
        ([{"manager": "old", "operation": "Update", "apiVersion": "v1", "fieldsType": "V0"}], "invalid fieldsType"),
    ],
)
async def test_managed_fields_that_make_no_sense_are_put_back(world: World, entries: Any, why: str) -> None:
    world.hooks.paths["/hook"] = patching({"op": "replace", "path": "/metadata/managedFields", "value": entries})
    await world.configure(MUTATING, world.webhook())
    response = await world.create()
    assert [each["manager"] for each in response.decoded()["metadata"]["managedFields"]] != ["old"]
    (warning,) = response.warnings
    assert ".metadata.managedFields was in an invalid state after admission" in warning
    assert why in warning


async def test_a_deletion_cannot_be_patched(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: json_patch(review, {"op": "add", "path": "/data/x", "value": "1"})
    await world.configure(MUTATING, world.webhook(rule={**CREATES, "operations": ["DELETE"]}))
    await world.create()
    response = await world.api.ask("DELETE", f"{MAPS}/a")
    assert response.status == 500
    assert 'admission webhook "hook.example.org" attempted to modify the object' in response.decoded()["message"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


def _raw(text: bytes, status: int = 200) -> Any:
    return lambda review: web.Response(body=text, status=status)


INVALID = "received invalid webhook response: "
CALL = "failed to call webhook: "


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_raw(b"<html>"), f"{CALL}couldn't get version/kind; json parse error"),
        (_raw(b"no such page", 404), f"{CALL}the server could not find the requested resource"),
        (_raw(b"broken", 500), f'{CALL}an error on the server ("broken") has prevented the request from succeeding'),
        (_raw(b"x" * 7_000_000), "the answer is longer than"),
        (lambda review: {}, f"{INVALID}webhook response was absent"),
        (lambda review: [], f"{INVALID}webhook response was absent"),
        (lambda review: allowed(review, uid="other"), f'{INVALID}expected response.uid="'),
        (
            lambda review: {**allowed(review), "apiVersion": "v1"},
            f"{INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /v1",
        ),
        (lambda review: allowed(review, patch="W10="), "response.patch but not response.patchType"),
        (lambda review: allowed(review, patch="!", patchType="JSONPatch"), "illegal base64 data"),
        (lambda review: allowed(review, patch="W10=", patchType="Merge"), 'unsupported patch type "Merge"'),
    ],
)
async def test_an_unusable_answer_refuses_or_is_overlooked_as_the_policy_says(
    world: World, answer: Any, why: str
) -> None:
    world.hooks.paths["/hook"] = answer
    await world.configure(MUTATING, world.webhook())
    status = await world.refusal()
    assert (status["code"], status["reason"]) == (500, "InternalError")
    assert status["message"].startswith('Internal error occurred: failed calling webhook "hook.example.org": ')
    assert why in status["message"]
    await world.api.patch(
        f"{GROUP}/{MUTATING}/w",
        [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}],
        "json-patch",
    )
    assert (await world.create()).status == 201


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": "/data/missing"}],
        [{"op": "replace", "path": "/metadata", "value": "x"}],
        [{"op": "replace", "path": "", "value": 1}],
        ["no operation"],
    ],
)
async def test_a_patch_that_does_not_apply_is_an_error_whatever_the_policy(world: World, operations: list[Any]) -> None:
    world.hooks.paths["/hook"] = lambda review: json_patch(review, *operations)
    await world.configure(MUTATING, world.webhook(failurePolicy="Ignore"))
    status = await world.refusal()
    assert (status["code"], status["reason"]) == (500, "InternalError")


async def test_a_validating_webhook_may_not_patch(world: World) -> None:
    world.hooks.paths["/hook"] = lambda review: json_patch(review, {"op": "remove", "path": "/data/k"})
    await world.configure(VALIDATING, world.webhook())
    assert "validating webhook may not return response.patch" in (await world.refusal())["message"]


async def test_nobody_listens(world: World) -> None:
    with nobody() as port:
        client = {"url": f"https://127.0.0.1:{port}/x"}
        await world.configure(VALIDATING, world.webhook(clientConfig=client, timeoutSeconds=2))
        assert (await world.refusal())["message"] == (
            'Internal error occurred: failed calling webhook "hook.example.org": failed to call webhook: '
            f'Post "https://127.0.0.1:{port}/x?timeout=2s": dial tcp 127.0.0.1:{port}: connect: connection refused'
        )


async def test_who_does_not_answer_in_time_has_failed(world: World) -> None:
    over = asyncio.Event()

    async def never(review: Any) -> Any:
        await over.wait()
        return allowed(review)

    world.hooks.paths["/hook"] = never
    await world.configure(VALIDATING, world.webhook(timeoutSeconds=1))
    try:
        assert (await world.refusal())["message"].endswith('/hook?timeout=1s": context deadline exceeded')
    finally:
        over.set()


async def test_a_certificate_of_somebody_else_is_not_trusted(world: World) -> None:
    world.hooks.paths["/hook"] = allowed
    stranger = base64.b64encode(authority("strangers").certificate).decode()
    client = {**world.hooks.client("/hook"), "caBundle": stranger}
    await world.configure(VALIDATING, world.webhook(clientConfig=client))
    assert (await world.refusal())["message"].endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert not world.hooks.reviews


# -- what is counted -------------------------------------------------------------------------------------------------


async def test_answers_and_failures_of_webhooks_are_counted(world: World) -> None:
    world.hooks.paths["/yes"] = allowed
    world.hooks.paths["/no"] = lambda review: denied(review, code=409)
    conditions = [{"name": "never", "expression": "object.metadata.name == 'never'"}]
    open_to_failure = world.webhook("/missing", failurePolicy="Ignore")
    await world.configure(MUTATING, world.webhook("/yes"), open_to_failure)
    await world.configure(VALIDATING, world.webhook("/no"), world.webhook("/unasked", matchConditions=conditions))
    assert (await world.create()).status == 409
    found = (await world.api.ask("GET", "/metrics")).encoded().decode().splitlines()
    requests = "apiserver_admission_webhook_request_total"
    of = 'operation="CREATE",rejected="false",type="admit"'
    assert f'{requests}{{code="200",name="yes.example.org",{of}}} 1' in found
    assert f'{requests}{{code="500",name="missing.example.org",{of}}} 1' in found
    assert 'apiserver_admission_webhook_fail_open_count{name="missing.example.org",type="admit"} 1' in found
    of = 'name="no.example.org",operation="CREATE"'
    assert f'{requests}{{code="409",{of},rejected="true",type="validating"}} 1' in found
    rejections = "apiserver_admission_webhook_rejection_count"
    assert f'{rejections}{{error_type="no_error",{of},rejection_code="409",type="validating"}} 1' in found
    of = 'kind="webhook",name="unasked.example.org",operation="CREATE",type="validating"'
    assert f"apiserver_admission_match_condition_exclusions_total{{{of}}} 1" in found


async def test_the_audit_log_has_patches_where_it_has_what_requests_contain(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "kind: Policy\napiVersion: audit.k8s.io/v1\nrules:\n- {level: Request, users: [admin]}\n- {level: Metadata}\n"
    )
    log = tmp_path / "audit.log"
    security = SecurityOptions(audit_policy_file=tmp_path / "policy.yaml", audit_log_path=str(log))
    async with running(security=security) as api, answering(tmp_path) as hooks:
        world = World(api, hooks)
        operation = {"op": "add", "path": "/data/x", "value": "1"}
        hooks.paths["/hook"] = patching(operation)
        await world.configure(MUTATING, world.webhook())
        await world.create()
        user = User("ann", ("system:masters",))
        await api.ask("POST", MAPS, {"metadata": {"name": "b"}, "data": {"k": "v"}}, user=user, token="")
    events = [orjson.loads(line) for line in log.read_text().splitlines()]
    noted = {
        event["user"]["username"]: event["annotations"]
        for event in events
        if event["objectRef"]["resource"] == "configmaps" and event["stage"] == "ResponseComplete"
    }
    place = "webhook.admission.k8s.io/round_0_index_0"
    assert set(noted["ann"]) & {f"mutation.{place}", f"patch.{place}"} == {f"mutation.{place}"}
    assert orjson.loads(noted["admin"][f"patch.{place}"]) == {
        "configuration": "w",
        "webhook": "hook.example.org",
        "patch": [operation],
        "patchType": "JSONPatch",
    }
