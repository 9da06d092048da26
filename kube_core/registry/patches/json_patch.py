"""JSON Patch (RFC 6902), with the leniencies of the library that upstream's API server uses.

Those are observable and relied on, so they are kept:

* `replace` of a missing member adds it; `copy` of a missing member copies null, `add` without `value` adds null;
* a path that does not begin with a slash loses what stands before its first slash (`data/x` means `/x`);
* an index counts from the end when it is negative.

What `copy` copies in one patch is limited, as it can double with each operation.

Whatever does not apply is one and the same 422 without a cause; only a body that is no patch at all is a 400. A
general-purpose library is not used because none has these semantics, and its errors would not fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from kube_core.meta import status
from kube_core.meta.documents import thaw
from kube_core.meta.equality import same
from kube_core.meta.json_faults import unreadable

__all__ = ["apply", "check", "unknown_members"]

#: How upstream calls one operation.
_OPERATION = "handlers.jsonPatchOp"
_MEMBERS = ("op", "path", "from", "value")
_INDEX = re.compile(r"[+-]?[0-9]+")
#: How many bytes of JSON all copies of a patch may add.
_COPY_LIMIT = 3 * 1024 * 1024


class _NotApplicable(Exception):
    """An operation that has nothing to work on, or whose test fails."""


def check(patch: Any) -> None:
    """Raises `BadRequest` unless this is a list of objects."""
    if not isinstance(patch, list):
        raise status.BadRequest(f"error decoding patch: {unreadable(patch, f'[]{_OPERATION}')}")
    for operation in patch:
        if not isinstance(operation, dict):
            raise status.BadRequest(f"error decoding patch: {unreadable(operation, _OPERATION)}")


def unknown_members(patch: list[dict[str, Any]]) -> list[str]:
    """A text for each member of an operation that RFC 6902 does not know."""
    return [
        f'json patch unknown field "[{position}].{member}"'
        for position, operation in enumerate(patch)
        for member in operation
        if member not in _MEMBERS
    ]


def apply(document: Any, patch: list[dict[str, Any]]) -> Any:
    """The patched document. Raises `Invalid` when an operation does not apply."""
    root = _Root(thaw(document))
    try:
        for operation in patch:
            _OPERATIONS[_text(operation, "op")](root, operation)
    except (_NotApplicable, KeyError):
        raise status.Invalid(
            "the server rejected our request due to an error in our request", reason="Invalid", details={}
        ) from None
    root.sort_touched()
    return root.value


class _Root:
    """The document under the patch; remembers which objects were entered, for the order of their keys."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self._copied = 0
        self._touched: dict[int, dict[str, Any]] = {}
        self.touch(value)

    def touch(self, container: Any) -> None:
        if isinstance(container, dict):
            self._touched[id(container)] = container

    def find(self, pointer: str) -> tuple[Any, str]:
        """The container that a pointer's last part is in, and that part."""
        parts = pointer.split("/")[1:]
        if not parts:
            raise _NotApplicable
        container = self.value
        for part in parts[:-1]:
            container = _get(container, _unescape(part))
            if not isinstance(container, dict | list):
                raise _NotApplicable
            self.touch(container)
        return container, _unescape(parts[-1])

    def copy(self, value: Any) -> Any:
        """A copy of a part, within the limit on all of them."""
        self._copied += len(orjson.dumps(value))
        if self._copied > _COPY_LIMIT:
            raise _NotApplicable
        return thaw(value)

    def sort_touched(self) -> None:
        for container in self._touched.values():
            ordered = dict(sorted(container.items()))
            container.clear()
            container.update(ordered)


def _text(operation: Mapping[str, Any], member: str) -> str:
    value = operation.get(member)
    if not isinstance(value, str):
        raise _NotApplicable
    return value


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _position(text: str, length: int) -> int:
    """An index into a list in which `length` places exist. Negative ones count from the end."""
    if not _INDEX.fullmatch(text):
        raise _NotApplicable
    position = int(text)
    if not -length <= position < length:
        raise _NotApplicable
    return position + length if position < 0 else position


def _get(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        return container.get(key)
    return container[_position(key, len(container))]


def _put(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        container.insert(_position(key, len(container) + 1), value)


def _take(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        if key not in container:
            raise _NotApplicable
        return container.pop(key)
    return container.pop(_position(key, len(container)))


def _add(root: _Root, operation: Mapping[str, Any]) -> None:
    container, key = root.find(_text(operation, "path"))
    _put(container, key, thaw(operation.get("value")))


def _remove(root: _Root, operation: Mapping[str, Any]) -> None:
    _take(*root.find(_text(operation, "path")))


def _replace(root: _Root, operation: Mapping[str, Any]) -> None:
    path, value = _text(operation, "path"), thaw(operation.get("value"))
    if not path:
        if not isinstance(value, dict | list):
            raise _NotApplicable
        root.value = value
        root.touch(value)
        return
    container, key = root.find(path)
    if isinstance(container, dict):
        container[key] = value
    else:
        container[_position(key, len(container))] = value


def _move(root: _Root, operation: Mapping[str, Any]) -> None:
    value = _take(*root.find(_text(operation, "from")))
    container, key = root.find(_text(operation, "path"))
    _put(container, key, value)


def _copy(root: _Root, operation: Mapping[str, Any]) -> None:
    value = root.copy(_get(*root.find(_text(operation, "from"))))
    container, key = root.find(_text(operation, "path"))
    _put(container, key, value)


def _test(root: _Root, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    actual = _get(*root.find(path)) if path else root.value
    if not same(actual, operation.get("value")):
        raise _NotApplicable


_OPERATIONS = {"add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test}
