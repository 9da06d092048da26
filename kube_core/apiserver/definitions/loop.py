"""`Definitions`: keeps the catalogue in step with the CustomResourceDefinitions that are stored.

One task hears of every change to a definition and, in order, decides its names, serves its versions and writes its
status. A definition is served in the same turn of the loop in which it is established, before its status is written,
so whoever reads `Established` can use it. What is established already is served when `start` returns.

A definition that is being deleted stays served, for reading and deleting only, until its last object is gone: a task
of its own deletes them, waits for their finalizers, and takes the definition's finalizer off.

All state is in the store; this only follows, and may begin anew at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.admission.chain import Chain
from kube_core.api.types import ResourceType
from kube_core.apiserver.definitions import naming
from kube_core.bus.bus import Bus, Interest, Overrun
from kube_core.meta.documents import Document, Key, MutableDocument, is_deleting, name_of, thaw
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import NotFound, StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions, WriteOptions
from kube_core.registry.generic import Registry, Update
from kube_core.registry.kinds.definitions.conditions import CLEANUP, set_condition
from kube_core.registry.webhooks import WebhookCaller
from kube_core.storage.objects import ObjectStore

if TYPE_CHECKING:
    from kube_core.registry.custom.descriptors import Served

__all__ = ["Definitions"]

_log = get_logger("kube_core.apiserver.definitions")
_DEFINITIONS = ResourceType(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False
)
_USER = User("system:apiserver", ("system:masters", "system:authenticated"))
_STATUS = Update(WriteOptions(field_manager="kube-apiserver", field_validation="Ignore"), subresource="status")


class Definitions:
    """The loop of one server."""

    def __init__(
        self,
        catalogue: Catalogue,
        objects: ObjectStore,
        bus: Bus,
        *,
        clock: Clock,
        random: Random,
        webhooks: WebhookCaller | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._objects = objects
        self._bus = bus
        self._clock = clock
        self._random = random
        self._webhooks = webhooks
        #: What is served, by the definition's name.
        self._served: dict[str, list[Served]] = {}
        self._finalizing: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve what is established, and begin to follow. The watch cache must have started."""
        for definition in self._all():
            if naming.is_established(definition):
                self._serve(definition)
        subscription = self._objects.cache.subscribe(_DEFINITIONS.group_resource, Interest(), limit=100_000)

        async def follow() -> None:
            for definition in self._all():
                await self._settle(name_of(definition))
            try:
                while True:
                    await subscription.wait()
                    changes = subscription.drain()
                    if not changes and subscription.closed:
                        return
                    with self._clock.hold("custom resource definitions are being settled"):
                        for change in changes:
                            await self._settle(change.key.name)
            finally:
                subscription.close()

        self._task = asyncio.create_task(follow(), name="definitions")

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._finalizing.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one definition ----------------------------------------------------------------------------------------------

    async def _settle(self, name: str) -> None:
        """Bring the catalogue and the definition's status to where they should be; then those that it held up."""
        try:
            definition = self._find(name)
            group = definition["spec"]["group"] if definition is not None else name.partition(".")[2]
            if definition is None:
                self._withdraw(name)
            elif is_deleting(definition):
                self._finalize(definition)
            else:
                await self._establish(definition)
            for other in list(self._all()):
                if other["spec"]["group"] == group and name_of(other) != name and not _has_its_names(other):
                    await self._establish(other)
        except StatusError as error:
            if not isinstance(error, NotFound):
                _log.warning("a custom resource definition was not settled", name=name, error=str(error))

    async def _establish(self, definition: Document) -> None:
        if is_deleting(definition):
            return
        name, group = name_of(definition), definition["spec"]["group"]
        others = [each for each in self._all() if each["spec"]["group"] == group and name_of(each) != name]
        status = naming.status_of(definition, others, self._clock.now())
        wanted = {**definition, "status": status}
        if naming.is_established(wanted):
            self._serve(wanted)
        else:
            self._withdraw(name)
        if status != definition.get("status"):
            await self._write(name, lambda document: document.update(status=thaw(status)), definition)

    def _serve(self, definition: Document) -> None:
        # A server without definitions, as most are that start for a test, need not wait for these imports.
        from kube_core.registry.custom.descriptors import served_versions

        name, wanted = name_of(definition), served_versions(definition)
        present = self._served.get(name, [])
        if wanted == present:
            return
        kept = {served.descriptor.type for served in wanted}
        for served in present:
            if served.descriptor.type not in kept:
                self._catalogue.remove(served.descriptor.type)
        self._catalogue.serve([self._registry(each) for each in wanted])
        self._served[name] = wanted
        if present and [served.version for served in present] != [served.version for served in wanted]:
            # Watches go on by the schema with which they began: end them, so that their clients begin anew.
            self._bus.forget(present[0].descriptor.type.group_resource)

    def _registry(self, served: Served) -> Registry:
        from kube_core.registry.custom.registry import CustomRegistry

        return CustomRegistry(
            served, self._objects, self._bus, clock=self._clock, random=self._random, webhooks=self._webhooks
        )

    def _withdraw(self, name: str) -> None:
        present = self._served.pop(name, [])
        for served in present:
            self._catalogue.remove(served.descriptor.type)
        if present:
            self._bus.forget(present[0].descriptor.type.group_resource)

    # -- the end of one ----------------------------------------------------------------------------------------------

    def _finalize(self, definition: Document) -> None:
        name = name_of(definition)
        if naming.is_established(definition):
            self._serve(definition)
        if CLEANUP not in definition["metadata"].get("finalizers", ()) or name in self._finalizing:
            return
        task = asyncio.create_task(self._clean_up(name), name=f"finalize {name}")
        self._finalizing[name] = task
        task.add_done_callback(lambda _: self._finalizing.pop(name, None))

    async def _clean_up(self, name: str) -> None:
        """Delete every object of a definition, wait until all are gone, and let the definition go."""
        try:
            served = self._served.get(name)
            if served:
                if len(self._objects.cache.resource(served[0].descriptor.type.group_resource)):
                    await self._say(name, "True", "InstanceDeletionInProgress",
                                    "CustomResource deletion is in progress")  # fmt: skip
                # In the version in which they are stored nothing has to be converted, by a webhook that may be gone.
                stored = (each for each in served if each.version.api_version == each.storage_api_version)
                await self._delete_objects(next(stored, served[0]))

            def let_go(document: MutableDocument) -> None:
                set_condition(document, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances",
                              self._clock.now())  # fmt: skip
                metadata = document["metadata"]
                metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != CLEANUP]

            self._withdraw(name)
            await self._write(name, let_go)
        except NotFound:
            pass
        except StatusError as error:
            _log.warning("a custom resource definition was not finalized", name=name, error=str(error))

    async def _delete_objects(self, served: Served) -> None:
        resource: GroupResource = served.descriptor.type.group_resource
        while True:
            subscription = self._objects.cache.subscribe(resource, Interest(), limit=100_000)
            try:
                while True:
                    left = list(self._objects.cache.resource(resource).list())
                    if not left:
                        return
                    registry = self._catalogue.of(served.descriptor.type)
                    for stored in left:
                        if "deletionTimestamp" not in stored.metadata:
                            await self._delete(registry, stored.key)
                    if len(self._objects.cache.resource(resource)):
                        await subscription.wait()
                        subscription.drain()
                        if subscription.closed:
                            break
            except Overrun:
                pass
            finally:
                subscription.close()

    async def _delete(self, registry: Registry, key: Key) -> None:
        try:
            await registry.delete(Context(_USER, Chain()), key, DeleteOptions())
        except NotFound:
            pass

    async def _say(self, name: str, status: str, reason: str, message: str) -> None:
        await self._write(
            name, lambda document: set_condition(document, "Terminating", status, reason, message, self._clock.now())
        )

    # -- reading and writing -----------------------------------------------------------------------------------------

    async def _write(self, name: str, change: object, seen: Document | None = None) -> None:
        """Change a definition's status. With `seen`: only if it is still what it was when this was decided."""

        async def changed(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            if seen is None or document["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]:
                change(document)  # type: ignore[operator]
            return document

        await self._catalogue.of(_DEFINITIONS).update(Context(_USER, Chain()), Key("", name), _STATUS, changed)

    def _all(self) -> Iterator[Document]:
        return (stored.document for stored in self._catalogue.of(_DEFINITIONS).cache.list())

    def _find(self, name: str) -> Document | None:
        stored = self._catalogue.of(_DEFINITIONS).cache.get(Key("", name))
        return stored.document if stored is not None else None


def _has_its_names(definition: Document) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "NamesAccepted" and each["status"] == "True" for each in conditions)
