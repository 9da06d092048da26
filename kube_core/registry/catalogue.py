"""What a server serves: every resource's registry, found by group, version and plural name.

Built-in resources are there from the start; those of CustomResourceDefinitions come and go. `changed` counts the
changes, so that whoever derives documents from the catalogue (discovery, OpenAPI) knows when to make them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.registry.generic import Registry

__all__ = ["Catalogue"]

MakeRegistry = Callable[[ResourceDescriptor], Registry]


class Catalogue:
    """Descriptors, and their registries, which are made when first asked for."""

    def __init__(self, make: MakeRegistry) -> None:
        self._make = make
        self._descriptors: dict[tuple[str, str, str], ResourceDescriptor] = {}
        self._registries: dict[tuple[str, str, str], Registry] = {}
        self.changed = 0

    def add(self, descriptor: ResourceDescriptor) -> None:
        key = _key(descriptor.type)
        self._descriptors[key] = descriptor
        self._registries.pop(key, None)
        self.changed += 1

    def serve(self, registries: Iterable[Registry]) -> None:
        """Add resources whose registries are there already, or put these in the place of those that were."""
        for registry in registries:
            key = _key(registry.type)
            self._descriptors[key] = registry.descriptor
            self._registries[key] = registry
        self.changed += 1

    def remove(self, resource: ResourceType) -> None:
        key = _key(resource)
        self._descriptors.pop(key, None)
        self._registries.pop(key, None)
        self.changed += 1

    def descriptor(self, group: str, version: str, resource: str) -> ResourceDescriptor | None:
        return self._descriptors.get((group, version, resource))

    def registry(self, group: str, version: str, resource: str) -> Registry | None:
        """The registry of a served resource, or None."""
        key = (group, version, resource)
        found = self._registries.get(key)
        if found is None and (descriptor := self._descriptors.get(key)) is not None:
            found = self._registries[key] = self._make(descriptor)
        return found

    def of(self, resource: ResourceType) -> Registry:
        """The registry of a resource that is surely served. Raises KeyError."""
        found = self.registry(*_key(resource))
        if found is None:
            raise KeyError(resource)
        return found

    def has_group_version(self, group: str, version: str) -> bool:
        return any(key[0] == group and key[1] == version for key in self._descriptors)

    def has_group(self, group: str) -> bool:
        return any(key[0] == group for key in self._descriptors)

    def has_builtin_group(self, group: str) -> bool:
        """Whether a group has resources that no definition made."""
        return any(key[0] == group and descriptor.schema for key, descriptor in self._descriptors.items())

    def __iter__(self) -> Iterator[ResourceDescriptor]:
        return iter(self._descriptors.values())

    def __len__(self) -> int:
        return len(self._descriptors)


def _key(resource: ResourceType) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural
