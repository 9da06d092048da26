"""What extends the API: CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.documents import Document, metadata_of, name_of
from kube_core.registry.tables.cells import spec_of, status_of
from kube_core.registry.tables.columns import NAME, Printer, column, wide

__all__ = ["PRINTERS"]


def _definition(document: Document, now: float) -> list[Any]:
    spec, names = spec_of(document), spec_of(document).get("names") or {}
    versions = [version["name"] for version in spec.get("versions") or () if version.get("served")]
    conditions = status_of(document).get("conditions") or ()
    return [
        name_of(document),
        spec.get("scope") or "",
        ",".join(versions),
        metadata_of(document).get("creationTimestamp"),
        spec.get("group") or "",
        names.get("kind") or "",
        ",".join(names.get("shortNames") or ()),
        any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions),
    ]


PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Printer(
        (
            NAME,
            column("Scope"),
            column("Versions"),
            column("Created At", "date"),
            wide("Group"),
            wide("Kind"),
            wide("ShortNames"),
            wide("Established", "boolean"),
        ),
        _definition,
    ),
}
