"""PodTemplates: a template that stands by itself; and ControllerRevisions: the record of one that a workload had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.workloads import templates

__all__ = ["ControllerRevisionStrategy", "PodTemplateStrategy"]


class PodTemplateStrategy(BuiltinStrategy):
    keeps_generation = True
    returns_deleted = True

    def default(self, document: MutableDocument) -> None:
        default_template(document.setdefault("template", {}))

    def validate(self, document: Document) -> Errors:
        return templates.template(Path("template"), document.get("template"), self.context)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old.get("template") if old is not None else None
        return template_warnings("template", document.get("template") or {}, before)


class ControllerRevisionStrategy(BuiltinStrategy):
    def validate(self, document: Document) -> Errors:
        if document.get("data") is None:
            yield fields.required(Path("data"), "data is mandatory")
        yield from checks.non_negative(Path("revision"), document.get("revision"))

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from checks.non_negative(Path("revision"), document.get("revision"))
        yield from checks.immutable(Path("data"), document.get("data"), old.get("data"))
