"""Taint eviction, pod garbage, node ranges, TTLs: the plans of the controllers that look after nodes."""

from __future__ import annotations

import ipaddress
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_plugins.controllers.nodeipam.ranges import NodeRanges, RangeFull
from kube_plugins.controllers.podgc import garbage
from kube_plugins.controllers.podsofnodes import disruption
from kube_plugins.controllers.tainteviction.eviction import no_execute_taints, tolerated_for
from kube_plugins.controllers.ttl.controller import step_for

UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
TEAM = {"key": "team", "value": "a", "effect": "NoExecute"}


def tolerating(key: str, seconds: int | None = None, **more: str) -> dict[str, Any]:
    toleration: dict[str, Any] = {"key": key, "operator": "Exists", **more}
    return toleration if seconds is None else {**toleration, "tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("tolerations", "taints", "seconds"),
    [
        ([], [UNREACHABLE], 0.0),
        ([tolerating(UNREACHABLE["key"], 300)], [UNREACHABLE], 300.0),
        ([tolerating(UNREACHABLE["key"])], [UNREACHABLE], math.inf),
        ([tolerating(UNREACHABLE["key"], -5)], [UNREACHABLE], 0.0),
        ([tolerating(UNREACHABLE["key"], 300)], [UNREACHABLE, TEAM], 0.0),
        ([tolerating(UNREACHABLE["key"], 300), tolerating("team", 60)], [UNREACHABLE, TEAM], 60.0),
        ([tolerating(UNREACHABLE["key"]), tolerating("team", 60)], [UNREACHABLE, TEAM], 60.0),
        # The first that answers counts, and the time of one that answers nothing does not.
        ([tolerating("team"), tolerating("team", 1), tolerating("x", 1)], [TEAM], math.inf),
        ([tolerating("team", 30, effect="NoSchedule")], [TEAM], 0.0),
        ([{"operator": "Exists"}], [UNREACHABLE, TEAM], math.inf),
        ([], [], math.inf),
    ],
)
def test_how_long_a_pod_may_stay(tolerations: list[Any], taints: list[Any], seconds: float) -> None:
    assert tolerated_for(tolerations, taints) == seconds


def test_only_no_execute_evicts() -> None:
    taints = [{"key": "a", "effect": "NoSchedule"}, TEAM, {"key": "b", "effect": "PreferNoSchedule"}]
    assert no_execute_taints({"spec": {"taints": taints}}) == [TEAM]


def test_a_disruption_is_told_once_and_keeps_its_time() -> None:
    pod: dict[str, Any] = {"metadata": {"generation": 3}, "status": {}}
    first = disruption(pod, "A", "why", 0.0)
    assert first is not None
    assert first["observedGeneration"] == 3
    pod["status"]["conditions"] = [first]
    assert disruption(pod, "A", "why", 60.0) is None
    second = disruption(pod, "B", "why", 60.0)
    assert second is not None
    assert second["lastTransitionTime"] == first["lastTransitionTime"]


def ended(name: str, created: str, reason: str = "", phase: str = "Failed") -> dict[str, Any]:
    status = {"phase": phase, **({"reason": reason} if reason else {})}
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def test_pods_that_were_evicted_go_first_and_then_the_oldest() -> None:
    pods = [
        ended("young", "2026-01-03T00:00:00Z"),
        ended("old", "2026-01-01T00:00:00Z", phase="Succeeded"),
        ended("evicted", "2026-01-04T00:00:00Z", reason="Evicted"),
        ended("b", "2026-01-02T00:00:00Z"),
        ended("a", "2026-01-02T00:00:00Z"),
        ended("running", "2020-01-01T00:00:00Z", phase="Running"),
    ]
    order = [pod["metadata"]["name"] for pod in garbage.surplus(pods, 1)]
    assert order == ["evicted", "old", "a", "b"]
    assert garbage.surplus(pods, 5) == []
    assert garbage.surplus(pods, 0) == []


def test_a_node_is_out_of_service_when_it_is_said_and_true() -> None:
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    node: dict[str, Any] = {
        "spec": {"taints": [taint]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert not garbage.is_out_of_service(node)
    node["status"]["conditions"][0]["status"] = "Unknown"
    assert garbage.is_out_of_service(node)


def test_ranges_are_given_in_turn_and_not_at_once_again() -> None:
    ranges = NodeRanges("10.244.0.0/22")
    assert [ranges.allocate() for _ in range(3)] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    ranges.release("10.244.0.0/24")
    assert ranges.allocate() == "10.244.3.0/24"
    assert ranges.allocate() == "10.244.0.0/24"
    with pytest.raises(RangeFull):
        ranges.allocate()


def test_what_others_have_is_not_given_whatever_its_size() -> None:
    ranges = NodeRanges("10.244.0.0/21")
    ranges.occupy("10.244.0.0/23")
    ranges.occupy("10.244.2.64/26")
    ranges.occupy("192.168.0.0/16")
    assert ranges.allocate() == "10.244.3.0/24"


def test_a_range_of_ipv6_has_larger_parts() -> None:
    assert NodeRanges("fd00:10:244::/56").allocate() == "fd00:10:244::/64"


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=40))
def test_no_two_nodes_have_addresses_in_common(steps: list[int | None]) -> None:
    ranges, given_out = NodeRanges("10.0.0.0/20"), list[str]()
    for step in steps:
        if step is None:
            try:
                given_out.append(ranges.allocate())
            except RangeFull:
                assert len(given_out) == 16
        elif given_out:
            ranges.release(given_out.pop(step % len(given_out)))
        networks = [ipaddress.ip_network(each) for each in given_out]
        assert len(set(networks)) == len(networks)
        assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)


def test_ttls_grow_with_the_cluster_and_do_not_flap() -> None:
    assert step_for(1) == (0, 0)
    assert step_for(100) == (0, 0)
    assert step_for(101) == (1, 15)
    assert step_for(95, 1) == (1, 15)
    assert step_for(89, 1) == (0, 0)
    assert step_for(5000) == (4, 300)
    assert step_for(10, 4) == (0, 0)
