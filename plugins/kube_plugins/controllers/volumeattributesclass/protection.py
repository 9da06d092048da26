"""The finalizer of VolumeAttributesClasses: one that a claim or a volume names, or is about to get, stays.

Mirrors upstream's volumeattributesclass-protection-controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key
from kube_plugins.controllers.persistentvolume.protection import protected

__all__ = ["VolumeAttributesClassProtection", "classes_of"]

FINALIZER: Final = "kubernetes.io/vac-protection"
_INDEX: Final = "volume-attributes-class"


def classes_of(document: Document) -> Iterator[str]:
    """The classes that a claim (wants, has, or is getting) or a volume (has) names."""
    status = document.get("status") or {}
    wanted = (
        (document.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    yield from {name for name in wanted if name}


def _keys(document: Document) -> Iterable[Key]:
    return [Key("", name) for name in classes_of(document)]


class VolumeAttributesClassProtection(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._classes = context.informers.lister(resources.VOLUME_ATTRIBUTES_CLASSES)
        used_by = (resources.PERSISTENT_VOLUME_CLAIMS, resources.PERSISTENT_VOLUMES)
        informers = [context.informers.informer(resource) for resource in used_by]
        for informer in informers:
            informer.add_index(_INDEX, classes_of)
        self._users = [informer.lister for informer in informers]

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.VOLUME_ATTRIBUTES_CLASSES),
            Watch(resources.PERSISTENT_VOLUME_CLAIMS, _keys),
            Watch(resources.PERSISTENT_VOLUMES, _keys),
        )

    async def reconcile(self, key: Key) -> Action:
        found = self._classes.get(key)
        if found is None:
            return await_change()
        changed = protected(found, FINALIZER, in_use=any(users.by_index(_INDEX, key.name) for users in self._users))
        if changed is not None:
            await self.client.update(resources.VOLUME_ATTRIBUTES_CLASSES, changed)
        return await_change()
