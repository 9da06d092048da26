"""Pruning: fields that a structural schema does not name are dropped, wherever nothing says that they are kept.

`prune` makes a new document and tells what it left out, so that `fieldValidation` can warn of it or refuse it. Always
kept: `apiVersion`, `kind` and `metadata` of the object itself and of embedded resources; everything below
`x-kubernetes-preserve-unknown-fields` that the schema does not take up again.

Mirrors "Field pruning" in upstream's documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.api.structural import Structural

__all__ = ["prune"]

_OWN_FIELDS = ("apiVersion", "kind", "metadata")


def prune(document: Any, schema: Structural, unknown: list[str], *, path: str = "", root: bool = True) -> Any:
    """A copy without unknown fields, whose paths are added to `unknown`. `root`: it is an object, not a part of one."""
    return _pruned(document, schema, path, unknown, whole=root)


def _pruned(value: Any, schema: Structural | None, path: str, unknown: list[str], *, whole: bool = False) -> Any:
    if isinstance(value, Mapping):
        return _members(value, schema, path, unknown, whole=whole)
    if isinstance(value, list):
        items = schema.items if schema is not None else None
        if items is None and schema is not None and schema.preserves:
            return _copy(value)
        return [_pruned(item, items, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _members(
    value: Mapping[str, Any], schema: Structural | None, path: str, unknown: list[str], *, whole: bool
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    whole = whole or (schema is not None and schema.embedded)
    for name, member in value.items():
        here = f"{path}.{name}" if path else name
        if whole and name in _OWN_FIELDS:
            kept[name] = _copy(member)
        elif schema is not None and (name in schema.properties or schema.open):
            kept[name] = _pruned(member, schema.member(name), here, unknown)
        elif schema is not None and schema.preserves:
            kept[name] = _copy(member)
        else:
            unknown.append(here)
    return kept


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
