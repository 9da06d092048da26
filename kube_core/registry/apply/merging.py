"""Putting an applied configuration into the live object, and taking out what its manager gave up.

`merge` gives the configuration's value to every leaf that it names and keeps the rest of the live object; lists of
items are joined by their keys, in the order of the configuration, with live-only items where they were.

`without`, `with_owned` and `with_dangling` then remove what the manager applied last time and does not apply now,
unless another manager claims it. A field that encloses only such things goes with them, unclaimed defaults inside it
included, as upstream does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.configurations import claimed
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.structure import FREE, LIST, MAP, SET, Structure

__all__ = ["merge", "with_dangling", "with_owned", "without"]


def merge(structure: Structure, live: Any, applied: Any) -> Any:
    """The live value with the applied one merged in. Shares parts with both."""
    kind = structure.kind
    if (kind is MAP or kind is FREE) and isinstance(live, Mapping) and live:
        if applied is None:
            return live
        if isinstance(applied, Mapping):
            merged = dict(live)
            for key, value in applied.items():
                merged[key] = merge(structure.member(key), live[key], value) if key in live else value
            return merged
    elif (kind is LIST or kind is SET) and isinstance(live, list) and live:
        if applied is None:
            return live
        if isinstance(applied, list):
            return _merge_lists(structure, live, applied)
    return applied


def _merge_lists(structure: Structure, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied items in their order; live-only ones stay before the shared or new items that they preceded."""
    wanted = {structure.item_of(item): item for item in applied}
    present: dict[str, Any] = {}
    live_elements = [structure.item_of(item) for item in live]
    for element, item in zip(live_elements, live, strict=True):
        present.setdefault(element, item)
    shared = [element for element in wanted if element in present]
    result: list[Any] = []
    place = 0
    for element, item in wanted.items():
        target = shared[0] if shared else None
        while place < len(live) and live_elements[place] != target:
            if live_elements[place] not in wanted:
                result.append(live[place])
            place += 1
        if element == target:
            result.append(merge(structure.element, present[element], item))
            shared.pop(0)
            place += 1
        else:
            result.append(item)
    result += [item for element, item in zip(live_elements[place:], live[place:], strict=True) if element not in wanted]
    return result


def without(structure: Structure, merged: Any, last: Fields) -> Any:
    """First step of giving up: `merged` without all that its manager had applied before."""
    return _remove(structure, merged, _with_enclosing(structure, last))


def with_owned(structure: Structure, merged: Any, pruned: Any, owned: Fields) -> Any:
    """Second step, once for each version that owners write in: put back from `merged` what anybody claims now."""
    kept = fieldsets.union(_everything(structure, pruned), _with_enclosing(structure, owned))
    return _remove(structure, merged, fieldsets.difference(_everything(structure, merged), kept))


def with_dangling(structure: Structure, merged: Any, pruned: Any, last: Fields) -> Any:
    """Last step: put back what nobody claims, unless it was the manager's own."""
    gone = fieldsets.difference(_everything(structure, merged), _everything(structure, pruned))
    return _remove(structure, merged, fieldsets.intersection(gone, _with_enclosing(structure, last)))


def _everything(structure: Structure, value: Any) -> Fields:
    return _with_enclosing(structure, claimed(structure, value))


def _with_enclosing(structure: Structure, tree: Fields) -> Fields:
    """The set with the named fields that enclose its paths in it."""
    result: dict[str, Any] = {}
    for element, inner in tree.items():
        if element == ".":
            continue
        below = inner
        inside = fieldsets.contains(inner)
        if inner:
            named = element.startswith("f:")
            place = structure.member(element[2:]) if named else structure.element
            below = _with_enclosing(place, inner)
            inside = inside or (named and structure.declares(element[2:]))
        result[element] = {".": {}, **below} if inside and below else below
    return result


def _remove(structure: Structure, value: Any, unwanted: Fields) -> Any:
    """`value` without the paths in `unwanted`; a map or list that this empties is null, and so as good as unset."""
    kind = structure.kind
    if not unwanted or not value:
        return value
    if (kind is MAP or kind is FREE) and isinstance(value, Mapping):
        result = {}
        for key, inner in value.items():
            tree = unwanted.get("f:" + key)
            if tree is None:
                result[key] = inner
            elif not fieldsets.contains(tree):
                result[key] = _remove(structure.member(key), inner, tree)
        return result or None
    if (kind is LIST or kind is SET) and isinstance(value, list):
        items = []
        for inner in value:
            tree = unwanted.get(structure.item_of(inner))
            if tree is None:
                items.append(inner)
            elif not fieldsets.contains(tree):
                items.append(_remove(structure.element, inner, tree))
        return items or None
    return value
