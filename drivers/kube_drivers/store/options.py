"""What a store's URL says: `memory:`, `sqlite:///path/file.db`, each with options after a `?`."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from kube_core.abc.store import StoreError

__all__ = ["StoreOptions"]


@attrs.frozen
class StoreOptions:
    """The options of the built-in stores."""

    path: str = ""
    #: How many revisions a watch may have unread before it is ended.
    watch_bound: int = 16_384
    #: How many revisions are kept in memory for watches and reads of the recent past (SQLite).
    recent: int = 4096

    @classmethod
    def parse(cls, url: str) -> StoreOptions:
        """Raises `StoreError` for an option that does not exist or is no whole number above 0."""
        parts = urlsplit(url)
        numbers: dict[str, int] = {}
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            if name not in {"watch_bound", "recent"}:
                raise StoreError(f"{url}: unknown option {name!r}")
            if not text.isdecimal() or not int(text):
                raise StoreError(f"{url}: {name} must be a whole number above 0, not {text!r}")
            numbers[name] = int(text)
        return cls(unquote(parts.netloc + parts.path), **numbers)
