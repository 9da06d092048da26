"""A structural schema as a tree: what pruning, defaulting and validation walk along.

Upstream calls a schema structural when every field has a type of its own, outside `allOf`, `anyOf`, `oneOf` and `not`.
A `Structural` is such a schema read once; what stands in the logical combinations are further trees, of which only
validation takes notice. Trees never change, and are shared by everything that serves a version.

Mirrors "Specifying a structural schema" in upstream's documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["NOTHING", "Structural"]

NOTHING: Final = object()


class Structural:
    """One node. `document` is the OpenAPI v3 JSON that it was read from."""

    __slots__ = ("all_of", "any_of", "default", "document", "embedded", "has_defaults", "has_embedded", "has_rules",
                 "int_or_string", "items", "list_type", "map_keys", "map_type", "negated", "nullable", "one_of", "open",
                 "preserves", "properties", "required", "rules", "type", "values")  # fmt: skip

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.type: str = document.get("type") or ""
        self.nullable = bool(document.get("nullable"))
        self.preserves = bool(document.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(document.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(document.get("x-kubernetes-int-or-string"))
        self.list_type: str = document.get("x-kubernetes-list-type") or ""
        self.map_keys: tuple[str, ...] = tuple(document.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = document.get("x-kubernetes-map-type") or ""
        self.default: Any = NOTHING if document.get("default") is None else document["default"]
        self.required: tuple[str, ...] = tuple(document.get("required") or ())
        properties = document.get("properties") or {}
        self.properties = {name: Structural(member) for name, member in properties.items()}
        values = document.get("additionalProperties")
        #: Other members than `properties` are allowed (`values` says what they are, where that is said).
        self.open = isinstance(values, Mapping) or values is True
        self.values = Structural(values) if isinstance(values, Mapping) else None
        items = document.get("items")
        self.items = Structural(items) if isinstance(items, Mapping) else None
        self.all_of = _trees(document, "allOf")
        self.any_of = _trees(document, "anyOf")
        self.one_of = _trees(document, "oneOf")
        self.negated = Structural(document["not"]) if isinstance(document.get("not"), Mapping) else None
        #: Whether there is a default here or anywhere below.
        self.has_defaults: bool = self.default is not NOTHING or any(each.has_defaults for each in self._below())
        #: Whether this is an embedded resource, or there is one anywhere below.
        self.has_embedded: bool = self.embedded or any(each.has_embedded for each in self._below())
        #: Rules in CEL, and whether there is one here or anywhere below.
        self.rules: tuple[Mapping[str, Any], ...] = tuple(document.get("x-kubernetes-validations") or ())
        self.has_rules: bool = bool(self.rules) or any(each.has_rules for each in self._below())

    def _below(self) -> list[Structural]:
        return [*self.properties.values(), *(each for each in (self.values, self.items) if each is not None)]

    def member(self, name: str) -> Structural | None:
        """The schema of a member, by name or as one of a map's values."""
        return self.properties.get(name) or self.values


def _trees(document: Mapping[str, Any], name: str) -> tuple[Structural, ...]:
    return tuple(Structural(each) for each in document.get(name) or ())
