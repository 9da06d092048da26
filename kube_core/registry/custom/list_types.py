"""Lists that are sets or maps: no item, and no combination of keys, may be there twice.

Mirrors `x-kubernetes-list-type` in upstream's documentation of server-side apply. A list that an update leaves as it
was is not held against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kube_core.api.structural import NOTHING, Structural
from kube_core.meta import fields
from kube_core.meta.equality import same
from kube_core.meta.fields import FieldError, Path

__all__ = ["duplicates"]


def duplicates(value: Any, schema: Structural, path: Path, old: Any = NOTHING) -> Iterator[FieldError]:
    """Every item that is there a second time, at its index."""
    if old is not NOTHING and same(value, old):
        return
    if isinstance(value, Mapping):
        before = old if isinstance(old, Mapping) else {}
        for name, member in value.items():
            below = schema.member(name)
            if below is not None:
                here = path.child(name) if name in schema.properties else path.key(name)
                yield from duplicates(member, below, here, before.get(name, NOTHING))
    elif isinstance(value, list):
        if schema.list_type in ("set", "map"):
            yield from _repeated(value, schema, path)
        if schema.items is not None:
            for index, item in enumerate(value):
                yield from duplicates(item, schema.items, path.index(index))


def _repeated(items: list[Any], schema: Structural, path: Path) -> Iterator[FieldError]:
    seen: set[bytes] = set()
    for index, item in enumerate(items):
        identity = item
        if schema.list_type == "map":
            if not isinstance(item, Mapping):
                continue
            identity = {key: item[key] for key in schema.map_keys if key in item}
        encoded = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        if encoded in seen:
            yield fields.duplicate(path.index(index), identity)
        seen.add(encoded)
