r"""The JSONPath that CustomResourceDefinitions use for columns, selectable fields and scales.

A path is compiled once into a function from a document to the values it finds, in order. Understood are `.name`,
`['name']`, `.*` and `[*]`, `[3]`, `[-1]`, `[?(@.type=="Ready")]` with the comparisons `== != < <= > >=` or mere
presence, and dots in names escaped by a backslash (`.metadata.labels.example\.org/tier`). Missing members find
nothing. Recursive descent, slices and unions, which no definition that upstream accepts needs for a column, find
nothing either: `compile_path` raises ValueError for them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

__all__ = ["Path", "compile_path"]

#: Finds the values at a path.
Path = Callable[[Any], list[Any]]
_Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""
      \. (?P<name> (?: \\. | [^.\[\]*\\] )+ )
    | \[ \s* (?P<quoted> '(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" ) \s* \]
    | (?P<all> \.\* | \[\*\] )
    | \[ \s* (?P<index> -?\d+ ) \s* \]
    | \[ \s* \?\( \s* @ (?P<field> [^=!<>)]*? ) \s*
        (?: (?P<comparison> ==|!=|<=|>=|<|> ) \s* (?P<value> .+? ) \s* )? \) \s* \]
    """,
    re.VERBOSE,
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_path(text: str) -> Path:
    """The function that finds what `text` names. Raises ValueError when it is not understood."""
    steps = tuple(_steps(text))

    def find(document: Any) -> list[Any]:
        found = [document]
        for step in steps:
            found = [value for container in found for value in step(container)]
        return found

    return find


def _steps(text: str) -> Iterator[_Step]:
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(f"unrecognized JSONPath at {text[place:]!r} in {text!r}")
        place = token.end()
        kind = token.lastgroup
        if token["name"] is not None:
            yield _member(re.sub(r"\\(.)", r"\1", token["name"]))
        elif token["quoted"] is not None:
            yield _member(re.sub(r"\\(.)", r"\1", token["quoted"][1:-1]))
        elif kind == "all":
            yield _every
        elif kind == "index":
            yield _at(int(token["index"]))
        else:
            yield _filtered(token["field"].strip(), token["comparison"], token["value"])


def _member(name: str) -> _Step:
    return lambda value: (value[name],) if isinstance(value, Mapping) and name in value else ()


def _every(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _at(index: int) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()

    return step


def _filtered(field: str, comparison: str | None, literal: str | None) -> _Step:
    find = compile_path(field)
    if comparison is None or literal is None:
        return lambda value: [item for item in _every(value) if find(item)]
    compare, wanted = _COMPARISONS[comparison], _literal(literal)

    def matches(item: Any) -> bool:
        for found in find(item):
            try:
                if compare(found, wanted):
                    return True
            except TypeError:
                continue
        return False

    return lambda value: [item for item in _every(value) if matches(item)]


def _literal(text: str) -> Any:
    if text[:1] == text[-1:] == "'":
        return text[1:-1]
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError(f"not a value: {text}") from None
