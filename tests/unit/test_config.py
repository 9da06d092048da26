"""The options of a cluster: what goes with what, and what cannot be."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.cluster import Cluster
from kube_core.cluster.addresses import node_ranges
from kube_core.config import ClusterConfig, ConfigError


def test_a_cluster_of_nothing_said_needs_nothing_of_its_machine() -> None:
    config = ClusterConfig()
    assert config.simulated
    assert [config.driver(seam) for seam in ("network", "volume", "proxy", "ingress")] == ["fake"] * 4
    assert config.driver("cloud") == "none"


def test_real_pods_go_with_real_drivers_unless_others_are_chosen() -> None:
    config = ClusterConfig(runtime="process", proxy="fake")
    assert not config.simulated
    wanted = {"network": "loopback", "volume": "hostdir", "proxy": "fake", "ingress": "http", "cloud": "loopback"}
    assert {seam: config.driver(seam) for seam in wanted} == wanted
    assert ClusterConfig(runtime="fake:slow").simulated
    assert ClusterConfig(runtime="process", nodes=0).driver("cloud") == "none"
    assert ClusterConfig(runtime="process", cloud="none").driver("cloud") == "none"
    assert ClusterConfig(cloud="fake").driver("cloud") == "fake"


@pytest.mark.parametrize(
    ("runtime", "network"),
    [("oci", "bridge"), ("oci:runc", "bridge"), ("mixed:fake+oci", "bridge"), ("mixed:oci+process", "loopback")],
)
def test_containers_have_a_network_of_their_own_unless_processes_are_among_them(runtime: str, network: str) -> None:
    assert ClusterConfig(runtime=runtime).driver("network") == network
    assert ClusterConfig(runtime=runtime, network="loopback").driver("network") == "loopback"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"nodes": -1}, "nodes: -1 is less than 0"),
        ({"port": 65536}, "port: 65536 is not a port"),
        ({"port": -1}, "port: -1 is not a port"),
        ({"ingress_port": 70000}, "ingress_port: 70000 is not a port"),
        (
            {"service_cidr": "10.5.0.0/16,fd00::/108"},
            "service_cidr: 10.5.0.0/16,fd00::/108 is several ranges; a cluster has one, and so one family of addresses",
        ),
        ({"pod_cidr": "nonsense"}, "pod_cidr: 'nonsense' does not appear to be an IPv4 or IPv6 network"),
        ({"service_cidr": "10.0.0.1/16"}, "service_cidr: 10.0.0.1/16 has host bits set"),
        ({"service_cidr": "10.0.0.1/32"}, "service_cidr: 10.0.0.1/32 is too small"),
        ({"bind": "nosuch.invalid"}, "bind: 'nosuch.invalid' does not appear to be an IPv4 or IPv6 address"),
        ({"fantasy": 1}, "unexpected keyword argument 'fantasy'"),
        ({"nodes": "three"}, "'<' not supported"),
    ],
)
def test_an_option_that_cannot_be_is_one_clear_line(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Cluster(**options)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_change_a_configuration_that_is_given() -> None:
    cluster = Cluster(ClusterConfig(name="a", nodes=2), nodes=0)
    assert (cluster.config.name, cluster.config.nodes) == ("a", 0)


def test_every_node_has_a_usual_range_where_there_is_room() -> None:
    assert node_ranges("10.244.0.0/16", 3) == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    assert node_ranges("10.244.0.0/16", 0) == []
    assert node_ranges("fd00::/48", 2) == ["fd00::/64", "fd00:0:0:1::/64"]


@given(st.integers(8, 29), st.integers(0, 300))
def test_ranges_of_nodes_do_not_overlap_and_stay_within_the_whole(length: int, nodes: int) -> None:
    whole = ipaddress.ip_network(f"10.0.0.0/{length}")
    try:
        ranges = [ipaddress.ip_network(each) for each in node_ranges(str(whole), nodes)]
    except ConfigError:
        ranges = []
        # A node gets eight addresses or more, and the number of ranges is a power of two.
        assert whole.num_addresses < nodes * 16
    else:
        assert len(ranges) == nodes
    assert all(each.subnet_of(whole) for each in ranges)  # type: ignore[arg-type]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(ranges))


def test_a_range_that_is_too_small_for_its_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the pod range 10\.0\.0\.0/28 is too small for 5 nodes"):
        node_ranges("10.0.0.0/28", 5)


@pytest.mark.parametrize("what", ["client", "server", "bus", "informers", "authority", "background"])
def test_a_cluster_that_was_not_started_says_so(what: str) -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        getattr(Cluster(), what)
