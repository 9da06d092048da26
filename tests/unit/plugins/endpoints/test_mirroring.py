"""What of hand-made Endpoints is mirrored, and into which slices."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.objects import metadata, service
from kube_plugins.controllers.endpointslice.slices import Plan
from kube_plugins.controllers.endpointslicemirroring.mirror import CAPACITY, is_mirrored, plan_mirror

_names = itertools.count()
PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def endpoints(*subsets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**metadata("web"), "uid": "the-endpoints", **more},
        "subsets": list(subsets),
    }


def subset(*ips: str, not_ready: tuple[str, ...] = (), ports: Any = PORTS) -> dict[str, Any]:
    return {
        "addresses": [{"ip": ip} for ip in ips],
        "notReadyAddresses": [{"ip": ip} for ip in not_ready],
        "ports": ports,
    }


def carried_out(present: list[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    gone = {each["metadata"]["name"] for each in (*plan.delete, *plan.update)}
    made = [{**each, "metadata": {**each["metadata"], "name": f"s{next(_names)}"}} for each in plan.create]
    return [each for each in present if each["metadata"]["name"] not in gone] + list(plan.update) + made


def held(slices: list[dict[str, Any]]) -> set[tuple[str, str, bool]]:
    return {
        (slice_["addressType"], each["addresses"][0], each["conditions"]["ready"])
        for slice_ in slices
        for each in slice_["endpoints"]
    }


@pytest.mark.parametrize(
    ("more", "of_service", "mirrored"),
    [
        ({}, service(selector=None), True),
        ({}, service(), False),
        ({}, None, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, service(selector=None), False),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, service(selector=None), False),
    ],
)
def test_only_endpoints_of_services_without_a_selector_are_mirrored(
    more: dict[str, Any], of_service: dict[str, Any] | None, mirrored: bool
) -> None:
    assert is_mirrored(endpoints(**more), of_service) is mirrored


def test_a_slice_for_each_family_says_the_same() -> None:
    named = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "yes"}
    given_ones = endpoints(
        subset("10.0.0.1", "fd00::1", not_ready=("10.0.0.2",)), labels={"team": "a"}, annotations=named
    )
    plan = plan_mirror(given_ones, []).plan
    assert held(list(plan.create)) == {
        ("IPv4", "10.0.0.1", True),
        ("IPv4", "10.0.0.2", False),
        ("IPv6", "fd00::1", True),
    }
    slice_ = plan.create[0]
    assert slice_["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert slice_["metadata"]["annotations"] == {"mine": "yes"}
    assert slice_["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"
    assert slice_["ports"] == PORTS


def test_at_most_a_thousand_addresses_of_a_subset_are_mirrored_ready_ones_first() -> None:
    many = tuple(f"10.1.{index // 250}.{index % 250 + 1}" for index in range(CAPACITY))
    mirrored = plan_mirror(endpoints(subset("10.0.0.1", "10.0.0.2", not_ready=many)), [])
    [slice_] = mirrored.plan.create
    assert len(slice_["endpoints"]) == CAPACITY
    assert mirrored.skipped == 2
    assert sum(each["conditions"]["ready"] for each in slice_["endpoints"]) == 2


def test_addresses_that_are_none_are_counted_and_left_out() -> None:
    mirrored = plan_mirror(endpoints(subset("10.0.0.1", "nonsense")), [])
    assert (mirrored.invalid, mirrored.skipped) == (1, 1)
    assert held(list(mirrored.plan.create)) == {("IPv4", "10.0.0.1", True)}


def test_other_ports_are_written_into_the_slice_there_is() -> None:
    present = carried_out([], plan_mirror(endpoints(subset("10.0.0.1")), []).plan)
    plan = plan_mirror(endpoints(subset("10.0.0.1", ports=[{"port": 81}])), present).plan
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    assert plan.update[0]["ports"] == [{"name": "", "port": 81, "protocol": "TCP"}]


_addresses = st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]))
_subsets = st.lists(st.tuples(_addresses, _addresses, st.sampled_from([80, 81])), max_size=3)


@settings(max_examples=80, deadline=None)
@given(st.lists(_subsets, min_size=1, max_size=4))
def test_slices_say_what_the_endpoints_say_whatever_they_said_before(history: list[Any]) -> None:
    present: list[dict[str, Any]] = []
    for subsets in history:
        wanted = endpoints(
            *(subset(*ready, not_ready=tuple(other - ready), ports=[{"port": port}]) for ready, other, port in subsets)
        )
        present = carried_out(present, plan_mirror(wanted, present).plan)
        assert {each[1] for each in held(present)} == set().union(*(ready | other for ready, other, _ in subsets))
        assert all(each["endpoints"] for each in present)
        assert plan_mirror(wanted, present).plan == Plan()
