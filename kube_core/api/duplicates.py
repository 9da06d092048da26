"""Repeated keys in a JSON text: what upstream's decoder calls duplicate fields.

A parser keeps the last of them and says nothing, so they can only be found in the text. Almost no body has any, so a
body is first compared with what it was decoded to: a compact text of the same length cannot have lost a key. Only where
that does not settle it, the text is parsed again, slowly, by a parser that hands out every key.

YAML's repeated keys are told by `kube_core.api.yaml`. What becomes of the messages (errors, warnings or nothing) is
"Field validation", and not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

__all__ = ["Duplicates", "duplicate_fields", "in_order"]


class Duplicates(list[str]):
    """A message, `duplicate field "spec.replicas"`, for each key that is repeated in its object.

    `order`: of each message, or path of a key, how many keys stand before it in the text.
    """

    def __init__(self, messages: Iterable[str] = (), order: Mapping[str, int] | None = None) -> None:
        super().__init__(messages)
        self.order: Mapping[str, int] = order or {}


def duplicate_fields(text: bytes, decoded: Any) -> Duplicates:
    """The repeated keys of `text`. `decoded` is what it was decoded to; it must be valid JSON."""
    if len(orjson.dumps(decoded)) == len(text.strip()):
        return Duplicates()
    order: dict[str, int] = {}
    messages: list[str] = []
    _walk(json.loads(text, object_pairs_hook=_Pairs), "", messages, order)
    return Duplicates(messages, order)


def in_order(duplicates: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """What there is to say of repeated and of unknown fields (`unknown field "spec.x"`), in the order of the text."""
    found = [*duplicates, *unknown]
    if isinstance(duplicates, Duplicates) and duplicates.order and unknown:
        order = duplicates.order
        found.sort(key=lambda message: order.get(message, order.get(message.partition('"')[2][:-1], len(order))))
    return found


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand in the text; told apart from a list by its type."""


def _walk(value: Any, path: str, messages: list[str], order: dict[str, int]) -> None:
    if isinstance(value, _Pairs):
        seen = set()
        for key, inner in value:
            place = f"{path}.{key}" if path else key
            if key in seen and (message := f'duplicate field "{place}"') not in order:
                order[message] = len(order)
                messages.append(message)
            order.setdefault(place, len(order))
            seen.add(key)
            _walk(inner, place, messages, order)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _walk(inner, f"{path}[{position}]", messages, order)
