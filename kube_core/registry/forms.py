"""The registry of a built-in kind that is served in two forms: Events, and HorizontalPodAutoscalers.

Both forms show the same stored objects. The one that is stored costs nothing; in the other, what is read is converted,
once for each revision, and what is written is converted back (`kube_core.registry.kinds.conversion`). Who owns a field
is kept in the form that it was written in, and compared in that form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api.schemas import Schema, builtin
from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.registry.apply import FieldManager
from kube_core.registry.generic import Registry
from kube_core.registry.kinds import strategy_for
from kube_core.registry.kinds.conversion import convert
from kube_core.registry.strategy import Strategy
from kube_core.storage.objects import ObjectStore

__all__ = ["FormRegistry", "Forms"]


class Forms:
    """The forms of one kind by apiVersion, as the field manager wants them (`registry.apply.Versions`)."""

    def __init__(self, descriptors: Mapping[str, ResourceDescriptor]) -> None:
        self._descriptors = descriptors

    def convert(self, document: Document, api_version: str) -> Document | None:
        """Defaults included: what a form always has is not lost when its applier does not repeat it."""
        descriptor = self._descriptors.get(api_version)
        if descriptor is None:
            return None
        converted = convert(document, descriptor)
        if converted is document:
            return document
        defaulted: MutableDocument = thaw(converted)
        strategy_for(descriptor).default(defaulted)
        return defaulted

    def schema(self, api_version: str) -> Schema | None:
        descriptor = self._descriptors.get(api_version)
        return None if descriptor is None else builtin(descriptor.schema)


class FormRegistry(Registry):
    """One form. `forms` are all of them; `stored` is the one that the store has."""

    def __init__(
        self,
        descriptor: ResourceDescriptor,
        make_strategy: Callable[[], Strategy],
        objects: ObjectStore,
        *,
        forms: Mapping[str, ResourceDescriptor],
        stored: ResourceDescriptor,
        clock: Clock,
        random: Random,
    ) -> None:
        schema = builtin(descriptor.schema)
        has_status = descriptor.subresource("status") is not None
        owners = FieldManager(schema, descriptor.type.gvk, has_status=has_status, versions=Forms(forms))
        super().__init__(descriptor, make_strategy, objects, schema=schema, owners=owners, clock=clock, random=random)
        self.converts = stored is not descriptor
        self._stored = stored
        self._forms = forms
        self._shown: dict[Key, tuple[Stored, Stored]] = {}

    def shown(self, stored: Stored) -> Stored:
        if not self.converts:
            return stored
        known = self._shown.get(stored.key)
        if known is not None and known[0] is stored:
            return known[1]
        document = thaw(convert(stored.document, self.descriptor))
        shown = Stored(stored.key, stored.revision, encode(document), document)
        if len(self._shown) > 2 * len(self.cache) + 100:
            self._shown.clear()
        self._shown[stored.key] = stored, shown
        return shown

    async def stored_form(self, document: MutableDocument) -> MutableDocument:
        return thaw(convert(document, self._stored)) if self.converts else document

    def equivalents(self) -> Sequence[ResourceType]:
        return [each.type for each in self._forms.values() if each.type != self.type]

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        converted: MutableDocument = thaw(convert(document, self._forms[to.api_version]))
        return converted
