"""Webhooks that say who asks and whether they may: what they are sent, and how long their answers count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.webhook import listening
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.attributes import AccessAttributes, Verdict
from kube_core.auth.webhook_client import HttpsClient, WebhookServer, read_kubeconfig
from kube_core.auth.webhooks import Asking, WebhookAuthorizer, WebhookTokens
from kube_core.meta.status import Unauthorized

pytestmark = pytest.mark.anyio

ANN = User("ann", ("crew",), "7", {"example.org/floor": ["three"]})


def review(status: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}


async def test_a_token_is_reviewed_and_the_answer_remembered_for_a_while(tmp_path: Path) -> None:
    clock = FakeClock()
    status = {"authenticated": True, "user": {"username": "ann", "uid": "7", "groups": ["crew"]}}
    async with listening(lambda _: review(status)) as hook:
        client = HttpsClient(read_kubeconfig(hook.kubeconfig(tmp_path)), clock)
        tokens = WebhookTokens(client, clock, ttl=120.0)
        for _ in range(2):
            found = await tokens.authenticate("abc", ("here",))
            assert found is not None
            assert (found.user.name, found.user.uid, found.user.groups) == ("ann", "7", ("crew",))
        assert len(hook.received) == 1
        assert hook.received[0]["spec"] == {"token": "abc", "audiences": ["here"]}
        assert hook.headers[0]["authorization"] == "Bearer our-token"
        await clock.advance(121.0)
        await tokens.authenticate("abc", ("here",))
        assert len(hook.received) == 2
        await client.close()


async def test_a_token_for_somebody_else_is_nobodys(tmp_path: Path) -> None:
    clock = FakeClock()
    status = {"authenticated": True, "user": {"username": "ann"}, "audiences": ["elsewhere"]}
    async with listening(lambda _: review(status)) as hook:
        client = HttpsClient(read_kubeconfig(hook.kubeconfig(tmp_path)), clock)
        assert await WebhookTokens(client, clock, ttl=0.0).authenticate("abc", ("here",)) is None
        await client.close()


async def test_a_webhook_that_refuses_or_does_not_answer_lets_nobody_in() -> None:
    clock = FakeClock()
    async with listening(lambda _: review({"error": "never heard of it"})) as hook:
        client = HttpsClient(WebhookServer(hook.url), clock)
        with pytest.raises(Unauthorized, match="never heard of it"):
            await WebhookTokens(client, clock, ttl=1.0).authenticate("abc", ())
        hook.answer = lambda _: 403
        with pytest.raises(Unauthorized, match="status 403"):
            await WebhookTokens(client, clock, ttl=1.0).authenticate("abc", ())
        await client.close()


async def test_access_is_reviewed_with_all_that_is_known_of_the_request() -> None:
    clock = FakeClock()
    status = {"status": {"allowed": True, "reason": "a friend"}}
    async with listening(lambda _: status) as hook:
        client = HttpsClient(WebhookServer(hook.url), clock)
        authorizer = WebhookAuthorizer(client, clock, Asking(300.0, 30.0))
        asked = AccessAttributes(
            ANN, "list", "apps", "v1", "deployments", "", "shop", field_selector="a=b", label_selector="x in (1, 2)"
        )
        for _ in range(2):
            decision = await authorizer.authorize(asked)
            assert (decision.allowed, decision.reason) == (True, "a friend")
        await authorizer.authorize(AccessAttributes(User("bob"), "get", path="/metrics"))
        await client.close()
    first, second = hook.received
    assert first["spec"] == {
        "user": "ann",
        "uid": "7",
        "groups": ["crew"],
        "extra": {"example.org/floor": ["three"]},
        "resourceAttributes": {
            "namespace": "shop",
            "verb": "list",
            "group": "apps",
            "version": "v1",
            "resource": "deployments",
            "fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "labelSelector": {"requirements": [{"key": "x", "operator": "In", "values": ["1", "2"]}]},
        },
    }
    assert second["spec"] == {"user": "bob", "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"allowed": False}, Verdict.NO_OPINION),
        ({"allowed": False, "denied": True}, Verdict.DENY),
        ({"allowed": True, "denied": True}, Verdict.DENY),
        ({}, Verdict.NO_OPINION),
    ],
)
async def test_what_a_webhook_does_not_allow_is_not_allowed(status: dict[str, Any], verdict: Verdict) -> None:
    clock = FakeClock()
    async with listening(lambda _: {"status": status}) as hook:
        client = HttpsClient(WebhookServer(hook.url), clock)
        authorizer = WebhookAuthorizer(client, clock, Asking(300.0, 30.0))
        assert (await authorizer.authorize(AccessAttributes(ANN, "get", "", "v1", "pods"))).verdict is verdict
        hook.answer = lambda _: 400
        other = await authorizer.authorize(AccessAttributes(ANN, "get", "", "v1", "nodes"))
        assert (other.verdict, "status 400" in other.error) == (Verdict.NO_OPINION, True)
        await client.close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("current-context: a", 'contexts: there is no "a"'),
        ("contexts: []", "current-context: required"),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]",
            "clusters.*server: required",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: none.crt}}]",
            "certificate-authority: .*No such file",
        ),
    ],
)
def test_a_kubeconfig_that_is_wrong_is_told_with_its_field(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "hook.yaml"
    file.write_text(f"kind: Config\napiVersion: v1\n{text}\n")
    with pytest.raises(ConfigFileError, match=wanted):
        read_kubeconfig(file)
