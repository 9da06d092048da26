"""The registry of one served version of a custom resource.

The generic registry, with three things of its own: what clients send is pruned by the version's schema; what is stored
in another version, or was stored before the schema was changed, is shown in this one; and what is written is stored in
the storage version. Conversion changes the apiVersion and nothing else (strategy `None`), or is done by a webhook
(`conversion`): once for each revision of an object, and in one request for all objects of a list.

Defaults of reading are those of the version that an object was stored in, as upstream documents under "Defaulting".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api.schemas import Schema
from kube_core.api.types import ResourceType
from kube_core.bus.bus import Bus
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Document, Key, MutableDocument, name_of, thaw
from kube_core.meta.status import forbidden
from kube_core.registry.apply import FieldManager
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.custom import defaulting, embedded
from kube_core.registry.custom.conversion import ConversionWebhook
from kube_core.registry.custom.descriptors import Served, Version
from kube_core.registry.custom.pruning import prune
from kube_core.registry.custom.strategy import CustomStrategy
from kube_core.registry.decoding import FieldValidation, strictly
from kube_core.registry.generic import Registry
from kube_core.registry.webhooks import WebhookCaller
from kube_core.storage.objects import ObjectStore

__all__ = ["CustomRegistry"]

_TERMINATING: Final = "create not allowed while custom resource definition is terminating"


class CustomRegistry(Registry):
    """One version. Made anew whenever its definition changes."""

    def __init__(
        self,
        served: Served,
        objects: ObjectStore,
        bus: Bus,
        *,
        clock: Clock,
        random: Random,
        webhooks: WebhookCaller | None = None,
    ) -> None:
        self.served = served
        descriptor = served.descriptor

        def make_strategy() -> CustomStrategy:
            return CustomStrategy(served)

        super().__init__(
            descriptor, make_strategy, objects, schema=None, owners=_Owners(served), clock=clock, random=random
        )
        self.is_custom = self.converts = True
        self.deprecation = served.deprecation
        #: What was written after this by the same definition needs no defaults when it is read.
        self._since = objects.cache.revision
        self._one_form = len(served.versions) == 1
        self._shown: dict[Key, tuple[Stored, Stored]] = {}
        self._webhook: ConversionWebhook | None = None
        if served.webhook is not None and webhooks is not None:
            self._webhook = ConversionWebhook(served.webhook, descriptor.type.kind, webhooks, random)
            self.asks = True

    async def create(
        self, context: Context, key: Key, document: MutableDocument, options: WriteOptions, *, owned: bool = False
    ) -> Stored:
        if self.served.terminating:
            raise forbidden(self.resource, key.name or name_of(document), _TERMINATING)
        return await super().create(context, key, document, options, owned=owned)

    # -- forms -------------------------------------------------------------------------------------------------------

    def read(
        self, document: Document, mode: FieldValidation = "Ignore", *, duplicates: Sequence[str] = ()
    ) -> tuple[MutableDocument, Sequence[str]]:
        # The metadata is of a type that is known beforehand, and says what is wrong with it as that of any kind.
        metadata, found = embedded.read_metadata(document.get("metadata"))
        tree = self.served.version.tree
        dropped: list[str] = []
        pruned: MutableDocument = prune(document, tree, dropped)
        unknown = [*duplicates, *found, *(f'unknown field "{path}"' for path in dropped)]
        embedded.coerce(pruned, tree, unknown)
        pruned["metadata"] = metadata
        if mode == "Strict" and unknown:
            raise strictly(unknown)
        return pruned, () if mode == "Ignore" else unknown

    def shown(self, stored: Stored) -> Stored:
        """What needs a webhook is shown by `present` alone: here it is as it is stored."""
        if self._one_form and stored.revision > self._since:
            return stored
        known = self._shown.get(stored.key)
        if known is not None and known[0] is stored:
            return known[1]
        if self._asks(stored):
            return stored
        return self._remember(stored, self._converted(stored))

    async def present(self, stored: Stored) -> Stored:
        return (await self.present_all([stored]))[0] if self._webhook is not None else self.shown(stored)

    async def present_all(self, items: Sequence[Stored]) -> Sequence[Stored]:
        if self._webhook is None:
            return [self.shown(stored) for stored in items]
        shown = [self.shown(stored) for stored in items]
        waiting = [at for at, each in enumerate(shown) if each is items[at] and self._asks(each)]
        # An object may have been written in any version: all of one are converted together.
        for written in {items[at].document["apiVersion"]: None for at in waiting}:
            places = [at for at in waiting if items[at].document["apiVersion"] == written]
            before = [self._as_stored(items[at], written) for at in places]
            after = await self._webhook.convert(before, self.type.api_version)
            for at, document in zip(places, after, strict=True):
                shown[at] = self._remember(items[at], _made(items[at], prune(document, self.served.version.tree, [])))
        return shown

    async def stored_form(self, document: MutableDocument) -> MutableDocument:
        return await self._in_version(document, self.served.storage_api_version)

    # -- other versions ----------------------------------------------------------------------------------------------

    def equivalents(self) -> Sequence[ResourceType]:
        return [attrs.evolve(self.type, version=each) for each in self.served.siblings]

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        return await self._in_version({**document}, to.api_version)

    async def _in_version(self, document: MutableDocument, wanted: str) -> MutableDocument:
        if document["apiVersion"] == wanted:
            return document
        if self._webhook is None:
            return {**document, "apiVersion": wanted}
        converted = (await self._webhook.convert([document], wanted))[0]
        pruned: MutableDocument = prune(converted, self.served.versions[wanted].tree, [])
        return pruned

    def _asks(self, stored: Stored) -> bool:
        """Whether only a webhook can make of an object what this version shows."""
        return self._webhook is not None and stored.document["apiVersion"] != self.type.api_version

    def _remember(self, stored: Stored, shown: Stored) -> Stored:
        if len(self._shown) > 2 * len(self.cache) + 100:
            self._shown.clear()
        self._shown[stored.key] = stored, shown
        return shown

    def _converted(self, stored: Stored) -> Stored:
        written = stored.document["apiVersion"]
        document = self._as_stored(stored, written)
        if written != self.type.api_version:
            document["apiVersion"] = self.type.api_version
            document = prune(document, self.served.version.tree, [])
        return _made(stored, document)

    def _as_stored(self, stored: Stored, written: str) -> MutableDocument:
        """An object in the version that it was written in, completed by that version's schema."""
        document: MutableDocument = thaw(stored.document)
        version = self.served.versions.get(written)
        return document if version is None else self._completed(document, version)

    @staticmethod
    def _completed(document: MutableDocument, version: Version) -> MutableDocument:
        pruned: MutableDocument = prune(document, version.tree, [])
        defaulting.fill(pruned, version.tree)
        defaulting.drop_nulls(pruned, version.tree)
        return pruned


def _made(stored: Stored, document: MutableDocument) -> Stored:
    """An object in another form, at the same revision; the same one where it has this form."""
    if document == stored.document:
        return stored
    return Stored(stored.key, stored.revision, encode(document), document)


class _Owners:
    """The managed fields of a custom resource: by the version's schema. Its scale owns nothing, as upstream has it."""

    def __init__(self, served: Served) -> None:
        self._served = served

    @functools.cached_property
    def _manager(self) -> FieldManager:
        descriptor = self._served.descriptor
        return FieldManager(
            Schema(self._served.version.schema),
            descriptor.type.gvk,
            custom=True,
            has_status=descriptor.subresource("status") is not None,
        )

    def update(
        self, live: Document | None, new: MutableDocument, *, manager: str, subresource: str, now: float
    ) -> None:
        metadata = new["metadata"]
        try:
            self._manager.update(live, new, manager=manager, subresource=subresource, now=now)
        except ValueError:
            # Lists that are not what their type says: validation will say so, with a path.
            metadata.pop("managedFields", None)
        if subresource == "scale" and metadata.get("managedFields"):
            kept = [entry for entry in metadata["managedFields"] if entry.get("subresource") != "scale"]
            metadata["managedFields"] = kept

    def apply(
        self, live: Document | None, patch: Document, *, manager: str, force: bool, subresource: str, now: float
    ) -> MutableDocument:
        return self._manager.apply(live, patch, manager=manager, force=force, subresource=subresource, now=now)

    def merge(self, live: Document, configuration: Document, api_version: str) -> MutableDocument:
        return self._manager.merge(live, configuration, api_version)
