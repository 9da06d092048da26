"""Fills Secrets of the type `kubernetes.io/service-account-token`, and removes those whose service account is gone.

It notes on each Secret the day on which its token was used last, and in the ConfigMap
kube-system/kube-apiserver-legacy-service-account-token-tracking since when it does so: whoever cleans up looks there.

Upstream's token controller does this beside the server, with a copy of the signing key; here the key never leaves the
server, so its own loop does. A Secret names its account in the annotation `kubernetes.io/service-account.name`; it gets
the account's uid in another, and in its data a token, the namespace and the cluster's CA.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from kube_core.apiserver import bootstrap
from kube_core.auth.legacy_tokens import SECRET_TYPE, sign_legacy_token
from kube_core.auth.tokens import SigningKey
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.status import NotFound, StatusError
from kube_core.meta.times import format_time
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Update
from kube_core.storage.cache import WatchCache

__all__ = ["LegacyTokenLoop"]

_log = get_logger("kube_core.apiserver")
_NAME: Final = "kubernetes.io/service-account.name"
_UID: Final = "kubernetes.io/service-account.uid"
_LAST_USED: Final = "kubernetes.io/legacy-token-last-used"
_TRACKING: Final = "kube-apiserver-legacy-service-account-token-tracking"
_MARK: Final = SECRET_TYPE.encode()


class LegacyTokenLoop:
    """The loop of one server."""

    def __init__(
        self, catalogue: Catalogue, cache: WatchCache, key: SigningKey, *, authority: bytes, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._secrets = cache.resource(SECRETS.group_resource)
        self._accounts = cache.resource(SERVICE_ACCOUNTS.group_resource)
        self._key = key
        self._authority = authority
        self._clock = clock
        #: Secrets to look at, each once; bounded by how many there are. The same of those that were used.
        self._waiting: dict[Key, None] = {}
        self._in_use: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at what is there, and follow. The watch cache must have started."""
        self._add(*(stored.key for stored in self._secrets.list() if _MARK in stored.data))
        self._secrets.followers.append(self._secret_changed)
        self._accounts.followers.append(self._account_changed)
        self._task = asyncio.create_task(self._run(), name="legacy service account tokens")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self._secrets.followers.remove(self._secret_changed)
            self._accounts.followers.remove(self._account_changed)

    def used(self, key: Key) -> None:
        """Somebody came in with the token of a Secret."""
        stored = self._secrets.get(key)
        if stored is not None and self._today not in (stored.metadata.get("labels") or {}).get(_LAST_USED, ""):
            self._in_use[key] = None
            self._wake.set()

    @property
    def _today(self) -> str:
        return format_time(self._clock.now())[:10]

    def _secret_changed(self, change: Change) -> None:
        if change.after is not None and _MARK in change.after.data:
            self._add(change.key)

    def _account_changed(self, change: Change) -> None:
        # An account that merely changes changes nothing here, and there are few of these Secrets.
        if change.before is None or change.after is None:
            namespace = change.key.namespace
            self._add(*(stored.key for stored in self._secrets.list(namespace) if _MARK in stored.data))

    def _add(self, *keys: Key) -> None:
        if keys:
            self._waiting.update(dict.fromkeys(keys))
            self._wake.set()

    async def _run(self) -> None:
        await self._note_beginning()
        while True:
            await self._wake.wait()
            self._wake.clear()
            with self._clock.hold("service account tokens are being made"):
                while self._waiting or self._in_use:
                    waiting, settle = (self._waiting, self._settle) if self._waiting else (self._in_use, self._note_use)
                    key = next(iter(waiting))
                    del waiting[key]
                    try:
                        await settle(key)
                    except NotFound:
                        pass
                    except StatusError as error:
                        _log.warning("a service account token was not made", secret=str(key), error=str(error))

    async def _note_beginning(self) -> None:
        """Say since when uses are noted, unless that is said already."""
        metadata = {"name": _TRACKING, "namespace": "kube-system"}
        try:
            await bootstrap.ensure(
                self._catalogue, Chain(), CONFIG_MAPS, {"metadata": metadata, "data": {"since": self._today}}
            )
        except StatusError as error:
            _log.warning("it is not noted since when uses of tokens are", error=str(error))

    async def _note_use(self, key: Key) -> None:
        async def noted(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            document["metadata"].setdefault("labels", {})[_LAST_USED] = self._today
            return document

        context = Context(bootstrap.OWN_USER, Chain())
        await self._catalogue.of(SECRETS).update(context, key, Update(bootstrap.OWN_OPTIONS), noted)

    async def _settle(self, key: Key) -> None:
        stored = self._secrets.get(key)
        if stored is None or stored.document.get("type") != SECRET_TYPE:
            return
        wanted = (stored.metadata.get("annotations") or {}).get(_NAME, "")
        account = self._accounts.get(Key(key.namespace, wanted))
        uid = (stored.metadata.get("annotations") or {}).get(_UID, "")
        if account is None or (uid and account.metadata["uid"] != uid):
            await self._remove(stored)
        elif not uid or not {"token", "ca.crt", "namespace"} <= set(stored.document.get("data") or ()):
            await self._fill(stored, account)

    async def _fill(self, secret: Stored, account: Stored) -> None:
        uid = str(account.metadata["uid"])
        token = await sign_legacy_token(
            self._key, namespace=secret.key.namespace, account=account.key.name, uid=uid, secret=secret.key.name
        )

        async def filled(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            annotations: dict[str, Any] = document["metadata"].setdefault("annotations", {})
            annotations[_UID] = uid
            data = document.setdefault("data", {})
            data.setdefault("token", _encoded(token.encode()))
            data.setdefault("namespace", _encoded(secret.key.namespace.encode()))
            data.setdefault("ca.crt", _encoded(self._authority))
            return document

        context = Context(bootstrap.OWN_USER, Chain())
        await self._catalogue.of(SECRETS).update(context, secret.key, Update(bootstrap.OWN_OPTIONS), filled)

    async def _remove(self, secret: Stored) -> None:
        options = DeleteOptions(uid=str(secret.metadata["uid"]))
        await self._catalogue.of(SECRETS).delete(Context(bootstrap.OWN_USER, Chain()), secret.key, options)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
