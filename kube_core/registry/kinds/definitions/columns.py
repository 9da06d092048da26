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
from kube_core.registry.tables.json_path import compile_path

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
        for name, supported in (("name", ()), ("type", _COLUMN_TYPES)):
            value = column.get(name) or ""
            if not value:
                yield fields.required(here.child(name))
            elif supported and value not in supported:
                yield fields.not_supported(here.child(name), value, supported)
        form = column.get("format") or ""
        if form and form not in _COLUMN_FORMATS:
            yield fields.not_supported(here.child("format"), form, _COLUMN_FORMATS)
        place, json_path = here.child("jsonPath"), column.get("jsonPath") or ""
        if not json_path:
            yield fields.required(place)
        elif not json_path.startswith((".", "[")):
            yield fields.invalid(place, json_path, "must be a simple json path starting with .")
        else:
            try:
                compile_path(json_path)
            except ValueError as error:
                yield fields.invalid(place, json_path, f"is an invalid path: {error}")


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
        elif not re.fullmatch(r"(?:\.[A-Za-z_][\w-]*)+", value, re.ASCII):
            yield fields.invalid(here.child(name), value, "should be a simple json path, without any array notation")
        elif not value.startswith(tuple(f"{root}." for root in roots)):
            yield fields.invalid(here.child(name), value, detail)


def selectable_problems(selectable: Sequence[Node], schema: Node, path: Path) -> Errors:
    if len(selectable) > _SELECTABLE_LIMIT:
        yield fields.too_many(path, len(selectable), _SELECTABLE_LIMIT)
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
        elif text in seen:
            yield fields.duplicate(place, text)
        seen.add(text)


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
