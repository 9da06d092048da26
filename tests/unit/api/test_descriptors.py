"""The built-in descriptors and constants, and that they agree with each other and with the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kube_core.api import resources, schemas
from kube_core.api.descriptors import (
    builtin_descriptors,
    builtin_groups,
    descriptor_of_kind,
    descriptor_of_resource,
)
from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.meta.gvk import GroupVersionKind, GroupVersionResource

CONSTANTS = {name: value for name, value in vars(resources).items() if isinstance(value, ResourceType)}


def test_every_descriptor_has_a_constant_and_every_constant_a_descriptor() -> None:
    assert sorted(CONSTANTS.values(), key=str) == sorted((each.type for each in builtin_descriptors()), key=str)


def test_plain_names_are_those_of_the_core_group_and_of_the_latest_version() -> None:
    assert resources.EVENTS.group == ""
    assert resources.EVENTS_V1.group == "events.k8s.io"
    assert resources.HORIZONTAL_POD_AUTOSCALERS.version == "v2"
    assert resources.HORIZONTAL_POD_AUTOSCALERS_V1.version == "v1"


@pytest.mark.parametrize("descriptor", builtin_descriptors(), ids=lambda each: f"{each.type.plural}.{each.type.group}")
def test_schema_of_a_resource_is_of_its_kind(descriptor: ResourceDescriptor) -> None:
    schema = schemas.builtin(descriptor.schema)
    kinds = schema.document["x-kubernetes-group-version-kind"]
    gvk = descriptor.type.gvk
    assert {"group": gvk.group, "version": gvk.version, "kind": gvk.kind} in kinds


def test_no_schema_refers_to_one_that_is_not_there() -> None:
    documents = schemas.builtin_documents()

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"].removeprefix("#/components/schemas/")
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)

    assert set(references(documents)) <= set(documents)


def test_resources_are_found_by_kind_and_by_name() -> None:
    deployment = descriptor_of_kind(GroupVersionKind("apps", "v1", "Deployment"))
    assert deployment is not None
    assert deployment.type == resources.DEPLOYMENTS
    assert deployment is descriptor_of_resource(GroupVersionResource("apps", "v1", "deployments"))
    assert descriptor_of_resource(GroupVersionResource("apps", "v2", "deployments")) is None


def test_storage_version_hash_is_upstreams() -> None:
    pods = descriptor_of_resource(resources.PODS.gvr)
    assert pods is not None
    assert pods.storage_version_hash == "xPOwRZ+Yhw8="


def test_events_of_both_groups_are_stored_as_one() -> None:
    core, named = (descriptor_of_resource(each.gvr) for each in (resources.EVENTS, resources.EVENTS_V1))
    assert core is not None
    assert named is not None
    assert named.storage_group == core.type.group
    assert core.storage_group is None
    assert named.storage_version_hash == core.storage_version_hash


def test_both_versions_of_autoscalers_are_stored_in_the_preferred_one() -> None:
    stored = {each.storage_version for each in builtin_descriptors() if each.type.plural == "horizontalpodautoscalers"}
    assert stored == {"v2"}


def test_what_is_not_stored_has_no_storage_version() -> None:
    reviews = descriptor_of_resource(resources.TOKEN_REVIEWS.gvr)
    assert reviews is not None
    assert (reviews.storage_version, reviews.storage_version_hash) == ("", "")


def test_subresources_say_their_own_kinds() -> None:
    pods = descriptor_of_resource(resources.PODS.gvr)
    assert pods is not None
    eviction = pods.subresource("eviction")
    assert eviction is not None
    assert eviction.kind == GroupVersionKind("policy", "v1", "Eviction")
    status = pods.subresource("status")
    assert status is not None
    assert status.kind == pods.type.gvk
    assert pods.subresource("none") is None


def test_groups_come_by_descending_priority_and_only_served_ones() -> None:
    priorities = [group.priority for group in builtin_groups()]
    assert priorities == sorted(priorities, reverse=True)
    assert {group.name for group in builtin_groups()} == {each.type.group for each in builtin_descriptors()}
