"""Server-side printing: objects as the rows of a `meta.k8s.io/v1` Table, which is what `kubectl get` asks for.

`make_table` is the front; it is called for a single object, for a list, and for the object of each watch event. Which
columns a kind has is declared in this package's modules, one for each field of the API; a custom resource's come from
its definition; any other kind shows its name and when it was created.

What always holds: one cell for each column, in order; rows in the order of the items; nothing here reads more than the
document itself and the time. Mirrors "Receiving resources as Tables" in upstream's API concepts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kube_core.api.descriptors import descriptor_of_kind
from kube_core.api.types import ResourceDescriptor
from kube_core.meta.documents import Document, metadata_of, name_of
from kube_core.registry.tables import control, core, extensions, network, pods, storage, workloads
from kube_core.registry.tables.columns import NAME, Printer, column
from kube_core.registry.tables.custom import columns_from_descriptor

__all__ = ["columns_from_descriptor", "make_table", "printer_for", "scale_table"]

IncludeObject = Literal["Metadata", "Object", "None"]

#: An annotation that upstream keeps as a field while it has a DaemonSet in hand, so that its tables lack it.
_HELD_APART = "deprecated.daemonset.template.generation"

_PRINTERS: Mapping[tuple[str, str], Printer] = {
    **core.PRINTERS,
    **pods.PRINTERS,
    **workloads.PRINTERS,
    **network.PRINTERS,
    **storage.PRINTERS,
    **control.PRINTERS,
    **extensions.PRINTERS,
}


def make_table(
    descriptor: ResourceDescriptor,
    items: Sequence[Document],
    *,
    now: float,
    include_object: IncludeObject = "Metadata",
    list_metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """The Table of these objects. `list_metadata` becomes its metadata; `now` is in seconds since the epoch.

    For every event of a watch but the first, the caller sets `columnDefinitions` to None.
    """
    return _filled(printer_for(descriptor), items, now, include_object, list_metadata)


def scale_table(scale: Document, *, now: float, include_object: IncludeObject = "Metadata") -> dict[str, Any]:
    """The Table of a workload's `scale`, which is no resource of its own."""
    metadata = {"resourceVersion": metadata_of(scale).get("resourceVersion", "")}
    return _filled(_PRINTERS["autoscaling", "Scale"], [scale], now, include_object, metadata)


@functools.lru_cache(maxsize=512)
def printer_for(descriptor: ResourceDescriptor) -> Printer:
    """How this resource's objects are printed."""
    kind = descriptor.type.gvk
    found = _PRINTERS.get((kind.group, kind.kind))
    if found is not None:
        return found
    if descriptor.columns or descriptor_of_kind(kind) is None:
        return columns_from_descriptor(descriptor.columns)
    return _PLAIN


def _filled(
    printer: Printer, items: Sequence[Document], now: float, include_object: IncludeObject, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    rows = []
    for document in items:
        row: dict[str, Any] = {"cells": printer.row(document, now)}
        conditions = printer.conditions(document)
        if conditions:
            row["conditions"] = conditions
        row["object"] = _included(document, include_object)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": [definition.to_document() for definition in printer.columns],
        "rows": rows,
    }


def _included(document: Document, include: IncludeObject) -> Document | None:
    if include == "None":
        return None
    if include == "Object":
        return document
    metadata = document["metadata"]
    if document.get("kind") == "DaemonSet" and _HELD_APART in (metadata.get("annotations") or {}):
        kept = {name: value for name, value in metadata["annotations"].items() if name != _HELD_APART}
        metadata = {name: value for name, value in metadata.items() if name != "annotations"}
        if kept:
            metadata["annotations"] = kept
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}


_PLAIN = Printer(
    (NAME, column("Created At", "date")),
    lambda document, _now: [name_of(document), metadata_of(document).get("creationTimestamp")],
)
