"""Columns of custom resources, as their definition declares them (`additionalPrinterColumns`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kube_core.api.types import Column
from kube_core.meta.documents import Document, name_of
from kube_core.registry.tables.cells import since
from kube_core.registry.tables.columns import NAME, Printer, TableColumn
from kube_core.registry.tables.json_path import Path, compile_path

__all__ = ["columns_from_descriptor"]

#: What a definition without columns shows.
_AGE = Column("Age", "date", ".metadata.creationTimestamp")


def columns_from_descriptor(columns: tuple[Column, ...]) -> Printer:
    """A printer with the name and these columns; a path that is not understood leaves its cells empty."""
    shown = columns or (_AGE,)
    definitions = tuple(
        TableColumn(
            column.name,
            column.type,
            column.format,
            column.priority,
            column.description or f"Custom resource definition column (in JSONPath format): {column.path}",
        )
        for column in shown
    )
    finders = [(_finder(column.path), column.type) for column in shown]

    def row(document: Document, now: float) -> list[Any]:
        return [name_of(document), *(_cell(find(document), kind, now) for find, kind in finders)]

    return Printer((NAME, *definitions), row)


def _finder(path: str) -> Path:
    try:
        return compile_path(path)
    except ValueError:
        return lambda _: []


def _cell(found: list[Any], kind: str, now: float) -> Any:
    """The first value found, if it is what the column says; null otherwise."""
    if not found:
        return None
    value = found[0]
    if kind == "string":
        return _text(value)
    if kind == "date":
        return since(value, now) if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" else float(value) if kind == "number" else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, Mapping | list | bool):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return str(value)
