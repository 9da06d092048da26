from __future__ import annotations

import base64
from typing import Any

import pytest

from kube_core.meta.documents import Document
from kube_core.node.environment import ConfigurationError, container_environment, expand, service_variables
from kube_core.node.fieldrefs import field_value, resource_value

pytestmark = pytest.mark.anyio


class Objects:
    """Sources from two dictionaries."""

    def __init__(self, config_maps: dict[str, Any] | None = None, secrets: dict[str, Any] | None = None) -> None:
        self.config_maps = config_maps or {}
        self.secrets = secrets or {}

    async def config_map(self, namespace: str, name: str) -> Document | None:
        data = self.config_maps.get(name)
        return None if data is None else {"kind": "ConfigMap", "data": data}

    async def secret(self, namespace: str, name: str) -> Document | None:
        data = self.secrets.get(name)
        if data is None:
            return None
        return {"kind": "Secret", "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}}


POD: Document = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}},
    "spec": {"nodeName": "node-1", "containers": []},
    "status": {"podIP": "10.0.0.5"},
}


async def environment(container: Document, sources: Objects, **services: str) -> dict[str, str]:
    return await container_environment(POD, container, sources, services=services)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $( A", "$A $( A"),
        ("plain", "plain"),
    ],
)
def test_references_are_expanded_and_unknown_ones_left(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


async def test_env_overrides_env_from_which_overrides_services() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "first"}}, {"prefix": "P_", "secretRef": {"name": "second"}}],
        "env": [{"name": "A", "value": "env $(S)"}, {"name": "C", "value": "$(A) $(P_K)"}],
    }
    sources = Objects({"first": {"A": "map", "B": "map"}}, {"second": {"K": "secret"}})
    assert await environment(container, sources, A="service", S="service") == {
        "A": "env service",
        "B": "map",
        "C": "env service secret",
        "P_K": "secret",
        "S": "service",
    }


async def test_what_is_missing_is_told_unless_it_is_optional() -> None:
    def variable(**reference: Any) -> Document:
        return {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": reference}}]}

    with pytest.raises(ConfigurationError, match='configmap "gone" not found'):
        await environment(variable(name="gone", key="k"), Objects())
    with pytest.raises(ConfigurationError, match="couldn't find key k in ConfigMap shop/there"):
        await environment(variable(name="there", key="k"), Objects({"there": {}}))
    assert await environment(variable(name="gone", key="k", optional=True), Objects()) == {}
    with pytest.raises(ConfigurationError, match='secret "gone" not found'):
        await environment({"envFrom": [{"secretRef": {"name": "gone"}}]}, Objects())


def test_fields_of_the_pod() -> None:
    assert field_value(POD, "metadata.labels['app']") == "web"
    assert field_value(POD, "metadata.labels") == 'app="web"'
    assert field_value(POD, "status.podIP") == "10.0.0.5"
    assert field_value(POD, "spec.nodeName") == "node-1"


def test_resources_are_counted_in_divisors_rounded_up_and_default_to_the_node() -> None:
    container = {"resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}
    node = {"status": {"allocatable": {"cpu": "4"}}}
    assert resource_value(POD, {"resource": "limits.cpu"}, node, container=container) == "2"
    assert resource_value(POD, {"resource": "limits.cpu", "divisor": "1m"}, node, container=container) == "1500"
    assert resource_value(POD, {"resource": "limits.memory", "divisor": "1Mi"}, node, container=container) == "64"
    assert resource_value(POD, {"resource": "limits.cpu"}, node, container={}) == "4"
    assert resource_value(POD, {"resource": "requests.cpu"}, node, container={}) == "0"


def test_services_become_docker_link_variables() -> None:
    def service(namespace: str, name: str, address: str, port: Document | None = None) -> Document:
        return {
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": address, "ports": [port or {"port": 80}]},
        }

    services = [
        service("default", "kubernetes", "10.96.0.1", {"port": 443, "name": "https"}),
        service("shop", "my-db", "10.96.0.9"),
        service("shop", "headless", "None"),
        service("other", "elsewhere", "10.96.0.7"),
    ]
    variables = service_variables(services, "shop", links=True)
    assert variables["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert variables["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert variables["MY_DB_PORT"] == variables["MY_DB_PORT_80_TCP"] == "tcp://10.96.0.9:80"
    assert variables["MY_DB_PORT_80_TCP_ADDR"] == "10.96.0.9"
    assert not [name for name in variables if name.startswith(("HEADLESS", "ELSEWHERE"))]
    assert {name.split("_")[0] for name in service_variables(services, "shop", links=False)} == {"KUBERNETES"}
