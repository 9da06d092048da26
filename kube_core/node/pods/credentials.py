"""Who pulls an image: the registry credentials in a pod's pull secrets that are for the image. Pure.

Secrets of types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`; an entry is for a registry, may name a
part of its repositories, and may have `*` in the parts of the host's name, as upstream documents under "Images". The
more of an image's name an entry names, the sooner it is tried.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from kube_core.abc.runtime import RegistryCredentials
from kube_core.meta.documents import Document

__all__ = ["credentials_for"]

_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_HUB = "docker.io"
_HUB_NAMES = ("index.docker.io", "registry-1.docker.io", "docker.io")


def credentials_for(image: str, secrets: Iterable[Document]) -> list[RegistryCredentials]:
    """What may be tried, the most fitting first. Secrets that cannot be read are passed over."""
    registry, path = _named(image)
    found: list[tuple[int, RegistryCredentials]] = []
    for secret in secrets:
        for place, entry in _entries(secret):
            host, _, prefix = _place(place).partition("/")
            if _same_host(host, registry) and (not prefix or path == prefix or path.startswith(prefix + "/")):
                found.append((len(host) + len(prefix), _credentials(entry)))
    return [each for _, each in sorted(found, key=lambda pair: -pair[0])]


def _named(image: str) -> tuple[str, str]:
    """The registry and the repository of an image."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = _HUB, name if slash else f"library/{name}"
    head, colon, tag = rest.rpartition(":")
    return first, head if colon and "/" not in tag else rest


def _place(text: str) -> str:
    bare = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        bare = bare.removesuffix(version)
    return bare


def _same_host(pattern: str, registry: str) -> bool:
    if pattern in _HUB_NAMES:
        return registry in _HUB_NAMES
    wanted, wanted_port = _split(pattern)
    host, port = _split(registry)
    parts, present = wanted.split("."), host.split(".")
    return (
        wanted_port == port
        and len(parts) == len(present)
        and all(fnmatch.fnmatchcase(part, each) for each, part in zip(parts, present, strict=True))
    )


def _split(host: str) -> tuple[str, str]:
    name, _, port = host.partition(":")
    return name, port


def _entries(secret: Document) -> Iterable[tuple[str, Mapping[str, Any]]]:
    data: Mapping[str, str] = secret.get("data") or {}
    key = _KEYS.get(str(secret.get("type")))
    if key is None or key not in data:
        return ()
    try:
        content = orjson.loads(base64.b64decode(data[key]))
        entries = content["auths"] if key == ".dockerconfigjson" else content
        return [(str(place), entry) for place, entry in entries.items() if isinstance(entry, Mapping)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _credentials(entry: Mapping[str, Any]) -> RegistryCredentials:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            pass
    return RegistryCredentials(
        user, password, str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or "")
    )
