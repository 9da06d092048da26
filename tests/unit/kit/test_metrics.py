"""Metrics and their text."""

from __future__ import annotations

import pytest

from kube_core._kit.metrics import Metrics


def test_the_text_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.counter("b_total", "Bs.", "kind").cell('a "quoted"\nname').value += 2
    metrics.reading("c", "Cs.", lambda: [((), 1.5)])
    observed = metrics.histogram("a_seconds", "As.", (0.25, 1), "kind").cell("x")
    for value in (0.125, 0.25, 0.5, 7):
        observed.observe(value)
    assert metrics.text().splitlines() == [
        "# HELP a_seconds As.",
        "# TYPE a_seconds histogram",
        'a_seconds_bucket{kind="x",le="0.25"} 2',
        'a_seconds_bucket{kind="x",le="1"} 3',
        'a_seconds_bucket{kind="x",le="+Inf"} 4',
        'a_seconds_sum{kind="x"} 7.875',
        'a_seconds_count{kind="x"} 4',
        "# HELP b_total Bs.",
        "# TYPE b_total counter",
        'b_total{kind="a \\"quoted\\"\\nname"} 2',
        "# HELP c Cs.",
        "# TYPE c gauge",
        "c 1.5",
    ]


def test_a_name_is_declared_once() -> None:
    metrics = Metrics()
    metrics.counter("a", "As.")
    with pytest.raises(ValueError, match="twice"):
        metrics.gauge("a", "As.")
