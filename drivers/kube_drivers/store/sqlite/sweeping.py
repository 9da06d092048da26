"""Compaction in the file: first what may be forgotten is written down, then it goes, a little at a time.

`begin` makes the promise durable, in one statement with the last revision (whose row may go, where it is a deletion).
A `Sweep` then takes away superseded rows in steps, each part of some group of the writer, so that writes wait for no
more than one step. How far it came is in the file as well; what a crash left is taken away by the next compaction.

A row is superseded by the next change of its key: so a sweep goes over the changes up to the compacted revision and
removes, for each, the row that it names as the one before, and itself, if it is a deletion.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from kube_core.abc.store import Revision
from kube_drivers.store.sqlite.database import first_row, last_row
from kube_drivers.store.sqlite.writer import Statement

__all__ = ["Sweep", "begin"]

_STEP = 500


def begin(compacted: Revision, revision: Revision) -> Sequence[Statement]:
    """Promise that nothing below `compacted` will be asked for; `revision` is the last durable one."""
    return [
        ("UPDATE facts SET number = max(number, ?) WHERE name = 'compacted'", (compacted,)),
        ("UPDATE facts SET number = max(number, ?) WHERE name = 'revision'", (revision,)),
    ]


class Sweep:
    """One sweep, up to a revision; `step` is done over and over, on the writer's thread, until it is `finished`."""

    def __init__(self, compacted: Revision) -> None:
        self._last = last_row(compacted)
        self._compacted = compacted
        #: The row to go on from; None before the first step.
        self._next: int | None = None
        self.finished = False

    def step(self, connection: sqlite3.Connection) -> None:
        """Take away what some of the changes superseded."""
        if self._next is None:
            (swept,) = connection.execute("SELECT number FROM facts WHERE name = 'swept'").fetchone()
            self._next = first_row(swept + 1)
        changes = connection.execute(
            "SELECT id, key, previous, value IS NULL FROM changes WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (self._next, self._last, _STEP),
        ).fetchall()
        for number, key, superseded, deleted in changes:
            if superseded:
                connection.execute(
                    "DELETE FROM changes WHERE id BETWEEN ? AND ? AND key = ?",
                    (first_row(superseded), last_row(superseded), key),
                )
            if deleted:
                connection.execute("DELETE FROM changes WHERE id = ?", (number,))
        if len(changes) == _STEP:
            self._next = changes[-1][0] + 1
        else:
            self.finished = True
            connection.execute("UPDATE facts SET number = max(number, ?) WHERE name = 'swept'", (self._compacted,))
