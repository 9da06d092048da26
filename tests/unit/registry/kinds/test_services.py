"""Services: defaults, families, allocation, what carries over between updates."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta.status import InternalError, Invalid
from kube_core.registry.kinds.rules import ValidationContext
from kube_core.registry.kinds.services.allocation import ServiceAllocator

MakeKind = Callable[..., Any]


def service(ports: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": ports if ports is not None else [{"port": 80}], **spec}}


@pytest.fixture
def services(kind: MakeKind) -> Any:
    return kind("v1", "Service")


@pytest.fixture
def allocator() -> ServiceAllocator:
    return ServiceAllocator("10.96.0.0/24", node_ports=range(30000, 30100))


def _stored(services: Any, allocator: ServiceAllocator, document: dict[str, Any]) -> dict[str, Any]:
    created: dict[str, Any] = services.created(document)
    allocator.allocate(created)
    assert list(services.strategy.validate(created)) == []
    return created


def test_cluster_ip_service_defaults(services: Any, allocator: ServiceAllocator) -> None:
    created = _stored(services, allocator, service())
    address = created["spec"].pop("clusterIP")
    assert created["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "clusterIPs": [address],
    }
    assert address.startswith("10.96.0.")
    assert created["status"] == {"loadBalancer": {}}


def test_headless_and_external_services_get_no_address(services: Any, allocator: ServiceAllocator) -> None:
    headless = _stored(services, allocator, service(clusterIP="None", selector={"a": "b"}))
    assert headless["spec"]["clusterIPs"] == ["None"]
    bare = _stored(services, allocator, service([], clusterIP="None"))
    assert bare["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert bare["spec"]["ipFamilyPolicy"] == "RequireDualStack"
    external = _stored(services, allocator, service([], type="ExternalName", externalName="a.example"))
    assert external["spec"].keys() == {"ports", "type", "externalName", "sessionAffinity"} - {"ports"}


def test_load_balancer_with_local_traffic_gets_a_health_check_port(services: Any, allocator: ServiceAllocator) -> None:
    created = _stored(services, allocator, service(type="LoadBalancer", externalTrafficPolicy="Local"))
    ports = {created["spec"]["ports"][0]["nodePort"], created["spec"]["healthCheckNodePort"]}
    assert len(ports) == 2
    assert created["spec"]["allocateLoadBalancerNodePorts"] is True


def test_one_port_over_two_protocols_shares_a_node_port(services: Any, allocator: ServiceAllocator) -> None:
    ports = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
    created = _stored(services, allocator, service(ports, type="NodePort"))
    assert len({port["nodePort"] for port in created["spec"]["ports"]}) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
        ({"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        (
            {"ipFamilies": ["IPv4", "IPv6"]},
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when "
            "multiple IP families are specified",
        ),
        (
            {"clusterIPs": ["10.96.0.9"]},
            'spec.clusterIPs: Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified',
        ),
        (
            {"clusterIP": "192.0.2.1"},
            'spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: the provided '
            "network does not match the current range",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 8080}]},
            "spec.ports[0].nodePort: Invalid value: 8080: provided port is not in the valid range. "
            "The range of valid ports is 30000-30099",
        ),
    ],
)
def test_what_cannot_be_allocated_is_refused(
    services: Any, allocator: ServiceAllocator, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        allocator.allocate(services.created({"spec": {"ports": [{"port": 80}], **spec}}))
    assert caught.value.message == f'Service "a" is invalid: {message}'


def test_what_is_taken_is_not_given_again_until_it_is_released(services: Any, allocator: ServiceAllocator) -> None:
    fixed = service(type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 1, "nodePort": 30009}])
    first = _stored(services, allocator, fixed)
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        allocator.allocate(services.created(fixed))
    other = copy.deepcopy(fixed)
    del other["spec"]["clusterIP"]
    with pytest.raises(Invalid, match="provided port is already allocated"):
        allocator.allocate(services.created(other))
    allocator.release(first)
    allocator.allocate(services.created(fixed))


def test_undo_gives_back_what_a_failed_write_took(services: Any, allocator: ServiceAllocator) -> None:
    fixed = service(type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 1, "nodePort": 30009}])
    allocator.allocate(services.created(fixed))()
    allocator.allocate(services.created(fixed))


def test_dry_run_holds_nothing(services: Any, allocator: ServiceAllocator) -> None:
    fixed = service(clusterIP="10.96.0.9")
    allocator.allocate(services.created(fixed), dry_run=True)
    allocator.allocate(services.created(fixed))


def test_loaded_services_keep_what_they_have(services: Any, allocator: ServiceAllocator) -> None:
    held = _stored(services, allocator, service(type="NodePort"))
    fresh = ServiceAllocator("10.96.0.0/24", node_ports=range(30000, 30100))
    fresh.load([held])
    with pytest.raises(Invalid, match="already allocated"):
        fresh.allocate(services.created(service(clusterIP=held["spec"]["clusterIP"])))


def test_full_range_is_an_error_of_the_server(services: Any) -> None:
    tiny = ServiceAllocator("127.7.0.0/30", node_ports=range(30000, 30001))
    given = [_stored(services, tiny, service())["spec"]["clusterIP"] for _ in range(2)]
    assert given == ["127.7.0.1", "127.7.0.2"]
    with pytest.raises(InternalError, match="range is full"):
        tiny.allocate(services.created(service()))


def test_dual_stack_cluster_gives_an_address_of_each_family(services: Any) -> None:
    both = ServiceAllocator("10.96.0.0/24,fd00::/112")
    created = _stored(services, both, service(ipFamilyPolicy="PreferDualStack"))
    assert created["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert [":" in address for address in created["spec"]["clusterIPs"]] == [False, True]


@given(st.lists(st.sampled_from(["create", "delete"]), max_size=60))
def test_no_two_services_ever_hold_the_same(actions: list[str]) -> None:
    allocator = ServiceAllocator("10.96.0.0/26", node_ports=range(30000, 30040))
    held: list[dict[str, Any]] = []
    for action in actions:
        if action == "create" and len(held) < 30:
            spec = {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}
            document = {"metadata": {"name": "a"}, "spec": spec}
            allocator.allocate(document)
            held.append(document)
        elif held:
            allocator.release(held.pop(0))
        addresses = [document["spec"]["clusterIP"] for document in held]
        ports = [document["spec"]["ports"][0]["nodePort"] for document in held]
        assert len(set(addresses)) == len(addresses)
        assert len(set(ports)) == len(ports)


def test_update_keeps_what_the_server_chose(services: Any, allocator: ServiceAllocator) -> None:
    old = _stored(services, allocator, service(type="NodePort"))
    new = services.updated(service(type="NodePort", selector={"a": "b"}), old)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert new["spec"]["ports"] == old["spec"]["ports"]
    allocator.allocate(new, old)
    assert list(services.strategy.validate_update(new, old)) == []


def test_change_of_type_drops_what_it_no_longer_needs(services: Any, allocator: ServiceAllocator) -> None:
    old = _stored(services, allocator, service(type="NodePort"))
    as_was = {"spec": {**copy.deepcopy(old["spec"]), "type": "ClusterIP"}}
    new = services.updated(as_was, old)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]
    away = services.updated(
        {"spec": {**copy.deepcopy(old["spec"]), "type": "ExternalName", "externalName": "x.y"}}, old
    )
    assert not away["spec"].keys() & {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}
    allocator.allocate(away, old)
    allocator.allocate(services.created(service(clusterIP=old["spec"]["clusterIP"])))


def test_cluster_ip_does_not_change(services: Any, allocator: ServiceAllocator) -> None:
    old = _stored(services, allocator, service())
    new = services.updated(service(clusterIP="10.96.0.200", clusterIPs=old["spec"]["clusterIPs"]), old)
    allocator.allocate(new, old)
    assert [str(error) for error in services.strategy.validate_update(new, old)] == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.200"]: may not change once set'
    ]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 2}]},
            "spec.ports[1].name: Required value",
        ),
        (
            {"type": "Odd"},
            'spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
            '"NodePort"',
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ),
        (
            {"externalIPs": ["127.0.0.1"], "externalTrafficPolicy": "Cluster"},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        ),
        (
            {"loadBalancerClass": "a/b"},
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
    ],
)
def test_refused_services(services: Any, spec: dict[str, Any], error: str) -> None:
    assert services.errors(service(**{"ports": [{"port": 80}], **spec}))[0] == error


def test_addresses_of_the_network_driver_are_exempt(kind: MakeKind) -> None:
    services = kind("v1", "Service", ValidationContext(("127.7.0.0/16",)))
    assert services.errors(service(externalIPs=["127.7.1.1"])) == []
    assert services.errors(service(externalIPs=["127.8.1.1"])) != []


def test_ranges_may_be_added_and_lie_within_each_other(services: Any) -> None:
    """What one of them gave, none gives again; what is reserved, none gives; a range that is gone gives nothing."""
    allocator = ServiceAllocator("10.96.0.0/29")
    chosen = [allocated(services, allocator) for _ in range(6)]
    with pytest.raises(InternalError):
        allocated(services, allocator)
    allocator.set_ranges([ipaddress.ip_network("10.96.0.0/28"), ipaddress.ip_network("203.0.113.0/30")], [])
    allocator.reserve(["10.96.0.9"])
    chosen += [allocated(services, allocator) for _ in range(8 - 1 + 2)]
    assert len(set(chosen)) == len(chosen)
    assert "10.96.0.9" not in chosen
    assert {"203.0.113.1", "203.0.113.2"} <= set(chosen)
    with pytest.raises(InternalError):
        allocated(services, allocator)
    allocator.set_ranges([], [])
    with pytest.raises(Invalid):
        allocated(services, allocator, clusterIP="203.0.113.1")


def test_an_added_range_knows_what_services_hold_already(services: Any) -> None:
    allocator = ServiceAllocator("10.96.0.0/29")
    held = {"spec": {"type": "ClusterIP", "clusterIP": "203.0.113.1", "clusterIPs": ["203.0.113.1"]}}
    allocator.set_ranges([ipaddress.ip_network("203.0.113.0/30")], [held])
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        allocated(services, allocator, clusterIP="203.0.113.1")
    assert allocated(services, allocator, clusterIP="203.0.113.2") == "203.0.113.2"


def allocated(services: Any, allocator: ServiceAllocator, **spec: Any) -> str:
    document = services.created({"spec": {"ports": [{"port": 80}], **spec}})
    allocator.allocate(document)
    return str(document["spec"]["clusterIP"])
