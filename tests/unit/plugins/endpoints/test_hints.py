"""For which zones and nodes endpoints are meant."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import metadata, node, service
from kube_plugins.controllers.endpointslice.hints import hinted, shared_out, shares_of, wants_shares, without
from kube_plugins.controllers.endpointslice.slices import Plan

ZONE = "topology.kubernetes.io/zone"
AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def endpoint(zone: str | None = "a", *, ready: bool = True, node_name: str = "n1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "nodeName": node_name, **more}
    return made if zone is None else {**made, "zone": zone}


def slice_of(*endpoints: dict[str, Any], name: str = "s") -> dict[str, Any]:
    return {"metadata": metadata(name), "endpoints": list(endpoints)}


def hints(plan: Plan) -> list[Any]:
    return [each.get("hints") for slice_ in (*plan.create, *plan.update) for each in slice_["endpoints"]]


def zones(*names: str) -> dict[str, Any]:
    return {"forZones": [{"name": name} for name in names]}


@pytest.mark.parametrize(
    ("distribution", "given_endpoint", "expected"),
    [
        (None, endpoint(), None),
        (None, endpoint(hints=zones("a")), None),
        ("PreferClose", endpoint(), zones("a")),
        ("PreferSameZone", endpoint(), zones("a")),
        ("PreferSameZone", endpoint(hints=zones("b")), zones("a")),
        ("PreferSameZone", endpoint(None), None),
        ("PreferSameZone", endpoint(ready=False), None),
        ("PreferSameNode", endpoint(), {**zones("a"), "forNodes": [{"name": "n1"}]}),
        ("PreferSameNode", endpoint(None), {"forNodes": [{"name": "n1"}]}),
    ],
)
def test_traffic_distribution_keeps_endpoints_near(
    distribution: str | None, given_endpoint: dict[str, Any], expected: Any
) -> None:
    spec = {"trafficDistribution": distribution} if distribution else {}
    assert hints(hinted(service(**spec), Plan(create=(slice_of(given_endpoint),)))) == [expected]


def test_slices_that_are_right_are_not_written_again() -> None:
    right, wrong = slice_of(endpoint(hints=zones("a"))), slice_of(endpoint(hints=zones("b")))
    plan = hinted(service(trafficDistribution="PreferSameZone"), Plan(keep=(right, wrong)))
    assert plan.keep == (right,)
    assert hints(plan) == [zones("a")]
    assert hinted(service(), Plan(keep=(slice_of(endpoint()),))) == Plan()
    assert hints(without(Plan(keep=(right,)))) == [None]


def on(zone: str | None, cpu: str = "2", *, ready: bool = True, role: str = "") -> dict[str, Any]:
    labels = {f"node-role.kubernetes.io/{role}": ""} if role else {}
    made = node(f"node-{zone}-{cpu}", labels={**({ZONE: zone} if zone else {}), **labels})
    made["status"] = {
        "allocatable": {"cpu": cpu},
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return made


@pytest.mark.parametrize(
    ("nodes", "shares"),
    [
        ([on("a"), on("b")], {"a": 0.5, "b": 0.5}),
        ([on("a", "500m"), on("b", "1500m")], {"a": 0.25, "b": 0.75}),
        ([on("a"), on("b"), on("b", ready=False)], {"a": 0.5, "b": 0.5}),
        ([on("a"), on("b"), on("c", role="control-plane")], {"a": 0.5, "b": 0.5}),
        ([on("a"), on("a")], {}),
        ([on("a"), on("b"), on(None)], {}),
        ([on("a"), on("b", "0")], {}),
        ([], {}),
    ],
)
def test_zones_have_the_shares_of_their_nodes(nodes: list[dict[str, Any]], shares: dict[str, float]) -> None:
    assert shares_of(nodes) == shares


@pytest.mark.parametrize(
    ("endpoints", "shares", "why"),
    [
        ([endpoint()], {}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        ([endpoint()], {"a": 0.5, "b": 0.5}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (
            [endpoint()] * 2,
            {"a": 0.2, "b": 0.8},
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
            "(2 endpoints, 2 zones)",
        ),
        (
            [endpoint(None), endpoint()],
            {"a": 0.5, "b": 0.5},
            "One or more endpoints do not have a zone specified",
        ),
    ],
)
def test_where_endpoints_cannot_be_shared_out_it_is_said_why(
    endpoints: list[dict[str, Any]], shares: dict[str, float], why: str
) -> None:
    assert shared_out(Plan(create=(slice_of(*endpoints),)), shares) == why


def told(plan: Plan | str) -> Counter[str]:
    assert isinstance(plan, Plan)
    slices = (*plan.create, *plan.update, *plan.keep)
    endpoints = itertools.chain.from_iterable(each["endpoints"] for each in slices)
    return Counter(each["hints"]["forZones"][0]["name"] for each in endpoints if each["conditions"]["ready"])


def test_zones_with_too_many_endpoints_give_to_those_with_too_few() -> None:
    plan = shared_out(Plan(create=(slice_of(*[endpoint("a")] * 4),)), {"a": 0.5, "b": 0.5})
    assert told(plan) == {"a": 2, "b": 2}


def test_what_is_shared_out_well_enough_stays() -> None:
    right = slice_of(endpoint("a", hints=zones("a")), endpoint("a", hints=zones("b")), endpoint("b", ready=False))
    plan = shared_out(Plan(keep=(right,)), {"a": 0.5, "b": 0.5})
    assert isinstance(plan, Plan)
    assert (plan.keep, plan.update) == ((right,), ())


@given(
    st.lists(st.sampled_from("abc"), min_size=3, max_size=60),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
)
def test_no_zone_is_overloaded_by_more_than_a_fifth(of_zones: list[str], cpus: tuple[int, int, int]) -> None:
    shares = {zone: cpu / sum(cpus) for zone, cpu in zip("abc", cpus, strict=True)}
    plan = shared_out(Plan(create=(slice_of(*(endpoint(zone) for zone in of_zones)),)), shares)
    if isinstance(plan, str):
        return
    for zone, number in shares.items():
        assert told(plan)[zone] * 1.2 >= number * len(of_zones) - 1e-9


def test_the_annotation_asks_for_sharing_out_and_the_old_one_goes_before_it() -> None:
    old = "service.kubernetes.io/topology-aware-hints"
    for given_ones, wanted in (({}, False), (AUTO, True), ({**AUTO, old: "Disabled"}, False), ({old: "auto"}, True)):
        assert wants_shares({"metadata": {"annotations": given_ones}}) is wanted
