"""OpenAPI of backends, merged into ours.

Version 3 has a document for each group and version: a backend's is named in our index with the backend's own hash, and
passed on when it is asked for. Version 2 is one document: the paths of a backend's groups are added to it, with the
definitions that they use; one whose name is taken for something else gets another. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

__all__ = ["RemoteOpenApi", "index_entries", "merged"]

Json = dict[str, Any]
_REFERENCE = "#/definitions/"


@attrs.frozen
class RemoteOpenApi:
    """What one backend says: its documents of version 3 with their hashes, and its document of version 2."""

    hashes: Mapping[str, str] = attrs.field(factory=dict)
    document: Json | None = None
    #: Of the document of version 2.
    tag: str = ""


def index_entries(index: Any) -> dict[str, str]:
    """From a backend's index of version 3: the names of its documents and their hashes."""
    found: dict[str, str] = {}
    paths = index.get("paths") if isinstance(index, dict) else None
    for name, entry in (paths if isinstance(paths, dict) else {}).items():
        url = entry.get("serverRelativeURL") if isinstance(entry, dict) else None
        if isinstance(url, str):
            found[name] = (parse_qs(urlsplit(url).query).get("hash") or [""])[0]
    return found


def merged(own: Json, others: Iterable[tuple[str, Json]]) -> Json:
    """Our document of version 2 with those of backends, each with the prefix of the paths that are its own."""
    paths, definitions = dict(own.get("paths") or {}), dict(own.get("definitions") or {})
    for prefix, document in others:
        mine = {path: entry for path, entry in (document.get("paths") or {}).items() if path.startswith(prefix)}
        available = document.get("definitions") or {}
        used = _used(mine, available)
        names = {name: _free_name(name, available[name], definitions) for name in used}
        definitions.update((names[name], _renamed(available[name], names)) for name in used)
        paths.update((path, _renamed(entry, names)) for path, entry in mine.items() if path not in paths)
    return {**own, "paths": dict(sorted(paths.items())), "definitions": definitions}


def _used(paths: Json, available: Json) -> list[str]:
    """The definitions that paths refer to, directly or through others."""
    found: dict[str, None] = {}
    todo = list(_references(paths))
    while todo:
        name = todo.pop()
        if name in available and name not in found:
            found[name] = None
            todo += _references(available[name])
    return sorted(found)


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(_REFERENCE):
            yield reference.removeprefix(_REFERENCE)
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _free_name(name: str, definition: Any, taken: Json) -> str:
    """The name itself, where it is free or means the same; otherwise with `_v2`, `_v3`, … as upstream has it."""
    base, number, candidate = re.sub(r"_v\d+$", "", name), 2, name
    while candidate in taken and taken[candidate] != definition:
        candidate = f"{base}_v{number}"
        number += 1
    return candidate


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _REFERENCE + names.get(each.removeprefix(_REFERENCE), each.removeprefix(_REFERENCE))
            if key == "$ref" and isinstance(each, str)
            else _renamed(each, names)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return value
