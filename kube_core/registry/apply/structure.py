"""How a kind's fields merge: a schema, read once into what apply asks about it.

A `Structure` says of a place in a document whether it is owned as a whole (a scalar, an atomic list or map) or part by
part (a granular map, a keyed list, a set), and gives the structure below. It is built lazily from a `Schema` and
memoised, so that only the fields that clients use cost anything.

Two readings of a schema's `default`: in the schema of a built-in kind it is the zero value of upstream's source
language, which tells the fields that are *always present* (a nested struct, a required list) from those that come and
go; owning "the field itself" only means something for the latter. In a custom resource's schema it is an API default,
and nothing is always present. Both give the default of a missing list key.

Mirrors the merge annotations in upstream's "Server-Side Apply" (`listType`, `listMapKey`, `mapType`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from kube_core.api import schemas
from kube_core.api.schemas import Schema
from kube_core.registry.apply import fieldsets

__all__ = ["ABSENT", "FREE", "LEAF", "LIST", "MAP", "SET", "Structure", "root"]

LEAF, MAP, LIST, SET, FREE = "leaf", "map", "list", "set", "free"

#: Stands for "no value", where None is a value.
ABSENT: Any = object()

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: References that are written as null where there is none, so that they are always there.
_NULL_WHEN_EMPTY = frozenset({"boundObjectRef"})
#: Required lists that are nevertheless left out where they are empty, upstream's own exception to its rule.
_OMITTED_WHEN_EMPTY = ("validationActions",)
_SCALARS = {"string": "string", "integer": "numeric", "number": "numeric", "boolean": "boolean"}


class Structure:
    """The merge structure of one place. Compare by identity.

    `kind` is LEAF, MAP, LIST, SET, or FREE where nothing is declared: maps are granular then, all else is a leaf.
    `expects` is what a value here must be, in the words of upstream's messages ("" is anything).
    `resting` is the value that stands for an absent field: ABSENT, or what is always there.
    """

    __slots__ = ("_element", "_members", "closed", "custom", "expects", "keys", "kind", "open", "resting", "schema")

    def __init__(
        self, schema: Schema | None, *, custom: bool, open_below: bool = False, required: bool = False
    ) -> None:
        self.schema = schema
        self.custom = custom
        self._members: dict[str, Structure] = {}
        self._element: Structure | None = None
        self.keys: tuple[str, ...] = ()
        self.open = open_below or (schema is not None and schema.preserves_unknown_fields)
        self.closed = False
        self.kind, self.expects = self._read()
        self.resting: Any = ABSENT if custom else self._resting(required)

    def _read(self) -> tuple[str, str]:
        schema = self.schema
        if schema is None:
            return FREE, ""
        declared = schema.type
        if declared == "object" or (not declared and "properties" in schema.document):
            self.closed = bool(schema.member_names) and schema.values is None and not self.open
            self.closed = self.closed and schema.document.get("additionalProperties") is not True
            if not self.custom and not schema.member_names and schema.values is None:
                return LEAF, ""
            return (LEAF if schema.map_type == "atomic" else MAP), "map"
        if declared == "array":
            if schema.list_type == "map":
                self.keys = tuple(schema.list_map_keys)
                return LIST, "list"
            return (SET if schema.list_type == "set" else LEAF), "list"
        if not declared and self.open and not schema.int_or_string:
            return FREE, ""
        return LEAF, "" if schema.int_or_string else _SCALARS.get(declared, "")

    def _resting(self, required: bool) -> Any:
        default = ABSENT if self.schema is None else self.schema.document.get("default", ABSENT)
        if default is ABSENT:
            return None if required and self.expects == "list" else ABSENT
        if default == {}:
            return default if self.expects == "map" else ABSENT
        # A default that is no zero value is the API's own, and its field comes and goes.
        return ABSENT if default else default

    def declares(self, name: str) -> bool:
        """Whether this is a named field, rather than the key of a map."""
        return name in self._members or (self.schema is not None and self.schema.member(name) is not None)

    def member(self, name: str) -> Structure:
        """The structure under a key of a map."""
        found = self._members.get(name)
        if found is None:
            found = self._find(name)
        return found

    def _find(self, name: str) -> Structure:
        if self.schema is None:
            return _FREE
        declared = self.schema.member(name)
        if declared is not None:
            required = name in self.schema.required and name not in _OMITTED_WHEN_EMPTY
            found = Structure(declared, custom=self.custom, open_below=self.open, required=required)
            if name in _NULL_WHEN_EMPTY and not self.custom:
                found.resting = None
            self._members[name] = found
            return found
        if self.schema.values is None:
            return _FREE
        return self._below(self.schema.values)

    @property
    def element(self) -> Structure:
        """The structure of a list's items."""
        items = self.schema.items if self.schema is not None else None
        return _FREE if items is None else self._below(items)

    def _below(self, schema: Schema) -> Structure:
        if self._element is None:
            self._element = Structure(schema, custom=self.custom, open_below=self.open)
        return self._element

    def item_of(self, value: Any) -> str:
        """The path element of an item of this list. Raises ValueError, with upstream's words, when it has none."""
        if self.kind == SET:
            if isinstance(value, Mapping):
                raise ValueError("associative list without keys has an element that's a map type")
            if isinstance(value, list):
                raise ValueError("not supporting lists as elements")
            if value is None:
                raise ValueError("associative list without keys has an element that's an explicit null")
            return fieldsets.member(value)
        if value is None:
            raise ValueError("associative list with keys may not have a null element")
        if not isinstance(value, Mapping):
            raise ValueError("associative list with keys may not have non-map elements")
        keys = {}
        for key in self.keys:
            found = value.get(key, ABSENT)
            if found is ABSENT:
                found = self._key_default(key)
            if found is ABSENT:
                raise ValueError(
                    f'associative list with keys has an element that omits key field "{key}"'
                    " (and doesn't have default value)"
                )
            keys[key] = found
        return fieldsets.item(keys)

    def _key_default(self, key: str) -> Any:
        schema = self.element.member(key).schema
        return ABSENT if schema is None else schema.document.get("default", ABSENT)

    def adopt(self, name: str, structure: Structure) -> None:
        """Make `structure` the one under a named field, whatever the schema says."""
        self._members[name] = structure


_FREE = Structure(None, custom=True)
_TEXT = Structure(Schema({"type": "string"}), custom=True)


@functools.cache
def _object_meta() -> Structure:
    structure = Structure(schemas.builtin(_OBJECT_META), custom=False)
    structure.resting = {}
    return structure


def root(schema: Schema | None, *, custom: bool) -> Structure:
    """The structure of whole objects of a kind.

    `metadata` is always upstream's ObjectMeta: a custom resource's schema says little or nothing of it. A kind without
    a schema keeps all its fields open.
    """
    structure = Structure(schema or Schema({"type": "object"}), custom=custom, open_below=schema is None)
    structure.adopt("apiVersion", _TEXT)
    structure.adopt("kind", _TEXT)
    structure.adopt("metadata", _object_meta())
    return structure
