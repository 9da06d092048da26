"""Compiling and evaluating expressions.

`compile_expression` gives a `Program`, kept for the next time; both raise `CelError` with a message fit for people.
Variables are declared dynamic: what is wrong with their types shows when an expression is evaluated, not before.
Values are plain JSON, with `google.protobuf` timestamps and durations in it.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from typing import Any, Final

from kube_core.cel import syntax
from kube_core.cel.formats import with_optionals
from kube_core.cel.libraries import INSERTIONS, is_ours, kubernetes_library
from kube_core.cel.slices import GaveUp, Sliced, gathers, is_long

__all__ = ["COST_EXCEEDED", "CelError", "Program", "check_expression", "compile_expression"]

#: What upstream says of an expression that takes too long.
COST_EXCEEDED: Final = "operation cancelled: actual cost limit exceeded"

_CODE = re.compile(r"\A(?:[A-Z_]+: )?(?P<text>.*?)(?:\s*\[[A-Z_]+\])?\Z", re.DOTALL)
_MISSING_KEY = re.compile(r'Key not found in map : "?(?P<key>.*?)"?\s*\Z', re.DOTALL)
_MIXED_NUMBERS = re.compile(
    r"no matching overload for '_[<>]=?_' applied to '\((?:int|uint|double), (?:int|uint|double)\)'"
)
_BAD_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_OPTIONAL = re.compile(r"\boptional\b|\?\s*[.\w\[]|\boptMap\b|\boptFlatMap\b|\bfirst\b|\blast\b")
_UNDECLARED = re.compile(
    r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): undeclared reference to '(?P<name>[\w.]+)' \(in container ''\)"
    r"(?:\n \| [^\n]*\n \| \.*\^)?"
)
_CHAIN_END = re.compile(r"[A-Za-z_]\w*(?:\s*\.\s*\w+)*\s*\Z", re.ASCII)
_INSERTION: Final = b"cel.@mapInsert"
#: The extensions that the engine has, and gives only to those who ask in its own configuration.
_NAMED_EXTENSIONS = "name: kubernetes\nextensions:\n  - name: two-var-comprehensions\n  - name: sets\n"


class CelError(ValueError):
    """Why an expression is none, or has no value."""


class Program:
    """A compiled expression. `returns` is the name of its type: `BOOL`, `STRING`, …, `DYN` where only a value tells."""

    def __init__(self, expression: Any, environment: Any, *, checked: bool = True) -> None:
        self._expression = expression
        self._environment = environment
        self.returns: str = expression.return_type().name()
        self._parts: dict[bytes, Any] = {}
        #: Whether the engine's checker has seen it; where it has not, `returns` says nothing.
        self.checked = checked

    def tree(self) -> syntax.Checked:
        """What the engine made of it."""
        return syntax.read(self._expression.serialize())

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value, as plain JSON. Raises `CelError`."""
        if not (self._gathers and is_long({**variables})):
            try:
                return _evaluated(self._expression, variables)
            except GaveUp:
                pass
        sliced = Sliced(self._expression.serialize(), self._run, CelError)
        try:
            return sliced.value(variables)
        except GaveUp:
            raise CelError(COST_EXCEEDED) from None

    def _run(self, serialized: bytes, variables: Mapping[str, Any]) -> Any:
        """The value of another expression of the same environment. Raises `GaveUp`, and `CelError`."""
        part = self._parts.get(serialized)
        if part is None:
            part = self._parts[serialized] = self._environment.deserialize(serialized)
        return _passed_back(_evaluated(part, variables))

    @functools.cached_property
    def _gathers(self) -> bool:
        """Whether there is a loop that makes a list or map; it takes the engine long where lists are."""
        return gathers(self.tree().root)


@functools.lru_cache(maxsize=2048)
def compile_expression(text: str, variables: tuple[str, ...]) -> Program:
    """`variables`: the names that it may use. Raises `CelError`."""
    if "format" in text:
        text = with_optionals(text)
    environment, optional = _environment(variables), _OPTIONAL.search(_STRINGS.sub("''", text)) is not None
    try:
        compiled = _complete(environment, environment.compile(text))
        if optional:
            _keep_optionals_apart(compiled)
        return Program(compiled, environment)
    except CelError:
        raise
    except (RuntimeError, ValueError) as error:
        said = _rooted(_without_code(str(error)), text)
    if _MIXED_NUMBERS.search(said) and said.count("ERROR:") == 1 and not optional:
        # Upstream compares numbers of different types; this engine does so too, but only when it does not check first.
        return Program(environment.compile(text, disable_check=True), environment, checked=False)
    raise CelError(said)


def check_expression(text: str, types: Mapping[str, str]) -> str:
    """Compile with typed variables, only to see that it can be, and its type (`DYN`, where a value is to tell).

    `types`: `INT`, `STRING`, … Raises `CelError`.
    """
    from cel_expr_python import cel  # native, and rarely needed

    try:
        text = with_optionals(text) if "format" in text else text
        environment = _make({name: getattr(cel.Type, kind) for name, kind in types.items()})
        return str(environment.compile(text).return_type().name())
    except (RuntimeError, ValueError) as error:
        said = _rooted(_without_code(str(error)), text)
        if not (_MIXED_NUMBERS.search(said) and said.count("ERROR:") == 1):
            raise CelError(said) from None
        return "BOOL"


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
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_NAMED_EXTENSIONS), variables=variables, extensions=extensions)


def _complete(environment: Any, compiled: Any) -> Any:
    """Put functions of ours in the place of those that the engine declares, and has not."""
    serialized = compiled.serialize()
    if _INSERTION not in serialized:
        return compiled
    for theirs, ours in INSERTIONS.items():  # of the same lengths, or more than the names would have to be written anew
        serialized = serialized.replace(theirs, ours)
    return environment.deserialize(serialized)


def _keep_optionals_apart(compiled: Any) -> None:
    """Raises CelError where an optional value would be handed to a function of ours, or out of the engine.

    The engine cannot turn optional values into Python's, and takes the whole process down when it has to.
    """
    checked = syntax.read(compiled.serialize())
    if "optional" in checked.types.get(checked.root.number, ""):
        raise CelError("ERROR: <input>:1:1: an optional value is no result: use orValue() or value()")
    for node in syntax.walk(checked.root):
        kept = "optional" in checked.types.get(node.number, "")
        hides = node.kind in ("list", "map") or node.name in ("dyn", "type") or is_ours(checked.overloads(node))
        hides = hides or (node.name == "_?_:_" and not kept)
        for below in node.below if hides else ():
            if below.number not in node.optional and "optional" in checked.types.get(below.number, ""):
                name = node.name if node.kind == "call" else node.kind
                raise CelError(f"ERROR: <input>:1:1: an optional value cannot be given to '{name}'")


def _evaluated(expression: Any, variables: Mapping[str, Any]) -> Any:
    """Raises `GaveUp`, and `CelError`."""
    try:
        value = expression.eval(data=variables)
    except RuntimeError as error:
        # The engine counts the turns of all loops of an expression, and has no other reason to raise.
        if "budget" in str(error):
            raise GaveUp from None
        raise CelError(_worded(str(error))) from None
    if value.type().name() == "ERROR":
        raise CelError(_worded(str(value.value())))
    return value.plain_value()


def _passed_back(value: Any) -> Any:
    """What the engine gave, as it takes it: times are not what they were."""
    if isinstance(value, list):
        return [_passed_back(each) for each in value] if value and not _is_plain(value[0]) else value
    if isinstance(value, dict):
        return {key: _passed_back(each) for key, each in value.items()}
    if isinstance(value, datetime.datetime):
        from google.protobuf.timestamp_pb2 import Timestamp  # slow to import, and rarely needed

        made = Timestamp()
        made.FromDatetime(value)
        return made
    if isinstance(value, datetime.timedelta):
        from google.protobuf.duration_pb2 import Duration

        span = Duration()
        span.FromTimedelta(value)
        return span
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _rooted(said: str, text: str) -> str:
    """Errors about undeclared names, told of the variable itself, as upstream does, not of the last of its fields."""

    def tell(found: re.Match[str]) -> str:
        lines = text.split("\n")
        line, column = int(found["line"]), int(found["column"])
        if line > len(lines) or "." not in found["name"]:
            return found[0]
        before = _CHAIN_END.search(lines[line - 1][: column - 1])
        if before is None:
            return found[0]
        root = found["name"].partition(".")[0]
        return (
            f"ERROR: <input>:{line}:{before.start() + 1}: undeclared reference to '{root}' (in container '')\n"
            f" | {lines[line - 1]}\n | {'.' * before.start()}^"
        )

    return _UNDECLARED.sub(tell, said)


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
