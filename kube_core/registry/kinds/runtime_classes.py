"""RuntimeClasses: by which runtime handler a pod is run. Documented under "Runtime Class"."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import round_resources
from kube_core.registry.kinds.pods.resources import overhead
from kube_core.registry.kinds.pods.scheduling import tolerations

__all__ = ["RuntimeClassStrategy"]


class RuntimeClassStrategy(BuiltinStrategy):
    allows_unconditional_update = False
    qualifies_finalizers = False

    def default(self, document: MutableDocument) -> None:
        amounts = (document.get("overhead") or {}).get("podFixed")
        if amounts:
            round_resources(amounts)

    def validate(self, document: Document) -> Errors:
        handler = document.get("handler") or ""
        if not handler:
            yield fields.required(Path("handler"))
        else:
            yield from checks.named(Path("handler"), handler, names.dns1123_label)
        if document.get("overhead") is not None:
            yield from overhead(Path("overhead"), document["overhead"].get("podFixed"))
        scheduling = document.get("scheduling")
        if scheduling is not None:
            path = Path("scheduling")
            yield from checks.labels(path.child("nodeSelector"), scheduling.get("nodeSelector"))
            listed = scheduling.get("tolerations") or ()
            yield from tolerations(path.child("tolerations"), listed)
            for position, toleration in enumerate(listed):
                if toleration in listed[:position]:
                    yield fields.duplicate(path.child("tolerations").index(position), dict(toleration))

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        yield from checks.fixed(Path("handler"), document.get("handler"), old.get("handler"))
