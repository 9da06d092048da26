"""A catalogue without registries: what discovery and OpenAPI describe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube_core.api.descriptors import builtin_descriptors
from kube_core.api.types import ResourceDescriptor, ResourceType, Subresource
from kube_core.meta.gvk import GroupVersionKind

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


class FakeCatalogue:
    """The built-in resources, and what a test adds."""

    def __init__(self, descriptors: Iterable[ResourceDescriptor] | None = None) -> None:
        self._descriptors = list(builtin_descriptors() if descriptors is None else descriptors)
        self.changed = 0

    def add(self, descriptor: ResourceDescriptor) -> None:
        self._descriptors.append(descriptor)
        self.changed += 1

    def remove(self, descriptor: ResourceDescriptor) -> None:
        self._descriptors.remove(descriptor)
        self.changed += 1

    def __iter__(self) -> Iterator[ResourceDescriptor]:
        return iter(self._descriptors)


def custom(group: str, version: str, kind: str, *, scale: bool = False) -> ResourceDescriptor:
    """What a CustomResourceDefinition describes, with a status and perhaps a scale."""
    plural = kind.lower() + "s"
    subresources = [Subresource("status", GroupVersionKind(group, version, kind), ("get", "patch", "update"))]
    if scale:
        subresources.append(
            Subresource("scale", GroupVersionKind("autoscaling", "v1", "Scale"), ("get", "patch", "update"))
        )
    return ResourceDescriptor(
        ResourceType(group, version, kind, plural, True),
        singular=kind.lower(),
        short_names=(kind[:2].lower(),),
        categories=("toys",),
        verbs=_VERBS,
        subresources=tuple(subresources),
        list_kind=kind + "List",
        storage_version=version,
        storage_version_hash="hash",
    )
