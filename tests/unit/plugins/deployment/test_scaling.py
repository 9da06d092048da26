"""Scaling in the middle of a rollout shares the change in proportion."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import deployment, replica_set, rolling
from kube_plugins.controllers.deployment.replicasets import DESIRED_ANNOTATION, MAX_ANNOTATION
from kube_plugins.controllers.deployment.scaling import is_saturated, is_scaled, plan_scaling


def sized(desired: int, most: int) -> dict[str, str]:
    return {DESIRED_ANNOTATION: str(desired), MAX_ANNOTATION: str(most)}


def sizes(plan: Any) -> dict[str, int]:
    return {step.replica_set["metadata"]["name"]: step.replicas for step in plan}


def test_a_change_of_the_wanted_number_is_seen_by_what_was_noted() -> None:
    active = [replica_set(replicas=3, annotations=sized(3, 4))]
    assert not is_scaled(deployment(replicas=3), active)
    assert is_scaled(deployment(replicas=5), active)
    assert not is_scaled(deployment(replicas=5), [replica_set(replicas=0, annotations=sized(3, 4))])


def test_the_only_active_replica_set_takes_the_whole_change() -> None:
    plan = plan_scaling(deployment(replicas=7), replica_set("new", replicas=0), [replica_set("old", replicas=3)])
    assert sizes(plan) == {"old": 7}


def test_with_none_active_the_new_one_takes_it() -> None:
    plan = plan_scaling(deployment(replicas=2), replica_set("new", replicas=0), [replica_set("old", replicas=0)])
    assert sizes(plan) == {"new": 2}


def test_a_saturated_new_replica_set_needs_no_old_pods() -> None:
    new = replica_set("new", replicas=3, annotations=sized(3, 4))
    document = deployment(replicas=3)
    assert is_saturated(document, new)
    assert sizes(plan_scaling(document, new, [replica_set("old", replicas=1)])) == {"old": 0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # From the documentation's example: 10 → 15 with maxSurge 3, 8 old and 5 new pods.
        ((10, 8, 5), 15, {"old": 11, "new": 7}),
        # Down again: no pods are added anywhere.
        ((10, 8, 5), 5, {"old": 5, "new": 3}),
        ((10, 8, 5), 0, {"old": 0, "new": 0}),
    ],
)
def test_several_share_the_change_in_proportion(
    before: tuple[int, int, int], after: int, expected: dict[str, int]
) -> None:
    desired, old_size, new_size = before
    document = deployment(replicas=after, strategy=rolling(3, 2))
    noted = sized(desired, desired + 3)
    new = replica_set("new", replicas=new_size, annotations=noted, available=0)
    old = replica_set("old", replicas=old_size, annotations=noted, age=100)
    assert sizes(plan_scaling(document, new, [old])) == expected


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 10), st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_shares_add_up_to_what_is_allowed(desired: int, after: int, surge: int, present: list[int]) -> None:
    document = deployment(replicas=after, strategy=rolling(surge, 1))
    noted = sized(desired, sum(present))
    sets = [replica_set(f"rs{i}", replicas=n, annotations=noted, available=0, age=i) for i, n in enumerate(present)]
    plan = plan_scaling(document, sets[0], sets[1:])
    allowed = after + surge if after else 0
    assert sum(step.replicas for step in plan) == allowed
    assert all(step.replicas >= 0 for step in plan)
    grew = [step.replicas >= step.replica_set["spec"]["replicas"] for step in plan]
    assert all(grew) or not any(
        step.replicas > step.replica_set["spec"]["replicas"] for step in plan
    )  # never one up and another down
