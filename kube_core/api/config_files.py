"""Configuration files in upstream's form: `kind`, `apiVersion` and fields, in YAML or JSON, read strictly.

`read` gives a file's document as a `Section`, through which fields are taken by name and type. Whatever does not fit
raises `ConfigFileError` with one line that names file and field, so that a person finds the place:

    policy.yaml: rules[2].level: "Everything" is not supported; one of None, Metadata, Request, RequestResponse

A field that nobody knows is an error too: a misspelt one would otherwise mean the opposite of what was meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

__all__ = ["ConfigFileError", "Followed", "Section", "read"]


class ConfigFileError(ValueError):
    """What is wrong with a configuration file; one clear line for a person."""


@attrs.frozen
class Section:
    """An object in a configuration file. `where` is its path in the file, "" at the top."""

    file: str
    where: str
    fields: Mapping[str, Any]

    def error(self, field: str, problem: str) -> ConfigFileError:
        """What is wrong with one field, to be raised."""
        path = ".".join(filter(None, (self.where, field)))
        return ConfigFileError(f"{self.file}: {path}: {problem}" if path else f"{self.file}: {problem}")

    def known(self, *names: str) -> None:
        """Raises for a field that is not one of `names`."""
        for name in self.fields:
            if name not in names:
                raise self.error(name, "unknown field")

    def has(self, name: str) -> bool:
        return self.fields.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Raises where the field is missing and has no default."""
        value = self.fields.get(name)
        if value is None:
            if default is None:
                raise self.error(name, "required")
            return default
        if not isinstance(value, str):
            raise self.error(name, f"{value!r} is not a string")
        return value

    def one_of(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise self.error(name, f'"{value}" is not supported; one of {", ".join(choices)}')
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.fields.get(name, default)
        if not isinstance(value, bool):
            raise self.error(name, f"{value!r} is neither true nor false")
        return value

    def seconds(self, name: str, default: float) -> float:
        """A duration as upstream writes it (`30s`, `1m30s`)."""
        from kube_core.meta.times import parse_duration

        text = self.text(name, "")
        if not text:
            return default
        try:
            return parse_duration(text)
        except ValueError:
            raise self.error(name, f'"{text}" is not a duration') from None

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        for position, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{name}[{position}]", f"{value!r} is not a string")
        return tuple(values)

    def section(self, name: str) -> Section:
        """An object, empty where there is none."""
        value = self.fields.get(name)
        if value is None:
            value = {}
        return self._section(name, value)

    def sections(self, name: str) -> list[Section]:
        return [self._section(f"{name}[{position}]", value) for position, value in enumerate(self._list(name))]

    def _section(self, name: str, value: Any) -> Section:
        if not isinstance(value, Mapping):
            raise self.error(name, "not an object")
        return Section(self.file, ".".join(filter(None, (self.where, name))), value)

    def _list(self, name: str) -> list[Any]:
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(name, "not a list")
        return value


class Followed:
    """A file that may change while it is used: asked now and then whether it has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._content()

    def changed(self) -> bool:
        """Whether there is something else in it than when this was last asked. What cannot be read has not changed."""
        now = self._content()
        if now in (b"", self._seen):
            return False
        self._seen = now
        return True

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError:
            return b""


def read(path: Path, kind: str, versions: Sequence[str]) -> Section:
    """The document of a file. Raises `ConfigFileError`, also where the file cannot be read, or is of another kind."""
    from kube_core.api import yaml  # takes a while to import, and most clusters have no such file

    try:
        document = yaml.load(path.read_bytes())
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigFileError(f"{path}: {str(error).splitlines()[0]}") from None
    if not isinstance(document, Mapping):
        raise ConfigFileError(f"{path}: not an object")
    section = Section(str(path), "", document)
    section.one_of("kind", (kind,))
    section.one_of("apiVersion", versions)
    return section
