"""YAML in and out, as the API speaks it: one document, plain JSON values, upstream's reading of YAML 1.1 and 1.2.

`load_all` reads manifests of many documents. ruamel.yaml does the work; its import is slow, so nothing imports this
module before it is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

__all__ = ["YamlError", "dump", "load", "load_all"]


class YamlError(ValueError):
    """The text is not YAML, or not of JSON's values; the message names the line."""


def _reader() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.version = "1.1"  # type: ignore[assignment]
    reader.constructor.yaml_constructors = dict(reader.constructor.yaml_constructors)
    # Times stay the text they were written as: JSON has no others.
    reader.constructor.yaml_constructors["tag:yaml.org,2002:timestamp"] = lambda constructor, node: (
        constructor.construct_scalar(node)
    )
    return reader


def load(text: bytes | str) -> Any:
    """One document. Raises `YamlError`."""
    try:
        return _plain(_reader().load(text))
    except (YAMLError, UnicodeDecodeError) as error:
        raise YamlError(_one_line(error)) from None


def load_all(text: bytes | str) -> Iterator[Any]:
    """Every document that is not empty. Raises `YamlError`."""
    try:
        for document in _reader().load_all(text):
            if document is not None:
                yield _plain(document)
    except (YAMLError, UnicodeDecodeError) as error:
        raise YamlError(_one_line(error)) from None


def dump(document: Mapping[str, Any]) -> bytes:
    """Block style, keys in their order."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.BytesIO()
    writer.dump(_plain(document), stream)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else _key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
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
