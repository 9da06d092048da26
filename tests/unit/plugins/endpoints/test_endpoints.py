"""What the Endpoints object of a Service says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import pod, service
from kube_core.meta.documents import labels_of
from kube_plugins.controllers.endpoints.subsets import CAPACITY, build_endpoints, same_endpoints


def addresses(document: Any, kind: str = "addresses") -> list[str]:
    return [each["ip"] for subset in document.get("subsets", ()) for each in subset.get(kind, ())]


def test_ready_pods_are_addresses_and_the_others_are_not_ready_ones() -> None:
    pods = [
        pod("b", node="n2", ready=True, ip="10.1.0.10"),
        pod("a", node="n1", ready=True, ip="10.1.0.9"),
        pod("c", node="n1", ip="10.1.0.11"),
        pod("going", node="n1", ready=True, ip="10.1.0.12", deleting=True),
        pod("ended", node="n1", ip="10.1.0.13", phase="Succeeded"),
        pod("no-ip", node="n1"),
        pod("other", node="n1", ready=True, ip="10.1.0.14", labels={"app": "other"}),
    ]
    document = build_endpoints(service(), pods, None)
    assert addresses(document) == ["10.1.0.9", "10.1.0.10"]
    assert addresses(document, "notReadyAddresses") == ["10.1.0.11"]
    [subset] = document["subsets"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert subset["addresses"][0] == {
        "ip": "10.1.0.9",
        "nodeName": "n1",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": pods[1]["metadata"]["uid"]},
    }
    assert labels_of(document) == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def test_addresses_that_are_not_ready_are_published_where_the_service_says_so() -> None:
    pods = [pod("a", node="n", ip="10.1.0.1"), pod("b", node="n", ip="10.1.0.2", deleting=True)]
    assert addresses(build_endpoints(service(publishNotReadyAddresses=True), pods, None)) == ["10.1.0.1", "10.1.0.2"]


def with_port(name: str, ip: str, number: int) -> dict[str, Any]:
    found = pod(name, node="n", ready=True, ip=ip)
    found["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": number, "protocol": "TCP"}]
    return found


def test_a_named_port_is_resolved_in_each_pod() -> None:
    pods = [
        with_port("a", "10.1.0.1", 8080),
        with_port("b", "10.1.0.2", 9090),
        pod("c", node="n", ready=True, ip="10.1.0.3"),
    ]
    document = build_endpoints(service(ports=[{"name": "web", "port": 80, "targetPort": "http"}]), pods, None)
    assert [
        (subset["ports"][0]["port"], [each["ip"] for each in subset["addresses"]]) for subset in document["subsets"]
    ] == [
        (8080, ["10.1.0.1"]),
        (9090, ["10.1.0.2"]),
    ]


def test_a_headless_service_without_ports_still_lists_addresses_and_hostnames() -> None:
    found = pod("a", node="n", ready=True, ip="10.1.0.1", hostname="a", subdomain="web")
    document = build_endpoints(service(clusterIP="None", ports=[]), [found], None)
    assert document["subsets"][0]["addresses"][0]["hostname"] == "a"
    assert "ports" not in document["subsets"][0]
    assert labels_of(document)["service.kubernetes.io/headless"] == ""


def test_too_many_addresses_are_cut_off_and_ready_ones_kept() -> None:
    pods = [pod(f"p{i}", node="n", ready=i >= 5, ip=f"10.1.{i // 250}.{i % 250}") for i in range(CAPACITY + 5)]
    document = build_endpoints(service(), pods, None)
    assert len(addresses(document)) == CAPACITY
    assert document["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    again = build_endpoints(service(), pods[:10], document)
    assert "annotations" not in again["metadata"]


def test_an_unchanged_world_changes_nothing() -> None:
    pods = [pod(f"p{i}", node="n", ready=True, ip=f"10.1.0.{i}") for i in range(9)]
    one = build_endpoints(service(), pods, None)
    assert same_endpoints(one, build_endpoints(service(), pods[::-1], one))
    assert not same_endpoints(one, build_endpoints(service(), pods[1:], one))


@given(
    kinds=st.lists(
        st.tuples(st.booleans(), st.sampled_from(["", "Running", "Succeeded", "Failed"]), st.booleans(), st.booleans()),
        max_size=12,
    ),
    chance=st.randoms(),
)
def test_whatever_the_order_each_pod_that_serves_is_there_once_where_it_belongs(
    kinds: list[tuple[bool, str, bool, bool]], chance: Any
) -> None:
    pods = [
        pod(
            f"p{number}",
            node="n",
            ready=ready,
            phase=phase,
            ip=f"10.1.0.{number + 1}" if has_ip else "",
            deleting=going,
        )
        for number, (ready, phase, has_ip, going) in enumerate(kinds)
    ]
    serving = [
        (f"10.1.0.{number + 1}", ready)
        for number, (ready, phase, has_ip, going) in enumerate(kinds)
        if has_ip and not going and phase in ("", "Running")
    ]
    document = build_endpoints(service(), pods, None)
    assert sorted(addresses(document)) == sorted(ip for ip, ready in serving if ready)
    assert sorted(addresses(document, "notReadyAddresses")) == sorted(ip for ip, ready in serving if not ready)
    chance.shuffle(pods)
    assert same_endpoints(build_endpoints(service(), pods, document), document)
