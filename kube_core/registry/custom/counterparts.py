"""Which item of the old list an item of the new one is to be compared with.

Only lists of type map tell: by their keys. Items of other lists have no counterparts, and so are judged as new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube_core.api.structural import NOTHING, Structural

__all__ = ["paired"]


def paired(items: Sequence[Any], old: Any, schema: Structural) -> Iterator[tuple[int, Any, Any]]:
    """Each item of a list with its index and its counterpart, `NOTHING` where there is none."""
    before: dict[str, Any] = {}
    if schema.list_type == "map" and isinstance(old, list):
        before = {_key(item, schema.map_keys): item for item in old}
    for index, item in enumerate(items):
        yield index, item, before.get(_key(item, schema.map_keys), NOTHING) if before else NOTHING


def _key(item: Any, keys: Sequence[str]) -> str:
    return repr([item.get(key) for key in keys]) if isinstance(item, Mapping) else ""
