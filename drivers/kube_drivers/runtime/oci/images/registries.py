"""Where registries are, and who asks them: `registries.yaml` (or `.json`) in the image store.

    registries:
      docker.io:
        mirrors: [http://127.0.0.1:5000]   # asked first, in order; plain http where they say so
        username: me
        password: secret
      registry.example:
        insecure: true                     # http, or https whose certificate nobody signed
      registry.test:
        ca: /etc/ssl/test-ca.pem
      "*":
        offline: true                      # what is not loaded is not there

`"*"` speaks of every registry that is not named. Without the file registries are reached by https, at their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson

from kube_core.abc.runtime import ImageFailure

__all__ = ["Registries", "Registry"]

#: Docker's registry is not at its name.
_HOSTS = {"docker.io": "registry-1.docker.io"}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@attrs.frozen
class Registry:
    """How one registry is reached."""

    mirrors: tuple[str, ...] = ()
    offline: bool = False
    insecure: bool = False
    ca: str = ""
    username: str = ""
    password: str = attrs.field(default="", repr=False)


@attrs.frozen
class Registries:
    """All of them, by name."""

    known: Mapping[str, Registry] = attrs.field(factory=dict)

    @classmethod
    def read(cls, directory: Path) -> Registries:
        """What a store's folder says. Raises `ImageFailure` for a file that cannot be understood."""
        for path in (directory / "registries.yaml", directory / "registries.json"):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ImageFailure(f"{path} cannot be read: {error.strerror}") from None
            return cls.parse(_document(path, text), str(path))
        return cls()

    @classmethod
    def parse(cls, document: Any, where: str) -> Registries:
        try:
            return cls({str(name): _registry(fields or {}) for name, fields in document["registries"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ImageFailure(f"{where} is not as it should be: {error}") from None

    def of(self, name: str) -> Registry:
        return self.known.get(name) or self.known.get("*") or Registry()

    def endpoints(self, name: str) -> list[str]:
        """The URLs to ask, in order."""
        registry = self.of(name)
        host = _HOSTS.get(name, name)
        plain = registry.insecure or host.rpartition(":")[0] in _LOOPBACK or host in _LOOPBACK
        own = [f"https://{host}"]
        if plain:
            own = [f"http://{host}", *(own if registry.insecure else [])]
        return [*(mirror.rstrip("/") for mirror in registry.mirrors), *own]


def _registry(fields: Mapping[str, Any]) -> Registry:
    return Registry(**{**fields, "mirrors": tuple(map(str, fields.get("mirrors") or ()))})


def _document(path: Path, text: bytes) -> Any:
    try:
        if path.suffix == ".json":
            return orjson.loads(text)
        from ruamel.yaml import YAML  # lazily: most stores have no such file

        return YAML(typ="safe", pure=True).load(text.decode())
    except Exception as error:  # whatever a reader of YAML raises
        raise ImageFailure(f"{path} cannot be read: {error}") from None
