"""What custom resources do in the generic registry: one strategy, driven by the definition.

Generations are always kept: every change but to metadata (and to the status, where that is a subresource) raises them.
An update must say which resourceVersion it is of. Only the status, and who owns it, changes through `status`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube_core.api.structural import NOTHING, Structural
from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument, finalizers_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.custom import defaulting, embedded
from kube_core.registry.custom.descriptors import Served
from kube_core.registry.custom.list_types import duplicates
from kube_core.registry.custom.rules import rule_errors
from kube_core.registry.custom.scale import SimplePath
from kube_core.registry.custom.validation import validate
from kube_core.registry.kinds.metadata import STANDARD_FINALIZERS
from kube_core.registry.strategy import Strategy
from kube_core.registry.tables.json_path import compile_path

__all__ = ["CustomStrategy"]

_STATUS = Path("status")


class CustomStrategy(Strategy):
    """The strategy of one served version."""

    allows_unconditional_update = False
    qualifies_finalizers = False

    def __init__(self, served: Served) -> None:
        super().__init__(served.descriptor)
        self.served = served
        self.has_generation = True
        #: What the rules said of what the update that was validated last left as it was.
        self._warned: list[str] = []
        self._selectable = {path.removeprefix("."): compile_path(path) for path in served.selectable}

    @property
    def schema(self) -> Structural:
        return self.served.version.tree

    def default(self, document: MutableDocument) -> None:
        defaulting.fill(document, self.schema)
        defaulting.drop_nulls(document, self.schema)

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        owners = document["metadata"].get("managedFields")
        status = document.get("status", NOTHING)
        document.clear()
        document.update(old)
        document["metadata"] = {name: value for name, value in old["metadata"].items() if name != "managedFields"}
        if owners:
            document["metadata"]["managedFields"] = owners
        if status is NOTHING:
            document.pop("status", None)
        else:
            document["status"] = status

    def desired_state(self, document: Document) -> object:
        left_out = ("metadata", "status") if self.has_status else ("metadata",)
        return {field: value for field, value in document.items() if field not in left_out}

    def validate(self, document: Document) -> Iterator[FieldError]:
        yield from self._errors(document, NOTHING)

    def validate_update(self, document: Document, old: Document) -> Iterator[FieldError]:
        yield from self._errors(document, old)

    def validate_status_update(self, document: Document, old: Document) -> Iterator[FieldError]:
        schema = self.schema.properties.get("status")
        if schema is not None and "status" in document:
            before = old.get("status", NOTHING)
            errors = validate(document["status"], schema, base=_STATUS, old=before)
            errors += embedded.problems(document["status"], schema, _STATUS)
            errors += duplicates(document["status"], schema, _STATUS, before)
            yield from errors or rule_errors(document, self.schema, Path(), old)

    def validate_subresource_update(self, subresource: str, document: Document, old: Document) -> Iterator[FieldError]:
        yield from self._errors(document, old)

    def _errors(self, document: Document, old: Any) -> Iterator[FieldError]:
        errors = validate(document, self.schema, old=old, root=True)
        errors += embedded.problems(document, self.schema, Path())
        errors += duplicates(document, self.schema, Path(), old)
        errors += self._scale_errors(document)
        self._warned = []
        # Rules can rely on values being what the schema says.
        yield from errors or rule_errors(document, self.schema, Path(), old, self._warned)

    def _scale_errors(self, document: Document) -> Iterator[FieldError]:
        scale = self.served.scale
        if scale is None:
            return
        for path in (scale.replicas, scale.status_replicas):
            found = SimplePath.parse(path).find(document)
            if isinstance(found, int) and not isinstance(found, bool) and found < 0:
                yield fields.invalid(Path(path), found, "should be a non-negative integer")

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        """Asked right after the document was validated, so that rules are not judged twice."""
        known = finalizers_of(old) if old is not None else ()
        unqualified = [
            f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid '
            "accidental conflicts with other finalizer writers"
            for name in finalizers_of(document)
            if "/" not in name and name not in STANDARD_FINALIZERS and name not in known
        ]
        return [*unqualified, *self._warned]

    def field_labels(self) -> Sequence[str]:
        return tuple(self._selectable)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {name: _text(find(document)) for name, find in self._selectable.items()}


def _text(found: Sequence[Any]) -> str:
    if not found or found[0] is None:
        return ""
    value = found[0]
    return str(value).lower() if isinstance(value, bool) else str(value)
