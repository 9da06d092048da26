"""A ServiceAccount `default` in every active namespace, made again when someone deletes it.

Mirrors upstream's serviceaccount-controller. Keys are namespaces. Tokens are not its business: they are asked for
when a pod needs them.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, name_of, namespace_of
from kube_core.meta.status import AlreadyExists, Forbidden
from kube_plugins.controllers.namespace.phase import is_active, is_terminating_error

__all__ = ["ServiceAccountController"]

_NAME = "default"


class ServiceAccountController(Controller):
    """See the module's docstring."""

    def watches(self) -> Iterable[Watch]:
        yield Watch(NAMESPACES)
        yield Watch(SERVICE_ACCOUNTS, _to_namespace)

    async def reconcile(self, key: Key) -> Action:
        namespace = self.context.informers.lister(NAMESPACES).get(key)
        if namespace is None or not is_active(namespace):
            return await_change()
        if self.context.informers.lister(SERVICE_ACCOUNTS).get(Key(key.name, _NAME)) is not None:
            return await_change()
        try:
            await self.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": _NAME, "namespace": key.name}})
        except AlreadyExists:
            pass  # the cache has yet to show it
        except Forbidden as error:
            if not is_terminating_error(error):
                raise
        return await_change()


def _to_namespace(document: Document) -> Iterable[Key]:
    if name_of(document) == _NAME:
        yield Key("", namespace_of(document))
