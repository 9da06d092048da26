from __future__ import annotations

from typing import Any

import pytest

from kube_core.abc.ingress import IngressAddress
from kube_core.abc.proxy import Endpoint
from kube_core.meta.documents import Key
from kube_core.proxy.ingresses import ingress_class, is_ours, load_balancer_status, route_table

SERVICES: dict[Key, dict[str, Any]] = {
    Key("default", "web"): {"spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]}},
}
SLICES: dict[Key, list[dict[str, Any]]] = {
    Key("default", "web"): [
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": [{"name": "http", "port": 8080}]}
    ],
}


def ingress(name: str = "main", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name, "creationTimestamp": created}
    return {"metadata": metadata, "spec": spec}


def backend(service: str, **port: Any) -> dict[str, Any]:
    return {"service": {"name": service, "port": port}}


def rule(host: str, *paths: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    items = [{"path": path, "pathType": kind, "backend": target} for path, kind, target in paths]
    return {"host": host, "http": {"paths": items}}


def table(*ingresses: dict[str, Any]) -> Any:
    return route_table(ingresses, SERVICES.get, lambda key: SLICES.get(key, []))


@pytest.mark.parametrize("port", [{"number": 80}, {"name": "http"}])
def test_a_path_becomes_a_route_to_the_ready_endpoints(port: dict[str, Any]) -> None:
    (route,) = table(ingress(rules=[rule("a.example", ("/x", "Exact", backend("web", **port)))])).routes
    assert (route.host, route.path, route.path_type, route.ingress) == ("a.example", "/x", "Exact", "default/main")
    assert route.backend.endpoints == (Endpoint("10.1.0.1", 8080),)


@pytest.mark.parametrize("target", [backend("web", number=81), backend("missing", number=80)])
def test_a_backend_that_does_not_exist_keeps_its_route_without_endpoints(target: dict[str, Any]) -> None:
    (route,) = table(ingress(rules=[rule("", ("/", "Prefix", target))])).routes
    assert route.backend.endpoints == ()


def test_the_default_backend_of_the_oldest_ingress_is_everyones() -> None:
    young = ingress("young", "2026-02-01T00:00:00Z", defaultBackend=backend("missing", number=80))
    old = ingress("old", "2026-01-01T00:00:00Z", defaultBackend=backend("web", number=80))
    assert table(young, old).default.service == "web"


def test_a_rule_without_paths_sends_its_host_to_the_default_backend() -> None:
    (route,) = table(ingress(defaultBackend=backend("web", number=80), rules=[{"host": "a.example"}])).routes
    assert (route.host, route.path, route.backend.service) == ("a.example", "/", "web")


def test_an_ingress_is_ours_by_its_class_or_without_one() -> None:
    classes = [ingress_class(), {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}]
    assert is_ours(ingress(), classes)
    assert is_ours(ingress(ingressClassName="kube-core"), classes)
    assert not is_ours(ingress(ingressClassName="nginx"), classes)
    assert not is_ours(ingress(ingressClassName="unknown"), classes)
    annotated = ingress()
    annotated["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "nginx"}
    assert not is_ours(annotated, classes)


def test_the_status_shows_where_it_listens() -> None:
    assert load_balancer_status([IngressAddress(ip="127.0.0.1", ports=(8080,))]) == {
        "ingress": [{"ip": "127.0.0.1", "ports": [{"port": 8080, "protocol": "TCP"}]}]
    }
    assert load_balancer_status([]) == {}
