"""The schemas of a document: those that its operations name, and all that these refer to, with descriptions.

Built-in schemas come from the generated library, those of custom kinds from their definitions: to these the API's own
fields are added (apiVersion, kind, metadata), and the kind of their lists, as upstream does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kube_core.api.descriptions import Descriptions
from kube_core.api.schemas import builtin_documents
from kube_core.api.types import ResourceDescriptor
from kube_core.apiserver.openapi.operations import DELETE_OPTIONS, META, Naming, Operation
from kube_core.meta.gvk import GroupVersion, GroupVersionKind

__all__ = ["REF_PREFIX", "CustomSchema", "Library"]

REF_PREFIX = "#/components/schemas/"
_KIND = "x-kubernetes-group-version-kind"

Json = Mapping[str, Any]
#: The OpenAPI v3 schema of a custom kind, or None where its definition has none.
CustomSchema = Callable[[ResourceDescriptor], Json | None]


class Library:
    """Schemas by name: the built-in ones, and those of the custom kinds that are served."""

    def __init__(self, custom: CustomSchema) -> None:
        self._custom = custom
        self.naming = Naming(
            {
                GroupVersionKind(kind["group"], kind["version"], kind["kind"]): name
                for name, schema in builtin_documents().items()
                for kind in schema.get(_KIND, ())
            }
        )

    def components(
        self,
        operations: Iterable[Operation],
        descriptors: Iterable[ResourceDescriptor],
        versions: Iterable[GroupVersion],
    ) -> dict[str, Json]:
        """Every schema that the operations need, by name.

        `versions` are the built-in group versions: what is the same in each says so of each.
        """
        builtin = builtin_documents()
        custom = {
            name: schema
            for descriptor in descriptors
            if not descriptor.schema
            for name, schema in self._custom_schemas(descriptor)
        }
        descriptions = Descriptions()
        wanted = [name for operation in operations for name in (operation.answer, operation.body)]
        components: dict[str, Json] = {}
        while wanted:
            name = wanted.pop()
            if name in components:
                continue
            schema = custom.get(name)
            if schema is None:
                if name not in builtin:
                    continue
                schema = _described(builtin[name], descriptions.of(name))
            if name in (DELETE_OPTIONS, META + "WatchEvent"):
                kind = name.removeprefix(META)
                schema = {
                    **schema,
                    _KIND: [_gvk(GroupVersionKind(each.group, each.version, kind)) for each in versions],
                }
            components[name] = schema
            wanted += _references(schema)
        return dict(sorted(components.items()))

    def _custom_schemas(self, descriptor: ResourceDescriptor) -> Iterator[tuple[str, Json]]:
        kind = descriptor.type.gvk
        listed = GroupVersionKind(kind.group, kind.version, descriptor.list_kind or f"{kind.kind}List")
        schema = self._custom(descriptor) or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        texts = Descriptions().of("")
        own = {
            "apiVersion": {"type": "string", "description": texts["apiVersion"]},
            "kind": {"type": "string", "description": texts["kind"]},
        }
        metadata = {"allOf": [{"$ref": REF_PREFIX + META + "ObjectMeta"}], "description": texts["metadata"]}
        properties = {**(schema.get("properties") or {}), **own, "metadata": metadata}
        yield self.naming(kind), {**schema, "type": "object", "properties": properties, _KIND: [_gvk(kind)]}
        texts = Descriptions().of(f"{kind.kind}List")
        metadata = {"allOf": [{"$ref": REF_PREFIX + META + "ListMeta"}], "description": texts["metadata"]}
        items = {"type": "array", "items": {"$ref": REF_PREFIX + self.naming(kind)}, "description": texts["items"]}
        yield (
            self.naming(GroupVersionKind(kind.group, kind.version, f"{kind.kind}List")),
            {
                "description": texts[""],
                "type": "object",
                "required": ["items"],
                "properties": {**own, "metadata": metadata, "items": items},
                _KIND: [_gvk(listed)],
            },
        )


def _described(schema: Json, texts: Mapping[str, str]) -> Json:
    """A copy with descriptions. What describes the type is "", what describes a field is under its name."""
    described = dict(schema)
    if "" in texts:
        described["description"] = texts[""]
    if "properties" in schema:
        described["properties"] = {
            name: {**field, "description": texts[name]} if name in texts else field
            for name, field in schema["properties"].items()
        }
    return described


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(REF_PREFIX)
        for member in value.values():
            if isinstance(member, Mapping | list):
                yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


def _gvk(kind: GroupVersionKind) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}
