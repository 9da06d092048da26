"""From what is wanted to what is done: bounds, policies, stabilization windows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_plugins.controllers.horizontalpodautoscaler import limits
from kube_plugins.controllers.horizontalpodautoscaler.limits import Bounds, History

BOUNDS = Bounds(1, 100)


def rules(*policies: tuple[str, int, int], select: str = "Max", window: int = 0) -> dict[str, Any]:
    made = [{"type": kind, "value": value, "periodSeconds": period} for kind, value, period in policies]
    return {"policies": made, "selectPolicy": select, "stabilizationWindowSeconds": window}


def decide(
    wanted: int, current: int, behavior: Any = None, history: History | None = None, bounds: Bounds = BOUNDS
) -> tuple[int, str]:
    found = limits.limit(wanted, current, bounds, behavior, history or History(), 1000.0)
    return found.replicas, found.limited[1]


@pytest.mark.parametrize(
    ("wanted", "current", "bounds", "replicas", "reason"),
    [
        (3, 2, BOUNDS, 3, "DesiredWithinRange"),
        (50, 10, BOUNDS, 20, "ScaleUpLimit"),
        (50, 1, BOUNDS, 4, "ScaleUpLimit"),
        (50, 10, Bounds(1, 15), 15, "TooManyReplicas"),
        (0, 10, Bounds(3, 15), 3, "TooFewReplicas"),
        (0, 10, Bounds(0, 15), 0, "DesiredWithinRange"),
    ],
)
def test_without_a_behavior(wanted: int, current: int, bounds: Bounds, replicas: int, reason: str) -> None:
    assert decide(wanted, current, bounds=bounds) == (replicas, reason)


def test_without_a_behavior_the_highest_of_five_minutes_holds() -> None:
    history = History()
    history.recommend(9, 600.0)  # too long ago
    history.recommend(7, 700.0)
    history.recommend(5, 900.0)
    found = limits.limit(2, 8, BOUNDS, None, history, 1000.0)
    assert (found.replicas, found.able[0]) == (7, "ScaleDownStabilized")
    found = limits.limit(2, 7, BOUNDS, None, history, 1000.5)
    assert (found.replicas, found.able[0]) == (5, "ScaleDownStabilized")
    assert limits.limit(2, 5, BOUNDS, None, history, 1300.0).able[0] == "ReadyForNewScale"


@pytest.mark.parametrize(
    ("up", "replicas"),
    [
        (rules(("Pods", 4, 60)), 14),
        (rules(("Percent", 50, 60)), 15),
        (rules(("Pods", 4, 60), ("Percent", 50, 60)), 15),
        (rules(("Pods", 4, 60), ("Percent", 50, 60), select="Min"), 14),
        (rules(("Pods", 4, 60), select="Disabled"), 10),
        (rules(("Percent", 1, 60)), 11),  # rounded up
    ],
)
def test_policies_say_by_how_much_it_may_grow(up: dict[str, Any], replicas: int) -> None:
    assert decide(50, 10, {"scaleUp": up}) == (replicas, "ScaleUpLimit")


@pytest.mark.parametrize(
    ("down", "replicas"),
    [
        (rules(("Pods", 4, 60)), 6),
        (rules(("Percent", 50, 60)), 5),
        (rules(("Pods", 4, 60), ("Percent", 50, 60), select="Min"), 6),
        (rules(("Pods", 4, 60), select="Disabled"), 10),
        (rules(("Percent", 15, 60)), 8),
    ],
)
def test_policies_say_by_how_much_it_may_shrink(down: dict[str, Any], replicas: int) -> None:
    assert decide(1, 10, {"scaleDown": down}) == (replicas, "ScaleDownLimit")


def test_what_was_done_in_the_period_counts() -> None:
    behavior, history = {"scaleUp": rules(("Pods", 4, 60))}, History()
    limits.remember_change(7, 10, behavior, history, 950.0)
    assert decide(50, 10, behavior, history) == (11, "ScaleUpLimit")
    limits.remember_change(10, 11, behavior, history, 1000.0)
    assert limits.limit(50, 11, BOUNDS, behavior, history, 1009.0).replicas == 11
    assert limits.limit(50, 11, BOUNDS, behavior, history, 1011.0).replicas == 14


def test_an_increase_that_follows_a_decrease_counts_from_before_it() -> None:
    behavior, history = {"scaleUp": rules(("Pods", 2, 60)), "scaleDown": rules(("Pods", 4, 60))}, History()
    limits.remember_change(10, 6, behavior, history, 990.0)
    assert decide(50, 6, behavior, history) == (12, "ScaleUpLimit")


def test_windows_of_both_directions() -> None:
    behavior = {"scaleUp": rules(("Percent", 900, 15), window=60), "scaleDown": rules(("Percent", 100, 15), window=120)}
    history = History()
    for moment, wanted in ((890.0, 9), (930.0, 6), (970.0, 3)):
        history.recommend(wanted, moment)
    found = limits.limit(8, 4, BOUNDS, behavior, history, 1000.0)
    assert (found.replicas, found.able[0]) == (4, "ScaleUpStabilized")
    found = limits.limit(1, 12, BOUNDS, behavior, history, 1000.0)
    assert (found.replicas, found.able[0]) == (9, "ScaleDownStabilized")


POLICY = st.tuples(st.sampled_from(("Pods", "Percent")), st.integers(1, 200), st.integers(1, 120))
RULES = st.one_of(
    st.none(),
    st.builds(
        lambda policies, select, window: rules(*policies, select=select, window=window),
        st.lists(POLICY, min_size=1, max_size=3),
        st.sampled_from(("Max", "Min", "Disabled")),
        st.integers(0, 300),
    ),
)
BEHAVIOR = st.one_of(st.none(), st.fixed_dictionaries({"scaleUp": RULES, "scaleDown": RULES}))
WANTED = st.lists(st.tuples(st.integers(0, 40), st.floats(1.0, 90.0)), min_size=1, max_size=25)


@given(BEHAVIOR, WANTED, st.integers(0, 8), st.integers(0, 30))
def test_never_outside_of_the_bounds_and_never_below_the_window(
    behavior: Any, steps: list[tuple[int, float]], least: int, more: int
) -> None:
    bounds = Bounds(least, max(least + more, 1))
    history, current, now = History(), max(least, 1), 0.0
    recommended: list[tuple[float, int]] = []
    down = (behavior or {}).get("scaleDown") or {}
    window = float(down.get("stabilizationWindowSeconds", limits.STABILIZATION_WINDOW))
    for wanted, seconds in steps:
        now += seconds
        found = limits.limit(wanted, current, bounds, behavior, history, now)
        assert bounds.least <= found.replicas <= bounds.most
        recommended.append((now, wanted))
        if found.replicas < current:
            # What was wanted in the window, as far as the bounds let it, is there.
            highest = max(each for moment, each in recommended if moment > now - window or moment == now)
            assert found.replicas >= min(highest, current)
            assert down.get("selectPolicy") != "Disabled"
        if found.replicas > current and behavior is not None:
            assert (behavior["scaleUp"] or {}).get("selectPolicy") != "Disabled"
        if found.replicas != current:
            limits.remember_change(current, found.replicas, behavior, history, now)
            current = found.replicas


@given(st.integers(1, 20), st.integers(1, 120), st.lists(st.tuples(st.integers(0, 99), st.floats(1, 60)), max_size=30))
def test_no_more_is_added_in_a_period_than_its_policy_lets(
    value: int, period: int, steps: list[tuple[int, float]]
) -> None:
    behavior = {"scaleUp": rules(("Pods", value, period)), "scaleDown": rules(("Pods", 1, 1), select="Disabled")}
    history, current, now = History(), 1, 0.0
    seen = [(now, current)]
    for wanted, seconds in steps:
        now += seconds
        after = limits.limit(wanted, current, BOUNDS, behavior, history, now).replicas
        if after != current:
            limits.remember_change(current, after, behavior, history, now)
            current = after
        seen.append((now, current))
        began = [there for moment, there in seen if moment <= now - period]
        assert current - (began[-1] if began else 1) <= value
