"""A rolling update keeps its limits, step by step and in any order of what happens to pods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import deployment, replica_set, rolling
from kube_plugins.controllers.deployment.replicasets import fenceposts
from kube_plugins.controllers.deployment.rolling import new_size, plan_rolling_update


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),  # up, down
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (10, 2, 1, (2, 1)),
        (4, 0, "10%", (0, 1)),  # both nothing: one may be unavailable
        (2, 1, 5, (1, 2)),  # never more unavailable than there are
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_fenceposts_round_surge_up_and_unavailable_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    limits = fenceposts(deployment(replicas=replicas, strategy=rolling(surge, unavailable)))
    assert (limits.surge, limits.unavailable) == expected


def test_a_deployment_that_is_recreated_has_no_limits() -> None:
    limits = fenceposts(deployment(strategy={"type": "Recreate"}))
    assert (limits.surge, limits.unavailable) == (0, 0)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (None, [], 3),
        (None, [3], 1),  # room for the surge only
        (1, [2], 2),
        (3, [1], 3),
        (5, [], 3),  # too large: back to what is wanted
    ],
)
def test_the_new_replica_set_grows_as_the_surge_allows(new: int | None, old: list[int], expected: int) -> None:
    document = deployment(replicas=3, strategy=rolling(1, 0))
    new_set = None if new is None else replica_set("new", replicas=new)
    assert new_size(document, new_set, [replica_set(f"old{i}", replicas=n) for i, n in enumerate(old)]) == expected


def sizes(plan: Any) -> dict[str, int]:
    return {step.replica_set["metadata"]["name"]: step.replicas for step in plan}


def test_growing_comes_before_shrinking() -> None:
    document = deployment(replicas=4, strategy=rolling(1, 1))
    plan = plan_rolling_update(document, replica_set("new", replicas=0), [replica_set("old", replicas=4)])
    assert sizes(plan) == {"new": 1}


def test_old_pods_go_as_far_as_availability_allows() -> None:
    document = deployment(replicas=4, strategy=rolling(1, 1))
    plan = plan_rolling_update(document, replica_set("new", replicas=1, available=0), [replica_set("old", replicas=4)])
    assert sizes(plan) == {"old": 3}


def test_unhealthy_old_pods_go_first_and_for_free() -> None:
    document = deployment(replicas=4, strategy=rolling(2, 0))
    old = [replica_set("older", replicas=2, age=20), replica_set("broken", replicas=2, available=0, age=10)]
    plan = plan_rolling_update(document, replica_set("new", replicas=2), old)
    assert sizes(plan) == {"broken": 0}


def test_nothing_goes_while_the_new_pods_are_not_available() -> None:
    document = deployment(replicas=3, strategy=rolling(1, 0))
    new, old = replica_set("new", replicas=1, available=0), [replica_set("old", replicas=3)]
    assert plan_rolling_update(document, new, old) == ()


def test_a_complete_rollout_has_nothing_to_do() -> None:
    old = [replica_set("old", replicas=0)]
    assert plan_rolling_update(deployment(replicas=3), replica_set("new", replicas=3), old) == ()


class World:
    """Replica sets with their controller: pods come, become available and fail in whatever order is drawn."""

    def __init__(self, document: dict[str, Any], old: list[int]) -> None:
        self.document = document
        self.sets = [replica_set("new", replicas=0)]
        self.sets += [replica_set(f"old{i}", replicas=n, age=10 + i) for i, n in enumerate(old)]

    def step(self) -> None:
        plan = plan_rolling_update(self.document, self.sets[0], self.sets[1:])
        for resize in plan:
            resize.replica_set["spec"]["replicas"] = resize.replicas

    def sync(self, index: int, available: int) -> None:
        """A replica set follows its size; `available` of its new pods come up."""
        each = self.sets[index % len(self.sets)]
        status, size = each["status"], each["spec"]["replicas"]
        before = status["replicas"]
        status["replicas"] = size
        # Victims are the pods that are not available, before others.
        status["availableReplicas"] = min(status["availableReplicas"], size)
        if size >= before:
            status["availableReplicas"] = min(size, status["availableReplicas"] + available)

    def fail(self, index: int) -> None:
        status = self.sets[index % len(self.sets)]["status"]
        status["availableReplicas"] = max(status["availableReplicas"] - 1, 0)

    @property
    def told(self) -> int:
        return sum(each["spec"]["replicas"] for each in self.sets)

    @property
    def surely_available(self) -> int:
        """What stays available whatever the replica sets' controllers do next."""
        return sum(min(each["status"]["availableReplicas"], each["spec"]["replicas"]) for each in self.sets)


events = st.lists(
    st.one_of(
        st.tuples(st.just("step")),
        st.tuples(st.just("sync"), st.integers(0, 3), st.integers(0, 4)),
    ),
    max_size=60,
)
limits = st.one_of(st.integers(0, 4), st.sampled_from(["10%", "25%", "50%", "100%"]))


@settings(max_examples=200, deadline=None)
@given(replicas=st.integers(1, 12), surge=limits, unavailable=limits, split=st.integers(0, 12), happenings=events)
def test_a_rollout_never_leaves_its_limits_and_always_ends(
    replicas: int, surge: int | str, unavailable: int | str, split: int, happenings: list[tuple[Any, ...]]
) -> None:
    document = deployment(replicas=replicas, strategy=rolling(surge, unavailable))
    posts = fenceposts(document)
    world = World(document, [min(split, replicas), replicas - min(split, replicas)])
    for happening in happenings:
        if happening[0] == "step":
            world.step()
        else:
            world.sync(happening[1], happening[2])
        assert world.told <= replicas + posts.surge
        assert world.surely_available >= replicas - posts.unavailable
    for _ in range(20 * replicas):
        world.step()
        for index in range(len(world.sets)):
            world.sync(index, replicas)
    assert [each["spec"]["replicas"] for each in world.sets] == [replicas, 0, 0]


@settings(max_examples=200, deadline=None)
@given(
    replicas=st.integers(1, 10),
    surge=limits,
    unavailable=limits,
    failures=st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=40),
)
def test_pods_that_fail_on_their_own_never_make_a_step_take_more(
    replicas: int, surge: int | str, unavailable: int | str, failures: list[int | None]
) -> None:
    document = deployment(replicas=replicas, strategy=rolling(surge, unavailable))
    minimum = replicas - fenceposts(document).unavailable
    world = World(document, [replicas])
    for failure in failures:
        if failure is not None:
            world.fail(failure)
        before = world.surely_available
        world.step()
        # A step takes available pods only from what is above the minimum.
        assert world.surely_available >= min(before, minimum)
        world.sync(0, 1)
        world.sync(1, 0)
