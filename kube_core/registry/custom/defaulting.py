"""Defaults of custom resources: filled in where a field is missing, or null where it may not be.

A default inside an object needs that object to be there. What is null, may not be, and has no default is dropped.

Mirrors "Defaulting" and "Defaulting and Nullable" in upstream's documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

from typing import Any

from kube_core.api.structural import NOTHING, Structural
from kube_core.meta.documents import thaw

__all__ = ["drop_nulls", "fill"]


def fill(value: Any, schema: Structural) -> None:
    """Set the defaults below a value, in place."""
    if not schema.has_defaults:
        return
    if isinstance(value, dict):
        for name, member in schema.properties.items():
            if member.default is not NOTHING and (name not in value or _is_bad_null(value[name], member)):
                value[name] = thaw(member.default)
        for name in value:
            below = schema.member(name)
            if below is None:
                continue
            if below.default is not NOTHING and _is_bad_null(value[name], below):
                value[name] = thaw(below.default)
            fill(value[name], below)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            if schema.items.default is not NOTHING and _is_bad_null(item, schema.items):
                value[index] = thaw(schema.items.default)
            fill(value[index], schema.items)


def drop_nulls(value: Any, schema: Structural) -> None:
    """Drop members that are null and may not be, in place. Items of lists stay, and fail validation."""
    if isinstance(value, dict):
        for name in list(value):
            below = schema.member(name)
            if below is None:
                continue
            if _is_bad_null(value[name], below):
                del value[name]
            else:
                drop_nulls(value[name], below)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            drop_nulls(item, schema.items)


def _is_bad_null(value: Any, schema: Structural) -> bool:
    return value is None and not schema.nullable
