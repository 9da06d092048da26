"""The annotation by which kubectl remembers what it applied from its own side, and the way over from it.

When `kubectl` applies on the server for the first time, fields that it applied before from the client's side are owned
by an update of another name. They are not conflicts as long as they still are as the annotation has them. And as long
as the annotation is there, each server-side apply by `kubectl` brings it up to date, so that going back is possible.

Mirrors "Upgrading from client-side apply to server-side apply" in upstream's documentation.
"""

from __future__ import annotations

from typing import Any

import orjson

from kube_core.meta.documents import Document, MutableDocument, annotations_of, thaw
from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.comparison import compare
from kube_core.registry.apply.configurations import claimed, problems
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.structure import Structure

__all__ = ["ANNOTATION", "MANAGER", "fields_still_as_applied", "keep_up_to_date"]

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
#: The only manager for which the annotation means anything.
MANAGER = "kubectl"
#: Upstream's limit on all annotations of an object; a longer text is not kept.
MAX_SIZE = 256 * 1024


def fields_still_as_applied(structure: Structure, live: Document) -> Fields:
    """The fields in the live object's annotation whose values the object still has; empty without one."""
    text = annotations_of(live).get(ANNOTATION)
    if not text:
        return {}
    try:
        applied = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(applied, dict) or next(problems(structure, applied), None) is not None:
        return {}
    changes = compare(structure, applied, live)
    fields = claimed(structure, applied)
    for changed in (changes.modified, changes.added, changes.removed):
        fields = fieldsets.difference(fields, changed)
    return fields


def keep_up_to_date(document: MutableDocument, applied: Document) -> None:
    """Write the applied configuration into the annotation of `document`, where it has one."""
    annotations = annotations_of(document)
    if ANNOTATION not in annotations:
        return
    configuration: dict[str, Any] = thaw(applied)
    mine = configuration.get("metadata", {}).get("annotations")
    if mine:
        mine.pop(ANNOTATION, None)
    text = orjson.dumps(configuration, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    updated = dict(annotations)
    if len(text) > MAX_SIZE:
        del updated[ANNOTATION]
    else:
        updated[ANNOTATION] = text
    document["metadata"] = {**document["metadata"], "annotations": updated}
