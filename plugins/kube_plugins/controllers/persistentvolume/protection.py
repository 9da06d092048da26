"""Keeping claims and volumes from being deleted while they are in use ("Storage Object in Use Protection").

A claim keeps its finalizer while a pod that was scheduled uses it, whatever the pod's phase, as upstream documents; a
volume keeps its own while it is bound. The finalizers are put on again where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import pods, resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, finalizers_of, is_deleting, thaw
from kube_plugins.controllers.persistentvolume.objects import CLAIM_PROTECTION, VOLUME_PROTECTION, phase_of
from kube_plugins.controllers.persistentvolume.pods import BY_CLAIM, claims_of_pod

__all__ = ["ClaimProtection", "VolumeProtection", "protected"]


def protected(document: Document, finalizer: str, *, in_use: bool) -> MutableDocument | None:
    """The object with its finalizer put on, or, when it is being deleted and not in use, taken off. None: no change."""
    has = finalizer in finalizers_of(document)
    if is_deleting(document):
        if in_use or not has:
            return None
        changed: MutableDocument = thaw(document)
        changed["metadata"]["finalizers"] = [item for item in finalizers_of(document) if item != finalizer]
        return changed
    if has:
        return None
    changed = thaw(document)
    changed["metadata"]["finalizers"] = [*finalizers_of(document), finalizer]
    return changed


class ClaimProtection(Controller):
    """The finalizer of claims."""

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        informer = context.informers.informer(resources.PODS)
        informer.add_index(BY_CLAIM, claims_of_pod)
        self._pods = informer.lister
        self._claims = context.informers.lister(resources.PERSISTENT_VOLUME_CLAIMS)

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.PERSISTENT_VOLUME_CLAIMS), Watch(resources.PODS, self._claim_keys))

    async def reconcile(self, key: Key) -> Action:
        claim = self._claims.get(key)
        if claim is None:
            return await_change()
        changed = protected(claim, CLAIM_PROTECTION, in_use=is_deleting(claim) and await self._in_use(key))
        if changed is not None:
            await self.client.update(resources.PERSISTENT_VOLUME_CLAIMS, changed)
        return await_change()

    def _claim_keys(self, pod: Document) -> Iterable[Key]:
        for text in claims_of_pod(pod):
            namespace, _, name = text.partition("/")
            yield Key(namespace, name)

    async def _in_use(self, key: Key) -> bool:
        """By the cache, and before saying no by the server itself: a pod may have been bound a moment ago."""
        if any(pods.node_name_of(pod) for pod in self._pods.by_index(BY_CLAIM, str(key))):
            return True
        live = await self.client.list(resources.PODS, key.namespace)
        return any(str(key) in claims_of_pod(pod) for pod in live.items if pods.node_name_of(pod))


class VolumeProtection(Controller):
    """The finalizer of volumes."""

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._volumes = context.informers.lister(resources.PERSISTENT_VOLUMES)

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.PERSISTENT_VOLUMES),)

    async def reconcile(self, key: Key) -> Action:
        volume = self._volumes.get(key)
        if volume is None:
            return await_change()
        changed = protected(volume, VOLUME_PROTECTION, in_use=phase_of(volume) == "Bound")
        if changed is not None:
            await self.client.update(resources.PERSISTENT_VOLUMES, changed)
        return await_change()
