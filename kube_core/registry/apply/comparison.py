"""What changed between two versions of an object, as field sets: added, modified, removed.

An element that comes or goes brings all of its paths with it. Where two versions are equal nothing is entered, so the
cost follows the size of the change. The empty version of an object, which a creation is compared with, has the fields
that are always present (`Structure.resting`) and no others: that is why an update owns `.spec.volumes` but not
`.spec`.

Mirrors the comparison in upstream's structured merge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.structure import ABSENT, FREE, LEAF, LIST, MAP, SET, Structure

__all__ = ["Comparison", "compare", "every_path"]

_LEAF: dict[str, Any] = {}


@attrs.frozen
class Comparison:
    """The paths that only the new version has, that differ, and that only the old version has."""

    added: Fields
    modified: Fields
    removed: Fields

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.modified or self.removed)

    @property
    def set_by_new(self) -> Fields:
        """What the new version gave a value: added and modified."""
        return fieldsets.union(self.added, self.modified)

    def excluding(self, ignored: Fields) -> Comparison:
        """Without these paths and all below them."""
        if not ignored:
            return self
        return Comparison(
            fieldsets.without_subtrees(self.added, ignored),
            fieldsets.without_subtrees(self.modified, ignored),
            fieldsets.without_subtrees(self.removed, ignored),
        )


def compare(structure: Structure, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Compare two versions of an object, or of any map. `old` is empty for a creation."""
    added: dict[str, Any] = {}
    modified: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    _maps(structure, old, new, (added, modified, removed))
    return Comparison(added, modified, removed)


def every_path(structure: Structure, value: Any) -> Fields:
    """The tree under an element that came or went as a whole, itself included."""
    kind = structure.kind
    if kind is LEAF or not value:
        return _LEAF
    if isinstance(value, dict):
        if kind is not MAP and kind is not FREE:
            return _LEAF
        tree: dict[str, Any] = {".": _LEAF}
        for key, inner in value.items():
            # Most values are scalars, and a scalar is a leaf whatever the schema says.
            tree["f:" + key] = every_path(structure.member(key), inner) if isinstance(inner, dict | list) else _LEAF
        return tree
    if (kind is LIST or kind is SET) and isinstance(value, list):
        element = structure.element
        tree = {".": _LEAF}
        for item in value:
            name = structure.item_of(item)
            tree[name] = every_path(element, item) if kind is LIST and name not in tree else _LEAF
        return tree
    return _LEAF


_Trees = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def _maps(structure: Structure, old: Mapping[str, Any], new: Mapping[str, Any], trees: _Trees) -> None:
    for key, value in new.items():
        present = old.get(key, ABSENT)
        if present is ABSENT:
            member = structure.member(key)
            present = member.resting
            if present is ABSENT:
                if isinstance(value, dict | list):
                    trees[0]["f:" + key] = every_path(member, value)
                elif value is not None or member.custom:
                    trees[0]["f:" + key] = _LEAF
                continue
        if present is not value and present != value:
            _values(structure.member(key), "f:" + key, present, value, trees)
    for key, value in old.items():
        if key not in new:
            member = structure.member(key)
            if member.resting is ABSENT:
                trees[2]["f:" + key] = every_path(member, value)
            elif value != member.resting:
                _values(member, "f:" + key, value, member.resting, trees)


def _values(structure: Structure, element: str, old: Any, new: Any, trees: _Trees) -> None:
    """Compare two different values that both exist."""
    kind = structure.kind
    below: _Trees = ({}, {}, {})
    if kind is MAP or kind is FREE:
        if not _are(dict, old, new):
            trees[1][element] = _LEAF
            return
        _maps(structure, old or {}, new or {}, below)
    elif kind is LIST or kind is SET:
        if not _are(list, old, new):
            trees[1][element] = _LEAF
            return
        _lists(structure, old or (), new or (), below)
    else:
        trees[1][element] = _LEAF
        return
    for tree, inner in zip(trees, below, strict=True):
        if inner:
            tree[element] = inner


def _are(wanted: type, old: Any, new: Any) -> bool:
    """Whether both are of the type, null standing for an empty one, and not both empty (then they are one leaf)."""
    return (old is None or isinstance(old, wanted)) and (new is None or isinstance(new, wanted)) and bool(old or new)


def _lists(structure: Structure, old: Sequence[Any], new: Sequence[Any], trees: _Trees) -> None:
    before, after = _by_element(structure, old), _by_element(structure, new)
    element = structure.element
    for name, items in after.items():
        present = before.get(name)
        # Items that share a key cannot be told apart: they come, go and change as one.
        if present is None:
            trees[0][name] = every_path(element, items[0]) if len(items) == 1 else _LEAF
        elif len(items) == len(present) == 1:
            if items[0] != present[0]:
                _values(element, name, present[0], items[0], trees)
        elif items != present:
            trees[1][name] = _LEAF
    for name, items in before.items():
        if name not in after:
            trees[2][name] = every_path(element, items[0]) if len(items) == 1 else _LEAF


def _by_element(structure: Structure, items: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(structure.item_of(item), []).append(item)
    return found
