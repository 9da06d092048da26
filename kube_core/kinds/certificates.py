"""The certificates of a webhook server: an authority of its own, and a serving certificate that it renews in time.

The serving certificate is replaced when two thirds of its life are over; connections that are open go on. The authority
is replaced when less is left of its life than a certificate of it has; both are in `trusted` before anything of the new
one is shown, and until the old one has ended.

An authority lives in memory, with the program; in a directory; or in a Secret, which several replicas share.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from kube_core._kit.certificates import Authority, KeyPair, load_or_create
from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import AlreadyExists, Conflict, NotFound

__all__ = ["AuthorityKeeper", "DirectoryKeeper", "MemoryKeeper", "SecretKeeper", "ServingCertificate"]

_NAME: Final = "kube-core webhooks"
_DAY: Final = 86400.0


#: The present authority, and the one before it.
Authorities = tuple[Authority, Authority | None]


class AuthorityKeeper:
    """Where authorities are kept. Others may replace them, so they are loaded each time that they are looked at."""

    async def load(self, now: float) -> Authorities:
        """Those that there are; the first time one is made."""
        raise NotImplementedError

    async def replace(self, old: Authority, now: float) -> Authorities:
        """A new authority in the place of `old`, unless somebody else was faster."""
        raise NotImplementedError


class MemoryKeeper(AuthorityKeeper):
    """Forgotten when the program ends: the next one begins with another authority."""

    def __init__(self) -> None:
        self._kept: Authorities | None = None

    async def load(self, now: float) -> Authorities:
        if self._kept is None:
            self._kept = Authority.create(_NAME, now=now), None
        return self._kept

    async def replace(self, old: Authority, now: float) -> Authorities:
        self._kept = Authority.create(_NAME, now=now), old
        return self._kept


class DirectoryKeeper(AuthorityKeeper):
    """In the files `ca.crt` and `ca.key` of a directory, and `old.crt` and `old.key` for the one before."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def load(self, now: float) -> Authorities:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = load_or_create(self._directory, _NAME, now=now, file_name="old") if self._has_old() else None
        return load_or_create(self._directory, _NAME, now=now), before

    async def replace(self, old: Authority, now: float) -> Authorities:
        for kind in ("crt", "key"):
            (self._directory / f"ca.{kind}").replace(self._directory / f"old.{kind}")
        return await self.load(now)

    def _has_old(self) -> bool:
        return all((self._directory / f"old.{kind}").exists() for kind in ("crt", "key"))


class SecretKeeper(AuthorityKeeper):
    """In a Secret, for replicas: whoever is first makes it, and the others take it."""

    def __init__(self, client: ApiClient, key: Key) -> None:
        self._client = client
        self._key = key

    async def load(self, now: float) -> Authorities:
        try:
            return _from_secret(await self._client.get(resources.SECRETS, self._key.name, self._key.namespace))
        except NotFound:
            pass
        try:
            return _from_secret(await self._client.create(resources.SECRETS, self._secret(now, None)))
        except AlreadyExists:
            return await self.load(now)

    async def replace(self, old: Authority, now: float) -> Authorities:
        secret = await self._client.get(resources.SECRETS, self._key.name, self._key.namespace)
        present, before = _from_secret(secret)
        if present.certificate != old.certificate:
            return present, before
        wanted = self._secret(now, old)
        wanted["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
        try:
            return _from_secret(await self._client.update(resources.SECRETS, wanted))
        except Conflict:
            return await self.replace(old, now)

    def _secret(self, now: float, old: Authority | None) -> dict[str, Any]:
        made = Authority.create(_NAME, now=now).pair
        data = {"tls.crt": made.certificate, "tls.key": made.key}
        if old is not None:
            data |= {"old.crt": old.pair.certificate, "old.key": old.pair.key}
        return {
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }


@attrs.define
class ServingCertificate:
    """What a server shows. `renew` makes and replaces what is due; `hosts` are names and addresses."""

    hosts: Sequence[str]
    clock: Clock
    keeper: AuthorityKeeper
    #: How long a serving certificate is valid.
    days: float = 30.0
    context: ssl.SSLContext = attrs.field(factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), init=False)
    _authority: Authority | None = attrs.field(default=None, init=False)
    _old: Authority | None = attrs.field(default=None, init=False)
    #: Of what is shown: the authority that issued it, and when.
    _issuer: bytes = attrs.field(default=b"", init=False)
    _made: float = attrs.field(default=0.0, init=False)

    @property
    def trusted(self) -> bytes:
        """The authorities by which clients know the server, in PEM: what goes into `caBundle`."""
        known = [each.certificate for each in (self._authority, self._old) if each is not None]
        return b"".join(known)

    async def renew(self, publish: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do what is due now; call it at the start, and then from time to time.

        `publish` tells clients what is `trusted` now, before anything is shown that they would not trust. Raises what
        that raises, StatusErrors, OSError, and `ValueError` for an authority that is damaged.
        """
        now = self.clock.now()
        authority, old = await self.keeper.load(now)
        if authority.expires - now < self.days * _DAY:
            # What it issues now would outlive it.
            authority, old = await self.keeper.replace(authority, now)
        self._authority = authority
        self._old = old if old is not None and old.expires > now else None
        is_new = self._issuer != authority.certificate
        if is_new and publish is not None:
            await publish()
        if is_new or now >= self._made + 2 * self.days * _DAY / 3:
            self._show(authority.issue_server(_NAME, self.hosts, now=now, days=self.days))
            self._issuer, self._made = authority.certificate, now

    def _show(self, pair: KeyPair) -> None:
        # The ssl module reads keys from files only; this one is ours alone and gone at once.
        with tempfile.NamedTemporaryFile() as file:
            file.write(pair.certificate + pair.key)
            file.flush()
            self.context.load_cert_chain(file.name)


def _from_secret(secret: Document) -> Authorities:
    data = {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}
    old = Authority(KeyPair(data["old.crt"], data["old.key"])) if "old.crt" in data else None
    return Authority(KeyPair(data["tls.crt"], data["tls.key"])), old
