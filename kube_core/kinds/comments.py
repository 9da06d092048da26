"""The words that a class has for its fields: `#:` comments above them or behind them, and strings below them.

    class Website:
        #: Where the site comes from.
        repository: str
        replicas: int = 1
        \"\"\"How many copies are served.\"\"\"

They are in the source alone, which takes milliseconds to read: it is done when a definition is made, not when a class
is declared. A class whose source is not to be had has no words for its fields; those of the built-in kinds' models are
left out, as they would make most of a definition, which has its limit.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping

from kube_core.api.models import Model

__all__ = ["description_of", "field_descriptions"]


def description_of(cls: type) -> str:
    """The docstring of a class; "" where it has none of its own."""
    if issubclass(cls, Model):
        return ""
    return inspect.cleandoc(vars(cls).get("__doc__") or "")


@functools.cache
def field_descriptions(cls: type) -> Mapping[str, str]:
    """Words by the names of fields, those of bases too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is not object and not issubclass(base, Model):
            found.update(_own(base))
    return found


def _own(cls: type) -> Mapping[str, str]:
    lines, classes = _source(cls.__module__)
    found: dict[str, str] = {}
    body = classes.get(cls.__qualname__, [])
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        below = following.value if isinstance(following, ast.Expr) else None
        if isinstance(below, ast.Constant) and isinstance(below.value, str):
            found[statement.target.id] = inspect.cleandoc(below.value)
        elif words := _comment(lines, statement):
            found[statement.target.id] = words
    return found


@functools.cache
def _source(module: str) -> tuple[list[str], Mapping[str, list[ast.stmt]]]:
    """The lines of a module, and the bodies of its classes by their qualified names."""
    try:
        source = inspect.getsource(sys.modules[module])
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError, KeyError):
        return [], {}
    return source.splitlines(), dict(_classes(tree.body, ""))


def _classes(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            name = f"{prefix}{statement.name}"
            yield name, statement.body
            yield from _classes(statement.body, f"{name}.")
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _classes(statement.body, f"{prefix}{statement.name}.<locals>.")
        else:
            for inner in ("body", "orelse", "finalbody"):
                yield from _classes(getattr(statement, inner, ()), prefix)


def _comment(lines: list[str], statement: ast.AnnAssign) -> str:
    behind = lines[(statement.end_lineno or statement.lineno) - 1].encode()[statement.end_col_offset or 0 :].decode()
    if behind.strip().startswith("#:"):
        return behind.strip().removeprefix("#:").strip()
    above: list[str] = []
    at = statement.lineno - 2
    while at >= 0 and lines[at].strip().startswith("#:"):
        above.insert(0, lines[at].strip().removeprefix("#:").strip())
        at -= 1
    return "\n".join(above)
