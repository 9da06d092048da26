"""What metrics.k8s.io answers, in the metrics server's own forms."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.metricsserver import documents
from kube_core.metricsserver.points import ContainerRate, PodRates, Rate

NOW = 1_767_225_600.0
POD: dict[str, Any] = {"metadata": {"namespace": "default", "name": "web", "labels": {"app": "web"}}}


def rate(nanocores: int, memory: int, at: float = NOW, window: float = 15.0) -> Rate:
    return Rate(at, window, nanocores, memory)


def metrics(*rates: Rate) -> dict[str, Any]:
    containers = tuple(ContainerRate(f"c{number}", each) for number, each in enumerate(rates))
    return documents.pod_metrics(POD, PodRates("default", "web", "u", containers), NOW)


@pytest.mark.parametrize(
    ("nanocores", "memory", "cpu", "amount"),
    [
        (0, 0, "0", "0"),
        (2_442_913, 13908 * 1024, "2442913n", "13908Ki"),
        (250_000_000, 64 * 1024**2, "250m", "64Mi"),
        (2_000_000_000, 1000, "2", "1k"),
    ],
)
def test_amounts_are_quantities_as_upstream_writes_them(nanocores: int, memory: int, cpu: str, amount: str) -> None:
    [container] = metrics(rate(nanocores, memory))["containers"]
    assert container["usage"] == {"cpu": cpu, "memory": amount}


@pytest.mark.parametrize(
    ("seconds", "text"), [(15.0, "15s"), (15.25, "15.25s"), (60.0, "1m0s"), (3723.5, "1h2m3.5s"), (7200.0, "2h0m0s")]
)
def test_windows_are_written_as_go_writes_durations(seconds: float, text: str) -> None:
    assert metrics(rate(1, 1, window=seconds))["window"] == text


def test_a_pod_is_as_old_as_the_oldest_of_its_figures() -> None:
    found = metrics(rate(1, 1), rate(1, 1, at=NOW - 5, window=20.0))
    assert (found["timestamp"], found["window"]) == ("2025-12-31T23:59:55Z", "20s")
    assert found["metadata"]["labels"] == {"app": "web"}


def test_a_row_adds_up_the_containers_and_brings_what_is_asked_for() -> None:
    item = metrics(rate(250_000_000, 1024), rate(500_000_000, 2048))
    for include, brought in (("Metadata", "PartialObjectMetadata"), ("Object", "PodMetrics"), ("None", None)):
        [row] = documents.table([item], include)["rows"]
        assert row["cells"] == ["web", "750m", "3Ki", "15s"]
        assert row.get("object", {}).get("kind") == brought
