"""The ways to seal a value: upstream's providers, and the form in which each writes.

    k8s:enc:<provider>:v1:<key name>:<nonce and sealed bytes>

A `Provider` seals with its first key and opens with any of them, which is how keys are rotated. `aescbc` is AES-CBC
with PKCS#7, which hides but does not prove; `aesgcm` is AES-GCM and `secretbox` is XSalsa20 with Poly1305, which prove
too; the key in the store is part of what `aesgcm` proves, so that a sealed value cannot be put elsewhere. `identity`
leaves values as they are.

Nonces come from the operating system, never from the project's seeded chance: one that comes twice would give the
key away.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import attrs

__all__ = ["ENCRYPTED", "AesCbc", "AesGcm", "Identity", "NotOpened", "NotSealed", "Provider", "SealingKey", "Secretbox"]

#: What every sealed value begins with.
ENCRYPTED: Final = b"k8s:enc:"


class NotOpened(Exception):
    """A value that a key does not open; the message says why."""


class NotSealed(Exception):
    """A value that cannot be sealed now; the message says why."""


@attrs.frozen
class SealingKey:
    """A key and its name in the configuration."""

    name: str
    secret: bytes = attrs.field(repr=False)


class Provider(abc.ABC):
    """One way to seal. Raises `NotOpened` for what cannot be opened."""

    @abc.abstractmethod
    def seal(self, place: bytes, value: bytes) -> bytes:
        """`place`: the value's key in the store. Raises `NotSealed`."""

    @abc.abstractmethod
    def open(self, place: bytes, value: bytes) -> tuple[bytes, bool] | None:
        """The value, and whether `seal` would write it so today; None for what another provider has written."""


class Identity(Provider):
    """Values as they are."""

    def seal(self, place: bytes, value: bytes) -> bytes:
        return value

    def open(self, place: bytes, value: bytes) -> tuple[bytes, bool] | None:
        return None if value.startswith(ENCRYPTED) else (value, True)


class _Keyed(Provider):
    """A provider with keys, by name."""

    kind: ClassVar[str]
    sizes: ClassVar[tuple[int, ...]] = (16, 24, 32)

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        self._ciphers = [(f"k8s:enc:{self.kind}:v1:{key.name}:".encode(), self._cipher(key.secret)) for key in keys]

    def seal(self, place: bytes, value: bytes) -> bytes:
        prefix, cipher = self._ciphers[0]
        return prefix + self._seal(cipher, place, value)

    def open(self, place: bytes, value: bytes) -> tuple[bytes, bool] | None:
        problem: NotOpened | None = None
        # Two keys may have had one name.
        for position, (prefix, cipher) in enumerate(self._ciphers):
            if value.startswith(prefix):
                try:
                    return self._open(cipher, place, value[len(prefix) :]), position == 0
                except NotOpened as error:
                    problem = error
        if problem is not None:
            raise problem
        return None

    def _cipher(self, secret: bytes) -> Any:
        return secret

    @abc.abstractmethod
    def _seal(self, cipher: Any, place: bytes, value: bytes) -> bytes: ...

    @abc.abstractmethod
    def _open(self, cipher: Any, place: bytes, sealed: bytes) -> bytes: ...


class AesCbc(_Keyed):
    kind: ClassVar[str] = "aescbc"

    def _seal(self, cipher: Any, place: bytes, value: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        vector = os.urandom(16)
        padding = 16 - len(value) % 16
        encryptor = Cipher(algorithms.AES(cipher), modes.CBC(vector)).encryptor()
        return vector + encryptor.update(value + bytes([padding]) * padding) + encryptor.finalize()

    def _open(self, cipher: Any, place: bytes, sealed: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        if len(sealed) < 32 or len(sealed) % 16:
            raise NotOpened("the stored data is cut short")
        decryptor = Cipher(algorithms.AES(cipher), modes.CBC(sealed[:16])).decryptor()
        padded = decryptor.update(sealed[16:]) + decryptor.finalize()
        padding = padded[-1]
        if not 1 <= padding <= 16 or padded[-padding:] != bytes([padding]) * padding:
            raise NotOpened("the key does not fit")
        return padded[:-padding]


class AesGcm(_Keyed):
    kind: ClassVar[str] = "aesgcm"

    def _cipher(self, secret: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(secret)

    def _seal(self, cipher: Any, place: bytes, value: bytes) -> bytes:
        nonce = os.urandom(12)
        sealed: bytes = cipher.encrypt(nonce, value, place)
        return nonce + sealed

    def _open(self, cipher: Any, place: bytes, sealed: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if len(sealed) < 28:
            raise NotOpened("the stored data is cut short")
        try:
            value: bytes = cipher.decrypt(sealed[:12], sealed[12:], place)
        except InvalidTag:
            raise NotOpened("the key does not fit") from None
        return value


class Secretbox(_Keyed):
    """Needs PyNaCl (the extra `encryption`); raises ImportError without it."""

    kind: ClassVar[str] = "secretbox"
    sizes: ClassVar[tuple[int, ...]] = (32,)

    def _cipher(self, secret: bytes) -> Any:
        from nacl.secret import SecretBox

        return SecretBox(secret)

    def _seal(self, cipher: Any, place: bytes, value: bytes) -> bytes:
        return bytes(cipher.encrypt(value, os.urandom(24)))

    def _open(self, cipher: Any, place: bytes, sealed: bytes) -> bytes:
        from nacl.exceptions import CryptoError

        try:
            return bytes(cipher.decrypt(sealed))
        except (CryptoError, ValueError):
            raise NotOpened("the key does not fit") from None
