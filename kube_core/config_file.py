"""A cluster's options from a YAML file: the fields of `ClusterConfig`, by their names.

    name: shop
    nodes: 3
    runtime: process
    images: [./images]
    security:
      audit_policy_file: audit.yaml

What is wrong is told with file, line and field. Paths are relative to the file. Fields that are not named keep what
they are by default. Called by `ClusterConfig.from_yaml` and `kube-core up --config`, and for files of other classes by
the commands that have such; ruamel.yaml is imported when a file is read, not before.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import attrs

from kube_core.config import ClusterConfig, ConfigError

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

__all__ = ["read_file", "read_options"]

T = TypeVar("T")


def read_options(path: Path | str) -> dict[str, Any]:
    """The options that a file names, as `ClusterConfig(**options)` takes them. Raises `ConfigError`."""
    return _read(ClusterConfig, path)


def read_file(of: type[T], path: Path | str) -> T:
    """An attrs class with the fields that a file names. Raises `ConfigError`."""
    return of(**_read(of, path))


def _read(of: type, path: Path | str) -> dict[str, Any]:
    from kube_core.api import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    except (yaml.YamlError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    reading = _Reading(file, _lines(text))
    options = reading.fields(of, {} if content is None else content, ())
    for name, value in options.items():
        reading.check(of, {name: value}, (name,))
    return options


def _lines(text: str) -> Mapping[tuple[str, ...], int]:
    """Where each key of the text is, by the keys on the way to it."""
    from ruamel.yaml import YAML

    return dict(_walk(YAML().compose(text), ()))


def _walk(node: Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    from ruamel.yaml.nodes import MappingNode

    if isinstance(node, MappingNode):
        for key, value in node.value:
            inside = (*path, str(key.value))
            yield inside, key.start_mark.line + 1
            yield from _walk(value, inside)


@attrs.frozen
class _Reading:
    file: Path
    lines: Mapping[tuple[str, ...], int]

    def wrong(self, path: tuple[str, ...], why: str) -> ConfigError:
        known = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        where = f"{self.file}:{known}" if known is not None else str(self.file)
        return ConfigError(f"{where}: {'.'.join(path)}: {why}" if path else f"{where}: {why}")

    def fields(self, cls: type, content: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """The fields of an attrs class that a mapping names."""
        if not isinstance(content, dict):
            raise self.wrong(path, f"should have fields below it, not be {_shown(content)}")
        attrs.resolve_types(cls)
        known = {field.name: field for field in attrs.fields(cls)}
        found = {}
        for name, value in content.items():
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
                raise self.wrong((*path, name), f"there is no such field{hint}")
            found[name] = self.value(known[name].type, value, (*path, name))
        return found

    def check(self, cls: type, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        """An instance, where every value is as its class wants it."""
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise self.wrong(path, str(error).removeprefix(f"{path[-1]}: ") if path else str(error)) from None

    def value(self, kind: Any, value: Any, path: tuple[str, ...]) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            if value is None and type(None) in arguments:
                return None
            return self.value(next(each for each in arguments if each is not type(None)), value, path)
        if origin is tuple:
            if not isinstance(value, list):
                raise self.wrong(path, f"should be a list, not {_shown(value)}")
            return tuple(self.value(arguments[0], each, path) for each in value)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            if not isinstance(value, dict):
                raise self.wrong(path, f"should have names below it, not be {_shown(value)}")
            return {name: self.value(arguments[1], each, (*path, name)) for name, each in value.items()}
        if attrs.has(kind):
            return self.check(kind, self.fields(kind, value, path), path)
        if kind is Path and isinstance(value, str):
            return (self.file.parent / value).absolute()
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        raise self.wrong(path, f"should be {_NAMES.get(kind, kind)}, not {_shown(value)}")


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
    return repr(value)
