"""Repeated keys in a JSON text: what upstream's decoder calls duplicate fields.

A parser keeps the last of them and says nothing, so they can only be found in the text. Almost no body has any, so a
body is first compared with what it was decoded to: a compact text of the same length cannot have lost a key. Only where
that does not settle it, the text is parsed again, slowly, by a parser that hands out every key.

YAML's repeated keys are told by `kube_core.api.yaml`. What becomes of the messages (errors, warnings or nothing) is
"Field validation", and not known here.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["duplicate_fields"]


def duplicate_fields(text: bytes, decoded: Any) -> list[str]:
    """A message, `duplicate field "spec.replicas"`, for each key of `text` that is repeated in its object.

    `decoded` is what the text was decoded to; it must be valid JSON.
    """
    if len(orjson.dumps(decoded)) == len(text.strip()):
        return []
    found: list[str] = []
    _walk(json.loads(text, object_pairs_hook=_Pairs), "", found)
    return [f'duplicate field "{path}"' for path in dict.fromkeys(found)]


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand in the text; told apart from a list by its type."""


def _walk(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen = set()
        for key, inner in value:
            place = f"{path}.{key}" if path else key
            if key in seen:
                found.append(place)
            seen.add(key)
            _walk(inner, place, found)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _walk(inner, f"{path}[{position}]", found)
