"""The SQLite store: one file, durable, the default. See `store.py` for how it works."""

from kube_drivers.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
