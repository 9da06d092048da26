"""Bootstrap tokens: how nodes come in before they have a certificate (documented under "Authenticating with Bootstrap
Tokens").

A token `ID.SECRET` is the Secret `bootstrap-token-ID` in `kube-system`, of the type `bootstrap.kubernetes.io/token`.
It holds while it is not expired and says that it is for authentication; its user is `system:bootstrap:ID`, in
`system:bootstrappers` and the groups that it names, which all begin like that one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from typing import Final

from kube_core._kit.clock import Clock
from kube_core.abc.transport import User
from kube_core.auth.authentication import Authentication, TokenAuthenticator
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.times import parse_time
from kube_core.storage.cache import WatchCache

__all__ = ["BootstrapTokens"]

_TYPE: Final = "bootstrap.kubernetes.io/token"
_NAMESPACE: Final = "kube-system"
_GROUP: Final = "system:bootstrappers"
_TOKEN: Final = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP: Final = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens(TokenAuthenticator):
    """Reads the Secrets from the watch cache."""

    def __init__(self, cache: WatchCache, clock: Clock) -> None:
        self._secrets = cache.resource(GroupResource("", "secrets"))
        self._clock = clock

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        identity, secret = found.groups()
        stored = self._secrets.get(Key(_NAMESPACE, f"bootstrap-token-{identity}"))
        if stored is None or not self._holds(stored.document, identity, secret):
            return None
        groups = _extra_groups(_value(stored.document, "auth-extra-groups"))
        if groups is None:
            return None
        user = User(f"system:bootstrap:{identity}", tuple(sorted({_GROUP, *groups})))
        return Authentication(user, tuple(audiences))

    def _holds(self, document: Document, identity: str, secret: str) -> bool:
        if document.get("type") != _TYPE or document["metadata"].get("deletionTimestamp"):
            return False
        if _value(document, "token-id") != identity:
            return False
        if not hmac.compare_digest(_value(document, "token-secret").encode(), secret.encode()):
            return False
        if _value(document, "usage-bootstrap-authentication") != "true":
            return False
        expiration = _value(document, "expiration")
        if not expiration:
            return True
        try:
            return self._clock.now() < parse_time(expiration)
        except ValueError:
            # What cannot be understood does not hold.
            return False


def _value(document: Document, name: str) -> str:
    try:
        return base64.b64decode((document.get("data") or {}).get(name, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _extra_groups(text: str) -> list[str] | None:
    """The further groups; None where one of them is not of bootstrappers."""
    groups = [part.strip() for part in text.split(",") if part.strip()]
    return groups if all(map(_EXTRA_GROUP.fullmatch, groups)) else None
