"""Compiling and evaluating expressions.

`compile_expression` gives a `Program`, kept for the next time; both raise `CelError` with a message fit for people.
Variables are declared dynamic: what is wrong with their types shows when an expression is evaluated, not before.
Values are plain JSON, with `google.protobuf` timestamps and durations in it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from kube_core.registry.cel.libraries import MISSING, kubernetes_library

__all__ = ["CelError", "Program", "Unsupported", "check_expression", "compile_expression"]

_CODE = re.compile(r"\A(?:[A-Z_]+: )?(?P<text>.*?)(?:\s*\[[A-Z_]+\])?\Z", re.DOTALL)
_MISSING_KEY = re.compile(r'Key not found in map : "?(?P<key>.*?)"?\s*\Z', re.DOTALL)
_MIXED_NUMBERS = re.compile(
    r"no matching overload for '_[<>]=?_' applied to '\((?:int|uint|double), (?:int|uint|double)\)'"
)
_BAD_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")


class CelError(ValueError):
    """Why an expression is none, or has no value."""


class Unsupported(CelError):
    """The expression uses what upstream has, and this does not."""


class Program:
    """A compiled expression. `returns` is the name of its type: `BOOL`, `STRING`, …, `DYN` where only a value tells."""

    def __init__(self, expression: Any) -> None:
        self._expression = expression
        self.returns: str = expression.return_type().name()

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value, as plain JSON. Raises `CelError`."""
        value = self._expression.eval(data=variables)
        if value.type().name() == "ERROR":
            raise CelError(_worded(str(value.value())))
        return value.plain_value()


@functools.lru_cache(maxsize=2048)
def compile_expression(text: str, variables: tuple[str, ...]) -> Program:
    """`variables`: the names that it may use. Raises `CelError`."""
    try:
        return Program(_environment(variables).compile(text))
    except (RuntimeError, ValueError) as error:
        said = _without_code(str(error))
    if _MIXED_NUMBERS.search(said) and said.count("ERROR:") == 1:
        # Upstream compares numbers of different types; this engine does so too, but only when it does not check first.
        return Program(_environment(variables).compile(text, disable_check=True))
    if any(f"undeclared reference to '{name}'" in said for name in MISSING):
        raise Unsupported(said)
    raise CelError(said)


def check_expression(text: str, types: Mapping[str, str]) -> None:
    """Compile with typed variables, only to see that it can be. `types`: `INT`, `STRING`, … Raises `CelError`."""
    from cel_expr_python import cel  # native, and rarely needed

    try:
        _make({name: getattr(cel.Type, kind) for name, kind in types.items()}).compile(text)
    except (RuntimeError, ValueError) as error:
        said = _without_code(str(error))
        if not (_MIXED_NUMBERS.search(said) and said.count("ERROR:") == 1):
            raise CelError(said) from None


@functools.lru_cache(maxsize=32)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel  # native, and rarely needed

    return _make(dict.fromkeys(variables, cel.Type.DYN))


def _make(variables: Mapping[str, Any]) -> Any:
    from cel_expr_python import cel  # native, and rarely needed
    from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_bindings.ExtBindings(),
        kubernetes_library(),
    ]
    return cel.NewEnv(variables=variables, extensions=extensions)


def _without_code(text: str) -> str:
    found = _CODE.match(text)
    return found["text"] if found is not None else text


def _worded(text: str) -> str:
    """The messages that people search for, as upstream's library has them."""
    text = _without_code(text)
    if missing := _MISSING_KEY.search(text):
        return f"no such key: {missing['key']}"
    if index := _BAD_INDEX.search(text):
        return f"index out of bounds: {index[1]}"
    if "No matching overloads found" in text:
        return "no such overload"
    return text.replace("divide by zero", "division by zero").strip()
