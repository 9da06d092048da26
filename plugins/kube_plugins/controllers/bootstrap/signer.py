"""Signs the ConfigMap kube-public/cluster-info with every bootstrap token that is for signing.

A machine that is to join knows a token, and no authority yet: from the signature it knows that the kubeconfig in this
ConfigMap, which anybody may read, is the right one. Nobody makes the ConfigMap here; without one nothing is signed.

Mirrors upstream's bootstrap-signer-controller, which runs only where it is asked for, as this one. It looks again when
the next token runs out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, key_of
from kube_plugins.controllers.bootstrap import tokens

__all__ = ["BootstrapSigner"]

_CLUSTER_INFO = Key("kube-public", "cluster-info")


class BootstrapSigner(Controller):
    """See the module's docstring. There is one key, the ConfigMap's."""

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._secrets = context.informers.informer(resources.SECRETS).lister
        self._config_maps = context.informers.informer(resources.CONFIG_MAPS).lister

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.CONFIG_MAPS, lambda each: [_CLUSTER_INFO] if key_of(each) == _CLUSTER_INFO else [])
        yield Watch(resources.SECRETS, lambda each: [_CLUSTER_INFO] if tokens.is_token(each) else [])

    async def reconcile(self, key: Key) -> Action:
        present, now = self._config_maps.get(key), self.clock.now()
        if present is None:
            return await_change()
        secrets = self._tokens()
        usable = [token for each in secrets if (token := tokens.signing_token(each, now)) is not None]
        data = tokens.signed(present.get("data") or {}, usable)
        if data != (present.get("data") or {}):
            await self.client.update(resources.CONFIG_MAPS, {**present, "data": data})
        upcoming = min((moment for moment in map(tokens.expiry, secrets) if moment > now), default=math.inf)
        return requeue(upcoming - now) if upcoming < math.inf else await_change()

    def _tokens(self) -> Sequence[Document]:
        return [each for each in self._secrets.list(tokens.NAMESPACE) if tokens.is_token(each)]
