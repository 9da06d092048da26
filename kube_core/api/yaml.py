"""YAML in and out, as the API speaks it: one document, plain JSON values, upstream's reading of YAML 1.1 and 1.2.

Of repeated keys the last counts; `load_noting_duplicates` tells them, for field validation. `load_all` reads manifests
of many documents, `load` the first document only, as the server does. ruamel.yaml does the work; its import is slow,
so nothing imports this module before it is needed.
"""

from __future__ import annotations

import functools
import io
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MantissaNoDotYAML1_1Warning, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scanner import Scanner, ScannerError

__all__ = ["YamlError", "dump", "load", "load_all", "load_noting_duplicates"]


#: How many values aliases may add to those that are written out.
_ALIASED = 100_000
#: How deep brackets may be in each other: reading them takes the square of it, and nothing that is stored is deeper.
_DEEPEST = 250


class YamlError(ValueError):
    """The text is not YAML, or not of JSON's values; the message names the line."""


class _Constructor(SafeConstructor):
    """Keeps times as the text they were written as (JSON has no others), and the last of repeated keys."""

    yaml_constructors = {  # noqa: RUF012 (ruamel's own way to say it)
        **SafeConstructor.yaml_constructors,
        "tag:yaml.org,2002:timestamp": lambda constructor, node: constructor.construct_scalar(node),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.duplicates: list[str] = []

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        if key in mapping:
            shown = json.dumps(key) if isinstance(key, str) else _key(key)
            self.duplicates.append(f"line {key_node.start_mark.line + 1}: key {shown} already set in map")
        return True


class _Scanner(Scanner):
    """Stops at brackets in brackets in brackets."""

    def fetch_flow_collection_start(self, *args: Any, **kwargs: Any) -> None:
        if self.flow_level >= _DEEPEST:
            raise ScannerError(None, None, "exceeded max depth", self.reader.get_mark())
        super().fetch_flow_collection_start(*args, **kwargs)


class _Representer(SafeRepresenter):
    """Writes text so that a reader of YAML 1.1 takes it for text, as upstream does."""

    def represent_str(self, data: Any) -> Any:
        style = None
        if "\n" in data and "\t" not in data:
            style = "|"
        elif _reads_as_other(data):
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


@functools.lru_cache(maxsize=1)
def _resolver() -> VersionedResolver:
    return VersionedResolver(version="1.1", loader=None)


def _reads_as_other(text: str) -> bool:
    return bool(_resolver().resolve(ScalarNode, text, (True, False)) != "tag:yaml.org,2002:str")


def load(text: bytes | str) -> Any:
    """The first document. Raises `YamlError`."""
    return load_noting_duplicates(text)[0]


def load_noting_duplicates(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document, and a message for each repeated key in it. Raises `YamlError`."""
    reader = _reader()
    document = next(_documents(reader, text), None)
    return document, reader.constructor.duplicates


def load_all(text: bytes | str) -> Iterator[Any]:
    """Every document that is not empty. Raises `YamlError`."""
    return (document for document in _documents(_reader(), text) if document is not None)


def dump(document: Mapping[str, Any]) -> bytes:
    """Block style, keys sorted; text that would be read as something else is quoted."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.width = sys.maxsize
    stream = io.BytesIO()
    writer.dump(_Plain(sys.maxsize)(document), stream)
    return stream.getvalue()


def _reader() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    reader.Scanner = _Scanner
    reader.version = "1.1"
    return reader


def _documents(reader: YAML, text: bytes | str) -> Iterator[Any]:
    try:
        with warnings.catch_warnings():
            # `1e3` is a number in JSON, and no reason for a warning.
            warnings.simplefilter("ignore", MantissaNoDotYAML1_1Warning)
            for document in reader.load_all(text):
                yield _Plain(len(text) + _ALIASED)(document)
    except (YAMLError, UnicodeDecodeError) as error:
        raise YamlError(_one_line(error)) from None
    except RecursionError:
        raise YamlError("exceeded max depth") from None


class _Plain:
    """From what ruamel makes to JSON's values. `left`: how many there may be, so that aliases of aliases end."""

    def __init__(self, left: int) -> None:
        self._left = left

    def __call__(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YamlError("document contains excessive aliasing")
        if isinstance(value, Mapping):
            return {key if isinstance(key, str) else _key(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set):
            return [self(item) for item in value]
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise YamlError(f"{type(value).__name__} has no JSON form")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem
