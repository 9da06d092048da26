"""What a version has besides its schema: printer columns, subresources and selectable fields.

Their paths are JSONPaths of a simple kind. Mirrors "Additional printer columns", "Subresources" and "Selectable fields"
in upstream's documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path

__all__ = ["column_problems", "selectable_problems", "subresource_problems"]

Errors = Iterator[FieldError]
Node = Mapping[str, Any]

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_LIMIT: Final = 8
_STEP = re.compile(r"\.(?P<name>[A-Za-z_][\w-]*)|\['(?P<quoted>(?:[^'\\]|\\.)+)'\]", re.ASCII)


def column_problems(columns: Sequence[Node], path: Path) -> Errors:
    for index, column in enumerate(columns):
        here = path.index(index)
        if not column.get("name"):
            yield fields.required(here.child("name"))
        kind, form, json_path = (column.get(name) or "" for name in ("type", "format", "jsonPath"))
        if not kind:
            yield fields.required(here.child("type"), _one_of(_COLUMN_TYPES))
        elif kind not in _COLUMN_TYPES:
            yield fields.invalid(here.child("type"), kind, _one_of(_COLUMN_TYPES))
        if form and form not in _COLUMN_FORMATS:
            yield fields.invalid(here.child("format"), form, _one_of(_COLUMN_FORMATS))
        # A path that is no JSONPath is taken, and its column stays empty.
        if not json_path:
            yield fields.required(here.child("JSONPath"))
        elif not json_path.startswith("."):
            yield fields.invalid(here.child("JSONPath"), json_path, "must be a simple json path starting with .")


def _one_of(names: Sequence[str]) -> str:
    return f"must be one of {','.join(names)}"


def subresource_problems(subresources: Node, path: Path) -> Errors:
    scale = subresources.get("scale")
    if not isinstance(scale, Mapping):
        return
    here = path.child("scale")
    wanted = (
        ("specReplicasPath", (".spec",), "should be a json path under .spec", True),
        ("statusReplicasPath", (".status",), "should be a json path under .status", True),
        ("labelSelectorPath", (".spec", ".status"), "should be a json path under either .spec or .status", False),
    )
    for name, roots, detail, must in wanted:
        value = scale.get(name) or ""
        if not value:
            if must:
                yield fields.required(here.child(name))
        elif not value.startswith("."):
            yield fields.invalid(here.child(name), value, "must be a simple json path starting with .")
        elif not value.startswith(tuple(f"{root}." for root in roots)):
            yield fields.invalid(here.child(name), value, detail)


def selectable_problems(selectable: Sequence[Node], schema: Node, path: Path) -> Errors:
    seen: set[str] = set()
    for index, each in enumerate(selectable):
        place, text = path.index(index).child("jsonPath"), each.get("jsonPath") or ""
        if not text:
            yield fields.required(place)
            continue
        try:
            member = _resolve(text, schema)
        except ValueError as error:
            yield fields.invalid(place, text, f"is an invalid path: {error}")
            continue
        if member.get("type") not in ("string", "boolean", "integer"):
            detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with "
            yield fields.invalid(place, text, f"{detail}formats are allowed.")
        if text in seen:
            yield fields.duplicate(place, text)
        seen.add(text)
    if len(seen) > _SELECTABLE_LIMIT:
        yield fields.too_many(path, len(seen), _SELECTABLE_LIMIT)


def _resolve(text: str, schema: Node) -> Node:
    """The schema of the field at a path. Raises ValueError."""
    at, found = 0, schema
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"expected [ or . but got: {re.split(r'[.[]', text[at:], maxsplit=1)[0] or text[at:]}")
        name = step["name"] or step["quoted"]
        member = (found.get("properties") or {}).get(name)
        if not isinstance(member, Mapping) or (at == 0 and name == "metadata"):
            raise ValueError("does not refer to a valid field")
        at, found = step.end(), member
    return found
