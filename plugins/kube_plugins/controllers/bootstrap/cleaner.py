"""Deletes bootstrap tokens when they have run out; one whose time cannot be read has.

Mirrors upstream's token-cleaner-controller, which runs only where it is asked for, as this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Key, key_of, uid_of
from kube_core.meta.status import Conflict, NotFound
from kube_plugins.controllers.bootstrap import tokens

__all__ = ["TokenCleaner"]


class TokenCleaner(Controller):
    """See the module's docstring. Keys are those of Secrets."""

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._secrets = context.informers.informer(resources.SECRETS).lister

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.SECRETS, lambda each: [key_of(each)] if tokens.is_token(each) else [])

    async def reconcile(self, key: Key) -> Action:
        secret = self._secrets.get(key)
        if secret is None or not tokens.is_token(secret):
            return await_change()
        left = tokens.expiry(secret) - self.clock.now()
        if left > 0:
            return requeue(left) if left < math.inf else await_change()
        try:
            await self.client.delete(resources.SECRETS, key.name, key.namespace, uid=uid_of(secret))
        except (NotFound, Conflict):
            pass  # it is gone, or another one has its name by now
        return await_change()
