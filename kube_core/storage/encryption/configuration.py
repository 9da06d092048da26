"""Upstream's EncryptionConfiguration: which resources are sealed, by which providers and keys.

Documented under "Encrypting Confidential Data at Rest" (`apiserver.config.k8s.io/v1`). For each resource the first
entry that names it counts: `secrets`, `deployments.apps`, `*.apps` (a group; `*.` is the core one) or `*.*`. Its first
provider seals; all of them open. What no entry names is stored as it is.

Every mistake is a `ConfigFileError` that names file and field: a key that is not what it seems must not be found out
when the first secret is lost.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from kube_core.api.config_files import Section, read
from kube_core.meta.gvk import GroupResource
from kube_core.storage.encryption.kms import Kms, KmsEndpoint
from kube_core.storage.encryption.providers import AesCbc, AesGcm, Identity, Provider, SealingKey, Secretbox

__all__ = ["EncryptionConfiguration", "read_encryption_configuration"]

_VERSION: Final = "apiserver.config.k8s.io/v1"
_KEYED: Final[Mapping[str, type[AesCbc | AesGcm | Secretbox]]] = {
    "aescbc": AesCbc,
    "aesgcm": AesGcm,
    "secretbox": Secretbox,
}
_KINDS: Final = (*_KEYED, "identity", "kms")


@attrs.frozen
class _Entry:
    patterns: tuple[tuple[str, str], ...]
    providers: tuple[Provider, ...]

    def covers(self, resource: GroupResource) -> bool:
        return any(
            group in ("*", resource.group) and plural in ("*", resource.resource) for plural, group in self.patterns
        )


@attrs.frozen
class EncryptionConfiguration:
    """The providers of each resource."""

    file: str
    entries: tuple[_Entry, ...]

    @property
    def services(self) -> tuple[Kms, ...]:
        """The key management services that are to be asked."""
        return tuple(each for entry in self.entries for each in entry.providers if isinstance(each, Kms))

    def providers_of(self, resource: GroupResource) -> Sequence[Provider]:
        """The providers of the first entry that names a resource; none where no entry does."""
        return next((entry.providers for entry in self.entries if entry.covers(resource)), ())


def read_encryption_configuration(path: Path) -> EncryptionConfiguration:
    """Raises `ConfigFileError`."""
    file = read(path, "EncryptionConfiguration", (_VERSION,))
    file.known("kind", "apiVersion", "resources")
    entries = [_entry(section) for section in file.sections("resources")]
    if not entries:
        raise file.error("resources", "required")
    found = EncryptionConfiguration(str(path), tuple(entries))
    names = [service.endpoint.name for service in found.services]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise file.error("resources", f'two kms providers have the name "{twice}"')
    return found


def _entry(section: Section) -> _Entry:
    section.known("resources", "providers")
    patterns = [_pattern(section, position, text) for position, text in enumerate(section.texts("resources"))]
    if not patterns:
        raise section.error("resources", "required")
    if ("*", "*") in patterns and len(patterns) > 1:
        raise section.error("resources", '"*.*" names everything, so nothing may stand beside it')
    providers = [_provider(each) for each in section.sections("providers")]
    if not providers:
        raise section.error("providers", "required")
    return _Entry(tuple(patterns), tuple(providers))


def _pattern(section: Section, position: int, text: str) -> tuple[str, str]:
    plural, dot, group = text.partition(".")
    if not plural or (plural == "*" and not dot) or ("*" in group and text != "*.*") or plural.lower() != plural:
        raise section.error(
            f"resources[{position}]", f'"{text}" is neither a resource ("secrets", "x.group"), nor "*.group" or "*.*"'
        )
    return plural, group


def _provider(section: Section) -> Provider:
    section.known(*_KINDS)
    kinds = [kind for kind in _KINDS if kind in section.fields]
    if len(kinds) != 1:
        raise section.error("", "exactly one provider is needed" if not kinds else "more than one provider in one item")
    (kind,) = kinds
    if kind == "identity":
        return Identity()
    if kind == "kms":
        return _service(section.section("kms"))
    made = _KEYED[kind]
    keys = section.section(kind)
    keys.known("keys")
    found = [_key(each, made.sizes) for each in keys.sections("keys")]
    if not found:
        raise keys.error("keys", "required")
    names = [key.name for key in found]
    if len(set(names)) != len(names):
        raise keys.error("keys", "two keys have the same name")
    try:
        return made(found)
    except ImportError:
        raise section.error(kind, "needs PyNaCl: pip install 'kube-core[encryption]'") from None


def _service(section: Section) -> Kms:
    section.known("apiVersion", "name", "endpoint", "timeout", "cachesize")
    version = section.text("apiVersion", "v1")
    if version != "v2":
        why = "v1 is deprecated and off in upstream too" if version == "v1" else "unknown"
        raise section.error("apiVersion", f'"{version}" is not supported ({why}); must be v2')
    name = section.text("name")
    if not name or ":" in name:
        raise section.error("name", "must not be empty, nor hold a colon")
    if section.has("cachesize"):
        raise section.error("cachesize", "is not for v2")
    scheme, _, socket = section.text("endpoint").partition("://")
    if scheme != "unix" or not socket:
        raise section.error("endpoint", "must be unix:///path/of/a/socket")
    timeout = section.seconds("timeout", 3.0)
    if timeout <= 0:
        raise section.error("timeout", "must be positive")
    if importlib.util.find_spec("grpc") is None:
        raise section.error("", "needs grpcio: pip install 'kube-core[encryption]'")
    # `unix:///@name` is a socket without a file, as upstream has it.
    target = f"unix-abstract:{socket[2:]}" if socket.startswith("/@") else f"unix:{socket}"
    return Kms(KmsEndpoint(name, target, timeout))


def _key(section: Section, sizes: Sequence[int]) -> SealingKey:
    section.known("name", "secret")
    name = section.text("name")
    if not name or ":" in name:
        raise section.error("name", "must not be empty, nor hold a colon")
    try:
        secret = base64.b64decode(section.text("secret"), validate=True)
    except binascii.Error:
        # The text itself is not shown: it is a secret, even where it is a mistaken one.
        raise section.error("secret", "not base64") from None
    if len(secret) not in sizes:
        allowed = " or ".join(map(str, sizes))
        raise section.error("secret", f"{len(secret)} bytes long, and must be {allowed}")
    return SealingKey(name, secret)
