"""Whose objects are whose: adoption and release by selector and controller reference.

A controller owns the objects of its namespace that name it in their controller reference. `claim` sorts what might be
its own into what it has, what it should adopt (it matches the selector, and has no controller) and what it should
release (it has this controller, and no longer matches). What another controller owns is never touched, an owner that is
being deleted neither adopts nor releases, and an object that is being deleted is not adopted.

Pure; `adoption_patch` and `release_patch` say to the server what was planned, with the object's uid, so that they never
hit another object of the same name. Mirrors upstream's controller references ("Garbage Collection", "ReplicaSet").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from kube_core.meta.documents import (
    Document,
    MutableDocument,
    api_version_of,
    controller_of,
    is_deleting,
    kind_of,
    labels_of,
    name_of,
    uid_of,
)

__all__ = ["Claims", "adoption_patch", "claim", "controller_reference", "release_patch"]


@attrs.frozen
class Claims:
    """What an owner has, and what should change about that."""

    owned: tuple[Document, ...] = ()
    adopt: tuple[Document, ...] = ()
    release: tuple[Document, ...] = ()


def claim(owner: Document, candidates: Iterable[Document], matches: Callable[[Mapping[str, str]], bool]) -> Claims:
    """Sort `candidates` (of the owner's namespace). `matches` is the owner's selector, on labels."""
    uid, going = uid_of(owner), is_deleting(owner)
    owned: list[Document] = []
    adopt: list[Document] = []
    release: list[Document] = []
    for candidate in candidates:
        reference = controller_of(candidate)
        if reference is None:
            if not going and not is_deleting(candidate) and matches(labels_of(candidate)):
                adopt.append(candidate)
        elif reference.get("uid") == uid:
            if matches(labels_of(candidate)):
                owned.append(candidate)
            elif not going:
                release.append(candidate)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def controller_reference(owner: Document) -> MutableDocument:
    """The owner reference that makes `owner` an object's controller."""
    return {
        "apiVersion": api_version_of(owner),
        "kind": kind_of(owner),
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adoption_patch(owner: Document, document: Document) -> MutableDocument:
    """The strategic merge patch that makes `document` the owner's."""
    return {"metadata": {"uid": uid_of(document), "ownerReferences": [controller_reference(owner)]}}


def release_patch(owner: Document, document: Document, finalizer: str = "") -> MutableDocument:
    """The strategic merge patch that takes `document` from the owner, with the finalizer that the owner put there."""
    removal = {"$patch": "delete", "uid": uid_of(owner)}
    metadata: MutableDocument = {"uid": uid_of(document), "ownerReferences": [removal]}
    if finalizer:
        metadata["$deleteFromPrimitiveList/finalizers"] = [finalizer]
    return {"metadata": metadata}
