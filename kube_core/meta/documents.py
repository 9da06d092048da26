"""Objects as documents: plain JSON values, and small accessors for their metadata.

A `Document` is what readers get: it may be shared, so nobody writes to it. A `MutableDocument` is a plain `dict` that
one owner builds or changes. `freeze` makes the first from the second (writes to it raise `TypeError`); `thaw` makes a
private, deep, plain copy. Frozen documents are `dict` and `list` subclasses, so orjson and `isinstance` take them as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import attrs

__all__ = [
    "Document",
    "FrozenDict",
    "FrozenList",
    "Key",
    "MutableDocument",
    "annotations_of",
    "api_version_of",
    "controller_of",
    "finalizers_of",
    "freeze",
    "is_deleting",
    "key_of",
    "kind_of",
    "labels_of",
    "metadata_of",
    "name_of",
    "namespace_of",
    "owner_references_of",
    "resource_version_of",
    "shareable",
    "thaw",
    "uid_of",
]

Document = Mapping[str, Any]
MutableDocument = dict[str, Any]

_NOTHING: Mapping[str, Any] = {}
_SCALARS = frozenset((str, int, float, bool, type(None)))


@attrs.frozen(order=True)
class Key:
    """What identifies an object within its resource. `namespace` is "" for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def _refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError("a shared document is read-only; thaw() it to get a copy of your own")


class FrozenDict(dict[str, Any]):
    """A `dict` that refuses to change."""

    __slots__ = ("__weakref__",)
    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse


_put = dict.__setitem__


class FrozenList(list[Any]):
    """A `list` that refuses to change."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse


def freeze(value: Any) -> Any:
    """A read-only form of a JSON value, all the way down. Frozen input is returned as it is."""
    kind = type(value)
    if kind is dict:
        # Most of what is in a document is text: it is copied at once, and the rest is then put in its place.
        frozen = FrozenDict(value)
        for key, item in value.items():
            kind = type(item)
            if kind is dict or kind is list:
                _put(frozen, key, freeze(item))
        return frozen
    if kind is list:
        return FrozenList([freeze(item) for item in value])
    return value


def thaw(value: Any) -> Any:
    """A deep, plain, private copy of a JSON value, frozen or not."""
    kind = type(value)
    if kind is FrozenDict or kind is dict:
        copy = dict(value)
        for key, item in value.items():
            if type(item) not in _SCALARS:
                copy[key] = thaw(item)
        return copy
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return value


def shareable(value: Any) -> Any:
    """The value itself where nobody can change it, and else a copy of one's own."""
    kind = type(value)
    return value if kind in _SCALARS or kind is FrozenDict or kind is FrozenList else thaw(value)


def metadata_of(document: Document) -> Mapping[str, Any]:
    """The object's metadata; empty where it has none."""
    return document.get("metadata") or _NOTHING


def name_of(document: Document) -> str:
    return str(metadata_of(document).get("name") or "")


def namespace_of(document: Document) -> str:
    """The object's namespace; "" for a cluster-scoped one."""
    return str(metadata_of(document).get("namespace") or "")


def key_of(document: Document) -> Key:
    metadata = metadata_of(document)
    return Key(metadata.get("namespace") or "", metadata.get("name") or "")


def uid_of(document: Document) -> str:
    return str(metadata_of(document).get("uid") or "")


def resource_version_of(document: Document) -> str:
    return str(metadata_of(document).get("resourceVersion") or "")


def labels_of(document: Document) -> Mapping[str, str]:
    return metadata_of(document).get("labels") or _NOTHING


def annotations_of(document: Document) -> Mapping[str, str]:
    return metadata_of(document).get("annotations") or _NOTHING


def finalizers_of(document: Document) -> Sequence[str]:
    return metadata_of(document).get("finalizers") or ()


def owner_references_of(document: Document) -> Sequence[Document]:
    return metadata_of(document).get("ownerReferences") or ()


def controller_of(document: Document) -> Document | None:
    """The owner reference with `controller: true`, or None."""
    for reference in metadata_of(document).get("ownerReferences") or ():
        if reference.get("controller"):
            owner: Document = reference
            return owner
    return None


def is_deleting(document: Document) -> bool:
    """Whether deletion has been asked for (`metadata.deletionTimestamp` is set)."""
    return metadata_of(document).get("deletionTimestamp") is not None


def kind_of(document: Document) -> str:
    return str(document.get("kind") or "")


def api_version_of(document: Document) -> str:
    return str(document.get("apiVersion") or "")
