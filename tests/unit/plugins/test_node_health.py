"""Taints and conditions of nodes."""

from __future__ import annotations

from typing import Any

from kube_core.meta.times import parse_time
from kube_plugins.controllers.nodelifecycle.health import silent_conditions, taints

NOW = parse_time("2026-01-01T00:00:00Z")


def a_node(ready: str | None, **spec: Any) -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}


def keys(node: dict[str, Any]) -> list[tuple[str, str]]:
    return [(taint["key"].partition("/")[2], taint["effect"]) for taint in taints(node, NOW)]


def test_a_ready_node_has_no_taint() -> None:
    assert keys(a_node("True")) == []


def test_a_node_that_never_said_anything_takes_no_pods() -> None:
    assert keys(a_node(None)) == [("not-ready", "NoSchedule")]


def test_not_ready_and_unknown_evict_too() -> None:
    assert keys(a_node("False")) == [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]
    assert keys(a_node("Unknown")) == [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]


def test_a_cordoned_node_is_unschedulable_and_keeps_the_taints_of_others() -> None:
    other = {"key": "example.org/gpu", "effect": "NoSchedule"}
    assert keys(a_node("True", unschedulable=True, taints=[other])) == [
        ("gpu", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ]


def test_a_taint_that_stays_keeps_its_time() -> None:
    old = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "2025-01-01T00:00:00Z"}
    assert taints(a_node("False", taints=[old]), NOW)[0] == old


def test_a_silent_node_is_unknown_and_stays_as_it_became() -> None:
    conditions = silent_conditions(a_node("True"), NOW)
    ready = next(each for each in conditions if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    again = {"status": {"conditions": conditions}}
    assert silent_conditions(again, NOW + 60) == conditions
