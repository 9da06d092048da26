"""Has stored objects written in the form of today: after a change of a storage version, or of a key at rest.

The outline; `plan.py` says what comes next. An object is written by a patch that changes nothing and names its resource
version: the server stores it anew where what is stored is not what it would store now. An object that somebody else has
written or deleted meanwhile needs nothing more. Mirrors upstream's storage-version-migrator-controller, and the part of
it that notes the resource version; objects are listed in pages, and not taken from the garbage collector's cache.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.conditions import is_condition_true
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    resource_version_of,
)
from kube_core.meta.status import Conflict, NotFound, StatusError
from kube_core.meta.times import parse_time
from kube_plugins.controllers.storageversionmigrator import plan

__all__ = ["StorageVersionMigrator"]

#: Seconds for which a resource that is not served may be about to be, and between two looks.
_PATIENCE = 60.0
_LOOK_AGAIN = 5.0
_PAGE = 500
_TRANSIENT = frozenset((429, 500, 503, 504))


class StorageVersionMigrator(Controller):
    """See the module's docstring."""

    workers = 1

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.STORAGE_VERSION_MIGRATIONS, lambda each: map(key_of, self._same(each)))

    async def reconcile(self, key: Key) -> Action:
        migration = self.context.informers.lister(resources.STORAGE_VERSION_MIGRATIONS).get(key)
        if migration is None:
            return await_change()
        step = plan.next_step(migration, self._same(migration))
        if step in ("", "wait"):
            return await_change()
        named = migration["spec"]["resource"]
        try:
            resource = await self.client.resource(".".join(filter(None, (named["resource"], named.get("group")))))
        except NotFound:
            if self.clock.now() < parse_time(str(metadata_of(migration)["creationTimestamp"])) + _PATIENCE:
                return requeue(_LOOK_AGAIN)
            await self._end(plan.failed(migration, "resource does not exist in discovery", now=self.clock.now()), None)
            return await_change()
        if step == "start":
            version = (await self.client.list(resource, limit=1, metadata_only=True)).resource_version
            definition = await self._definition(resource)
            if definition is not None:
                told = plan.definition_migrating(definition, migration, now=self.clock.now())
                await self.client.patch_status(resources.CUSTOM_RESOURCE_DEFINITIONS, name_of(told), _status_of(told))
            await self._write(plan.started(migration, version, now=self.clock.now()))
        else:
            await self._migrate(migration, resource)
        return await_change()

    async def _migrate(self, migration: Document, resource: ResourceType) -> None:
        objects = [each async for each in self.client.list(resource, limit=_PAGE, metadata_only=True)]
        waiting = plan.candidates(objects, migration["status"]["resourceVersion"])
        for position, each in enumerate(waiting):
            try:
                await self._rewrite(resource, each)
            except StatusError as error:
                left = len(waiting) - position
                if error.code in _TRANSIENT:
                    told = plan.running(migration, left, len(objects), now=self.clock.now(), trouble=error.message)
                    await self._write(told)
                    raise
                told = plan.running(migration, left, len(objects), now=self.clock.now())
                await self._end(plan.failed(told, error.message, now=self.clock.now()), resource)
                return
        await self._end(plan.succeeded(migration, now=self.clock.now()), resource)

    async def _end(self, migration: Document, resource: ResourceType | None) -> None:
        """Write how it ended; first into the definition, which nobody would look at again otherwise."""
        definition = await self._definition(resource) if resource is not None else None
        if definition is not None:
            success = is_condition_true(migration, "Succeeded")
            told = plan.definition_migrated(definition, success=success, now=self.clock.now())
            await self.client.patch_status(resources.CUSTOM_RESOURCE_DEFINITIONS, name_of(told), _status_of(told))
        await self._write(migration)

    async def _definition(self, resource: ResourceType) -> Document | None:
        """The definition of a custom resource; its role lets it list them, and not get one."""
        name = f"{resource.plural}.{resource.group}"
        found = await self.client.list(resources.CUSTOM_RESOURCE_DEFINITIONS, field_selector=f"metadata.name={name}")
        return next(iter(found.items), None)

    def _same(self, migration: Document) -> list[Document]:
        present = self.context.informers.lister(resources.STORAGE_VERSION_MIGRATIONS).list()
        return plan.of_same_resource(migration, present)

    async def _rewrite(self, resource: ResourceType, each: Document) -> None:
        patch = {"metadata": {"resourceVersion": resource_version_of(each)}}
        try:
            await self.client.patch(resource, name_of(each), patch, namespace_of(each))
        except (Conflict, NotFound):
            pass  # written by somebody else, or gone

    async def _write(self, migration: Document) -> None:
        await self.client.update_status(resources.STORAGE_VERSION_MIGRATIONS, migration)


def _status_of(definition: Document) -> MutableDocument:
    """A patch with the whole status, for this very state of the definition."""
    return {
        "metadata": {"resourceVersion": resource_version_of(definition)},
        "status": {field: definition["status"][field] for field in ("conditions", "storedVersions")},
    }
