from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.proxy import Endpoint
from kube_core.proxy.services import SERVICE_NAME_LABEL, is_proxied, service_ports


def service(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "protocol": "TCP"}], **spec},
    }


def endpoint(ip: str, node: str = "n1", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [ip], "nodeName": node, "conditions": conditions}


def endpoint_slice(
    *endpoints: dict[str, Any], port: int = 8080, name: str = "", family: str = "IPv4"
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "web-1", "labels": {SERVICE_NAME_LABEL: "web"}},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [{"name": name, "port": 8080, "protocol": "TCP"}],
    }


def ips(endpoints: tuple[Endpoint, ...]) -> list[str]:
    return [item.ip for item in endpoints]


@pytest.mark.parametrize(
    "document",
    [
        service(clusterIP="None"),
        service(clusterIP=""),
        service(type="ExternalName", externalName="example.org"),
        {**service(), "metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}},
    ],
)
def test_what_is_not_ours_to_carry_has_no_rows(document: dict[str, Any]) -> None:
    assert not is_proxied(document)
    assert service_ports(document, [endpoint_slice(endpoint("10.1.0.1"))]) == ()


def test_ready_endpoints_are_used_sorted_and_once() -> None:
    slices = [
        endpoint_slice(endpoint("10.1.0.2", ready=True), endpoint("10.1.0.1"), endpoint("10.1.0.3", ready=False)),
        endpoint_slice(endpoint("10.1.0.2", ready=True)),
    ]
    (row,) = service_ports(service(), slices)
    assert row.endpoints == (Endpoint("10.1.0.1", 8080), Endpoint("10.1.0.2", 8080))
    assert (row.port, row.protocol, row.cluster_ips) == (80, "TCP", ("10.96.0.10",))


def test_terminating_endpoints_serve_only_where_none_is_ready() -> None:
    leaving = endpoint("10.1.0.1", ready=False, serving=True, terminating=True)
    gone = endpoint("10.1.0.2", ready=False, serving=False, terminating=True)
    fresh = endpoint("10.1.0.3", ready=True)
    (row,) = service_ports(service(), [endpoint_slice(leaving, gone)])
    assert ips(row.endpoints) == ["10.1.0.1"]
    (row,) = service_ports(service(), [endpoint_slice(leaving, gone, fresh)])
    assert ips(row.endpoints) == ["10.1.0.3"]


def test_ports_are_matched_by_name_protocol_and_address_family() -> None:
    document = service(
        ports=[
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ]
    )
    slices = [
        endpoint_slice(endpoint("10.1.0.1"), name="http"),
        endpoint_slice(endpoint("10.1.0.2"), name="dns"),  # TCP: another port than the service's
        endpoint_slice(endpoint("fd00::1"), name="http", family="IPv6"),
    ]
    http, dns = service_ports(document, slices)
    assert (str(http.name), ips(http.endpoints), http.node_port) == ("default/web:http", ["10.1.0.1"], 30080)
    assert (dns.protocol, dns.endpoints, dns.node_port) == ("UDP", (), 0)


def test_local_traffic_policies_keep_to_the_node() -> None:
    slices = [endpoint_slice(endpoint("10.1.0.1", "n1"), endpoint("10.1.0.2", "n2"))]
    (row,) = service_ports(service(internalTrafficPolicy="Local"), slices, node_name="n1")
    assert (ips(row.endpoints), ips(row.external_endpoints)) == (["10.1.0.1"], ["10.1.0.1", "10.1.0.2"])
    (row,) = service_ports(service(externalTrafficPolicy="Local"), slices, node_name="n2")
    assert (ips(row.endpoints), ips(row.external_endpoints)) == (["10.1.0.1", "10.1.0.2"], ["10.1.0.2"])
    (row,) = service_ports(service(externalTrafficPolicy="Local"), slices)
    assert ips(row.external_endpoints) == ["10.1.0.1", "10.1.0.2"]


def test_affinity_lasts_three_hours_unless_told() -> None:
    (row,) = service_ports(service(sessionAffinity="ClientIP"), [])
    assert row.affinity_seconds == 10_800
    config = {"clientIP": {"timeoutSeconds": 7}}
    (row,) = service_ports(service(sessionAffinity="ClientIP", sessionAffinityConfig=config), [])
    assert row.affinity_seconds == 7
    (row,) = service_ports(service(sessionAffinity="None"), [])
    assert row.affinity_seconds == 0


def test_external_addresses_are_those_given_and_the_load_balancers() -> None:
    document = service(externalIPs=["192.0.2.1"])
    document["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}]}}
    (row,) = service_ports(document, [])
    assert row.external_ips == ("192.0.2.1", "192.0.2.2")
    assert row.balancer_ips == ("192.0.2.2",)
