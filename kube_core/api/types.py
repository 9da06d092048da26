"""What is served: `ResourceType` names a resource, `ResourceDescriptor` says all there is to know about it.

A built-in kind is described exactly as one from a CustomResourceDefinition is. The built-in descriptors are generated
from the upstream API's names and types (`scripts/generate_api.py`, output in `kube_core/api/generated/`).

`kube_core.api.resources` has a constant of `ResourceType` for each built-in resource (`resources.PODS`): it is what
clients, controllers and informers name a resource by.
"""

from __future__ import annotations

import attrs

from kube_core.meta.gvk import GroupKind, GroupResource, GroupVersionKind, GroupVersionResource

__all__ = ["Column", "ResourceDescriptor", "ResourceType", "Subresource"]


# Admission and controllers look things up by resource all the time.
@attrs.frozen(cache_hash=True)
class ResourceType:
    """A resource in one version: enough to build its paths and to recognise its objects."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def gvr(self) -> GroupVersionResource:
        return GroupVersionResource(self.group, self.version, self.plural)

    @property
    def group_resource(self) -> GroupResource:
        return GroupResource(self.group, self.plural)

    @property
    def group_kind(self) -> GroupKind:
        return GroupKind(self.group, self.kind)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path: of one object, or without a name of the collection (of all namespaces, without one)."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@attrs.frozen
class Column:
    """A printer column, as in a CustomResourceDefinition: `path` is a JSONPath into the object."""

    name: str
    type: str
    path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@attrs.frozen
class Subresource:
    """`status`, `scale`, …: the kind it speaks and its verbs (`get`, `patch`, `update`, `create`)."""

    name: str
    kind: GroupVersionKind
    verbs: tuple[str, ...]


@attrs.frozen
class ResourceDescriptor:
    """One resource in one served version. `schema` is the name of its schema in `kube_core.api.schemas`."""

    type: ResourceType
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    schema: str = ""
    columns: tuple[Column, ...] = ()
    #: The version that is written to the store; all served versions of a resource share one stored form.
    storage_version: str = ""
    list_kind: str = ""
    #: The group whose resource of the same plural keeps these objects, where that is another one (`events.k8s.io`'s
    #: events are kept as the core group's); None where it is its own.
    storage_group: str | None = None
    #: What discovery publishes as `storageVersionHash`; "" where upstream has none (resources that are not stored).
    storage_version_hash: str = ""

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)
