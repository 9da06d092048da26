"""What clouds are asked for: load balancers of Services, what machines say of nodes, and routes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import node, service
from kube_core.abc.cloud import BalancerAddress, BalancerPort, CloudError, Instance, Route
from kube_core.abc.network import NetworkRanges
from kube_drivers.cloud.loopback import balancer_range
from kube_drivers.network.loopback import LoopbackNetwork
from kube_plugins.controllers.cloudnodes.initialising import addresses_of, described
from kube_plugins.controllers.cloudnodes.routing import plan_routes
from kube_plugins.controllers.cloudnodes.taints import UNINITIALIZED
from kube_plugins.controllers.servicelb.plan import (
    FINALIZER,
    balancer_name,
    changes,
    request_of,
    status_of,
    wish_of,
)


def balanced(**spec: Any) -> dict[str, Any]:
    return service(type="LoadBalancer", **spec)


def with_finalizer(found: dict[str, Any], *, deleting: bool = False) -> dict[str, Any]:
    found["metadata"]["finalizers"] = [FINALIZER]
    if deleting:
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return found


@pytest.mark.parametrize(
    ("found", "wish"),
    [
        (balanced(), "balancer"),
        (with_finalizer(balanced()), "balancer"),
        (with_finalizer(balanced(), deleting=True), "cleanup"),
        (with_finalizer(service(type="ClusterIP")), "cleanup"),
        (balanced(loadBalancerClass="example.dev/lb"), "none"),
        (service(type="NodePort"), "none"),
    ],
)
def test_a_service_has_a_load_balancer_by_its_type(found: dict[str, Any], wish: str) -> None:
    assert wish_of(found) == wish


def ready(name: str, **more: Any) -> dict[str, Any]:
    found = node(name, **more)
    found["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return found


def test_a_load_balancer_leads_to_the_ports_of_nodes_that_take_part() -> None:
    found = balanced(
        ports=[{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}],
        loadBalancerSourceRanges=[" 10.0.0.0/8"],
        loadBalancerIP="127.1.2.3",
    )
    nodes = [
        ready("b"),
        ready("a"),
        node("silent"),
        ready("excluded", labels={"node.kubernetes.io/exclude-from-external-load-balancers": "true"}),
        ready("included", labels={"node.kubernetes.io/exclude-from-external-load-balancers": "false"}),
        ready("leaving", taints=[{"key": "ToBeDeletedByClusterAutoscaler"}]),
    ]
    request = request_of(found, nodes)
    assert request.nodes == ("a", "b", "included")
    assert request.ports == (BalancerPort("http", "TCP", 80, 30080),)
    assert request.source_ranges == ("10.0.0.0/8",)
    assert request.wanted_address == "127.1.2.3"
    assert request.name == balancer_name(found)
    assert len(request.name) <= 32
    assert "-" not in request.name


def test_the_status_tells_addresses_with_their_mode_and_names() -> None:
    assert status_of(balanced(), [BalancerAddress("127.0.0.5"), BalancerAddress(hostname="lb.example")]) == {
        "ingress": [{"ip": "127.0.0.5", "ipMode": "VIP"}, {"hostname": "lb.example"}]
    }
    assert status_of(balanced(), []) == {}


def test_changes_are_told_as_events() -> None:
    before, after = service(type="ClusterIP"), balanced(loadBalancerSourceRanges=["10.0.0.0/8", "192.0.2.0/24"])
    assert list(changes(before, after)) == [
        ("Type", "ClusterIP -> LoadBalancer"),
        ("LoadBalancerSourceRanges", " -> [10.0.0.0/8 192.0.2.0/24]"),
    ]


@given(st.text("abcdefgh-", min_size=1, max_size=20))
def test_load_balancers_of_clusters_side_by_side_have_ranges_apart(cluster: str) -> None:
    ranges = LoopbackNetwork.ranges_for(cluster)
    own = balancer_range(cluster, ranges)
    assert own.startswith("127.")
    assert own.split(".")[1:2] != ranges.service_cidr.split(".")[1:2]
    other = LoopbackNetwork.ranges_for(cluster + "x")
    assert (balancer_range("any", other) == own) is (other == ranges)
    assert balancer_range(cluster, NetworkRanges()).endswith("/18")


MACHINE = Instance(
    "fake://n1",
    "big",
    (("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.2"), ("ExternalIP", "192.0.2.1")),
    zone="here-1",
    region="here",
    labels={"rack": "7", "team": "x", "node.kubernetes.io/no": "1"},
)


def test_a_node_is_described_by_its_machine() -> None:
    fresh = node("n1", labels={"team": "mine"}, taints=[{"key": UNINITIALIZED}, {"key": "other"}])
    found = described(fresh, MACHINE)
    assert found["spec"]["providerID"] == "fake://n1"
    assert found["spec"]["taints"] == [{"key": "other"}]
    assert found["metadata"]["labels"] == {
        "kubernetes.io/hostname": "n1",
        "team": "mine",
        "rack": "7",
        "beta.kubernetes.io/instance-type": "big",
        "node.kubernetes.io/instance-type": "big",
        "failure-domain.beta.kubernetes.io/zone": "here-1",
        "topology.kubernetes.io/zone": "here-1",
        "failure-domain.beta.kubernetes.io/region": "here",
        "topology.kubernetes.io/region": "here",
    }


def test_the_address_that_the_kubelet_named_goes_first_and_must_be_the_clouds() -> None:
    found = node("n1")
    found["metadata"]["annotations"] = {"alpha.kubernetes.io/provided-node-ip": "10.0.0.2"}
    found["status"]["addresses"] = [
        {"type": "Hostname", "address": "n1"},
        {"type": "InternalIP", "address": "10.9.9.9"},
    ]
    assert addresses_of(found, MACHINE) == [
        {"type": "InternalIP", "address": "10.0.0.2"},
        {"type": "ExternalIP", "address": "192.0.2.1"},
        {"type": "Hostname", "address": "n1"},
    ]
    found["metadata"]["annotations"] = {"alpha.kubernetes.io/provided-node-ip": "10.0.0.9"}
    with pytest.raises(CloudError, match="is not valid"):
        addresses_of(found, MACHINE)


_routes = st.sets(st.builds(Route, st.sampled_from("abc"), st.sampled_from(["10.1.0.0/24", "10.2.0.0/24"])))


@given(_routes, _routes)
def test_routes_are_made_what_the_nodes_need(wanted: set[Route], present: set[Route]) -> None:
    names = sorted({route.node for route in wanted})
    nodes = [node(name, podCIDRs=sorted(each.cidr for each in wanted if each.node == name)) for name in names]
    plan = plan_routes(nodes, present)
    assert (present - set(plan.delete)) | set(plan.create) == wanted
    assert not set(plan.create) & present
