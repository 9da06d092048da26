from __future__ import annotations

import base64
from typing import Any

import pytest

from kube_core.meta.documents import Document
from kube_core.node.envfiles import EnvFileError, variable_of
from kube_core.node.environment import ConfigurationError, Environment, expand, service_variables
from kube_core.node.fieldrefs import FieldRefError, field_value, resource_value

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
    return await Environment(POD, sources, services).of(container)


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


FIELDS: Document = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"b": "2", "app.example/part": "web"},
        "annotations": {"note": 'two\n"lines"'},
    },
    "spec": {"nodeName": "node-1", "serviceAccountName": "shopper", "containers": []},
    "status": {
        "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}],
        "hostIP": "10.1.0.1", "hostIPs": [{"ip": "10.1.0.1"}],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels", 'app.example/part="web"\nb="2"'),
        ("metadata.annotations", 'note="two\\n\\"lines\\""'),
        ("metadata.labels['app.example/part']", "web"),
        ("metadata.annotations['note']", 'two\n"lines"'),
        ("metadata.labels['gone']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "shopper"),
        ("status.hostIP", "10.1.0.1"),
        ("status.hostIPs", "10.1.0.1"),
        ("status.podIP", "10.0.0.5"),
        ("status.podIPs", "10.0.0.5,fd00::5"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert field_value(FIELDS, path) == value


def test_a_field_that_there_is_not_is_told() -> None:
    with pytest.raises(FieldRefError, match=r"unsupported fieldPath: status\.phase"):
        field_value(FIELDS, "status.phase")


CONTAINER: Document = {
    "resources": {
        "limits": {"cpu": "1500m", "memory": "64Mi", "hugepages-2Mi": "4Mi"},
        "requests": {"cpu": "250m", "memory": "32Mi", "ephemeral-storage": "1Gi"},
    }
}


@pytest.mark.parametrize(
    ("container", "resource", "divisor", "value"),
    [
        (CONTAINER, "limits.cpu", "", "2"),
        (CONTAINER, "limits.cpu", "0", "2"),
        (CONTAINER, "limits.cpu", "1m", "1500"),
        (CONTAINER, "limits.memory", "1Mi", "64"),
        (CONTAINER, "limits.memory", "", "67108864"),
        (CONTAINER, "limits.hugepages-2Mi", "1Mi", "4"),
        (CONTAINER, "requests.cpu", "1m", "250"),
        (CONTAINER, "requests.memory", "1Gi", "1"),
        (CONTAINER, "requests.ephemeral-storage", "1Gi", "1"),
        ({}, "limits.cpu", "", "4"),
        ({}, "limits.memory", "1Gi", "8"),
        ({}, "limits.hugepages-2Mi", "", "0"),
        ({}, "requests.cpu", "", "0"),
    ],
)
def test_resources_are_counted_in_divisors_rounded_up_and_default_to_the_node(
    container: Document, resource: str, divisor: str, value: str
) -> None:
    node = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    assert resource_value(POD, reference, node, container=container) == value


def test_a_limit_that_is_not_set_is_the_pods_where_the_pod_has_one() -> None:
    pod = {"metadata": {}, "spec": {"containers": [{"name": "c"}], "resources": {"limits": {"cpu": "2"}}}}
    node = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}
    assert resource_value(pod, {"containerName": "c", "resource": "limits.cpu"}, node) == "2"
    assert resource_value(pod, {"containerName": "c", "resource": "limits.memory", "divisor": "1Gi"}, node) == "8"


def test_a_resource_or_container_that_there_is_not_is_told() -> None:
    with pytest.raises(FieldRefError, match=r"unsupported container resource : limits\.gpu"):
        resource_value(POD, {"resource": "limits.gpu"}, None, container={})
    with pytest.raises(FieldRefError, match="container gone not found"):
        resource_value(POD, {"containerName": "gone", "resource": "limits.cpu"}, None)
    with pytest.raises(FieldRefError, match="unsupported fieldPath: nothing"):
        field_value(POD, "nothing")


async def test_variables_from_fields_and_resources() -> None:
    container = {
        **CONTAINER,
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "BOTH", "value": "$(NAME)/$(CPU)/$(LATER)"},
            {"name": "LATER", "value": ""},
        ],
    }
    assert await environment(container, Objects()) == {
        "NAME": "web-1", "CPU": "2", "BOTH": "web-1/2/$(LATER)", "LATER": "",
    }  # fmt: skip
    unknown = {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostname"}}}
    with pytest.raises(ConfigurationError, match=r"unsupported fieldPath: spec\.hostname"):
        await environment({"env": [unknown]}, Objects())


async def test_an_object_is_read_once_and_its_names_are_taken_as_they_are() -> None:
    reads = []

    class Counting(Objects):
        async def config_map(self, namespace: str, name: str) -> Document | None:
            reads.append((namespace, name))
            return await super().config_map(namespace, name)

    container = {
        "envFrom": [{"configMapRef": {"name": "map"}}, {"configMapRef": {"name": "map"}, "prefix": "9-"}],
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "1st.key"}}}],
    }
    assert await environment(container, Counting({"map": {"1st.key": "v"}})) == {
        "1st.key": "v",
        "9-1st.key": "v",
        "A": "v",
    }
    assert reads == [("shop", "map")]


FILE = """# made by an init container
FIRST='one'   # a comment

  SECOND='two
lines'
EMPTY= 'nothing'
THIRD='$(FIRST) "as it stands"'
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [("FIRST", "one"), ("SECOND", "two\nlines"), ("EMPTY", ""), ("THIRD", '$(FIRST) "as it stands"'), ("GONE", "")],
)
def test_a_file_of_variables_is_read_as_a_shell_would(key: str, value: str) -> None:
    assert variable_of(FILE, key) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("A='1'\nnonsense", "line 2: missing '='"),
        ("='1'", "line 1: empty variable name"),
        ("A ='1'", "line 1: whitespace before '=' is not allowed"),
        ("A=1", "line 1: value must be enclosed in single quotes"),
        ("A='1' more", "line 1: unexpected content after closing quote"),
        ("A='1\n2", "starting at line 1: unclosed single quote"),
    ],
)
def test_what_is_wrong_with_a_file_of_variables_is_told_with_its_line(text: str, what: str) -> None:
    with pytest.raises(EnvFileError, match=what):
        variable_of(text, "KEY")


async def test_variables_from_files_of_volumes() -> None:
    async def read(volume: str, path: str) -> str | None:
        return {("config", "env"): FILE, ("config", "bad"): "A=1"}.get((volume, path))

    def variable(path: str, key: str, **more: Any) -> Document:
        reference = {"volumeName": "config", "path": path, "key": key, **more}
        return {"env": [{"name": "A", "valueFrom": {"fileKeyRef": reference}}]}

    made = Environment(POD, Objects(), read_file=read)
    assert await made.of(variable("env", "FIRST")) == {"A": "one"}
    assert await made.of(variable("env", "GONE", optional=True)) == {}
    assert await made.of(variable("gone", "GONE", optional=True)) == {}
    for path, key, message in (
        ("env", "GONE", 'environment variable key "GONE" not found in file "env"'),
        ("bad", "GONE", "couldn't parse env file"),
        ("gone", "GONE", "couldn't parse env file"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            await made.of(variable(path, key))


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
