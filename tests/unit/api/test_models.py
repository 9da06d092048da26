"""Models: every field of every built-in kind survives the way there and back."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from kube_core.api import apps, core, events, meta, resources
from kube_core.api.descriptors import builtin_descriptors
from kube_core.api.generated import models
from kube_core.api.models import evolve, from_document, register, resource_of, to_document
from kube_core.api.models.classes import _RESOURCES, camel_case, field, json_name
from kube_core.api.models.conversion import _READ, ConversionError
from kube_core.api.schemas import builtin_documents
from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.meta.documents import freeze

SERVED = [each for each in builtin_descriptors() if each.schema]
_DEEPEST = 12


def class_of(resource: ResourceType) -> type:
    for module in vars(models).values():
        for value in vars(module).values() if hasattr(module, "__all__") else ():
            if isinstance(value, type) and _RESOURCES.get(value) == resource:
                return value
    raise AssertionError(f"there is no class for {resource}")


@pytest.fixture(scope="module", autouse=True)
def all_modules() -> None:
    import importlib
    import pkgutil

    for each in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{each.name}")


@pytest.mark.parametrize("descriptor", SERVED, ids=lambda each: f"{each.type.api_version}.{each.type.kind}")
def test_every_field_survives_the_way_there_and_back(descriptor: ResourceDescriptor) -> None:
    document = {
        **example(builtin_documents()[descriptor.schema]),
        "apiVersion": descriptor.type.api_version,
        "kind": descriptor.type.kind,
    }
    assert to_document(from_document(class_of(descriptor.type), document)) == document


def example(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value with every field that there is, down to a depth that the types which contain themselves end at."""
    reference = schema.get("$ref") or next((each.get("$ref") for each in schema.get("allOf", ())), "")
    if reference:
        name = reference.rpartition("/")[2]
        return VALUES.get(name.rpartition(".")[2]) or example(builtin_documents()[name], depth)
    match schema.get("type"):
        case "object" if "properties" in schema:
            return {
                name: example(member, depth + 1)
                for name, member in schema["properties"].items()
                if depth < _DEEPEST or name in schema.get("required", ())
                # An object within another does not say what it is, as its place does.
                if not (name in ("apiVersion", "kind") and "x-kubernetes-group-version-kind" in schema)
            }
        case "object" if "additionalProperties" in schema:
            return {"key": example(schema["additionalProperties"], depth + 1)}
        case "array":
            return [example(schema["items"], depth + 1)]
        case "integer":
            return 7
        case "number":
            return 0.5
        case "boolean":
            return True
        case "string":
            return {"byte": "eHl6", "date-time": VALUES["Time"]}.get(schema.get("format", ""), "text")
    return {"any": ["thing"]}


VALUES = {
    "Time": "2026-01-02T03:04:05Z",
    "MicroTime": "2026-01-02T03:04:05.000006Z",
    "Quantity": "100m",
    "IntOrString": "25%",
    "JSONSchemaProps": {"$ref": "other", "x-kubernetes-int-or-string": True, "required": ["a"], "default": 1},
}


def test_every_class_maps_each_field_to_another_name() -> None:
    for cls in classes():
        names = [json_name(each) for each in attrs.fields(cls)]
        assert len(names) == len(set(names)), cls


def classes() -> Iterator[type]:
    for module in vars(models).values():
        for value in vars(module).values() if hasattr(module, "__all__") else ():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


def test_what_is_given_is_what_is_written() -> None:
    service = core.Service(
        metadata=meta.ObjectMeta(name="web", labels={"app": "web"}),
        spec=core.ServiceSpec(cluster_ip="None", ports=(core.ServicePort(port=80, target_port="http"),)),
    )
    assert to_document(service) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"clusterIP": "None", "ports": [{"port": 80, "targetPort": "http"}]},
    }


def test_an_object_has_its_parts_even_where_the_document_has_not() -> None:
    deployment = from_document(apps.Deployment, {"metadata": {"name": "web"}})
    assert deployment.status.ready_replicas is None
    assert deployment.spec.template.spec is None
    assert deployment.spec.selector == meta.LabelSelector()


def test_an_empty_object_inside_is_written() -> None:
    volume = core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource())
    pod = core.Pod(spec=core.PodSpec(containers=(), volumes=(volume,)))
    assert to_document(pod)["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]


def test_times_are_moments_to_the_second_or_the_microsecond() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    event = events.Event(event_time=moment, metadata=meta.ObjectMeta(creation_timestamp=moment))
    document = to_document(event)
    assert document["eventTime"] == "2026-01-02T03:04:05.000678Z"
    assert document["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert from_document(events.Event, document).event_time == moment


def test_models_are_frozen_and_equal_by_value() -> None:
    one, other = (core.ConfigMap(data={"a": "b"}) for _ in range(2))
    assert one == other
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.data = {}  # type: ignore[misc]
    assert evolve(one, data={}) == core.ConfigMap()
    assert repr(one) == "ConfigMap(data={'a': 'b'}, metadata=ObjectMeta())"


def test_null_lists_and_maps_are_empty() -> None:
    pod = from_document(core.Pod, {"metadata": {"labels": None}, "spec": {"containers": None, "nodeName": None}})
    assert (pod.metadata.labels, pod.spec.containers, pod.spec.node_name) == ({}, (), None)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"spec": {"replicas": "three"}}, "Deployment.spec.replicas"),
        ({"spec": {"replicas": True}}, "Deployment.spec.replicas"),
        ({"metadata": {"labels": {"a": 1}}}, "Deployment.metadata.labels"),
        ({"spec": {"template": {"spec": {"containers": [{"name": 3}]}}}}, "containers[0].name"),
        ({"metadata": {"creationTimestamp": "yesterday"}}, "Deployment.metadata.creation_timestamp"),
        ({"spec": []}, "Deployment.spec"),
        ([], "Deployment"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(document: Any, where: str) -> None:
    with pytest.raises(ConversionError) as caught:
        from_document(apps.Deployment, document)
    assert where in str(caught.value)


def test_a_shared_document_is_read_once_as_long_as_it_lives() -> None:
    document = freeze({"metadata": {"name": "a"}, "data": {"k": "v"}})
    number = id(document)
    assert from_document(core.ConfigMap, document) is from_document(core.ConfigMap, document)
    assert number in _READ
    del document
    gc.collect()
    assert number not in _READ


def test_a_class_of_a_program_is_a_kind_once_it_registers() -> None:
    @attrs.frozen
    class Website:
        repository: str
        replicas: int = 1
        api_url: str = field(default="", json="apiURL")
        metadata: meta.ObjectMeta = attrs.field(factory=meta.ObjectMeta)

    with pytest.raises(TypeError, match="Website is not a kind"):
        resource_of(Website)
    register(Website, ResourceType("example.dev", "v1", "Website", "websites", True))
    document = to_document(Website("git", api_url="x"))
    assert document == {
        "apiVersion": "example.dev/v1", "kind": "Website", "metadata": {},
        "repository": "git", "replicas": 1, "apiURL": "x",
    }  # fmt: skip
    assert from_document(Website, document) == Website("git", api_url="x")


def test_names_follow_one_rule() -> None:
    assert camel_case("pod_template") == "podTemplate"
    assert camel_case("from_") == "from"
    assert json_name(attrs.fields(core.NodeSpec).pod_cidrs) == "podCIDRs"
    assert resource_of(core.Pod) == resources.PODS


def test_attrs_gets_to_a_class_only_when_it_is_used() -> None:
    program = (
        "from kube_core.api import core, apps\n"
        "made = lambda cls: not type(vars(cls)['__init__']).__name__.startswith('_')\n"
        "assert not made(core.Pod) and not made(apps.Deployment)\n"
        "core.ConfigMap()\n"
        "assert made(core.ConfigMap) and not made(core.Pod)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
