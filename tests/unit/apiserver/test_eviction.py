"""Evictions and the budgets that may refuse them. What a budget allows is written here, as its controller would."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import Caller

pytestmark = pytest.mark.anyio

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
WHY = "Cannot evict pod as it would violate the pod's disruption budget."


async def a_pod(api: Caller, *, ready: bool = True, name: str = "p") -> Any:
    await api.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    spec = {"containers": [{"name": "main", "image": "i:1"}], "nodeName": "n"}
    await api.post(PODS, {"metadata": {"name": name, "labels": {"app": "x"}}, "spec": spec})
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return await api.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running", "conditions": conditions}})


async def a_budget(api: Caller, status: dict[str, Any], name: str = "b", **spec: Any) -> None:
    body = {
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}, **spec},
    }
    await api.post(BUDGETS, body)
    zeros = {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0}
    await api.patch(f"{BUDGETS}/{name}/status", {"status": {**zeros, "observedGeneration": 1, **status}})


async def evict(api: Caller, *, query: str = "", **options: Any) -> Any:
    body = {"metadata": {"name": "p"}, **({"deleteOptions": options} if options else {})}
    return await api.ask("POST", f"{PODS}/p/eviction{query}", body)


def refusal(response: Any) -> str:
    document = response.decoded()
    assert (response.status, document["reason"], document["message"]) == (429, "TooManyRequests", WHY)
    cause = document["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    return str(cause["message"])


async def test_an_eviction_spends_what_the_budget_allows(api: Caller) -> None:
    await a_pod(api)
    await a_budget(api, {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2})
    assert (await evict(api)).status == 201
    status = (await api.get(f"{BUDGETS}/b"))["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p"]
    condition = status["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "False",
        "InsufficientPods",
    )


async def test_without_a_disruption_left_it_is_refused_and_says_how_many_are_healthy(api: Caller) -> None:
    await a_pod(api)
    await a_budget(api, {"currentHealthy": 1, "desiredHealthy": 1})
    assert refusal(await evict(api)) == "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert "deletionTimestamp" not in (await api.get(f"{PODS}/p"))["metadata"]


async def test_a_budget_that_failed_to_sync_says_why(api: Caller) -> None:
    await a_pod(api)
    failed = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "SyncFailed",
        "message": "no scale",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await a_budget(api, {"conditions": [failed]})
    assert refusal(await evict(api)).endswith("does not allow evicting pods currently because it failed sync: no scale")


async def test_a_budget_that_its_controller_has_not_seen_is_waited_for(api: Caller) -> None:
    await a_pod(api)
    await a_budget(api, {"observedGeneration": 0, "disruptionsAllowed": 1})
    response = await evict(api)
    assert refusal(response) == "The disruption budget b is still being processed by the server."
    assert response.headers["Retry-After"] == "10"


async def test_a_dry_run_spends_nothing_and_is_refused_like_any_other(api: Caller) -> None:
    pod = await a_pod(api)
    await a_budget(api, {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1})
    assert (await evict(api, query="?dryRun=All")).status == 201
    assert (await evict(api, dryRun=["All"])).status == 201
    assert (await api.get(f"{BUDGETS}/b"))["status"]["disruptionsAllowed"] == 1
    assert await api.get(f"{PODS}/p") == pod
    await api.patch(f"{BUDGETS}/b/status", {"status": {"disruptionsAllowed": 0}})
    refusal(await evict(api, query="?dryRun=All"))


@pytest.mark.parametrize(
    ("policy", "healthy", "goes"),
    [
        ("AlwaysAllow", 0, True),
        ("IfHealthyBudget", 1, True),
        ("IfHealthyBudget", 0, False),
        (None, 1, True),
        (None, 0, False),
    ],
)
async def test_a_pod_that_is_not_ready_goes_as_the_policy_says(
    api: Caller, policy: str | None, healthy: int, goes: bool
) -> None:
    await a_pod(api, ready=False)
    spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    await a_budget(api, {"currentHealthy": healthy, "desiredHealthy": 1}, **spec)
    response = await evict(api)
    if goes:
        assert response.status == 201
        status = (await api.get(f"{BUDGETS}/b"))["status"]
        assert (status["disruptionsAllowed"], status.get("disruptedPods")) == (0, None)
    else:
        refusal(response)


async def test_two_budgets_are_one_too_many(api: Caller) -> None:
    await a_pod(api)
    for name in ("b", "c"):
        await a_budget(api, {"disruptionsAllowed": 1}, name)
    response = await evict(api)
    assert (response.status, "more than one PodDisruptionBudget" in response.decoded()["message"]) == (500, True)


async def test_preconditions_hold(api: Caller) -> None:
    pod = await a_pod(api)
    other = await evict(api, preconditions={"uid": "another"})
    stale = await evict(api, preconditions={"resourceVersion": "1"})
    assert (other.status, stale.status) == (409, 409)
    assert "the UID in the precondition" in other.decoded()["message"]
    metadata = pod["metadata"]
    fine = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert (await evict(api, preconditions=fine, gracePeriodSeconds=0)).status == 201
    assert (await api.ask("GET", f"{PODS}/p")).status == 404


async def test_a_finished_pod_asks_no_budget(api: Caller) -> None:
    await a_pod(api)
    await a_budget(api, {})
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
    assert (await evict(api)).status == 201


async def test_more_disruptions_than_the_controller_saw_are_forbidden(api: Caller) -> None:
    await a_pod(api)
    pods = {f"p{number}": "2026-01-01T00:00:00Z" for number in range(2001)}
    await a_budget(api, {"disruptionsAllowed": 1, "disruptedPods": pods})
    response = await evict(api)
    assert (response.status, "DisruptedPods map too big" in response.decoded()["message"]) == (403, True)
