"""What a controller applies: server-side, owned, not twice the same, and taken away when it is wanted no more.

What always holds:

* An object that is applied gets the owner's name and namespace where it has none of its own, and a controller reference
  to the owner, where there can be one: an owner in a namespace owns only what is in that namespace.
* A child that was applied before, with the same content, and that is in the cache as it was answered then, but for its
  status, is not applied again. Whatever else differs, be it somebody else's annotation, asks the server.
* Pruning takes only what the owner controls (owner reference, by uid), what this field manager has applied (the
  object's managed fields say so; no label is needed), and what the present reconcile did not apply.

What was applied is remembered in memory only; after a restart each child is applied once, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import attrs

from kube_core.api.models import from_document, to_document
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    controller_of,
    freeze,
    is_deleting,
    key_of,
    metadata_of,
    resource_version_of,
    thaw,
    uid_of,
)

__all__ = ["Children", "applied_document", "as_given", "is_as_applied", "stray"]

T = TypeVar("T")

_Identity = tuple[ResourceType, Key]
#: Parts of metadata that an applied configuration can have, or that say that an object is another one.
_METADATA = ("uid", "labels", "annotations", "ownerReferences", "finalizers", "deletionTimestamp")


@attrs.frozen
class _Applied:
    wanted: Document
    answer: Document


class Children:
    """What one controller has applied for each of its objects."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._applied: dict[Key, dict[_Identity, _Applied]] = {}

    async def apply(
        self, owner: Key, resource: ResourceType, wanted: MutableDocument, cached: Document | None, *, force: bool
    ) -> Document:
        """Let the object be as `wanted`; `cached` is how it is as far as the program knows."""
        known = self._applied.setdefault(owner, {})
        identity = resource, key_of(wanted)
        before = known.get(identity)
        if (
            before is not None
            and cached is not None
            and before.wanted == wanted
            and is_as_applied(before.answer, cached)
        ):
            return cached
        answer = await self._client.apply(resource, wanted, force=force)
        known[identity] = _Applied(wanted, freeze(answer))
        return known[identity].answer

    async def prune(self, resource: ResourceType, strays: Iterable[Document]) -> None:
        """Ask for the deletion of children that are wanted no more."""
        for document in strays:
            key = key_of(document)
            await self._client.delete(resource, key.name, key.namespace, propagation="Background", uid=uid_of(document))

    def forget(self, owner: Key) -> None:
        """The owner is gone."""
        self._applied.pop(owner, None)


def applied_document(child: object, resource: ResourceType, owner: Document, *, owned: bool) -> MutableDocument:
    """The configuration to apply for a child: a document, or an object of a class.

    Raises ValueError for a child that is to be owned, and cannot.
    """
    wanted = thaw(child) if isinstance(child, Mapping) else to_document(child)
    wanted.update(apiVersion=resource.api_version, kind=resource.kind)
    wanted.pop("status", None)
    metadata: MutableDocument = wanted.setdefault("metadata", {})
    # An object that was read before it was changed says things that only the server can.
    for name in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"):
        metadata.pop(name, None)
    home = metadata_of(owner).get("namespace") or ""
    metadata.setdefault("name", metadata_of(owner).get("name"))
    if resource.namespaced and home:
        metadata.setdefault("namespace", home)
    if owned:
        if home and (metadata.get("namespace") or "") != home:
            raise ValueError(
                f"{resource.kind} {key_of(wanted)} cannot be owned from namespace {home!r}: apply it with owned=False"
            )
        references = metadata.setdefault("ownerReferences", [])
        if all(reference.get("uid") != uid_of(owner) for reference in references):
            references.append(controller_reference(owner))
    return wanted


def is_as_applied(answer: Document, cached: Document) -> bool:
    """Whether an object is what the server answered to the last apply, but for its status and its bookkeeping."""
    if resource_version_of(answer) == resource_version_of(cached):
        return True
    here, there = metadata_of(answer), metadata_of(cached)
    if any(here.get(name) != there.get(name) for name in _METADATA):
        return False
    parts = (answer.keys() | cached.keys()) - {"metadata", "status"}
    return all(answer.get(part) == cached.get(part) for part in parts)


def stray(document: Document, owner_uid: str, field_manager: str) -> bool:
    """Whether an object is the owner's, is there because `field_manager` applied it, and is not going yet."""
    reference = controller_of(document)
    if reference is None or reference.get("uid") != owner_uid or is_deleting(document):
        return False
    entries: Iterable[Mapping[str, Any]] = metadata_of(document).get("managedFields") or ()
    return any(each.get("manager") == field_manager and each.get("operation") == "Apply" for each in entries)


def as_given(child: T, document: Document) -> T:
    """The server's answer in the form in which the child was given."""
    return cast(T, document if isinstance(child, Mapping) else from_document(type(child), document))
