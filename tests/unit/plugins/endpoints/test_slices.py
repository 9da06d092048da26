"""Endpoints in slices: what they say of each pod, and how few writes they need."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import metadata, node, owned_by, pod, service
from kube_core._kit.clock import FakeClock
from kube_core.meta.documents import Key
from kube_plugins.controllers.endpointslice.endpoints import desired_groups
from kube_plugins.controllers.endpointslice.slices import MAX_ENDPOINTS, Plan, plan_slices
from kube_plugins.controllers.endpointslice.tracker import PATIENCE, SliceTracker

SERVICE = service()
NODES = {"n": node("n")}
_names = itertools.count()


def running(index: int, **more: Any) -> dict[str, Any]:
    found = pod(f"p{index}", node="n", ready=True, ip=f"10.1.{index // 250}.{index % 250}", **more)
    found["metadata"]["uid"] = f"pod-{index}"
    return found


def plan(pods: list[dict[str, Any]], present: list[dict[str, Any]], of: dict[str, Any] = SERVICE) -> Plan:
    return plan_slices(of, "IPv4", desired_groups(of, pods, "IPv4", NODES), present, owned_by(of)[0])


def carried_out(present: list[dict[str, Any]], writes: Plan) -> list[dict[str, Any]]:
    gone = {each["metadata"]["name"] for each in writes.delete} | {each["metadata"]["name"] for each in writes.update}
    made = []
    for document in writes.create:
        name = f"slice-{next(_names)}"
        made.append({**document, "metadata": {**metadata(name), **document["metadata"], "name": name}})
    return [each for each in present if each["metadata"]["name"] not in gone] + list(writes.update) + made


def test_conditions_tell_ready_from_serving_and_terminating() -> None:
    pods = [running(1), running(2, deleting=True), pod("p3", node="n", ip="10.1.0.3")]
    [group] = desired_groups(SERVICE, pods, "IPv4", NODES).values()
    assert [each["conditions"] for each in group.endpoints] == [
        {"ready": True, "serving": True, "terminating": False},
        {"ready": False, "serving": True, "terminating": True},
        {"ready": False, "serving": False, "terminating": False},
    ]
    [group] = desired_groups(service(publishNotReadyAddresses=True), pods, "IPv4", NODES).values()
    assert [each["conditions"]["ready"] for each in group.endpoints] == [True, True, True]


def test_an_endpoint_names_its_pod_node_and_zone() -> None:
    nodes = {"n": node("n", labels={"topology.kubernetes.io/zone": "east"})}
    [group] = desired_groups(SERVICE, [running(1)], "IPv4", nodes).values()
    assert group.endpoints[0]["nodeName"] == "n"
    assert group.endpoints[0]["zone"] == "east"
    assert group.endpoints[0]["targetRef"] == {"kind": "Pod", "namespace": "default", "name": "p1", "uid": "pod-1"}
    assert list(group.ports) == [{"name": "", "port": 8080, "protocol": "TCP"}]


def test_a_pod_is_listed_by_its_addresses_of_the_family() -> None:
    both = running(1)
    both["status"]["podIPs"] = [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]
    [group] = desired_groups(SERVICE, [both, running(2)], "IPv6", NODES).values()
    assert [each["addresses"] for each in group.endpoints] == [["fd00::1"]]


def test_a_new_service_gets_a_slice_of_its_own() -> None:
    [made] = plan([running(1)], []).create
    assert made["metadata"]["generateName"] == "web-"
    assert made["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["addressType"] == "IPv4"


def test_a_service_without_endpoints_has_one_empty_slice_and_keeps_it() -> None:
    present = carried_out([], plan([], []))
    assert [(each["endpoints"], each["ports"]) for each in present] == [([], [])]
    assert plan([], present) == Plan()


def test_the_empty_slice_is_taken_when_endpoints_come_and_left_when_they_go() -> None:
    present = carried_out([], plan([], []))
    writes = plan([running(1)], present)
    assert (len(writes.create), len(writes.update), len(writes.delete)) == (0, 1, 0)
    present = carried_out(present, writes)
    writes = plan([], present)
    assert (len(writes.create), len(writes.update), len(writes.delete)) == (0, 1, 0)


def test_one_pod_more_goes_into_the_fullest_slice_with_room() -> None:
    present = carried_out([], plan([running(i) for i in range(150)], []))
    assert sorted(len(each["endpoints"]) for each in present) == [50, 100]
    writes = plan([running(i) for i in range(151)], present)
    assert [len(each["endpoints"]) for each in writes.update] == [51]
    assert not writes.create


def test_a_pod_that_is_replaced_costs_one_write() -> None:
    present = carried_out([], plan([running(i) for i in range(250)], []))
    writes = plan([running(i) for i in range(1, 251)], present)
    assert (len(writes.create), len(writes.update), len(writes.delete)) == (0, 1, 0)


def test_changed_labels_of_the_service_reach_its_slices() -> None:
    present = carried_out([], plan([running(1)], []))
    headless = service(clusterIP="None")
    headless["metadata"] = {**SERVICE["metadata"], "labels": {"team": "b"}}
    [updated] = plan([running(1)], present, headless).update
    assert updated["metadata"]["labels"]["team"] == "b"
    assert updated["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 400), max_size=320), min_size=1, max_size=4))
def test_slices_always_hold_exactly_the_endpoints_within_their_limit(history: list[set[int]]) -> None:
    present: list[dict[str, Any]] = []
    for indexes in history:
        pods = [running(i) for i in sorted(indexes)]
        present = carried_out(present, plan(pods, present))
        held = [each["addresses"][0] for slice_ in present for each in slice_["endpoints"]]
        assert sorted(held) == sorted(each["status"]["podIP"] for each in pods)
        assert all(len(slice_["endpoints"]) <= MAX_ENDPOINTS for slice_ in present)
        assert present
        assert plan(pods, present) == Plan()


def test_a_cache_that_is_behind_its_own_writes_is_stale() -> None:
    tracker, key = SliceTracker(FakeClock()), Key("default", "web")
    written = {"metadata": {"uid": "u", "resourceVersion": "9"}}
    assert not tracker.is_stale(key, [])
    tracker.wrote(key, written)
    assert tracker.is_stale(key, [])
    assert tracker.is_stale(key, [{"metadata": {"uid": "u", "resourceVersion": "8"}}])
    assert not tracker.is_stale(key, [{"metadata": {"uid": "u", "resourceVersion": "10"}}])
    tracker.gone(key, "u")
    assert not tracker.is_stale(key, [])


@pytest.mark.anyio
async def test_a_slice_whose_end_was_shown_before_its_beginning_is_not_waited_for_long() -> None:
    clock = FakeClock()
    tracker, key = SliceTracker(clock), Key("default", "web")
    tracker.gone(key, "u")
    tracker.wrote(key, {"metadata": {"uid": "u", "resourceVersion": "9"}})
    assert tracker.is_stale(key, [])
    await clock.advance(PATIENCE)
    assert not tracker.is_stale(key, [])


def test_slices_of_a_service_that_is_gone_are_never_built_on() -> None:
    present = carried_out([], plan([running(1)], []))
    again = service()
    writes = plan([running(1)], present, again)
    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in writes.create] == [again["metadata"]["uid"]]
    assert list(writes.delete) == present


def test_a_pod_whose_node_is_gone_is_no_endpoint_unless_all_are_published() -> None:
    assert not desired_groups(SERVICE, [running(1)], "IPv4", {})
    assert desired_groups(service(publishNotReadyAddresses=True), [running(1)], "IPv4", {})
