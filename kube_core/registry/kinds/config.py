"""ConfigMaps and Secrets: small data under keys that can be file names. Documented under "ConfigMaps" and "Secrets"."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.json_faults import OBJECT, json_fault, unreadable
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["ConfigMapStrategy", "SecretStrategy"]

SIZE_LIMIT = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"

#: The keys that a type of Secret must have.
_REQUIRED_KEYS: Mapping[str, Sequence[str]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_TOKEN = "kubernetes.io/service-account-token"
_SSH = "kubernetes.io/ssh-auth"
_BASIC = "kubernetes.io/basic-auth"
_ACCOUNT = "kubernetes.io/service-account.name"


class ConfigMapStrategy(BuiltinStrategy):
    def validate(self, document: Document) -> Errors:
        data, binary = document.get("data") or {}, document.get("binaryData") or {}
        for key in data:
            yield from checks.named(Path("data").key(key), key, names.config_map_key)
            if key in binary:
                yield fields.invalid(Path("data").key(key), key, "duplicate of key present in binaryData")
        for key in binary:
            yield from checks.named(Path("binaryData").key(key), key, names.config_map_key)
        if sum(map(_length, data.values())) + sum(map(_decoded_length, binary.values())) > SIZE_LIMIT:
            yield _too_long("")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from _frozen(document, old, "data", "binaryData")
        yield from self.validate(document)


class SecretStrategy(BuiltinStrategy):
    def default(self, document: MutableDocument) -> None:
        plain = document.pop("stringData", None)
        if plain:
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
            document["data"] = {**(document.get("data") or {}), **encoded}
        document.setdefault("type", "Opaque")

    def validate(self, document: Document) -> Errors:
        data: Mapping[str, str] = document.get("data") or {}
        for key in data:
            yield from checks.named(Path("data").key(key), key, names.config_map_key)
        if sum(_decoded_length(value or "") for value in data.values()) > SIZE_LIMIT:
            yield _too_long("data")
        yield from _typed(document, data)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from checks.immutable(Path("type"), document.get("type"), old.get("type"))
        yield from _frozen(document, old, "data")
        yield from self.validate(document)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        if document.get("type") != "kubernetes.io/tls":
            return ()
        return _tls_warnings(document.get("data") or {})

    def field_labels(self) -> Sequence[str]:
        return ("type",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"type": document.get("type") or ""}


def _typed(document: Document, data: Mapping[str, str]) -> Errors:
    kind = document.get("type") or ""
    if kind == _TOKEN and not (document["metadata"].get("annotations") or {}).get(_ACCOUNT):
        yield fields.required(Path("metadata").child("annotations").key(_ACCOUNT))
    if kind == _BASIC and "username" not in data and "password" not in data:
        yield fields.required(Path("data").key("username"))
        yield fields.required(Path("data").key("password"))
    for key in _REQUIRED_KEYS.get(kind, ()):
        if key not in data or (kind == _SSH and not data[key]):
            yield fields.required(Path("data").key(key))
        elif key.startswith(".docker") and (problem := _json_problem(data[key])):
            yield fields.invalid(Path("data").key(key), _REDACTED, problem)


def _frozen(document: Document, old: Document, *names_of_data: str) -> Errors:
    if not old.get("immutable"):
        return
    if not document.get("immutable"):
        yield fields.forbidden(Path("immutable"), _FROZEN)
    for name in names_of_data:
        if (document.get(name) or {}) != (old.get(name) or {}):
            yield fields.forbidden(Path(name), _FROZEN)


def _too_long(field: str) -> FieldError:
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {SIZE_LIMIT} bytes")


def _length(text: str) -> int:
    return len(text.encode())


def _decoded_length(text: str | None) -> int:
    return len(text or "") * 3 // 4 - (text or "")[-2:].count("=")


def _json_problem(text: str | None) -> str:
    """What is wrong with base64 text that should hold a JSON object, or ""."""
    try:
        decoded = base64.b64decode(text or "")
        value: Any = orjson.loads(decoded)
    except orjson.JSONDecodeError as error:
        return json_fault(decoded) or str(error)
    except binascii.Error as error:
        return str(error)
    return "" if isinstance(value, dict) else unreadable(value, OBJECT)


def _tls_warnings(data: Mapping[str, str]) -> Sequence[str]:
    for key, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if b"-----BEGIN" not in base64.b64decode(data.get(key) or ""):
            return (f"tls: failed to find any PEM data in {what} input",)
    return ()
