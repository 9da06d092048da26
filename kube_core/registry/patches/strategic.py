"""Strategic merge patch: a merge patch that knows, from the schema, which lists are really sets or maps.

Objects merge; a list is replaced unless its field says `merge`, in which case objects are matched by the field's merge
key and scalars form a set. Directives in the patch override that:

* `$patch: replace | delete` in an object; in an item of a merging list `delete` removes the item with its key, and
  `replace` makes the rest of the patch's list the whole list;
* `$deleteFromPrimitiveList/<field>` removes scalars from a list;
* `$setElementOrder/<field>` orders a merging list; what the patch does not name keeps its place among the others;
* `$retainKeys` names the only members that an object keeps (unions).

Mirrors upstream's strategic merge as its contributor documentation describes it. Where upstream answers 500 to a
malformed directive, this answers 400 with the same text. A directive that has nothing to act on never ends up in the
object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from kube_core.api.schemas import Schema
from kube_core.meta import status
from kube_core.meta.documents import Document, shareable, thaw
from kube_core.registry.patches.wording import go_text

__all__ = ["apply"]

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_PREFIX = "$deleteFromPrimitiveList/"
_ORDER_PREFIX = "$setElementOrder/"
#: What JSON has of values that are taken as they are, but for null.
_SCALARS = frozenset({str, int, float, bool})


def apply(document: Document, patch: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The patched document. Raises `BadRequest` for malformed directives."""
    return _merge_object(document, patch, schema)


def _merge_object(original: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema | None) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    if directive is not None:
        return _directed(directive, patch, schema)
    merged = {key: value if key in patch else shareable(value) for key, value in _retained(original, patch).items()}
    if not any(key.startswith("$") for key in patch):  # as almost every object in almost every patch
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            elif type(value) in _SCALARS:
                merged[key] = value
            else:
                merged[key] = _merge_value(merged.get(key), value, _field(schema, key))
        return merged
    ordered = _apply_orders(merged, patch, schema)
    for key, value in patch.items():
        if key in ordered or key == _RETAIN_KEYS or key.startswith(_ORDER_PREFIX):
            continue
        if key.startswith(_DELETE_PREFIX):
            field = key.removeprefix(_DELETE_PREFIX)
            if isinstance(merged.get(field), list):
                unwanted = set(map(_hashable, _list(value, "invalid patch format of primitive list")))
                merged[field] = [item for item in merged[field] if _hashable(item) not in unwanted]
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), value, _field(schema, key))
    return merged


def _directed(directive: Any, patch: Mapping[str, Any], schema: Schema | None) -> dict[str, Any]:
    if directive == "delete":
        return {}
    if directive != "replace":
        raise status.BadRequest(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")
    return _merge_object({}, {key: value for key, value in patch.items() if key != _DIRECTIVE}, schema)


def _retained(original: Mapping[str, Any], patch: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `$retainKeys` leaves of the original; every member that the patch sets must be named in it."""
    if _RETAIN_KEYS not in patch:
        return original
    problem = "invalid patch format of retainKeys"
    names = _list(patch[_RETAIN_KEYS], problem)
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in names:
            raise status.BadRequest(problem)
    return {key: value for key, value in original.items() if key in names}


def _apply_orders(merged: dict[str, Any], patch: Mapping[str, Any], schema: Schema | None) -> set[str]:
    """Merge and order, in place, lists with a `$setElementOrder`; returns which fields of the patch that settles."""
    settled = set()
    for directive, value in patch.items():
        if not directive.startswith(_ORDER_PREFIX):
            continue
        order = _list(value, "invalid patch format of setElementOrder list")
        name = directive.removeprefix(_ORDER_PREFIX)
        original, changes = merged.get(name), patch.get(name)
        if original is None and changes is None:
            continue
        field = _field(schema, name)
        key = field.patch_merge_key if field else ""
        if changes is not None:
            settled.add(name)
            _check_order(_list(changes, "invalid patch format of setElementOrder list"), order, key)
            result = _merge_value(original, changes, field)
        else:
            result = thaw(original)
        merged[name] = _arrange(result, order, original or (), key)
    return settled


def _check_order(changes: Sequence[Any], order: Sequence[Any], key: str) -> None:
    """Everything that the patch sets must be in the order, in that order."""
    places = iter([_identity(item, key) for item in order])
    for item in changes:
        if _is_object(item) and _DIRECTIVE in item:
            continue
        if _identity(item, key) not in places:  # and takes what is before it out of the iterator
            raise status.BadRequest(
                f"The order in patch list:\n{go_text(changes)}\n"
                f" doesn't match $setElementOrder list:\n{go_text(order)}\n"
            )


def _merge_value(original: Any, patch: Any, field: Schema | None) -> Any:
    """One member's new value; `original` is None where there is none."""
    strategies = field.patch_strategies if field else ()
    if _is_object(patch):
        mergeable = _is_object(original) and "replace" not in strategies
        return _merge_object(original if mergeable else {}, patch, field)
    if isinstance(patch, list):
        if "merge" in strategies:
            return _merge_list(original if isinstance(original, list) else [], patch, field)
        return [_plain(item, field.items if field else None) for item in patch]
    return patch


def _plain(item: Any, schema: Schema | None) -> Any:
    """An item that is taken as it is: nothing to merge with, but no directive or null may stay in it."""
    if not _is_object(item):
        return thaw(item)
    copied = _copied(item)
    return _merge_object({}, item, schema) if copied is None else copied


def _copied(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """A copy of an object with nothing in it that a patch has to look at: no null, no directive, no list."""
    copied: dict[str, Any] = {}
    for key, value in item.items():
        if key.startswith("$"):
            return None
        if type(value) in _SCALARS:
            copied[key] = value
        elif _is_object(value) and (inner := _copied(value)) is not None:
            copied[key] = inner
        else:
            return None
    return copied


def _merge_list(original: list[Any], patch: list[Any], field: Schema | None) -> list[Any]:
    if any(isinstance(item, list) for item in (*original, *patch)):
        raise status.Invalid("lists of lists are not supported", details={})
    if not any(_is_object(item) for item in (*original, *patch)):
        return _arrange(list(dict.fromkeys([*original, *patch])), patch, original, "")
    key = field.patch_merge_key if field else ""
    items = field.items if field else None
    if not key:
        raise status.BadRequest("cannot merge lists without merge key")
    changes, unwanted, replace = [], set(), False
    for item in patch:
        directive = item.get(_DIRECTIVE) if _is_object(item) else None
        if directive is None:
            changes.append(item)
        elif directive == "delete":
            unwanted.add(_identity(item, key))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise status.BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise status.BadRequest(f"unknown patch type: {go_text(directive)} in map: {go_text(item)}")
    if replace:
        return [_plain(item, items) for item in changes]
    merged = [item for item in original if _identity(item, key) not in unwanted]
    places = _places(merged, key)
    for change in changes:
        identity = _identity(change, key)
        if identity in places:
            place = places[identity]
            merged[place] = _merge_object(merged[place], change, items)
        else:
            places[identity] = len(merged)
            merged.append(_plain(change, items))
    return _arrange([shareable(item) for item in merged], changes, original, key)


def _arrange(items: Iterable[Any], order: Sequence[Any], live: Sequence[Any], key: str) -> list[Any]:
    """`items` with those in `order` ordered by it, and the others put among them as they were in `live`."""
    wanted, before = _places(order, key), _places(live, key)
    pairs = [(_identity(item, key), item) for item in items]
    named = deque(sorted((pair for pair in pairs if pair[0] in wanted), key=lambda pair: wanted[pair[0]]))
    others = deque(
        sorted((pair for pair in pairs if pair[0] not in wanted), key=lambda pair: before.get(pair[0], len(before)))
    )
    arranged = []
    while named and others:
        first, second = others[0][0], named[0][0]
        earlier = first in before and second in before and before[first] < before[second]
        arranged.append((others if earlier else named).popleft()[1])
    return arranged + [item for _, item in (named or others)]


def _places(items: Sequence[Any], key: str) -> dict[Any, int]:
    """Where each item is first, by its identity."""
    return {_identity(item, key): place for place, item in reversed(list(enumerate(items)))}


def _identity(item: Any, key: str) -> Any:
    """What an item is matched by: its merge key's value, or itself where it is a scalar."""
    if not _is_object(item):
        return item
    if key not in item:
        raise status.BadRequest(f"map: {go_text(item)} does not contain declared merge key: {key}")
    return _hashable(item[key])


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Clients in this process may send a mapping of any make; most values are none, and of those it is slow to ask."""
    kind = type(value)
    return isinstance(value, dict) or (kind not in _SCALARS and kind is not list and isinstance(value, Mapping))


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value


def _field(schema: Schema | None, name: str) -> Schema | None:
    return schema.field(name) if schema is not None else None


def _list(value: Any, problem: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise status.BadRequest(problem)
    return value
