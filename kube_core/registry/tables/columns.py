"""The shape of a table: columns, and the function that fills a row of them.

Every kind's module declares `Printer`s: `kubectl get` shows the columns of priority 0, `-o wide` the others too. A row
function gets a document and the time, and returns one cell for each column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from kube_core.meta.documents import Document

__all__ = ["AGE", "NAME", "Printer", "Row", "TableColumn", "column", "wide"]

#: From an object and the present moment (seconds since the epoch) to its cells.
Row = Callable[[Document, float], list[Any]]


@attrs.frozen
class TableColumn:
    """A column definition. Descriptions are left empty: no client shows them."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def to_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


@attrs.frozen
class Printer:
    """How objects of a kind become rows. `conditions` are a row's own, for kinds that have them (finished pods)."""

    columns: tuple[TableColumn, ...]
    row: Row
    conditions: Callable[[Document], list[dict[str, str]] | None] = lambda _: None


def column(name: str, type: str = "string") -> TableColumn:
    """A column that `kubectl get` shows."""
    return TableColumn(name, type)


def wide(name: str, type: str = "string") -> TableColumn:
    """A column that only `-o wide` shows."""
    return TableColumn(name, type, priority=1)


NAME = TableColumn("Name", format="name")
AGE = TableColumn("Age")
