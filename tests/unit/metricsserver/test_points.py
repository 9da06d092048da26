"""Rates from cumulative figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.abc.usage import ContainerFigures, NodeFigures, PodFigures, Usage, total
from kube_core.metricsserver.points import Points, Rate, rate_of

SECOND = 1_000_000_000


def node(at: float, *containers: tuple[str, float, float], used: float = 0.0) -> NodeFigures:
    """A node with one pod; of its containers (name, start, CPU seconds)."""
    figures = [ContainerFigures(name, start, Usage(at, int(cpu * SECOND), 1024)) for name, start, cpu in containers]
    pods = [PodFigures("default", "web", "u", figures)] if figures else []
    return NodeFigures("n", 0.0, Usage(at, int(used * SECOND), 4096), pods)


def test_a_rate_is_that_between_the_last_two_looks() -> None:
    before, now = Usage(100.0, 5 * SECOND, 1), Usage(115.0, 8 * SECOND, 2)
    assert rate_of(before, now, 0.0) == Rate(115.0, 15.0, SECOND // 5, 2)


def test_what_was_looked_at_once_counts_from_its_start_when_that_is_long_enough_ago() -> None:
    assert rate_of(None, Usage(100.0, 5 * SECOND, 1), 91.0) is None
    assert rate_of(None, Usage(100.0, 5 * SECOND, 1), 90.0) == Rate(100.0, 10.0, SECOND // 2, 1)


def test_a_rate_that_the_runtime_knows_is_taken() -> None:
    assert rate_of(None, Usage(100.0, 0, 1, nanocores=7), 100.0) == Rate(100.0, 15.0, 7, 1)


def test_a_container_that_began_again_counts_anew() -> None:
    points = Points()
    points.look([node(100.0, ("main", 0.0, 50.0))])
    points.look([node(115.0, ("main", 104.0, 1.1))])
    [rate] = points.pods["default", "web"].containers
    assert (rate.rate.window, rate.rate.nanocores) == (11.0, SECOND // 10)


def test_a_pod_has_metrics_when_each_of_its_containers_has() -> None:
    points = Points()
    points.look([node(100.0, ("old", 0.0, 50.0), ("young", 95.0, 1.0))])
    assert points.pods == {}
    points.look([node(115.0, ("old", 0.0, 50.0), ("young", 95.0, 4.0))])
    assert [(each.name, each.rate.nanocores) for each in points.pods["default", "web"].containers] == [
        ("old", 0),
        ("young", SECOND // 5),
    ]


def test_what_no_node_mentions_any_more_is_forgotten() -> None:
    points = Points()
    points.look([node(100.0, ("main", 0.0, 1.0), used=2.0)])
    assert set(points.nodes) == {"n"}
    points.look([])
    assert (points.nodes, points.pods) == ({}, {})
    # It is looked at as for the first time.
    points.look([node(200.0, ("main", 0.0, 2.0), used=3.0)])
    assert points.pods["default", "web"].containers[0].rate.window == 200.0


def test_the_rate_of_several_is_known_where_each_ones_is() -> None:
    known = Usage(1.0, 5, 6, nanocores=7)
    assert total([known, known], 2.0) == Usage(2.0, 10, 12, nanocores=14)
    assert total([known, Usage(1.0, 5, 6)], 2.0).nanocores is None
    assert total([], 2.0) == Usage(2.0, 0, 0, nanocores=0)


@given(st.lists(st.tuples(st.floats(0.1, 30.0), st.floats(0.0, 4.0)), min_size=1, max_size=10))
def test_rates_add_up_to_what_was_used(steps: list[tuple[float, float]]) -> None:
    points, at, used, told = Points(), 10.0, 0.0, 0.0
    points.look([node(at, ("main", 0.0, 0.0))])
    for seconds, cores in steps:
        at, used = at + seconds, used + seconds * cores
        points.look([node(at, ("main", 0.0, used))])
        [container] = points.pods["default", "web"].containers
        assert container.rate.nanocores >= 0
        told += container.rate.nanocores / SECOND * container.rate.window
    assert told == pytest.approx(used, abs=1e-6)
