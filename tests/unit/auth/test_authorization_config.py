"""Authorizers that a file names: their order, their webhooks with conditions; what is said of a file that is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fakes.server import ALICE, running
from fakes.webhook import Webhook, listening
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.attributes import AccessAttributes, Verdict
from kube_core.auth.authorization_config import read_authorization_config
from kube_core.auth.options import SecurityOptions
from kube_core.auth.webhook_client import HttpsClient, WebhookServer
from kube_core.auth.webhooks import Asking, WebhookAuthorizer

pytestmark = pytest.mark.anyio

CONFIG = """
kind: AuthorizationConfiguration
apiVersion: apiserver.config.k8s.io/v1
authorizers:
- {type: Node, name: node}
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    authorizedTTL: 1m
    cacheUnauthorizedRequests: false
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: KUBECONFIG}
    matchConditions:
    - expression: "!('system:masters' in request.groups)"
    - expression: has(request.resourceAttributes) && request.resourceAttributes.namespace == 'default'
- {type: RBAC, name: rbac}
"""


def written(directory: Path, kubeconfig: Path | str = "", text: str = CONFIG) -> Path:
    if not kubeconfig:
        kubeconfig = directory / "some.kubeconfig"
        kubeconfig.write_text("")
    file = directory / "authorization.yaml"
    file.write_text(text.replace("KUBECONFIG", str(kubeconfig)))
    return file


def test_a_configuration_is_read(tmp_path: Path) -> None:
    found = read_authorization_config(written(tmp_path))
    assert [(each.type, each.name) for each in found.authorizers] == [
        ("Node", "node"), ("Webhook", "hook"), ("RBAC", "rbac"),
    ]  # fmt: skip
    hook = found.authorizers[1].webhook
    assert hook is not None
    assert (hook.timeout, hook.allowed_ttl, hook.refused_ttl, hook.fails_closed) == (3.0, 60.0, 0.0, True)
    assert len(hook.conditions) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type: Node", "type: ABAC", r'authorizers[0].type: "ABAC" is not supported; one of'),
        ("type: Node, ", "", "authorizers[0].type: required"),
        ("{type: Node, name: node}", "{type: RBAC, name: node}", 'authorizers[2].type: "RBAC" is there twice'),
        ("name: rbac", "name: hook", 'authorizers[2].name: "hook" is there twice'),
        ("name: rbac", "name: R_B", "authorizers[2].name: authorizer name is invalid: a lowercase RFC 1123 subdomain"),
        ("name: rbac", "name: rbac, webhook: {}", "authorizers[2].webhook: may only be specified when type=Webhook"),
        ("timeout: 3s", "timeout: 31s", "authorizers[1].webhook.timeout: must be > 0s and <= 30s"),
        ("    timeout: 3s\n", "", "authorizers[1].webhook.timeout: required"),
        ("authorizedTTL: 1m", "authorizedTTL: 0s", "authorizers[1].webhook.authorizedTTL: must be > 0s"),
        ("ReviewVersion: v1\n    match", "ReviewVersion: v2\n    match", 'ReviewVersion: "v2" is not supported'),
        ("    matchConditionSubjectAccessReviewVersion: v1\n", "", "SubjectAccessReviewVersion: required"),
        ("failurePolicy: Deny", "failurePolicy: Allow", 'failurePolicy: "Allow" is not supported; one of'),
        ("type: KubeConfigFile", "type: InClusterConfig", 'connectionInfo.type: "InClusterConfig" is not supported'),
        ("KUBECONFIG", "some/where", "connectionInfo.kubeConfigFile: must be an absolute path"),
        ("KUBECONFIG", "/nothing/here", "connectionInfo.kubeConfigFile: /nothing/here is no file"),
        ("in request.groups", "in request.gruppen", "undefined field 'gruppen'"),
        ("\"!('system:masters' in request.groups)\"", "request.user",
         "matchConditions[0].expression: must evaluate to bool but got string"),
        ("authorizers:", "authorisers:", "authorisers: unknown field"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_wrong_is_told_with_its_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = written(tmp_path, text=CONFIG.replace(old, new))
    with pytest.raises(ConfigFileError, match=re.escape(said)):
        read_authorization_config(file)


async def test_a_server_is_told_in_one_way_only(tmp_path: Path) -> None:
    file = written(tmp_path)
    several: list[dict[str, Any]] = [{"authorization_mode": ["RBAC"]}, {"authorization_webhook_config_file": file}]
    for options in several:
        with pytest.raises(ConfigFileError, match="only one of them may be given"):
            async with running(security=SecurityOptions(authorization_config=file, **options)):
                pass


# -- conditions --------------------------------------------------------------------------------------------------------


async def decided(hook: Webhook, asked: AccessAttributes, *conditions: str, closed: bool = False) -> Verdict:
    client = HttpsClient(WebhookServer(hook.url), FakeClock())
    try:
        asking = Asking(300.0, 30.0, fails_closed=closed, conditions=conditions)
        return (await WebhookAuthorizer(client, FakeClock(), asking).authorize(asked)).verdict
    finally:
        await client.close()


PODS = AccessAttributes(User("ann", ("crew",), "7"), "get", "", "v1", "pods", namespace="shop")
PATH = AccessAttributes(User("ann"), "get", path="/metrics")


@pytest.mark.parametrize(
    ("asked", "condition", "is_asked"),
    [
        (PODS, "request.user == 'ann' && request.uid == '7' && 'crew' in request.groups", True),
        (PODS, "request.resourceAttributes.namespace == 'shop' && request.resourceAttributes.name == ''", True),
        (PODS, "request.resourceAttributes.verb == 'list'", False),
        (PODS, "has(request.nonResourceAttributes)", False),
        (PATH, "has(request.nonResourceAttributes) && request.nonResourceAttributes.path == '/metrics'", True),
        (PATH, "has(request.resourceAttributes)", False),
        (PATH, "request.extra.size() == 0 && request.groups.size() == 0", True),
    ],
)
async def test_a_webhook_is_asked_where_its_conditions_hold(
    asked: AccessAttributes, condition: str, is_asked: bool
) -> None:
    async with listening(lambda _: {"status": {"allowed": True}}) as hook:
        verdict = await decided(hook, asked, condition)
        assert (verdict is Verdict.ALLOW, bool(hook.received)) == (is_asked, is_asked)


async def test_a_condition_without_a_value_is_for_the_failure_policy_and_one_that_does_not_hold_settles_it() -> None:
    broken = "request.resourceAttributes.namespace == 'shop'"
    async with listening(lambda _: {"status": {"allowed": True}}) as hook:
        assert await decided(hook, PATH, broken, closed=True) is Verdict.DENY
        assert await decided(hook, PATH, broken) is Verdict.NO_OPINION
        assert await decided(hook, PATH, broken, "false", closed=True) is Verdict.NO_OPINION
        assert not hook.received


async def test_a_webhook_that_does_not_answer_denies_where_it_is_to() -> None:
    async with listening(lambda _: 400) as hook:
        assert await decided(hook, PODS, closed=True) is Verdict.DENY
        assert await decided(hook, PODS) is Verdict.NO_OPINION


async def test_an_older_review_names_the_groups_as_it_did() -> None:
    async with listening(lambda _: {"status": {"allowed": True}}) as hook:
        client = HttpsClient(WebhookServer(hook.url), FakeClock())
        await WebhookAuthorizer(client, FakeClock(), Asking(0.0, 0.0, version="v1beta1")).authorize(PODS)
        await client.close()
    assert hook.received[0]["apiVersion"] == "authorization.k8s.io/v1beta1"
    assert hook.received[0]["spec"]["group"] == ["crew"]


# -- a whole server ----------------------------------------------------------------------------------------------------


async def test_authorizers_are_asked_in_order_and_the_file_is_followed(tmp_path: Path) -> None:
    maps = "/api/v1/namespaces/{}/configmaps"
    async with listening(lambda _: {"status": {"allowed": True, "reason": "a friend"}}) as hook:
        file = written(tmp_path, hook.kubeconfig(tmp_path))
        async with running(security=SecurityOptions(authorization_config=file)) as api:
            assert (await api.ask("GET", maps.format("default"), user=ALICE)).status == 200
            assert (await api.ask("GET", maps.format("kube-system"), user=ALICE)).status == 403
            assert [each["spec"]["user"] for each in hook.received] == [ALICE.name]
            written(tmp_path, text="kind: nonsense")
            await api.clock.advance(61.0)  # a mistake is told to the log, and what there was goes on
            assert (await api.ask("GET", maps.format("default"), user=ALICE)).status == 200
            written(tmp_path, text=CONFIG.partition("- type: Webhook")[0] + "- {type: RBAC, name: rbac}\n")
            await api.clock.advance(61.0)
            assert (await api.ask("GET", maps.format("default"), user=ALICE)).status == 403
            written(tmp_path, text=CONFIG.partition("- type: Webhook")[0])
            await api.clock.advance(61.0)  # roles that were asked from the start stay
            assert (await api.ask("GET", maps.format("default"))).status == 200
