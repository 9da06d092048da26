"""What a node's conditions mean, and how fast its pods may be evicted."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_plugins.controllers.nodelifecycle import health
from kube_plugins.controllers.nodelifecycle.heartbeats import Heartbeats
from kube_plugins.controllers.nodelifecycle.zones import EvictionLimits, Zones, is_excluded, state_of, zone_of

NOW = 1_767_225_600.0


def node(ready: str | None = "True", **more: Any) -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "lastHeartbeatTime": "a"}]
    return {
        "metadata": {"name": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", **more.pop("metadata", {})},
        "spec": more.pop("spec", {}),
        "status": {"conditions": [*conditions, *more.pop("conditions", [])]},
    }


def taints(found: Any) -> list[tuple[str, str]]:
    return [(each["key"].removeprefix("node.kubernetes.io/"), each["effect"]) for each in found]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (node("True"), []),
        (node("False"), [("not-ready", "NoSchedule")]),
        (node("Unknown"), [("unreachable", "NoSchedule")]),
        (node(None), [("not-ready", "NoSchedule")]),
        (node(conditions=[{"type": "DiskPressure", "status": "True"}]), [("disk-pressure", "NoSchedule")]),
        (node(conditions=[{"type": "PIDPressure", "status": "Unknown"}]), []),
        (node(spec={"unschedulable": True}), [("unschedulable", "NoSchedule")]),
        (
            node(spec={"taints": [{"key": "gpu", "effect": "NoSchedule"}], "unschedulable": True}),
            [("gpu", "NoSchedule"), ("unschedulable", "NoSchedule")],
        ),
    ],
)
def test_conditions_are_taints_for_pods_to_come(document: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert taints(health.with_scheduling_taints(document, NOW)) == wanted


def test_taints_of_others_stay_and_so_do_times() -> None:
    own = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "timeAdded": "before"}
    evicting = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "before"}
    other = {"key": "team", "value": "a", "effect": "NoSchedule"}
    unreachable = node("Unknown", spec={"taints": [own, other, evicting]})
    assert health.with_scheduling_taints(unreachable, NOW) == [other, evicting, own]
    assert health.with_scheduling_taints(node("True", spec={"taints": [own, other]}), NOW) == [other]
    assert health.with_evicting_taint(unreachable, key=None, now=NOW) == [own, other]
    swapped = health.with_evicting_taint(unreachable, key="node.kubernetes.io/not-ready", now=NOW)
    assert taints(swapped)[-1] == ("not-ready", "NoExecute")
    assert swapped[-1]["timeAdded"] == "2026-01-01T00:00:00Z"


def test_a_silent_node_is_unknown_and_says_whether_it_ever_spoke() -> None:
    conditions = health.silent_conditions(node("True", conditions=[{"type": "PIDPressure", "status": "Unknown"}]), NOW)
    told = {each["type"]: (each["status"], each.get("reason")) for each in conditions}
    assert told == {
        "Ready": ("Unknown", "NodeStatusUnknown"),
        "PIDPressure": ("Unknown", None),
        "MemoryPressure": ("Unknown", "NodeStatusNeverUpdated"),
        "DiskPressure": ("Unknown", "NodeStatusNeverUpdated"),
    }


def test_a_silent_node_stays_as_it_became() -> None:
    silent = node()
    silent["status"]["conditions"] = health.silent_conditions(node(), NOW)
    assert health.silent_conditions(silent, NOW + 60) == silent["status"]["conditions"]


def test_labels_of_older_clients_repeat_the_present_ones() -> None:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64", "beta.kubernetes.io/arch": "amd64"}
    assert health.missing_labels(node(metadata={"labels": labels})) == {
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "arm64",
    }
    assert not health.missing_labels(node())


def test_a_lease_or_a_status_is_a_heartbeat_and_the_same_one_again_is_none() -> None:
    heard, document = Heartbeats(), node()
    heard.hear_node(document, None, 100.0, NOW)
    assert heard.left(document, 130.0) == 20.0
    heard.hear_node(document, {"spec": {"renewTime": "1"}}, 130.0, NOW)
    assert heard.left(document, 140.0) == 40.0
    heard.hear_lease("n", {"spec": {"renewTime": "1"}}, 150.0)
    assert heard.left(document, 150.0) == 30.0
    posted = node()
    posted["status"]["conditions"][0]["lastHeartbeatTime"] = "b"
    heard.hear_node(posted, None, 150.0, NOW)
    assert heard.left(posted, 150.0) == 50.0


def test_a_node_that_never_spoke_has_a_minute_from_when_it_was_made() -> None:
    heard, document = Heartbeats(), node(None)
    heard.hear_node(document, None, 100.0, NOW + 45.0)
    assert heard.left(document, 100.0) == 15.0


@pytest.mark.parametrize(
    ("ready", "not_ready", "state"),
    [
        (0, 0, "Normal"),
        (3, 0, "Normal"),
        (0, 1, "FullDisruption"),
        (1, 2, "Normal"),  # two are too few to tell
        (2, 3, "PartialDisruption"),
        (9, 10, "Normal"),
        (8, 10, "PartialDisruption"),
    ],
)
def test_a_zone_is_disrupted_by_how_many_of_its_nodes_are_not_ready(ready: int, not_ready: int, state: str) -> None:
    assert state_of(ready, not_ready, EvictionLimits()) == state


def test_zones_are_named_by_region_and_zone_of_today_or_before() -> None:
    assert zone_of(node()) == ""
    labels = {"topology.kubernetes.io/region": "eu", "failure-domain.beta.kubernetes.io/zone": "a"}
    assert zone_of(node(metadata={"labels": labels})) == "eu/a"
    assert is_excluded(node(metadata={"labels": {"node.kubernetes.io/exclude-disruption": ""}}))


def fill(zones: Zones, zone: str, ready: int, not_ready: int, now: float = 0.0) -> list[str]:
    return [
        zones.report(f"{zone}-{number}", zone, ready=number < ready, now=now) for number in range(ready + not_ready)
    ]


def test_one_node_in_ten_seconds_is_tainted() -> None:
    zones = Zones()
    fill(zones, "a", 8, 2)
    assert zones.take("a", 0.0) == 0.0
    assert zones.take("a", 4.0) == 6.0
    assert zones.take("a", 10.0) == 0.0


def test_a_small_zone_in_trouble_evicts_nobody_and_a_large_one_slowly() -> None:
    zones = Zones()
    fill(zones, "other", 3, 0)
    fill(zones, "small", 2, 3)
    assert zones.take("small", 0.0) == math.inf
    fill(zones, "large", 40, 60)
    assert zones.take("large", 0.0) == 0.0
    assert zones.take("large", 1.0) == pytest.approx(99.0)
    assert zones.take("other", 1.0) == 0.0


def test_a_zone_without_a_ready_node_evicts_as_usual_while_others_have_some() -> None:
    zones = Zones()
    fill(zones, "a", 3, 0)
    fill(zones, "b", 0, 3)
    assert zones.state("b") == "FullDisruption"
    assert zones.take("b", 0.0) == 0.0


def test_nobody_is_evicted_where_no_node_is_ready_anywhere() -> None:
    zones = Zones()
    assert "entered" not in fill(zones, "a", 1, 2)
    fill(zones, "b", 1, 0)
    assert zones.report("a-0", "a", ready=False, now=1.0) == ""
    assert zones.report("b-0", "b", ready=False, now=2.0) == "entered"
    assert zones.take("a", 1000.0) == math.inf
    assert zones.report("b-0", "b", ready=True, now=1000.0) == "left"
    assert zones.take("a", 1001.0) == 0.0


def test_a_zone_that_recovers_a_little_waits_for_the_first_turn_of_its_new_rate() -> None:
    zones = Zones()
    fill(zones, "other", 1, 0)
    fill(zones, "a", 2, 3)
    assert zones.take("a", 50.0) == math.inf
    zones.report("a-2", "a", ready=True, now=50.0)
    assert zones.take("a", 50.0) == 10.0


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from("ab"), st.sampled_from(("ready", "not", "gone"))), max_size=60
    ),
)
def test_states_are_those_of_the_nodes_whatever_happened_before(events: list[tuple[int, str, str]]) -> None:
    zones, present, now = Zones(), dict[str, tuple[str, bool]](), 0.0
    tainted: dict[str, list[float]] = {"a": [], "b": []}
    for number, zone, what in events:
        now += 1.0
        name = f"n{number}"
        if what == "gone":
            zones.forget(name, now)
            present.pop(name, None)
        else:
            zones.report(name, zone, ready=what == "ready", now=now)
            present[name] = zone, what == "ready"
        dark = bool(present)
        for each in "ab":
            readiness = [ready for where, ready in present.values() if where == each]
            if readiness:
                state = state_of(readiness.count(True), readiness.count(False), zones.limits)
                assert zones.state(each) == state
                dark = dark and state == "FullDisruption"
            if zones.take(each, now) == 0.0:
                tainted[each].append(now)
        assert zones.dark == dark
    for moments in tainted.values():
        # Never faster than the usual rate, however the rates changed.
        assert all(later - earlier >= 10.0 for earlier, later in itertools.pairwise(moments))
