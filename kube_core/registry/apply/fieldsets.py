"""Sets of field paths, held as what is stored and sent: FieldsV1 trees.

A tree is a plain dict from path elements to trees. An element is written as FieldsV1 writes it: `f:<name>` a field,
`k:<keys>` an item of a keyed list, `v:<value>` an item of a set, `i:<index>` an item by place. An empty tree under an
element says that its path is in the set; `.` beside other elements says the same of a path that has others below it.
Working on this form, no set is ever converted on the way from or to an object's `managedFields`.

What always holds: functions return new trees or, where nothing changes, the very tree they were given; they never
change one, so trees may be shared and frozen. A tree never has an element with nothing in it.

What is stored is `settled`: in order, and the same one for all objects of one shape. A thousand pods of a template are
owned alike by who made them, and such a tree is half of all that there is in a pod.

Mirrors "FieldsV1" of upstream's object metadata, and the field sets of its structured merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kube_core.meta.documents import freeze

__all__ = [
    "Fields",
    "check",
    "contains",
    "covers",
    "difference",
    "field",
    "intersection",
    "item",
    "member",
    "of_paths",
    "ordered",
    "path_text",
    "paths",
    "settled",
    "union",
    "without_subtrees",
]

#: A FieldsV1 tree.
Fields = Mapping[str, Any]

_SELF = "."
_IN: dict[str, Any] = {}
#: Trees that many objects have, by their text: at most so many, of so many bytes.
_SHARED: dict[bytes, Fields] = {}
_MOST_SHARED, _LONGEST_SHARED = 1024, 4096


def field(name: str) -> str:
    """The element of a named field, or of a map's key."""
    return f"f:{name}"


def item(keys: Mapping[str, Any]) -> str:
    """The element of a keyed list's item."""
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def member(value: Any) -> str:
    """The element of a set's item."""
    return "v:" + orjson.dumps(value).decode()


def contains(tree: Fields) -> bool:
    """Whether the path that has `tree` under its last element is itself in the set."""
    return not tree or _SELF in tree


def ordered(tree: Fields) -> Fields:
    """The same set as upstream writes it: elements in order. Clients compare what was written, byte by byte."""
    return {element: ordered(below) if (below := tree[element]) else below for element in sorted(tree)}


def settled(tree: Fields) -> Fields:
    """The same set in order, frozen, and shared with everybody who has the same."""
    text = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    found = _SHARED.get(text)
    if found is None:
        found = freeze(ordered(tree))
        if len(text) <= _LONGEST_SHARED:
            if len(_SHARED) >= _MOST_SHARED:
                _SHARED.clear()  # those that are common are soon here again
            _SHARED[text] = found
    return found


def check(tree: Any) -> None:
    """Raises ValueError for what is no FieldsV1 tree."""
    if not isinstance(tree, Mapping):
        raise ValueError("the fields below a path must be an object")
    for element, below in tree.items():
        kind, _, rest = element.partition(":")
        if kind == "k":
            if not isinstance(orjson.loads(rest), dict):
                raise ValueError(f"the keys of an item must be an object: {element}")
        elif kind == "v":
            orjson.loads(rest)
        elif kind == "i":
            int(rest)
        elif element != _SELF and not element.startswith("f:"):
            raise ValueError(f"not a path element: {element}")
        check(below)


def covers(left: Fields, right: Fields) -> bool:
    """Whether all that is in `right` is in `left`."""
    for element, other in right.items():
        if element == _SELF:
            continue
        present = left.get(element)
        if present is None or (contains(other) and not contains(present)) or not covers(present, other):
            return False
    return True


def union(left: Fields, right: Fields) -> Fields:
    """What is in either."""
    if not right or left is right:
        return left
    if not left:
        return right
    merged = dict(left)
    for element, other in right.items():
        present = left.get(element)
        merged[element] = other if present is None else _joined(present, other)
    return merged


def difference(left: Fields, right: Fields) -> Fields:
    """What is in `left` and not in `right`: path by path, what is below a path stays."""
    result: dict[str, Any] | None = None
    for element, other in right.items():
        present = left.get(element)
        if present is None or element == _SELF:
            continue
        inside = contains(present) and not contains(other)
        below = difference(present, other)
        remains = _node(inside, below)
        if remains is not None and remains == present:
            continue
        result = dict(left) if result is None else result
        if remains is None:
            del result[element]
        else:
            result[element] = remains
    return left if result is None else result


def intersection(left: Fields, right: Fields) -> Fields:
    """What is in both."""
    result = {}
    for element, other in right.items():
        present = left.get(element)
        if present is None or element == _SELF:
            continue
        common = _node(contains(present) and contains(other), intersection(present, other))
        if common is not None:
            result[element] = common
    return result


def without_subtrees(left: Fields, right: Fields) -> Fields:
    """`left` without the paths in `right` and all that is below them."""
    result: dict[str, Any] | None = None
    for element, other in right.items():
        present = left.get(element)
        if present is None or element == _SELF:
            continue
        remains = None if contains(other) else without_subtrees(present, other)
        if remains is present:
            continue
        result = dict(left) if result is None else result
        if remains:
            result[element] = remains
        else:
            del result[element]
    return left if result is None else result


def of_paths(*names: tuple[str, ...]) -> Fields:
    """The set of these paths of named fields: `of_paths(("spec",), ("metadata", "labels"))`."""
    result: Fields = {}
    for path in names:
        tree: Fields = _IN
        for name in reversed(path):
            tree = {field(name): tree}
        result = union(result, tree)
    return result


def paths(tree: Fields, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path in the set, those at one level before those below it, as upstream lists them in conflicts."""
    elements = sorted(element for element in tree if element != _SELF)
    for element in elements:
        if contains(tree[element]):
            yield (*prefix, element)
    for element in elements:
        if tree[element]:
            yield from paths(tree[element], (*prefix, element))


def path_text(path: tuple[str, ...]) -> str:
    """A path for people: `.spec.containers[name="web"].image`."""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = orjson.loads(rest)
        return f"[{','.join(f'{name}={_value_text(keys[name])}' for name in sorted(keys))}]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


def _value_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _joined(left: Fields, right: Fields) -> Fields:
    """The union of what two trees say of one path and below it."""
    if left is right or left == right:
        return left
    below = union(_below(left), _below(right))
    return {_SELF: _IN, **below} if below and (contains(left) or contains(right)) else below


def _below(tree: Fields) -> Fields:
    return {element: inner for element, inner in tree.items() if element != _SELF} if _SELF in tree else tree


def _node(inside: bool, below: Fields) -> Fields | None:
    """The tree of a path that is in the set or not and has `below` under it; None when nothing is left."""
    below = _below(below)
    if not inside:
        return below or None
    return {_SELF: _IN, **below} if below else _IN
