"""Namespaces: born active, and terminating until their own finalizers are gone. Documented under "Namespaces"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, is_deleting, thaw
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.metadata import STANDARD_FINALIZERS

__all__ = ["NamespaceStrategy"]

NAME_LABEL = "kubernetes.io/metadata.name"
KUBERNETES = "kubernetes"


class NamespaceStrategy(BuiltinStrategy):
    returns_deleted = True

    def name_rule(self, name: str) -> names.Messages:
        return names.dns1123_label(name)

    def default(self, document: MutableDocument) -> None:
        metadata = document["metadata"]
        if metadata.get("name"):
            metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}
        if not (document.get("status") or {}).get("phase"):
            document["status"] = {**(document.get("status") or {}), "phase": "Active"}

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        if not document["metadata"].get("labels", {}).get(NAME_LABEL):
            self.default(document)
        spec = document.setdefault("spec", {})
        if KUBERNETES not in spec.get("finalizers", ()):
            spec["finalizers"] = [*spec.get("finalizers", ()), KUBERNETES]

    def initial_status(self) -> Mapping[str, Any]:
        return {"phase": "Active"}

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        spec = {name: value for name, value in (document.get("spec") or {}).items() if name != "finalizers"}
        if (old.get("spec") or {}).get("finalizers"):
            spec["finalizers"] = thaw(old["spec"]["finalizers"])
        document["spec"] = spec

    def prepare_for_subresource_update(self, subresource: str, document: MutableDocument, old: Document) -> None:
        """`finalize` changes the finalizers of the spec, and nothing else of it."""
        if "status" in old:
            document["status"] = thaw(old["status"])

    def validate(self, document: Document) -> Errors:
        return _finalizers(document, indexed=False)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return ()

    def validate_subresource_update(self, subresource: str, document: Document, old: Document) -> Iterable[FieldError]:
        return _finalizers(document, indexed=True)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        phase = (document.get("status") or {}).get("phase")
        path = Path("status").child("Phase")
        if not is_deleting(document):
            if phase != "Active":
                yield fields.invalid(path, phase or "", "may only be 'Active' if `deletionTimestamp` is empty")
        elif phase != "Terminating":
            yield fields.invalid(path, phase or "", "may only be 'Terminating' if `deletionTimestamp` is not empty")

    def holds(self, document: Document) -> bool:
        return bool((document.get("spec") or {}).get("finalizers"))

    def prepare_for_deletion(self, document: MutableDocument) -> None:
        document["status"] = {**(document.get("status") or {}), "phase": "Terminating"}
        document["metadata"].pop("deletionGracePeriodSeconds", None)

    def field_labels(self) -> Sequence[str]:
        return ("status.phase",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"status.phase": (document.get("status") or {}).get("phase") or ""}


def _finalizers(document: Document, *, indexed: bool) -> Errors:
    """Upstream names the item when a namespace is finalized, and only the list when one is made."""
    path = Path("spec").child("finalizers")
    for position, finalizer in enumerate((document.get("spec") or {}).get("finalizers") or ()):
        here = path.index(position) if indexed else path
        yield from checks.named(here, finalizer, names.qualified_name)
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield fields.invalid(here, finalizer, detail)
