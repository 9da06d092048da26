"""What admission may make of an object that a subresource speaks, and that is stored nowhere as such.

A Scale, a Binding, an Eviction, a TokenRequest: each has one form, is typed by its schema, and has no defaults besides.
The options of a connection have no published schema; `fields` says the types of theirs. Registries are the `Shapes` of
the objects that they store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.api.schemas import builtin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.gvk import GroupVersion, GroupVersionKind
from kube_core.registry import decoding
from kube_core.registry.apply import FieldManager
from kube_core.registry.decoding import DecodingError

__all__ = ["OptionShapes", "SpokenShapes"]


@attrs.frozen
class SpokenShapes:
    """The shapes of what is spoken by a subresource of `type`. `schema`: the name of its schema."""

    type: ResourceType
    schema: str

    def equivalents(self) -> Sequence[ResourceType]:
        return ()

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        spoken: MutableDocument = thaw(document)
        return spoken

    def merged(self, document: Document, configuration: Document, to: ResourceType) -> MutableDocument:
        version = GroupVersion.parse(str(document["apiVersion"]))
        kind = GroupVersionKind(version.group, version.version, str(document["kind"]))
        owners = FieldManager(builtin(self.schema), kind, has_status=False)
        return owners.merge(document, configuration, str(document["apiVersion"]))

    def completed(self, document: Document) -> MutableDocument:
        return decoding.read(thaw(document), builtin(self.schema), "Ignore")[0]


@attrs.frozen
class OptionShapes:
    """The shapes of the options of a connection. `fields`: the type of each by name."""

    fields: Mapping[str, type]
    type: ResourceType

    def equivalents(self) -> Sequence[ResourceType]:
        return ()

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        options: MutableDocument = thaw(document)
        return options

    def merged(self, document: Document, configuration: Document, to: ResourceType) -> MutableDocument:
        return {**document, **configuration}

    def completed(self, document: Document) -> MutableDocument:
        known = {**self.fields, "kind": str, "apiVersion": str}
        found: dict[str, Any] = {name: value for name, value in document.items() if name in known and value is not None}
        for name, value in found.items():
            if not isinstance(value, known[name]):
                raise DecodingError(f"{name} is no {known[name].__name__}: {value!r}")
        return found
