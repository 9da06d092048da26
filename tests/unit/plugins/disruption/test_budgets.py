"""What a disruption budget allows, by upstream's documented rules, whatever its pods do and in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import NOW, metadata, pod
from kube_core.meta.times import format_time
from kube_plugins.controllers.disruption.budgets import (
    DELETION_TIMEOUT,
    calculate_status,
    failed_status,
    needs_scale,
    sort_disrupted,
)
from kube_plugins.controllers.disruption.stale import STALE_AFTER, seconds_until_stale


def budget(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("web", generation=3),
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        "status": status or {},
    }


def ready(count: int) -> list[dict[str, Any]]:
    return [pod(f"p{number}", node="n", ready=True) for number in range(count)]


def status_of(made: dict[str, Any], found: list[dict[str, Any]], scale: int = 0, now: float = NOW) -> dict[str, Any]:
    return calculate_status(made, found, scale, sort_disrupted(made, found, now), now)


@pytest.mark.parametrize(
    ("spec", "healthy", "sick", "scale", "desired", "expected", "allowed"),
    [
        ({"minAvailable": 2}, 3, 0, 0, 2, 3, 1),
        ({"minAvailable": 2}, 2, 1, 0, 2, 3, 0),
        ({"minAvailable": 5}, 3, 0, 0, 5, 3, 0),
        ({"minAvailable": 0}, 3, 0, 0, 0, 3, 3),
        ({"minAvailable": "50%"}, 5, 0, 5, 3, 5, 2),  # rounded up: three stay
        ({"minAvailable": "50%"}, 5, 0, 10, 5, 10, 0),  # of what is wanted, not of what is there
        ({"minAvailable": "100%"}, 4, 0, 4, 4, 4, 0),
        ({"maxUnavailable": 1}, 3, 0, 3, 2, 3, 1),
        ({"maxUnavailable": 1}, 2, 1, 3, 2, 3, 0),
        ({"maxUnavailable": 7}, 3, 0, 3, 0, 3, 3),
        ({"maxUnavailable": "30%"}, 4, 0, 4, 2, 4, 2),  # rounded up: two may be away
        ({"maxUnavailable": 0}, 3, 0, 3, 3, 3, 0),
        ({"minAvailable": 0}, 0, 0, 0, 0, 0, 0),  # no pods, no disruptions
        ({}, 3, 0, 0, 0, 0, 0),
    ],
)
def test_what_is_allowed(
    spec: dict[str, Any], healthy: int, sick: int, scale: int, desired: int, expected: int, allowed: int
) -> None:
    found = [*ready(healthy), *(pod(f"s{number}", node="n") for number in range(sick))]
    status = status_of(budget(**spec), found, scale)
    assert (status["currentHealthy"], status["desiredHealthy"]) == (healthy, desired)
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (expected, allowed)
    assert status["observedGeneration"] == 3
    [condition] = status["conditions"]
    assert condition == {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": 3,
        "lastTransitionTime": format_time(NOW),
    }


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ({"minAvailable": 1}, False),
        ({"minAvailable": "10%"}, True),
        ({"maxUnavailable": 1}, True),
        ({"maxUnavailable": "10%"}, True),
        ({}, False),
    ],
)
def test_only_shares_and_what_may_be_away_need_a_scale(spec: dict[str, Any], needed: bool) -> None:
    assert needs_scale(budget(**spec)) is needed


def test_a_condition_keeps_its_time_while_it_stays() -> None:
    first = status_of(budget(minAvailable=1), ready(2))
    later = status_of(budget(first, minAvailable=1), ready(3), now=NOW + 60)
    assert later["conditions"] == first["conditions"]
    less = status_of(budget(later, minAvailable=1), ready(1), now=NOW + 90)
    assert less["conditions"][0]["lastTransitionTime"] == format_time(NOW + 90)


def test_a_pod_that_an_eviction_was_allowed_for_counts_as_gone_for_two_minutes() -> None:
    noted = {"disruptedPods": {"p0": format_time(NOW), "gone": format_time(NOW)}}
    made, found = budget(noted, minAvailable=1), ready(3)
    status = status_of(made, found, now=NOW + 30)
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1)
    assert status["disruptedPods"] == {"p0": format_time(NOW)}
    assert sort_disrupted(made, found, NOW + 30).recheck == DELETION_TIMEOUT - 30
    late = sort_disrupted(made, found, NOW + DELETION_TIMEOUT + 1)
    assert (late.overdue, late.recheck) == ((found[0],), None)
    status = status_of(made, found, now=NOW + DELETION_TIMEOUT + 1)
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (3, 2)
    assert "disruptedPods" not in status


def test_a_pod_that_is_going_is_not_healthy_and_no_longer_noted() -> None:
    noted = {"disruptedPods": {"p0": format_time(NOW)}}
    found = [pod("p0", node="n", ready=True, deleting=True), pod("p1", node="n", ready=True)]
    status = status_of(budget(noted, minAvailable=1), found)
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (1, 0)
    assert "disruptedPods" not in status


def test_a_budget_that_cannot_be_counted_allows_nothing_and_says_why() -> None:
    before = status_of(budget(minAvailable=1), ready(3))
    failed = failed_status(budget(before, minAvailable="10%"), "no scale", NOW + 5)
    assert failed["disruptionsAllowed"] == 0
    assert failed["currentHealthy"] == 3
    [condition] = failed["conditions"]
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "SyncFailed", "no scale")


happenings = st.lists(
    st.tuples(st.sampled_from(["sync", "evict", "evict", "evict", "go", "make", "wait"]), st.integers(0, 9)),
    max_size=60,
)


@given(
    replicas=st.integers(1, 8),
    spec=st.one_of(
        st.builds(lambda number: {"minAvailable": number}, st.integers(0, 9)),
        st.builds(lambda number: {"minAvailable": f"{number}%"}, st.integers(0, 100)),
        st.builds(lambda number: {"maxUnavailable": number}, st.integers(0, 9)),
        st.builds(lambda number: {"maxUnavailable": f"{number}%"}, st.integers(0, 100)),
    ),
    happenings=happenings,
)
def test_evictions_never_leave_fewer_healthy_pods_than_there_must_be(
    replicas: int, spec: dict[str, Any], happenings: list[tuple[str, int]]
) -> None:
    """Evictions spend what the status allows, as the server lets them, however late the controller looks."""
    made, now, names = budget(**spec), NOW, replicas
    found = {each["metadata"]["name"]: each for each in ready(replicas)}
    going: set[str] = set()
    for what, number in happenings:
        match what:
            case "sync":
                made["status"] = status_of(made, list(found.values()), replicas, now)
            case "evict" if made["status"].get("disruptionsAllowed", 0) > 0 and found.keys() - going:
                name = sorted(found.keys() - going)[number % len(found.keys() - going)]
                going.add(name)
                made["status"]["disruptionsAllowed"] -= 1
                made["status"].setdefault("disruptedPods", {})[name] = format_time(now)
                assert len(found.keys() - going) >= made["status"]["desiredHealthy"]
            case "go":
                found = {name: each for name, each in found.items() if name not in going}
            case "make" if len(found) < replicas:
                names += 1
                found[f"p{names}"] = pod(f"p{names}", node="n", ready=True)
            case _:
                now += number / 10  # in all less than the time after which an end is no longer believed in


def announced(reason: str = "PreemptionByScheduler", state: str = "True", **more: Any) -> dict[str, Any]:
    found = pod("p", node="n", **more)
    moment = format_time(NOW)
    found["status"]["conditions"] = [
        {"type": "DisruptionTarget", "status": state, "reason": reason, "lastTransitionTime": moment}
    ]
    return found


@pytest.mark.parametrize(
    ("found", "after", "wait"),
    [
        (announced(), 0, STALE_AFTER),
        (announced(), 50, STALE_AFTER - 50),
        (announced(), 500, 0),
        (announced(state="False"), 500, None),
        (announced("TerminationByKubelet"), 500, None),
        (announced(deleting=True), 500, None),
        (announced(phase="Failed"), 500, None),
        (pod("p", node="n", ready=True), 500, None),
    ],
)
def test_when_an_announced_end_that_did_not_come_is_taken_back(
    found: dict[str, Any], after: float, wait: float | None
) -> None:
    assert seconds_until_stale(found, NOW + after) == wait
