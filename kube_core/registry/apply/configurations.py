"""What a manager applies: checking it against the kind's schema, and the fields that it thereby claims.

Applying claims the leaves of a configuration and the items of its lists; a map that has members is not itself claimed,
an empty one is. Checking is strict, as upstream's is: a field that the schema does not declare, a value of the wrong
type or two items with one key are errors, since nobody could say what owning them means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.structure import FREE, LEAF, LIST, MAP, SET, Structure

__all__ = ["atomic_paths", "claimed", "problems"]

_LEAF: dict[str, Any] = {}


def claimed(structure: Structure, value: Any) -> Fields:
    """The fields that applying `value`, a checked configuration, claims."""
    kind = structure.kind
    tree: dict[str, Any] = {}
    if (kind is MAP or kind is FREE) and isinstance(value, Mapping):
        for key in sorted(value):
            inner, member = value[key], structure.member(key)
            below = claimed(member, inner)
            itself = inner is None or inner == {} or not structure.declares(key) or _is_leaf(member, inner)
            if itself:
                tree["f:" + key] = {".": _LEAF, **below} if below else _LEAF
            elif below:
                tree["f:" + key] = below
    elif (kind is LIST or kind is SET) and isinstance(value, list):
        for inner in value:
            below = claimed(structure.element, inner)
            tree[structure.item_of(inner)] = {".": _LEAF, **below} if below else _LEAF
    return tree


def atomic_paths(structure: Structure, value: Any, path: str = "") -> Iterator[str]:
    """Where a checked configuration sets lists or maps that have one owner as a whole."""
    kind = structure.kind
    if kind is LEAF and isinstance(value, Mapping | list):
        yield path
    elif (kind is MAP or kind is FREE) and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from atomic_paths(structure.member(key), inner, f"{path}.{key}")
    elif (kind is LIST or kind is SET) and isinstance(value, list):
        for inner in value:
            yield from atomic_paths(structure.element, inner, path + fieldsets.path_text((structure.item_of(inner),)))


def problems(structure: Structure, value: Any, path: str = "") -> Iterator[str]:
    """What keeps `value` from being a configuration of this kind, in upstream's words."""
    if value is None:
        return
    if structure.expects and not _fits(structure.expects, value):
        yield f"{path}: expected {structure.expects}, got {_show(value)}"
    elif isinstance(value, Mapping) and (structure.kind is MAP or structure.kind is FREE or structure.expects == "map"):
        for key, inner in value.items():
            if structure.closed and not structure.declares(key):
                yield f"{path}.{key}: field not declared in schema"
            else:
                yield from problems(structure.member(key), inner, f"{path}.{key}")
    elif isinstance(value, list) and (structure.kind is LIST or structure.kind is SET):
        yield from _list_problems(structure, value, path)


def _list_problems(structure: Structure, value: list[Any], path: str) -> Iterator[str]:
    seen = set()
    for place, inner in enumerate(value):
        try:
            element = structure.item_of(inner)
        except ValueError as error:
            yield f"{path}: element {place}: {error}"
            continue
        if element in seen:
            yield f"{path}: duplicate entries for key {fieldsets.path_text((element,))}"
        seen.add(element)
        yield from problems(structure.element, inner, path + fieldsets.path_text((element,)))


def _is_leaf(structure: Structure, value: Any) -> bool:
    kind = structure.kind
    if kind is FREE:
        return not isinstance(value, Mapping)
    return kind is LEAF


def _fits(expected: str, value: Any) -> bool:
    if expected == "map":
        return isinstance(value, Mapping)
    if expected == "list":
        return isinstance(value, list)
    if expected == "string":
        return isinstance(value, str)
    if expected == "boolean":
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(value: Any) -> str:
    return orjson.dumps(value).decode()
