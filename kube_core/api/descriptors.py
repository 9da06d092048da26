"""The built-in resources: what is served before any CustomResourceDefinition.

The data is generated (`generated/resources.json`); this module makes descriptors of it, once, in the order in which
discovery lists them. Groups have a priority as upstream's APIServices have one: it orders `/apis`, and decides which
group a short name or kind belongs to. CustomResourceDefinitions' groups come at `CUSTOM_PRIORITY`, after these.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kube_core.api.types import ResourceDescriptor, ResourceType, Subresource
from kube_core.meta.gvk import GroupVersionKind, GroupVersionResource

__all__ = [
    "CUSTOM_PRIORITY",
    "Group",
    "builtin_descriptors",
    "builtin_groups",
    "descriptor_of_kind",
    "descriptor_of_resource",
]

#: The priority of a group that only CustomResourceDefinitions make.
CUSTOM_PRIORITY = 1000


@attrs.frozen
class Group:
    """A built-in group: a higher priority comes first; the first of its versions is the preferred one."""

    name: str
    priority: int
    versions: tuple[str, ...]


def builtin_descriptors() -> tuple[ResourceDescriptor, ...]:
    """Every built-in resource in every version served, by group priority, then version, then plural name."""
    return _builtins()[1]


def builtin_groups() -> tuple[Group, ...]:
    """The built-in groups, highest priority first."""
    return _builtins()[0]


def descriptor_of_kind(kind: GroupVersionKind) -> ResourceDescriptor | None:
    """The built-in resource whose objects have this kind, or None."""
    return _by_kind().get(kind)


def descriptor_of_resource(resource: GroupVersionResource) -> ResourceDescriptor | None:
    """The built-in resource of this name, or None."""
    return _by_resource().get(resource)


@functools.cache
def _builtins() -> tuple[tuple[Group, ...], tuple[ResourceDescriptor, ...]]:
    data = orjson.loads(pkgutil.get_data("kube_core.api.generated", "resources.json") or b"")
    groups = tuple(Group(each["group"], each["priority"], tuple(each["versions"])) for each in data["groups"])
    return groups, tuple(_descriptor(row) for row in data["resources"])


@functools.cache
def _by_kind() -> Mapping[GroupVersionKind, ResourceDescriptor]:
    return {descriptor.type.gvk: descriptor for descriptor in builtin_descriptors()}


@functools.cache
def _by_resource() -> Mapping[GroupVersionResource, ResourceDescriptor]:
    return {descriptor.type.gvr: descriptor for descriptor in builtin_descriptors()}


def _descriptor(row: Mapping[str, Any]) -> ResourceDescriptor:
    return ResourceDescriptor(
        ResourceType(row["group"], row["version"], row["kind"], row["plural"], row["namespaced"]),
        singular=row["singular"],
        short_names=tuple(row.get("short", ())),
        categories=tuple(row.get("categories", ())),
        verbs=tuple(row["verbs"]),
        subresources=tuple(_subresource(each) for each in row.get("subresources", ())),
        schema=row["schema"],
        storage_version=row.get("storage", ""),
        list_kind=row["kind"] + "List",
        storage_group=row.get("storedIn"),
        storage_version_hash=row.get("hash", ""),
    )


def _subresource(row: Sequence[Any]) -> Subresource:
    name, group, version, kind, verbs = row
    return Subresource(name, GroupVersionKind(group, version, kind), tuple(verbs))
