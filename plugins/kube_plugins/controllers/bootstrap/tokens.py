"""Bootstrap tokens as their Secrets hold them, and what one signs.

Pure. A token is the Secret `bootstrap-token-ID` of the type `bootstrap.kubernetes.io/token` in `kube-system`
("Authenticating with Bootstrap Tokens"). A signature is a JSON Web Signature with the content left out (RFC 7515,
appendix F), by HMAC with the token's secret: whoever knows the token can tell that what is said was said by somebody
who knows it, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping

from kube_core.meta.documents import Document, name_of, namespace_of
from kube_core.meta.times import parse_time

__all__ = ["NAMESPACE", "SIGNATURE_PREFIX", "expiry", "is_token", "sign", "signed", "signing_token"]

NAMESPACE = "kube-system"
#: Of the keys in `cluster-info` that hold signatures; the token's id follows.
SIGNATURE_PREFIX = "jws-kubeconfig-"

_TYPE = "bootstrap.kubernetes.io/token"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")
_CONTENT_KEY = "kubeconfig"


def is_token(secret: Document) -> bool:
    """Whether a Secret is a bootstrap token."""
    return secret.get("type") == _TYPE and namespace_of(secret) == NAMESPACE


def expiry(secret: Document) -> float:
    """When a token runs out, in seconds since the epoch: never without a time, and at once where none can be read."""
    text = _value(secret, "expiration")
    if not text:
        return math.inf
    try:
        return parse_time(text)
    except ValueError:
        return -math.inf


def signing_token(secret: Document, now: float) -> tuple[str, str] | None:
    """The id and the secret of a token that may sign; None for what may not."""
    named = _NAME.fullmatch(name_of(secret))
    identity, password = _value(secret, "token-id"), _value(secret, "token-secret")
    if named is None or named[1] != identity or not password or expiry(secret) <= now:
        return None
    return (identity, password) if _value(secret, "usage-bootstrap-signing") == "true" else None


def sign(content: str, identity: str, password: str) -> str:
    """The signature of a text, without the text."""
    header = _encoded(json.dumps({"alg": "HS256", "kid": identity}, separators=(",", ":")).encode())
    signed = f"{header}.{_encoded(content.encode())}".encode()
    return f"{header}..{_encoded(hmac.digest(password.encode(), signed, hashlib.sha256))}"


def signed(data: Mapping[str, str], tokens: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What `cluster-info` is to hold: signatures of these tokens, and no others. Without a kubeconfig it stays."""
    content = data.get(_CONTENT_KEY)
    if content is None:
        return dict(data)
    kept = {name: value for name, value in data.items() if not name.startswith(SIGNATURE_PREFIX)}
    return kept | {SIGNATURE_PREFIX + identity: sign(content, identity, password) for identity, password in tokens}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _value(secret: Document, name: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(name, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
