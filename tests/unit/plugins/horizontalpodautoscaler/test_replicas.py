"""How many replicas a metric wants: upstream's documented algorithm, as a table, and what always holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.times import format_time
from kube_plugins.controllers.horizontalpodautoscaler import replicas
from kube_plugins.controllers.horizontalpodautoscaler.replicas import CannotTell, Question, Sample, Tolerances

NOW = 1_767_225_600.0


def pod(
    name: str,
    *,
    phase: str = "Running",
    ready: str | None = "True",
    age: float = 3600.0,
    turned: float | None = None,
    request: str = "1",
    **metadata: Any,
) -> dict[str, Any]:
    """`age` and `turned`: seconds since it started, and since its readiness changed."""
    since = format_time(NOW - (age if turned is None else turned))
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "lastTransitionTime": since}]
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": request, "memory": "1Gi"}}}]},
        "status": {"phase": phase, "startTime": format_time(NOW - age), "conditions": conditions},
    }


def samples(*values: int | None, at: float = NOW) -> dict[str, Sample]:
    return {f"p{number}": Sample(value, at, 15.0) for number, value in enumerate(values) if value is not None}


def pods(count: int, **more: Any) -> list[dict[str, Any]]:
    return [pod(f"p{number}", **more) for number in range(count)]


def utilization(found: list[dict[str, Any]], used: dict[str, Sample], target: int, current: int | None = None) -> int:
    question = Question(len(found) if current is None else current, found, NOW)
    return replicas.by_utilization(used, question, target, "cpu")[0]


@pytest.mark.parametrize(
    ("used", "target", "wanted"),
    [
        ((300, 500, 700), 30, 5),  # 50% of what is to be 30%
        ((300, 500, 700), 50, 3),
        ((300, 500, 700), 46, 3),  # within a tenth
        ((300, 500, 700), 45, 4),  # and not
        ((100, 300, 500, 250, 250), 50, 3),
        ((0, 0, 0), 50, 0),
        ((2000, 2000), 100, 4),
    ],
)
def test_as_many_as_bring_the_ratio_to_one(used: tuple[int, ...], target: int, wanted: int) -> None:
    assert utilization(pods(len(used)), samples(*used), target) == wanted


def test_the_percentage_and_the_average_are_told() -> None:
    question = Question(3, pods(3, request="2"), NOW)
    assert replicas.by_utilization(samples(500, 600, 700), question, 50, "cpu")[1:] == (30, 600)


@pytest.mark.parametrize(
    ("used", "target", "wanted"),
    [
        # More is wanted: the unknown one uses nothing.
        ((700, 800, None), 30, 5),  # 75% → 1500/3000 = 50% → 1.67 × 3
        # That would turn the direction: nothing.
        ((400, 400, None, None), 30, 4),
        # Fewer are wanted: it uses all that it requested.
        ((100, 100, None), 50, 3),  # 10% → 1200/3000 = 40% → 0.8 × 3
        ((100, 100, 100, 100, 100, None), 60, 3),  # 10% → 1500/6000 = 25% → 0.42 × 6
        # As many as it wanted anyhow.
        ((500, 500, None), 50, 3),
    ],
)
def test_what_is_unknown_damps_the_change(used: tuple[int | None, ...], target: int, wanted: int) -> None:
    assert utilization(pods(len(used)), samples(*used), target) == wanted


def test_a_target_above_all_that_is_requested_is_what_the_unknown_use() -> None:
    # 100% of 200: fewer; the unknown one at 200% gives 133% of 200, not the half.
    assert utilization(pods(3), samples(1000, 1000, None), 200) == 2


def test_pods_that_start_use_nothing_when_more_are_wanted_and_do_not_count_otherwise() -> None:
    starting = [*pods(2), pod("p2", ready="False", age=60)]
    # 900/1000 of two is 90% of 30: three times; of three with one at nothing it is twice.
    assert utilization(starting, samples(900, 900, 900), 30) == 6
    # 10% of 50: one of two; the third does not count.
    assert utilization(starting, samples(100, 100, 900), 50) == 1


@pytest.mark.parametrize(
    ("starting", "at", "counts"),
    [
        # Within five minutes of its start: ready, and a whole window measured since.
        (pod("p0", age=60, turned=20), NOW, True),
        (pod("p0", age=60, turned=10), NOW, False),
        (pod("p0", age=60, turned=20, ready="False"), NOW, False),
        # Later: only what was never ready is left out.
        (pod("p0", age=600, turned=580, ready="False"), NOW, False),
        (pod("p0", age=600, turned=60, ready="False"), NOW, True),
        (pod("p0", age=600, turned=1), NOW, True),
        (pod("p0", ready=None), NOW, False),
        (pod("p0", phase="Pending"), NOW, False),
    ],
)
def test_when_the_cpu_of_a_pod_counts(starting: dict[str, Any], at: float, counts: bool) -> None:
    found = replicas.group([starting], samples(1, at=at), "cpu", NOW)
    assert (found.ready == 1, "p0" in found.unready) == (counts, not counts)


def test_memory_counts_as_soon_as_it_is_measured() -> None:
    assert replicas.group([pod("p0", age=1, ready="False")], samples(1), "memory", NOW).ready == 1


def test_pods_that_end_or_failed_do_not_count() -> None:
    found = [*pods(2), pod("p2", deletionTimestamp="2026-01-01T00:00:00Z"), pod("p3", phase="Failed")]
    assert utilization(found, samples(500, 500, 5000, 5000), 50, current=2) == 2


@pytest.mark.parametrize(
    ("found", "used", "why"),
    [
        ([], samples(1), "no pods returned by selector while calculating replica count"),
        (
            pods(1, ready="False", age=5),
            samples(1),
            "did not receive metrics for targeted pods (pods might be unready)",
        ),
        (pods(1), {"other": Sample(1, NOW, 1)}, "no metrics returned matched known pods"),
    ],
)
def test_what_cannot_be_told(found: Any, used: Any, why: str) -> None:
    with pytest.raises(CannotTell) as caught:
        utilization(found, used, 50)
    assert str(caught.value) == why


def test_requests_are_of_the_whole_pod_or_of_one_container() -> None:
    both = pod("p0")
    both["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}},
        {"name": "init", "resources": {"requests": {"cpu": "9"}}},
    ]
    assert replicas.requests_of([both], "cpu") == {"p0": 1250}
    assert replicas.requests_of([both], "cpu", "side") == {"p0": 250}
    with pytest.raises(CannotTell, match="container other not found in Pod p0"):
        replicas.requests_of([both], "cpu", "other")
    with pytest.raises(CannotTell, match="missing request for memory in container side of Pod p0"):
        replicas.requests_of([both], "memory")
    both["spec"]["resources"] = {"requests": {"cpu": "3"}}
    assert replicas.requests_of([both], "cpu") == {"p0": 3000}


def test_a_target_of_each_pods_own() -> None:
    question = Question(3, pods(3), NOW)
    assert replicas.by_average(samples(10_000, 20_000, 30_000), question, 10_000) == (6, 20_000)
    assert replicas.by_average(samples(10_000, 10_500, None), question, 10_000) == (3, 10_250)


@pytest.mark.parametrize(
    ("value", "current", "target", "wanted"),
    [(20_000, 2, 10_000, 4), (10_500, 2, 10_000, 2), (1, 0, 10_000, 1), (0, 0, 10_000, 0), (35_000, 0, 10_000, 4)],
)
def test_a_target_of_what_is_not_the_pods(value: int, current: int, target: int, wanted: int) -> None:
    assert replicas.by_value(value, Question(current, pods(current), NOW), target) == wanted


def test_a_target_of_each_pods_part() -> None:
    usual = Tolerances()
    assert replicas.by_value_per_pod(8600, 3, 2000, usual) == (5, 2867)
    assert replicas.by_value_per_pod(6400, 3, 2000, usual) == (3, 2134)
    assert replicas.by_value_per_pod(8600, 0, 2000, usual) == (5, 8600)


def test_tolerances_are_of_each_direction() -> None:
    wide = Tolerances(down=0.0, up=0.5)
    assert replicas.by_value(14_000, Question(2, pods(2), NOW, wide), 10_000) == 2
    assert replicas.by_value(9_000, Question(2, pods(2), NOW, wide), 10_000) == 2  # 1.8 rounded up
    assert replicas.by_value(4_000, Question(2, pods(2), NOW, wide), 10_000) == 1


USED = st.lists(st.one_of(st.none(), st.integers(0, 5000)), min_size=1, max_size=8)


@given(USED, st.integers(1, 300))
def test_a_guess_never_turns_the_direction(used: list[int | None], target: int) -> None:
    known = [each for each in used if each is not None]
    if not known:
        return
    current = len(used)
    wanted = utilization(pods(current), samples(*used), target)
    percent = sum(known) * 100 // (1000 * len(known))
    if percent > target:
        assert wanted >= current or len(known) == current
    elif percent < target:
        assert wanted <= current


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=8), st.integers(1, 300))
def test_with_so_many_the_same_work_is_no_more_than_the_target(used: list[int], target: int) -> None:
    found = pods(len(used))
    wanted = utilization(found, samples(*used), target)
    if wanted != len(used):
        percent = sum(used) * 100 // (1000 * len(used))
        assert percent * len(used) <= target * wanted
