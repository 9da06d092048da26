"""Requests that are classified by FlowSchemas, let in, kept waiting or refused by a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.server import ADMIN, ALICE, Caller, running
from fakes.waiting import eventually
from kube_core.abc.transport import Request, Response, User
from kube_core.apiserver.requests import RequestInfo

pytestmark = pytest.mark.anyio

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with running() as started:
        yield started


def schema(name: str, level: str, user: str, precedence: int = 500, **rule: Any) -> dict[str, Any]:
    resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    return {
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": user}}],
                    "resourceRules": [{**resources, **rule}],
                }
            ],
        },
    }


def level(name: str, response: dict[str, Any], shares: int = 0) -> dict[str, Any]:
    limited = {"nominalConcurrencyShares": shares, "borrowingLimitPercent": 0, "limitResponse": response}
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}


async def ask_as_alice(caller: Caller, path: str = MAPS) -> Response:
    return await caller.ask("GET", path, token="alice-token")


async def test_the_answer_tells_which_schema_and_level_it_was_under(caller: Caller) -> None:
    made = await caller.post(f"{FLOW}/prioritylevelconfigurations", level("tight", {"type": "Reject"}, 10))
    flow = await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "tight", "alice"))
    for path in (MAPS, f"{MAPS}/missing"):
        answer = await ask_as_alice(caller, path)
        assert answer.headers["X-Kubernetes-PF-FlowSchema-UID"] == flow["metadata"]["uid"]
        assert answer.headers["X-Kubernetes-PF-PriorityLevel-UID"] == made["metadata"]["uid"]


async def test_a_level_without_seats_refuses_with_429_until_it_has_some(caller: Caller) -> None:
    await caller.post(f"{FLOW}/prioritylevelconfigurations", level("none", {"type": "Reject"}))
    await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "none", "alice"))
    answer = await ask_as_alice(caller)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert answer.body == b"Too many requests, please try again later.\n"
    assert caller.server.fairness.rejected[("for-alice", "none", "concurrency-limit")] == 1
    # A change counts from the next request on.
    await caller.ask("DELETE", f"{FLOW}/flowschemas/for-alice")
    assert (await ask_as_alice(caller)).status != 429


async def test_a_request_waits_in_its_queue_and_is_answered_when_its_turn_comes(caller: Caller) -> None:
    queuing = {"type": "Queue", "queuing": {"queues": 4, "handSize": 2, "queueLengthLimit": 2}}
    await caller.post(f"{FLOW}/prioritylevelconfigurations", level("none", queuing))
    await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "none", "alice"))
    fairness = caller.server.fairness
    task = asyncio.create_task(ask_as_alice(caller))

    async def waits() -> bool:
        return fairness.seats.waiting == 1

    await eventually(waits)
    spec = level("none", queuing, 10)
    await caller.patch(f"{FLOW}/prioritylevelconfigurations/none", {"spec": spec["spec"]})
    # The configuration is read with the next request, whoever asks.
    await ask_as_alice(caller)
    assert (await task).status == 403
    assert fairness.levels["none"].executing == 0


async def test_members_of_masters_are_exempt(caller: Caller) -> None:
    info = RequestInfo(MAPS, "list", "", "v1", "configmaps", "default")
    flow = caller.server.fairness.flow_of(ADMIN, info)
    assert flow is not None
    assert flow.names == ("exempt", "exempt")


async def test_the_schema_of_the_lowest_precedence_wins_and_the_name_among_equals(caller: Caller) -> None:
    for name, precedence in (("b", 400), ("a", 400), ("c", 401)):
        await caller.post(f"{FLOW}/flowschemas", schema(name, "catch-all", "alice", precedence))
    flow = caller.server.fairness.flow_of(ALICE, RequestInfo(MAPS, "list", "", "v1", "configmaps", "default"))
    assert flow is not None
    assert flow.names[0] == "a"


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"verbs": ["get", "list"]}, True),
        ({"verbs": ["create"]}, False),
        ({"apiGroups": ["apps"]}, False),
        ({"resources": ["configmaps"]}, True),
        ({"resources": ["configmaps/status"]}, False),
        ({"namespaces": ["default"]}, True),
        ({"namespaces": ["kube-system"]}, False),
    ],
)
async def test_a_resource_rule_matches_by_each_of_its_parts(
    caller: Caller, rule: dict[str, Any], matches: bool
) -> None:
    await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "catch-all", "alice", **rule))
    flow = caller.server.fairness.flow_of(ALICE, RequestInfo(MAPS, "list", "", "v1", "configmaps", "default"))
    assert flow is not None
    assert (flow.names[0] == "for-alice") == matches


async def test_a_schema_of_a_service_account_matches_it_alone(caller: Caller) -> None:
    document = schema("for-robot", "catch-all", "")
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "robot"}}
    document["spec"]["rules"][0]["subjects"] = [account]
    await caller.post(f"{FLOW}/flowschemas", document)
    info = RequestInfo(MAPS, "list", "", "v1", "configmaps", "default")
    for name, expected in (("robot", True), ("robot2", False)):
        user = User(f"system:serviceaccount:default:{name}", ("system:authenticated",))
        flow = caller.server.fairness.flow_of(user, info)
        assert flow is not None
        assert (flow.names[0] == "for-robot") == expected


async def test_a_schema_that_names_a_level_that_is_not_there_says_nothing(caller: Caller) -> None:
    await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "to-come", "alice"))
    info = RequestInfo(MAPS, "list", "", "v1", "configmaps", "default")
    before = caller.server.fairness.flow_of(ALICE, info)
    assert before is not None
    assert before.names[0] != "for-alice"


async def test_what_lasts_takes_no_seat_and_a_watch_only_until_it_has_begun(caller: Caller) -> None:
    fairness = caller.server.fairness
    for subresource in ("exec", "attach", "portforward", "proxy", "log"):
        info = RequestInfo("/", "get", "", "v1", "pods", "default", "p", subresource)
        assert fairness.flow_of(ALICE, info) is None
    answer = await caller.ask("GET", f"{MAPS}?watch=true")
    assert answer.stream is not None
    assert "X-Kubernetes-PF-FlowSchema-UID" in answer.headers
    assert all(level.executing == 0 for level in fairness.levels.values())
    await answer.stream.aclose()  # type: ignore[attr-defined]


async def test_the_clusters_own_parts_never_wait(caller: Caller) -> None:
    await caller.post(f"{FLOW}/prioritylevelconfigurations", level("none", {"type": "Reject"}))
    await caller.post(f"{FLOW}/flowschemas", schema("for-alice", "none", "alice"))
    answer = await caller.server.handle(Request("GET", MAPS, user=ALICE))
    assert answer.status == 403


async def test_who_may_not_get_in_is_told_nothing_of_flows(caller: Caller) -> None:
    answer = await caller.ask("GET", MAPS, token="wrong")
    assert answer.status == 401
    assert "X-Kubernetes-PF-FlowSchema-UID" not in answer.headers


async def test_what_is_remembered_of_flows_is_bounded(caller: Caller) -> None:
    fairness = caller.server.fairness
    for number in range(10_000):
        fairness.flow_of(ALICE, RequestInfo(f"/nowhere/{number}", "get"))
    assert len(fairness._flows) <= 4096
