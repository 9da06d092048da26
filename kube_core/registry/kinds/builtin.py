"""`BuiltinStrategy`: what upstream does for each of its own kinds unless that kind's strategy says otherwise.

It adds to `Strategy` what only types known beforehand have: a status that shows its zero values from the start, and
the rules of the cluster (`ValidationContext`). Every module of this package has strategies derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kube_core.api import schemas
from kube_core.api.types import ResourceDescriptor
from kube_core.meta import names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.registry.kinds.rules import ValidationContext
from kube_core.registry.readers import StructReader, reader_for
from kube_core.registry.strategy import Strategy

__all__ = ["OWN_METADATA", "BuiltinStrategy"]

#: What a client writes of an object's metadata.
OWN_METADATA = ("annotations", "finalizers", "labels", "ownerReferences")


class BuiltinStrategy(Strategy):
    """The common part of all built-in kinds."""

    says_once = True
    #: Whether `metadata.generation` is kept; None: where there is a status subresource.
    keeps_generation: ClassVar[bool] = False
    #: The metadata that an update of the status leaves as it was.
    fixed_by_status: ClassVar[tuple[str, ...]] = ()

    def __init__(self, descriptor: ResourceDescriptor, context: ValidationContext) -> None:
        super().__init__(descriptor)
        self.context = context
        self.has_generation = self.keeps_generation

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        if self.has_status:
            self.reset_status(document)

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_status_update(document, old)
        for name in self.fixed_by_status:
            document["metadata"].pop(name, None)
            if name in old["metadata"]:
                document["metadata"][name] = old["metadata"][name]

    def reset_status(self, document: MutableDocument) -> None:
        """Make the status what it is before anything happened."""
        status = self.initial_status()
        if status is None:
            document.pop("status", None)
        else:
            document["status"] = status

    def initial_status(self) -> Mapping[str, Any] | None:
        """The status of a new object; None where it has none yet."""
        return self.zero("status")

    def zero(self, field: str) -> dict[str, Any] | None:
        """The value that a top-level field has when nothing was said about it; None where it is left out."""
        reader = reader_for(schemas.builtin(self.descriptor.schema))
        if not isinstance(reader, StructReader):
            return None
        value: dict[str, Any] | None = reader.filled().get(field)
        return value

    def name_problems(self, name: str, *, prefix: bool = False) -> names.Messages:
        if prefix and len(name) > 1 and name.endswith("-"):
            # What is generated ends in letters and digits.
            name = f"{name[:-1]}a"
        return self.name_rule(name)

    def name_rule(self, name: str) -> names.Messages:
        """The rule for names of this kind."""
        return names.dns1123_subdomain(name)
