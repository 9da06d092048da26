"""Service account tokens: issued by TokenRequest, bound to an object, verified on every use.

A token is a JWT as upstream documents it (`kubernetes.io` claims with namespace, service account, and pod, node or
secret). It holds while its time lasts, its audience is ours, and its service account and bound object are there with
the same uids. Times are checked against the project's clock, not the machine's.

The signing key is RSA 2048, the kind that every client library verifies; it takes long to make, so it is made on a
thread when the first token is asked for, unless the cluster's state has one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.auth.authentication import Authentication, TokenAuthenticator
from kube_core.auth.certificates import write_file
from kube_core.meta.status import Unauthorized

__all__ = [
    "BoundObject",
    "SigningKey",
    "TokenClaims",
    "TokenIssuer",
    "service_account_user",
    "unverified_claims",
    "unverified_header",
]


@attrs.frozen
class BoundObject:
    """What a token depends on besides its service account: a Pod, Node or Secret."""

    kind: str
    name: str
    uid: str


@attrs.frozen
class TokenClaims:
    """Whose token. `node` is where a bound pod runs, if it does."""

    namespace: str
    name: str
    uid: str
    bound: BoundObject | None = None
    node: BoundObject | None = None


class SigningKey:
    """The key pair that signs tokens; made lazily, kept in `path` where there is one."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        self._path = path
        self._lock = asyncio.Lock()
        self._key: Any = None

    async def private(self) -> Any:
        """The private key."""
        async with self._lock:
            if self._key is None:
                with self._clock.hold("the service account key is being made"):
                    self._key = await asyncio.to_thread(self._load_or_make)
        return self._key

    def share(self, other: SigningKey) -> None:
        """Sign with the key of `other`, if it is made."""
        self._key = other.loaded

    @property
    def loaded(self) -> Any:
        """The private key, or None while there is none yet. Raises `ValueError` for a damaged file.

        One that is kept is read here: tokens of before a restart hold, whether or not there is a new one since.
        """
        if self._key is None and self._path is not None and self._path.exists():
            self._key = self._load_or_make()
        return self._key

    async def jwks(self) -> dict[str, Any]:
        """The public half, as a JSON Web Key Set."""
        numbers = (await self.private()).public_key().public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "RSA",
                    "kid": await self.key_id(),
                    "alg": "RS256",
                    "n": _base64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
                    "e": _base64(numbers.e.to_bytes(3, "big")),
                }
            ]
        }

    async def key_id(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = (await self.private()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _base64(hashlib.sha256(der).digest())

    def _load_or_make(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            load_pem_private_key,
        )

        if self._path is not None and self._path.exists():
            try:
                # To prove the primes of our own key again would take a seventh of a second.
                return load_pem_private_key(self._path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
            except (ValueError, TypeError):
                raise ValueError(f"{self._path} is damaged; restore or remove it") from None
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if self._path is not None:
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_file(self._path, pem, mode=0o600)
        return key


class TokenIssuer(TokenAuthenticator):
    """Issues and verifies tokens of one cluster."""

    def __init__(
        self,
        key: SigningKey,
        clock: Clock,
        random: Random,
        *,
        issuer: str,
        audiences: Sequence[str],
        is_current: Callable[[TokenClaims], bool],
    ) -> None:
        """`is_current` tells whether service account and bound object are still there with the uids claimed."""
        self.key = key
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self._clock = clock
        self._random = random
        self._is_current = is_current

    async def issue(self, claims: TokenClaims, *, audiences: Sequence[str], seconds: int) -> tuple[str, float]:
        """A token, and when it expires (seconds since the epoch)."""
        import jwt

        now = int(self._clock.now())
        about: dict[str, Any] = {
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.name, "uid": claims.uid},
        }
        if claims.node is not None:
            about["node"] = {"name": claims.node.name, "uid": claims.node.uid}
        if claims.bound is not None:
            about[claims.bound.kind.lower()] = {"name": claims.bound.name, "uid": claims.bound.uid}
        payload = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": self._random.uid(),
            "kubernetes.io": about,
            "nbf": now,
            "sub": f"system:serviceaccount:{claims.namespace}:{claims.name}",
        }
        key = await self.key.private()
        token = jwt.encode(payload, key, algorithm="RS256", headers={"kid": await self.key.key_id()})
        return token, float(now + seconds)

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]] | None:
        """The user and the audiences that the token shares with those wanted; None where it is not one of ours.

        Raises `Unauthorized` for one that is ours, but expired, of another audience, or of something that is gone.
        """
        payload = self._payload(token)
        if payload is None:
            return None
        now = self._clock.now()
        if not payload.get("nbf", 0) <= now < payload.get("exp", 0):
            raise Unauthorized("Unauthorized")
        wanted = tuple(audiences or self.audiences)
        shared = tuple(name for name in wanted if name in payload.get("aud", ()))
        if not shared:
            held = _quoted(payload.get("aud", ()))
            raise Unauthorized(f"token audiences {held} is invalid for the target audiences {_quoted(wanted)}")
        claims = _claims(payload)
        if not self._is_current(claims):
            raise Unauthorized("Unauthorized")
        return service_account_user(claims, str(payload.get("jti", ""))), shared

    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        found = self.verify(token, audiences)
        return Authentication(*found) if found is not None else None

    def _payload(self, token: str) -> Mapping[str, Any] | None:
        # What the token says of itself costs less than its signature, and most that are not ours end here.
        if unverified_claims(token).get("iss") != self.issuer:
            return None
        key = self.key.loaded
        return _verified(token, key, self.issuer) if key is not None else None


def unverified_claims(token: str) -> Mapping[str, Any]:
    """What a JWT says of itself, before its signature is checked; nothing where it is none."""
    return _part(token, 1)


def unverified_header(token: str) -> Mapping[str, Any]:
    """How a JWT says that it is signed."""
    return _part(token, 0)


def _part(token: str, number: int) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        part = orjson.loads(base64.urlsafe_b64decode(parts[number] + "=" * (-len(parts[number]) % 4)))
    except ValueError:
        return {}
    return part if isinstance(part, dict) else {}


@lru_cache(maxsize=1024)
def _verified(token: str, key: Any, issuer: str) -> Mapping[str, Any] | None:
    # The signature is checked once for each token; its times, on every use.
    import jwt

    try:
        payload: Mapping[str, Any] = jwt.decode(
            token,
            key.public_key(),
            algorithms=["RS256"],
            issuer=issuer,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError):
        return None
    return payload


def service_account_user(claims: TokenClaims, token_id: str = "") -> User:
    """The user that a service account is."""
    extra: dict[str, Sequence[str]] = {}
    if token_id:
        extra["authentication.kubernetes.io/credential-id"] = [f"JTI={token_id}"]
    if claims.node is not None:
        extra["authentication.kubernetes.io/node-name"] = [claims.node.name]
        extra["authentication.kubernetes.io/node-uid"] = [claims.node.uid]
    if claims.bound is not None and claims.bound.kind == "Pod":
        extra["authentication.kubernetes.io/pod-name"] = [claims.bound.name]
        extra["authentication.kubernetes.io/pod-uid"] = [claims.bound.uid]
    return User(
        f"system:serviceaccount:{claims.namespace}:{claims.name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{claims.namespace}"),
        claims.uid,
        extra,
    )


def _claims(payload: Mapping[str, Any]) -> TokenClaims:
    about = payload.get("kubernetes.io") or {}
    account = about.get("serviceaccount") or {}
    bound = next(
        (
            BoundObject(kind, about[name]["name"], about[name]["uid"])
            for kind, name in (("Pod", "pod"), ("Secret", "secret"))
            if name in about
        ),
        None,
    )
    node = BoundObject("Node", about["node"]["name"], about["node"]["uid"]) if "node" in about else None
    if bound is None and node is not None:
        bound, node = node, None
    return TokenClaims(
        str(about.get("namespace", "")), str(account.get("name", "")), str(account.get("uid", "")), bound, node
    )


def _quoted(names: Sequence[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
