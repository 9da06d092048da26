"""Schemas: what fields a document may have, and how its lists and maps merge.

A `Schema` is a read-only view on OpenAPI v3 JSON with the `x-kubernetes-*` extensions, with references followed.
Built-in kinds and CustomResourceDefinitions use the same class. Views are made on demand and memoised, so that
nothing is paid for the hundreds of schemas that a program never touches.

`builtin(name)` finds one of the generated schemas (`io.k8s.api.apps.v1.Deployment`).
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

__all__ = ["Schema", "builtin", "builtin_documents", "builtin_name"]

_REF_PREFIX = "#/components/schemas/"


class Schema:
    """A schema with its references followed. Instances are shared: compare by identity."""

    __slots__ = ("_items", "_members", "_values", "document", "library")

    def __init__(self, document: Mapping[str, Any], library: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """`document`: the schema's JSON. `library`: what `$ref`s name, keyed without their prefix."""
        self.library: Mapping[str, Mapping[str, Any]] = library or {}
        self.document = self._resolve(document)
        self._members: dict[str, Schema] = {}
        self._items: Schema | None = None
        self._values: Schema | None = None

    def _resolve(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow `$ref`, alone or as the only member of `allOf`; what stands beside it wins over what it names."""
        reference = document.get("$ref")
        members = document.get("allOf")
        if reference is None and isinstance(members, list) and len(members) == 1:
            reference = members[0].get("$ref")
        if not isinstance(reference, str):
            return document
        target = self.library.get(reference.removeprefix(_REF_PREFIX), {})
        beside = {key: value for key, value in document.items() if key not in ("$ref", "allOf")}
        return {**target, **beside} if beside else target

    @property
    def type(self) -> str:
        """`object`, `array`, `string`, `integer`, `number`, `boolean`; "" where it is open (or a union)."""
        return str(self.document.get("type") or "")

    @property
    def format(self) -> str:
        return str(self.document.get("format") or "")

    @property
    def member_names(self) -> Sequence[str]:
        return tuple(self.document.get("properties") or ())

    def member(self, name: str) -> Schema | None:
        """The schema of a declared field, or None."""
        found = self._members.get(name)
        if found is None:
            document = (self.document.get("properties") or {}).get(name)
            if document is None:
                return None
            found = self._members[name] = Schema(document, self.library)
        return found

    @property
    def items(self) -> Schema | None:
        """The schema of a list's items, or None."""
        if self._items is None and isinstance(document := self.document.get("items"), Mapping):
            self._items = Schema(document, self.library)
        return self._items

    @property
    def values(self) -> Schema | None:
        """The schema of a map's values (`additionalProperties`), or None."""
        if self._values is None and isinstance(document := self.document.get("additionalProperties"), Mapping):
            self._values = Schema(document, self.library)
        return self._values

    def field(self, name: str) -> Schema | None:
        """The schema under a key of an object: a declared field, or a map's value."""
        return self.member(name) or self.values

    @property
    def required(self) -> Sequence[str]:
        return self.document.get("required") or ()

    @property
    def list_type(self) -> str:
        """`atomic`, `set` or `map`; "" where unset (which means atomic)."""
        return str(self.document.get("x-kubernetes-list-type") or "")

    @property
    def list_map_keys(self) -> Sequence[str]:
        return self.document.get("x-kubernetes-list-map-keys") or ()

    @property
    def map_type(self) -> str:
        """`granular` or `atomic`; "" where unset (which means granular)."""
        return str(self.document.get("x-kubernetes-map-type") or "")

    @property
    def patch_strategies(self) -> Sequence[str]:
        """Of `merge`, `replace`, `retainKeys`: the strategic merge directives of this field."""
        text = str(self.document.get("x-kubernetes-patch-strategy") or "")
        return tuple(text.split(",")) if text else ()

    @property
    def patch_merge_key(self) -> str:
        return str(self.document.get("x-kubernetes-patch-merge-key") or "")

    @property
    def preserves_unknown_fields(self) -> bool:
        return bool(self.document.get("x-kubernetes-preserve-unknown-fields"))

    @property
    def int_or_string(self) -> bool:
        return self.format == "int-or-string" or bool(self.document.get("x-kubernetes-int-or-string"))

    @property
    def nullable(self) -> bool:
        return bool(self.document.get("nullable"))


@functools.cache
def builtin_documents() -> Mapping[str, Mapping[str, Any]]:
    """The generated schemas of every served built-in kind, by name."""
    data = pkgutil.get_data("kube_core.api.generated", "schemas.json") or b""
    documents: Mapping[str, Mapping[str, Any]] = orjson.loads(data)
    return documents


@functools.cache
def _names() -> Mapping[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for name, document in builtin_documents().items():
        for kind in document.get("x-kubernetes-group-version-kind") or ():
            group, version = kind.get("group", ""), kind["version"]
            found.setdefault((f"{group}/{version}" if group else version, kind["kind"]), name)
    return found


def builtin_name(api_version: str, kind: str) -> str:
    """The name of the schema of a built-in kind, "" where there is none."""
    found = _names().get((api_version, kind))
    if found is not None:
        return found
    # Options are the same kinds in every group.
    options = f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"
    return options if options in builtin_documents() else ""


@functools.cache
def builtin(name: str) -> Schema:
    """A built-in schema by name. Raises KeyError."""
    library = builtin_documents()
    return Schema(library[name], library)
