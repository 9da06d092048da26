from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import Clock
from kube_core.testing.store import StoreContract
from kube_drivers.store.sqlite import SqliteStore


class TestSqliteStore(StoreContract):
    def make(self, directory: Path, clock: Clock, options: str = "") -> SqliteStore:
        return SqliteStore(clock=clock, url=f"sqlite://{directory}/store.db{options}")


class TestSqliteStoreThatReadsThePastFromTheFile(StoreContract):
    """The same with next to nothing of the past in memory."""

    def make(self, directory: Path, clock: Clock, options: str = "") -> SqliteStore:
        options = f"{options}&recent=1" if options else "?recent=1"
        return SqliteStore(clock=clock, url=f"sqlite://{directory}/store.db{options}")
