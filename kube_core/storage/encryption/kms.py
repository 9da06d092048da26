"""Keys that a key management service keeps: upstream's `kms` provider, version 2.

The service is a program of the cluster's owner, behind a socket, which seals small things with a key that never leaves
it. Here a seed is made and sealed by it; of the seed and 32 fresh bytes comes a key for each value (HKDF with SHA-256),
which seals that value (AES-GCM). The sealed seed, with the name of the service's key, is stored beside each value, so
that any server can ask the service to open it; opened seeds are remembered for a day.

The service is asked for its status every minute, every ten seconds while something is wrong. When it names another key,
a new seed is made; while it does not answer, what can be opened is opened, and sealing goes on for three minutes.

`connect`, `check` and `learn` may wait, `seal` and `open` may not: what a batch of values needs is asked for first
(`learn`). Documented under "Using a KMS provider for data encryption"; stored values are upstream's, byte for byte.
"""

from __future__ import annotations

import os
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core.meta import names
from kube_core.storage.encryption.kms_messages import AES_GCM_KEY, SEED, SERVICE, message
from kube_core.storage.encryption.providers import NotOpened, NotSealed, Provider

__all__ = ["HEALTHY_PERIOD", "UNHEALTHY_PERIOD", "Kms", "KmsEndpoint", "KmsError"]

#: Seconds between two questions for the service's status.
HEALTHY_PERIOD: Final = 60.0
UNHEALTHY_PERIOD: Final = 10.0
#: Seconds after which nothing is sealed any more without news of the service.
_SEAL_FOR: Final = 180.0
#: Seconds for which an opened seed is remembered.
_REMEMBER: Final = 24 * 3600.0
_MOST_REMEMBERED: Final = 4096
#: Bytes.
_LONGEST_NAME: Final = 1024
_LONGEST_SEED: Final = 1024
_LONGEST_ANNOTATIONS: Final = 32 * 1024
_SEED: Final = 32
_INFO: Final = 32
_NONCE: Final = 12
_TAG: Final = 16
_VERSIONS: Final = ("v2", "v2beta1")


class KmsError(Exception):
    """The service did not answer, or not as it has to."""


@attrs.frozen
class KmsEndpoint:
    """Where a service is. `target`: a socket, as gRPC names it (`unix:/path`). `timeout`: seconds for one call."""

    name: str
    target: str
    timeout: float


@attrs.frozen
class _SealedSeed:
    """What is stored of a seed beside each value: sealed by the service, and by which of its keys."""

    key_id: str
    sealed: bytes = attrs.field(repr=False)
    annotations: tuple[tuple[str, bytes], ...]
    kind: int


@attrs.frozen
class _Stored:
    seed: _SealedSeed
    data: bytes = attrs.field(repr=False)


class Kms(Provider):
    """One service. Nothing is asked before `connect`."""

    def __init__(self, endpoint: KmsEndpoint) -> None:
        self.endpoint = endpoint
        #: What is wrong with the service; "" for nothing.
        self.problem = "the service was not asked yet"
        self._clock: Clock | None = None
        self._prefix = f"k8s:enc:kms:v2:{endpoint.name}:".encode()
        self._channel: Any = None
        #: What new values are sealed with.
        self._seed: _SealedSeed | None = None
        self._sealing_until = 0.0
        self._version = ""
        self._secrets: OrderedDict[_SealedSeed, tuple[bytes, float]] = OrderedDict()
        #: Why the service did not open what it was last asked to.
        self._not_opened = "it was not asked"

    @property
    def key_id(self) -> str:
        """Of the service's key that new values are sealed with."""
        return self._seed.key_id if self._seed is not None else ""

    def connect(self, clock: Clock) -> None:
        from grpc import aio  # slow to import, and rarely needed

        self._clock = clock
        if self._channel is None:
            self._channel = aio.insecure_channel(self.endpoint.target)

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def check(self) -> str:
        """Ask for the status, and have a new seed where the key is another; what is wrong, "" for nothing."""
        try:
            await self._check()
        except KmsError as error:
            self.problem = str(error)
        else:
            self.problem = ""
        return self.problem

    async def learn(self, values: Iterable[bytes]) -> None:
        """Have the service open the seeds that these values need. Those that it does not open stay unknown."""
        for value in values:
            if not value.startswith(self._prefix):
                continue
            try:
                stored = self._parsed(value)
                if self._known(stored.seed) is None:
                    await self._open_seed(stored)
            except (KmsError, NotOpened) as error:
                self._not_opened = str(error)

    def seal(self, place: bytes, value: bytes) -> bytes:
        seed = self._seed
        if seed is None:
            raise NotSealed(f"kms provider {self.endpoint.name}: {self.problem}")
        if self._clock is None or self._clock.monotonic() > self._sealing_until:
            raise NotSealed(f"kms provider {self.endpoint.name}: its last status is too long ago ({self.problem})")
        secret = self._secrets[seed][0]
        stored = message("EncryptedObject")(
            encryptedData=_sealed(secret, place, value),
            keyID=seed.key_id,
            encryptedDEKSource=seed.sealed,
            annotations=dict(seed.annotations),
            encryptedDEKSourceType=seed.kind,
        )
        return self._prefix + bytes(stored.SerializeToString(deterministic=True))

    def open(self, place: bytes, value: bytes) -> tuple[bytes, bool] | None:
        if not value.startswith(self._prefix):
            return None
        stored = self._parsed(value)
        secret = self._known(stored.seed)
        if secret is None:
            raise NotOpened(f"kms provider {self.endpoint.name} has not opened its key: {self._not_opened}")
        fresh = stored.seed.key_id == self.key_id and stored.seed.kind == SEED
        return _opened(secret, place, stored), fresh

    # -- seeds ---------------------------------------------------------------------------------------------------------

    def _known(self, seed: _SealedSeed) -> bytes | None:
        found = self._secrets.get(seed)
        if found is None or self._clock is None:
            return None
        secret, until = found
        if seed != self._seed and self._clock.monotonic() > until:
            del self._secrets[seed]
            return None
        self._secrets.move_to_end(seed)
        return secret

    def _remember(self, seed: _SealedSeed, secret: bytes) -> None:
        assert self._clock is not None
        self._secrets[seed] = secret, self._clock.monotonic() + _REMEMBER
        while len(self._secrets) > _MOST_REMEMBERED:
            oldest = next(each for each in self._secrets if each != self._seed)
            del self._secrets[oldest]

    async def _open_seed(self, stored: _Stored) -> None:
        """Raises `KmsError`."""
        seed = stored.seed
        request = message("DecryptRequest")(
            ciphertext=seed.sealed, uid=_uid(), key_id=seed.key_id, annotations=dict(seed.annotations)
        )
        secret = (await self._call("Decrypt", request, "DecryptResponse")).plaintext
        if len(secret) < _SEED and seed.kind == SEED:
            raise KmsError(f"the seed that the service opened has {len(secret)} bytes")
        self._remember(seed, bytes(secret))

    async def _check(self) -> None:
        """Raises `KmsError`."""
        assert self._clock is not None
        # Before the question: this is how old the news may be.
        until = self._clock.monotonic() + _SEAL_FOR
        try:
            status = await self._call("Status", message("StatusRequest")(), "StatusResponse")
        except KmsError as error:
            what = "failed to perform status section of the healthz check for KMS Provider"
            raise KmsError(f"{what} {self.endpoint.name}, error: {error}") from None
        problems = []
        if status.healthz != "ok":
            problems.append(f"got unexpected healthz status: {status.healthz}")
        self._version = self._version or status.version
        if status.version not in _VERSIONS:
            problems.append(f"expected KMSv2 API version v2, got {status.version}")
        elif status.version != self._version:
            problems.append(f"KMSv2 API version changed from {self._version} to {status.version}")
        try:
            _check_key_id(status.key_id)
            if self._seed is None or self._seed.key_id != status.key_id:
                self._seed = await self._new_seed(status.key_id)
            self._sealing_until = until
        except KmsError as error:
            problems.append(str(error))
        if problems:
            raise KmsError(f"kmsv2 Provider {self.endpoint.name} is not healthy, error: {', '.join(problems)}")

    async def _new_seed(self, key_id: str) -> _SealedSeed:
        """A seed, sealed by the service with its key of this name. Raises `KmsError`."""
        secret = os.urandom(_SEED)
        answer = await self._call("Encrypt", message("EncryptRequest")(plaintext=secret, uid=_uid()), "EncryptResponse")
        seed = _SealedSeed(answer.key_id, bytes(answer.ciphertext), tuple(sorted(answer.annotations.items())), SEED)
        _check_seed(seed)
        if seed.key_id != key_id:
            raise KmsError(f"failed to rotate DEK: the status names the key {key_id}, and {seed.key_id} was used")
        self._remember(seed, secret)
        return seed

    async def _call(self, method: str, request: Any, answer: str) -> Any:
        """Raises `KmsError`."""
        import grpc

        if self._channel is None or self._clock is None:
            raise KmsError("not connected")
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message(answer).FromString,
        )
        try:
            with self._clock.hold(f"kms provider {self.endpoint.name} is asked"):
                return await call(request, timeout=self.endpoint.timeout)
        except grpc.RpcError as error:
            code = getattr(error, "code", lambda: None)()
            details = getattr(error, "details", lambda: "")()
            raise KmsError(f"{code.name if code is not None else 'UNKNOWN'}: {details}") from None

    def _parsed(self, value: bytes) -> _Stored:
        """Raises `NotOpened`."""
        from google.protobuf.message import DecodeError

        try:
            found = message("EncryptedObject").FromString(value[len(self._prefix) :])
        except DecodeError:
            raise NotOpened("the stored data is not what a kms provider writes") from None
        kind = found.encryptedDEKSourceType
        seed = _SealedSeed(found.keyID, bytes(found.encryptedDEKSource), tuple(sorted(found.annotations.items())), kind)
        try:
            if kind not in (AES_GCM_KEY, SEED):
                raise KmsError(f"unknown encryptedDEKSourceType: {kind}")
            if not found.encryptedData:
                raise KmsError("encrypted data is empty")
            _check_seed(seed)
        except KmsError as error:
            raise NotOpened(str(error)) from None
        return _Stored(seed, bytes(found.encryptedData))


def _uid() -> str:
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def _check_key_id(key_id: str) -> None:
    """Raises `KmsError`."""
    if not key_id:
        raise KmsError("keyID is empty")
    if len(key_id.encode()) > _LONGEST_NAME:
        raise KmsError(f"keyID is {len(key_id.encode())} bytes, which exceeds the max size of {_LONGEST_NAME}")


def _check_seed(seed: _SealedSeed) -> None:
    """Whether it may be stored. Raises `KmsError`."""
    _check_key_id(seed.key_id)
    if not seed.sealed:
        raise KmsError("encrypted DEK source is empty")
    if len(seed.sealed) > _LONGEST_SEED:
        raise KmsError(f"encrypted DEK source is {len(seed.sealed)} bytes, which exceeds {_LONGEST_SEED}")
    if sum(len(name.encode()) + len(value) for name, value in seed.annotations) > _LONGEST_ANNOTATIONS:
        raise KmsError(f"total size of annotations exceeds {_LONGEST_ANNOTATIONS}")
    for name, _ in seed.annotations:
        if problems := names.dns1123_subdomain(name):
            raise KmsError(f"annotations: {name}: {problems[0]}")
        if "." not in name:
            raise KmsError(f"annotations: {name}: should be a domain with at least two segments separated by dots")


def _derived(secret: bytes, info: bytes) -> bytes:
    """HKDF's second half alone: the seed is as random as a key."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    return HKDFExpand(SHA256(), 32, info).derive(secret)


def _sealed(secret: bytes, place: bytes, value: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    info, nonce = os.urandom(_INFO), os.urandom(_NONCE)
    return info + nonce + AESGCM(_derived(secret, info)).encrypt(nonce, value, place)


def _opened(secret: bytes, place: bytes, stored: _Stored) -> bytes:
    """Raises `NotOpened`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = stored.data
    try:
        if stored.seed.kind == SEED:
            secret, data = _derived(secret, data[:_INFO]), data[_INFO:]
        if len(data) < _NONCE + _TAG:
            raise NotOpened("the stored data is cut short")
        return AESGCM(secret).decrypt(data[:_NONCE], data[_NONCE:], place)
    except (InvalidTag, ValueError):
        raise NotOpened("the key does not fit") from None
