"""Emptying and removing namespaces that are being deleted.

Mirrors upstream's namespace-controller: once a namespace is asked to go, everything in it is deleted, resource by
resource as discovery shows them; the namespace's conditions say what stands in the way; when nothing is left the
finalizer `kubernetes` is taken from its spec through the `finalize` subresource, and the server removes the rest.

What is left is looked for again when a pod of the namespace goes, and otherwise after a second, then two, then four,
up to eight: less often than that would make deletion feel stuck, and each look costs some dozens of cheap requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api.resources import NAMESPACES, PODS
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, is_deleting, namespace_of, thaw
from kube_core.meta.status import NotFound
from kube_plugins.controllers.namespace.conditions import Outcome, deletion_conditions
from kube_plugins.controllers.namespace.content import delete_content

__all__ = ["NamespaceController"]

_FINALIZER = "kubernetes"
_LONGEST_WAIT = 8.0


class NamespaceController(Controller):
    """See the module's docstring."""

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._looks: dict[Key, int] = {}

    def watches(self) -> Iterable[Watch]:
        yield Watch(NAMESPACES, predicate=_is_going)
        yield Watch(PODS, _to_namespace, predicate=self._concerns_a_going_namespace)

    async def reconcile(self, key: Key) -> Action:
        if self.context.informers.lister(NAMESPACES).get(key) is None:
            self._looks.pop(key, None)
            return await_change()
        try:
            namespace = await self.client.get(NAMESPACES, key.name)
        except NotFound:
            return await_change()
        if not is_deleting(namespace) or _FINALIZER not in _finalizers_of(namespace):
            return await_change()
        outcome = await delete_content(self.client, key.name)
        namespace = await self._report(namespace, outcome)
        if not outcome.is_empty:
            looks = self._looks[key] = self._looks.get(key, -1) + 1
            return requeue(min(2.0**looks, _LONGEST_WAIT))
        self._looks.pop(key, None)
        await self._finalize(namespace)
        return await_change()

    async def _report(self, namespace: Document, outcome: Outcome) -> Document:
        """Write the conditions, where they changed; the namespace as it is then."""
        changed: MutableDocument = thaw(namespace)
        status = changed.setdefault("status", {})
        status["phase"] = "Terminating"
        status["conditions"] = deletion_conditions(status.get("conditions") or (), outcome, self.clock.now())
        if changed == namespace:
            return namespace
        return await self.client.update_status(NAMESPACES, changed)

    async def _finalize(self, namespace: Document) -> None:
        changed: MutableDocument = thaw(namespace)
        changed.setdefault("spec", {})["finalizers"] = [
            finalizer for finalizer in _finalizers_of(namespace) if finalizer != _FINALIZER
        ]
        await self.client.update(NAMESPACES, changed, subresource="finalize")

    def _concerns_a_going_namespace(self, before: Document | None, after: Document | None) -> bool:
        if after is not None or before is None:
            return False
        namespace = self.context.informers.lister(NAMESPACES).get(Key("", namespace_of(before)))
        return namespace is not None and is_deleting(namespace)


def _is_going(before: Document | None, after: Document | None) -> bool:
    """Deletion was asked for, or is over. Our own status writes are no reason to look again."""
    if after is None:
        return True
    if not is_deleting(after):
        return False
    return before is None or not is_deleting(before) or _finalizers_of(before) != _finalizers_of(after)


def _to_namespace(document: Document) -> Iterable[Key]:
    yield Key("", namespace_of(document))


def _finalizers_of(namespace: Document) -> Sequence[str]:
    return (namespace.get("spec") or {}).get("finalizers") or ()
