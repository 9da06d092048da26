"""A server with its security put together from options: bootstrap and legacy tokens, modes, webhooks, mistakes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from fakes.server import ADMIN, Caller, running
from fakes.waiting import eventually
from fakes.webhook import listening
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.options import SecurityOptions
from kube_core.meta.times import format_time

pytestmark = pytest.mark.anyio

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TOKEN = "abcdef.0123456789abcdef"


def encoded(**values: str) -> dict[str, str]:
    return {name.replace("_", "-"): base64.b64encode(value.encode()).decode() for name, value in values.items()}


def bootstrap_secret(**changes: str) -> dict[str, Any]:
    values = {"token_id": "abcdef", "token_secret": "0123456789abcdef", "usage_bootstrap_authentication": "true"}
    return {
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "data": encoded(**{**values, **changes}),
    }


async def who(api: Caller, token: str) -> tuple[int, dict[str, Any]]:
    answer = await api.ask(
        "POST", SELF, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}, token=token
    )
    document = answer.decoded()
    return answer.status, document["status"]["userInfo"] if answer.status == 201 else document


async def test_a_bootstrap_token_holds_while_its_secret_says_so() -> None:
    async with running() as api:
        assert (await who(api, TOKEN))[0] == 401
        secret = bootstrap_secret(
            auth_extra_groups="system:bootstrappers:kubeadm:default-node-token",
            expiration=format_time(api.clock.now() + 60),
        )
        await api.post("/api/v1/namespaces/kube-system/secrets", secret)
        status, user = await who(api, TOKEN)
        assert (status, user["username"]) == (201, "system:bootstrap:abcdef")
        assert user["groups"] == [
            "system:bootstrappers",
            "system:bootstrappers:kubeadm:default-node-token",
            "system:authenticated",
        ]
        assert (await who(api, "abcdef.fedcba9876543210"))[0] == 401
        await api.clock.advance(61.0)
        assert (await who(api, TOKEN))[0] == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"usage_bootstrap_authentication": "false"},
        {"auth_extra_groups": "system:masters"},
        {"expiration": "some day"},
        {"token_id": "fedcba"},
    ],
)
async def test_a_bootstrap_token_that_is_not_right_lets_nobody_in(changes: dict[str, str]) -> None:
    async with running() as api:
        await api.post("/api/v1/namespaces/kube-system/secrets", bootstrap_secret(**changes))
        assert (await who(api, TOKEN))[0] == 401


async def test_a_secret_gets_a_token_of_its_service_account_which_ends_with_either() -> None:
    async with running(admission=(), client_ca=b"our authority") as api:
        secrets, accounts = "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/serviceaccounts"
        account = await api.post(accounts, {"metadata": {"name": "robot"}})
        for name in ("first", "second"):
            annotations = {"kubernetes.io/service-account.name": "robot"}
            metadata = {"name": name, "annotations": annotations}
            await api.post(secrets, {"metadata": metadata, "type": "kubernetes.io/service-account-token"})

        async def filled() -> bool:
            return all("token" in (each.get("data") or {}) for each in (await api.get(secrets))["items"])

        await eventually(filled)
        items = (await api.get(secrets))["items"]
        assert {each["metadata"]["annotations"]["kubernetes.io/service-account.uid"] for each in items} == {
            account["metadata"]["uid"]
        }
        first, second = (base64.b64decode(each["data"]["token"]).decode() for each in items)
        assert base64.b64decode(items[0]["data"]["ca.crt"]) == b"our authority"
        status, user = await who(api, first)
        assert (status, user["username"]) == (201, "system:serviceaccount:default:robot")

        async def noted() -> bool:
            [secret, _] = (await api.get(secrets))["items"]
            return "kubernetes.io/legacy-token-last-used" in (secret["metadata"].get("labels") or {})

        await eventually(noted)
        tracking = "kube-apiserver-legacy-service-account-token-tracking"
        since = await api.get(f"/api/v1/namespaces/kube-system/configmaps/{tracking}")
        assert len(since["data"]["since"]) == len("2026-01-01")
        await api.delete(f"{secrets}/first")
        assert (await who(api, first))[0] == 401
        assert (await who(api, second))[0] == 201
        await api.delete(f"{accounts}/robot")
        assert (await who(api, second))[0] == 401

        async def gone() -> bool:
            return not (await api.get(secrets))["items"]

        await eventually(gone)


async def test_always_allow_allows_whoever_asks() -> None:
    async with running(security=SecurityOptions(authorization_mode="AlwaysAllow")) as api:
        assert (await api.ask("GET", "/api/v1/nodes", token="")).status == 200
    async with running(security=SecurityOptions(authorization_mode="AlwaysDeny")) as api:
        answer = await api.ask("GET", "/api/v1/nodes", token="alice-token")
        assert answer.status == 403
        assert answer.decoded()["message"].endswith("at the cluster scope: Everything is forbidden.")


async def test_a_webhook_is_asked_after_the_roles(tmp_path: Path) -> None:
    def answer(review: Any) -> Any:
        return {"status": {"allowed": review["spec"]["user"] == "alice", "reason": "we like her"}}

    async with listening(answer) as hook:
        security = SecurityOptions(
            authorization_mode="Node,RBAC,Webhook", authorization_webhook_config_file=hook.kubeconfig(tmp_path)
        )
        async with running(security=security) as api:
            assert (await api.ask("GET", "/api/v1/nodes", token="alice-token")).status == 200
            refused = await api.ask("GET", "/api/v1/nodes", token="")
            assert refused.status == 403
            assert refused.decoded()["message"].endswith(": we like her")
            rules = await api.post(
                "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, user=ADMIN
            )
            assert rules["status"]["incomplete"] is True


async def test_tokens_of_a_file_and_of_a_webhook_hold_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text("of-the-file,carol,9,crew\n")

    def answer(review: Any) -> Any:
        known = review["spec"]["token"] == "of-the-webhook"
        return {"status": {"authenticated": known, "user": {"username": "dave"}}}

    async with listening(answer) as hook:
        security = SecurityOptions(
            token_auth_file=file, authentication_token_webhook_config_file=hook.kubeconfig(tmp_path)
        )
        async with running(security=security) as api:
            assert (await who(api, "of-the-file"))[1]["username"] == "carol"
            assert (await who(api, "of-the-webhook"))[1]["username"] == "dave"
            assert (await who(api, "of-nobody"))[0] == 401
            review = await api.post(
                "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "of-the-webhook"}}
            )
            assert review["status"]["user"]["username"] == "dave"


async def test_without_anonymous_requests_who_brings_nothing_gets_nothing() -> None:
    async with running(security=SecurityOptions(anonymous_auth=False)) as api:
        answer = await api.ask("GET", "/livez", token="")
        assert (answer.status, answer.decoded()["message"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"authorization_mode": "Node,Magic"}, 'authorization-mode: "Magic" is not supported'),
        ({"authorization_mode": ""}, "authorization-mode: required"),
        ({"authorization_mode": "RBAC,RBAC"}, "more than once"),
        ({"authorization_mode": "Webhook"}, "authorization-webhook-config-file: required"),
        ({"token_auth_file": "/none.csv"}, "/none.csv: No such file"),
        ({"audit_log_path": "-"}, "audit-policy-file: required"),
        ({"audit_policy_file": "/none.yaml"}, "audit-policy-file: needs"),
        ({"requestheader_client_ca_file": "/none.crt"}, "/none.crt: No such file"),
    ],
)
async def test_what_cannot_be_is_told_before_the_server_starts(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigFileError, match=wanted):
        async with running(security=SecurityOptions(**options)):
            pass


def test_options_that_were_given_can_be_kept_as_json() -> None:
    options = SecurityOptions(authorization_mode="RBAC", audit_log_path="-", oidc_required_claim=["a=b"])
    assert options.given() == {
        "authorization_mode": ["RBAC"],
        "audit_log_path": "-",
        "oidc_required_claim": {"a": "b"},
    }
    assert SecurityOptions(**options.given()) == options
    assert SecurityOptions().given() == {}


async def test_a_head_request_is_judged_as_a_get() -> None:
    async with running() as api:
        for method in ("GET", "HEAD"):
            answer = await api.ask(method, "/api/v1/nodes/n", token="alice-token")
            assert answer.status == 403
            assert 'cannot get resource "nodes"' in answer.decoded()["message"]
        assert (await api.ask("HEAD", "/api/v1/nodes/n")).status == 405


async def test_a_list_of_one_object_is_judged_by_its_name() -> None:
    async with running() as api:
        rule = {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["nodes"], "resourceNames": ["n1"]}
        group, kind = "rbac.authorization.k8s.io", "ClusterRole"
        await api.post(f"/apis/{group}/v1/clusterroles", {"metadata": {"name": "one"}, "rules": [rule]})
        binding = {
            "metadata": {"name": "one"},
            "roleRef": {"apiGroup": group, "kind": kind, "name": "one"},
            "subjects": [{"kind": "User", "apiGroup": group, "name": "alice"}],
        }
        await api.post(f"/apis/{group}/v1/clusterrolebindings", binding)
        for selector, wanted in (("metadata.name=n1", 200), ("metadata.name=n2", 403), ("metadata.name!=n1", 403)):
            query = [("fieldSelector", selector)]
            assert (await api.ask("GET", "/api/v1/nodes", query=query, token="alice-token")).status == wanted


async def test_an_access_review_carries_selectors_to_the_authorizers() -> None:
    async with running() as api:
        node = {"user": "system:node:n1", "groups": ["system:nodes"]}
        for values, allowed in ((["n1"], True), (["n2"], False)):
            requirement = {"key": "spec.nodeName", "operator": "In", "values": values}
            attributes = {"verb": "list", "resource": "pods", "fieldSelector": {"requirements": [requirement]}}
            review = await api.post(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                {"spec": {**node, "resourceAttributes": attributes}},
            )
            assert review["status"]["allowed"] is allowed
