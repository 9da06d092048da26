"""The history of a stateful set or daemon set: its templates, each kept as a ControllerRevision.

A revision holds a strategic merge patch that puts its template back (`kubectl rollout undo` sends it), and a number
that grows: a template that comes back gets the next number, and no second revision. Two templates with one hash are
told apart by the owner's `collisionCount`. Revisions beyond the limit go, the oldest first, unless they are in use
(upstream: "ControllerRevisions" in the tutorials and API reference).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import attrs

from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound
from kube_plugins.controllers.deployment.templates import template_hash

__all__ = [
    "Found",
    "clean_up",
    "ensure_revision",
    "make_revision",
    "number_of",
    "oldest_first",
    "revision_data",
    "surplus",
    "template_of",
]

_NAME_LIMIT = 223


@attrs.frozen
class Found:
    """The revision of the owner's present template, all of its revisions, and its collisions so far."""

    update: Document
    revisions: Sequence[Document]
    collisions: int


def number_of(revision: Document) -> int:
    return int(revision.get("revision") or 0)


def oldest_first(revisions: Iterable[Document]) -> list[Document]:
    return sorted(revisions, key=lambda revision: (number_of(revision), name_of(revision)))


def revision_data(template: Document) -> MutableDocument:
    """The patch that puts a template back. Its keys are in order: clients compare it with their own, byte by byte."""
    ordered: MutableDocument = _in_order({"spec": {"template": {**thaw(template), "$patch": "replace"}}})
    return ordered


def template_of(revision: Document) -> MutableDocument:
    """The template that a revision keeps."""
    template: MutableDocument = thaw(((revision.get("data") or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return template


def make_revision(owner: Document, number: int, collisions: int, hash_label: str) -> MutableDocument:
    """A revision of the owner's template; its hash is in its name, and in the label `hash_label`."""
    template = owner["spec"]["template"]
    mark = template_hash(template, collisions)
    metadata: MutableDocument = {
        "name": f"{name_of(owner)[:_NAME_LIMIT]}-{mark}",
        "namespace": namespace_of(owner),
        "labels": {**labels_of(template), hash_label: mark},
        "ownerReferences": [controller_reference(owner)],
    }
    if annotations_of(owner):
        metadata["annotations"] = dict(annotations_of(owner))
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": revision_data(template),
        "revision": number,
    }


def surplus(revisions: Sequence[Document], live: Collection[str], limit: int) -> tuple[Document, ...]:
    """The revisions to delete. `live`: the names of those that are in use; they count for nothing."""
    idle = [revision for revision in oldest_first(revisions) if name_of(revision) not in live]
    return tuple(idle[: max(len(idle) - limit, 0)])


async def ensure_revision(client: ApiClient, owner: Document, revisions: Sequence[Document], hash_label: str) -> Found:
    """The revision of the owner's template: found, found and renumbered, or made."""
    known = oldest_first(revisions)
    collisions = int((owner.get("status") or {}).get("collisionCount") or 0)
    number = number_of(known[-1]) + 1 if known else 1
    data = revision_data(owner["spec"]["template"])
    equal = [revision for revision in known if revision.get("data") == data]
    if equal:
        update = equal[-1]
        if update is not known[-1]:
            update = await client.update(resources.CONTROLLER_REVISIONS, {**update, "revision": number})
            known = [update if name_of(each) == name_of(update) else each for each in known]
        return Found(update, known, collisions)
    while True:
        wanted = make_revision(owner, number, collisions, hash_label)
        try:
            update = await client.create(resources.CONTROLLER_REVISIONS, wanted)
        except AlreadyExists:
            update = await client.get(resources.CONTROLLER_REVISIONS, name_of(wanted), namespace_of(owner))
            if update.get("data") != data:
                collisions += 1
                continue
        return Found(update, [*known, update], collisions)


async def clean_up(client: ApiClient, owner: Document, revisions: Sequence[Document], live: Collection[str]) -> None:
    """Delete what the owner's `revisionHistoryLimit` no longer keeps."""
    limit = owner["spec"].get("revisionHistoryLimit")
    for revision in surplus(revisions, live, 10 if limit is None else int(limit)):
        try:
            await client.delete(
                resources.CONTROLLER_REVISIONS, name_of(revision), namespace_of(revision), uid=uid_of(revision)
            )
        except NotFound:
            pass


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value
