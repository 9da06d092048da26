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
from kube_core.cel.costs import cost_within
from kube_core.cel.counting import counted
from kube_core.cel.formats import with_optionals
from kube_core.cel.libraries import INSERTIONS, is_ours, kubernetes_library
from kube_core.cel.sizes import of_value
from kube_core.cel.slices import GaveUp, Sliced, gathers, is_long

__all__ = ["COST_EXCEEDED", "CelError", "Program", "check_expression", "compile_expression"]

#: What upstream says of an expression that takes too long.
COST_EXCEEDED: Final = "operation cancelled: actual cost limit exceeded"

_CODE = re.compile(r"\A(?:[A-Z_]+: )?(?P<text>.*?)(?:\s*\[[A-Z_]+\])?\Z", re.DOTALL)
_MISSING_KEY = re.compile(r'Key not found in map : "?(?P<key>.*?)"?\s*\Z', re.DOTALL)
_MIXED_NUMBERS = re.compile(
    r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): found no matching overload for '_[<>]=?_' applied to "
    r"'\((?:int|uint|double), (?:int|uint|double)\)'"
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
_NAMED_EXTENSIONS = "name: kubernetes\nextensions:\n  - name: two-var-comprehensions\n  - name: sets\n  - name: lists\n"
#: Of the extension for texts, what upstream's expressions have.
_STRINGS_VERSION: Final = 2
#: Characters: costs are not told apart for what is smaller.
_SMALLEST: Final = 256
#: What is put around a number, so that the checker compares it with one of another type; nothing of it is left after.
_ANY_NUMBER: Final = "anyNumber__"
#: What stands before a comparison's left side, and after its right one, where nothing is open.
_BEFORE = re.compile(r"&&|\|\||(?<!\.)\?|[:,]|[<>=!]=|[<>]|\bin\b")
_AROUND = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|//[^\n]*")


class CelError(ValueError):
    """Why an expression is none, or has no value."""


class Program:
    """A compiled expression. `returns` is the name of its type: `BOOL`, `STRING`, …, `DYN` where only a value tells."""

    def __init__(self, expression: Any, environment: Any) -> None:
        self._expression = expression
        self._environment = environment
        self.returns: str = expression.return_type().name()
        self._parts: dict[bytes, Any] = {}
        self._costs: dict[int, int] = {}

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

    def cost_within(self, size: int) -> int:
        """What it costs at most on values that are, all together, no larger (in characters, or bytes of JSON)."""
        rounded = _SMALLEST
        while rounded < size:
            rounded *= 4
        cost = self._costs.get(rounded)
        if cost is None:
            cost = self._costs[rounded] = cost_within(self.tree(), {}, rounded)
        return cost

    def cost_at_most(self, variables: Mapping[str, Any], size: int) -> int:
        """What it costs at most on these values, by how large each of them is."""
        return cost_within(self.tree(), {name: of_value(value) for name, value in variables.items()}, size)

    def counted(self, variables: Mapping[str, Any], limit: int) -> int:
        """What it costs on these values, as upstream counts; more than `limit` is not counted to its end."""
        return counted(self._expression.serialize(), variables, self._run, (CelError, GaveUp), limit)

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
def compile_expression(text: str, variables: tuple[str, ...], *, binds: bool = False) -> Program:
    """`variables`: the names that it may use. `binds`: whether it may say `cel.bind`, which is for our own expressions:
    upstream has no such extension. Raises `CelError`."""
    if "format" in text:
        text = with_optionals(text)
    environment, optional = _environment(variables, binds), _OPTIONAL.search(_STRINGS.sub("''", text)) is not None
    compiled = _complete(environment, _compiled(environment, text))
    if optional:
        _keep_optionals_apart(compiled)
    return Program(compiled, environment)


def check_expression(text: str, types: Mapping[str, str]) -> str:
    """Compile with typed variables, only to see that it can be, and its type (`DYN`, where a value is to tell).

    `types`: `INT`, `STRING`, … Raises `CelError`.
    """
    from cel_expr_python import cel  # native, and rarely needed

    text = with_optionals(text) if "format" in text else text
    environment = _make({name: getattr(cel.Type, kind) for name, kind in types.items()})
    return str(_compiled(environment, text).return_type().name())


@functools.lru_cache(maxsize=32)
def _environment(variables: tuple[str, ...], binds: bool) -> Any:
    from cel_expr_python import cel  # native, and rarely needed

    return _make(dict.fromkeys(variables, cel.Type.DYN), binds=binds)


def _make(variables: Mapping[str, Any], *, binds: bool = False) -> Any:
    from cel_expr_python import cel  # native, and rarely needed
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

    number = cel.Overload(
        id=_ANY_NUMBER, return_type=cel.Type.DYN, parameters=[cel.Type.DYN], is_member=False, impl=lambda value: value
    )
    extensions = [
        ext_strings.ExtStrings(_STRINGS_VERSION),
        ext_optional.ExtOptional(),
        kubernetes_library(),
        cel.CelExtension("numbers", [cel.FunctionDecl(_ANY_NUMBER, [number])]),
        *([ext_bindings.ExtBindings()] if binds else []),
    ]
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_NAMED_EXTENSIONS), variables=variables, extensions=extensions)


def _compiled(environment: Any, text: str) -> Any:
    """The engine's expression. Raises `CelError`.

    Upstream compares numbers of different types; this engine does so too, but its checker does not let it. So the
    checker is shown a number of any type, and what shows it is taken out of the tree again.
    """
    try:
        return environment.compile(text)
    except (RuntimeError, ValueError) as error:
        said = _without_code(str(error))
    mixed = [*_MIXED_NUMBERS.finditer(said)]
    if not mixed or len(mixed) != said.count("ERROR:"):
        raise CelError(_rooted(said, text))
    shown = text
    for each in reversed(mixed):  # from the last to the first, so that places stay what they are
        shown = _with_any_number(shown, int(each["line"]), int(each["column"]))
    try:
        compiled = environment.compile(shown)
    except (RuntimeError, ValueError):
        raise CelError(_rooted(said, text)) from None
    serialized = compiled.serialize()
    parts = {
        node.written: node.below[0].written for node in syntax.walk(syntax.read(serialized).root)
        if node.name == _ANY_NUMBER
    }  # fmt: skip
    return environment.deserialize(syntax.put(parts, serialized))


def _with_any_number(text: str, line: int, column: int) -> str:
    """An expression in which the left side of the comparison at a place may be a number of any type."""
    lines = text.split("\n")
    place = sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
    plain = _AROUND.sub(lambda found: " " * len(found[0]), text[:place])
    depth = start = 0
    for index in range(len(plain) - 1, -1, -1):
        if plain[index] in ")]}":
            depth += 1
        elif plain[index] in "([{":
            depth -= 1
            if depth < 0:
                start = index + 1
                break
    # What is in brackets is of the side, whatever it is.
    side = list(plain[start:])
    depth = 0
    for index, sign in enumerate(side):
        depth += (sign in "([{") - (sign in ")]}")
        if depth or sign in ")]}":
            side[index] = " "
    ends = [found.end() for found in _BEFORE.finditer("".join(side))]
    start += ends[-1] if ends else 0
    return f"{text[:start]}{_ANY_NUMBER}({text[start:place]}){text[place:]}"


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
