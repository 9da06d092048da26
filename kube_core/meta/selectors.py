"""Selectors: which objects are meant, by their labels or by a few of their fields.

Three forms come in: the text of `?labelSelector=` (`parse_labels`), the `LabelSelector` of a document
(`from_document`), and the text of `?fieldSelector=` (`parse_fields`). Each becomes a compiled matcher: immutable,
hashable, comparable, and fast enough to be asked for every event.

`LabelSelector.equalities` and `FieldSelector.equalities` are what must be equal, so that whoever keeps an index can
find the candidates and ask the matcher only about those.

Messages are upstream's (`apimachinery/pkg/labels`, `pkg/fields`); the language is documented under "Labels and
Selectors" and "Field Selectors". Which fields a kind can be selected by is the kind's matter, not this module's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from kube_core.meta import fields, names

__all__ = [
    "EVERYTHING",
    "EVERY_FIELD",
    "NOTHING",
    "FieldSelector",
    "FieldTerm",
    "LabelSelector",
    "Operator",
    "Requirement",
    "SelectorError",
    "from_document",
    "from_labels",
    "parse_fields",
    "parse_labels",
]

Operator = Literal["in", "notin", "exists", "!", "gt", "lt"]
Labels = Mapping[str, str]


class SelectorError(ValueError):
    """A selector that cannot be understood; the message is what the client is told."""


@attrs.frozen(slots=True)
class Requirement:
    """One condition on one label. `values` are in order, without repeats; `=` is `in` with one value."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return _TESTS[self.operator](labels.get(self.key), self.values)

    def __str__(self) -> str:
        one = len(self.values) == 1
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case "in" | "notin" if one:
                return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"


@attrs.frozen(slots=True)
class LabelSelector:
    """All of `requirements` must hold; `never` selects nothing, whatever they say."""

    requirements: tuple[Requirement, ...] = ()
    never: bool = False

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        if self.never:
            return False
        for requirement in self.requirements:
            # Nearly all say what a label is, and a controller asks that of every pod over and over.
            if requirement.operator == "in":
                if labels.get(requirement.key) not in requirement.values:
                    return False
            elif not requirement.matches(labels):
                return False
        return True

    @property
    def is_everything(self) -> bool:
        return not self.requirements and not self.never

    @property
    def equalities(self) -> tuple[tuple[str, str], ...]:
        """The labels that an object must have, with the value it must have."""
        return tuple(
            (requirement.key, requirement.values[0])
            for requirement in self.requirements
            if requirement.operator == "in" and len(requirement.values) == 1
        )

    def __str__(self) -> str:
        """The form that `parse_labels` reads."""
        return ",".join(str(requirement) for requirement in self.requirements)


@attrs.frozen(slots=True)
class FieldTerm:
    """One condition on one field: equal, or not equal."""

    field: str
    equal: bool
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'=' if self.equal else '!='}{escaped}"


@attrs.frozen(slots=True)
class FieldSelector:
    """All of `terms` must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether an object with these field values is selected; a field it lacks counts as empty."""
        for term in self.terms:  # noqa: SIM110 (a plain loop is what is fast here)
            if (values.get(term.field, "") == term.value) is not term.equal:
                return False
        return True

    @property
    def is_everything(self) -> bool:
        return not self.terms

    @property
    def equalities(self) -> tuple[tuple[str, str], ...]:
        return tuple((term.field, term.value) for term in self.terms if term.equal)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that are asked about."""
        return tuple(term.field for term in self.terms)

    def __str__(self) -> str:
        """The form that `parse_fields` reads."""
        return ",".join(str(term) for term in self.terms)


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(never=True)
EVERY_FIELD: Final = FieldSelector()


@functools.lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """The selector that a text like `app=web,tier in (a, b),!canary` means. Raises `SelectorError`."""
    requirements = _LabelParser(text).parse()
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


@functools.lru_cache(maxsize=1024)
def parse_fields(text: str) -> FieldSelector:
    """The selector that a text like `spec.nodeName=n1,status.phase!=Failed` means. Raises `SelectorError`."""
    terms = []
    for part in _split_terms(text):
        if not part:
            continue
        found = _FIELD_TERM.match(part)
        if found is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(FieldTerm(found[1], found[2] != "!=", _unescape(part[found.end() :])))
    return FieldSelector(tuple(terms))


def from_labels(labels: Labels) -> LabelSelector:
    """The selector of everything that carries all of these labels."""
    return LabelSelector(tuple(Requirement(key, "in", (value,)) for key, value in sorted(labels.items())))


def from_document(document: Mapping[str, Any] | None) -> LabelSelector:
    """The selector that a `LabelSelector` document means: null selects nothing, an empty one everything.

    Raises `SelectorError` for one that validation would have refused.
    """
    if document is None:
        return NOTHING
    requirements = [Requirement(key, "in", (value,)) for key, value in (document.get("matchLabels") or {}).items()]
    for expression in document.get("matchExpressions") or ():
        operator = _DOCUMENT_OPERATORS.get(expression.get("operator"))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator")}" is not a valid label selector operator')
        values = expression.get("values") or ()
        requirements.append(_requirement(str(expression.get("key") or ""), operator, values))
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


_DOCUMENT_OPERATORS: Final[Mapping[str | None, Operator]] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
}


def _is_greater(found: str | None, values: Sequence[str]) -> bool:
    return (number := _integer(found)) is not None and number > int(values[0])


def _is_less(found: str | None, values: Sequence[str]) -> bool:
    return (number := _integer(found)) is not None and number < int(values[0])


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[-+]?[0-9]+", text) else None


_TESTS: Final[Mapping[str, Callable[[str | None, Sequence[str]], bool]]] = {
    "in": lambda found, values: found in values,
    "notin": lambda found, values: found not in values,
    "exists": lambda found, values: found is not None,
    "!": lambda found, values: found is None,
    "gt": _is_greater,
    "lt": _is_less,
}


def _requirement(key: str, operator: Operator, values: Collection[str]) -> Requirement:
    root = fields.Path()
    _refuse(fields.invalid(root, key, message) for message in names.qualified_name(key))
    listed = tuple(sorted(set(values)))
    where = fields.Path("values")
    match operator:
        case "in" | "notin" if not listed:
            detail = "for 'in', 'notin' operators, values set can't be empty"
            _refuse([fields.invalid(where, [], detail)])
        case "exists" | "!" if listed:
            detail = "values set must be empty for exists and does not exist"
            _refuse([fields.invalid(where, list(listed), detail)])
        case "gt" | "lt":
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            if len(listed) != 1:
                detail = "for 'Gt', 'Lt' operators, exactly one value is required"
                _refuse([fields.invalid(where, list(listed), detail)])
            if _integer(listed[0]) is None:
                _refuse([fields.invalid(where.index(0), listed[0], detail)])
    for position, value in enumerate(listed):
        _refuse(fields.invalid(where.index(position).key(key), value, message) for message in names.label_value(value))
    return Requirement(key, operator, listed)


def _refuse(errors: Any) -> None:
    found = [str(error) for error in errors]
    if found:
        raise SelectorError(found[0] if len(found) == 1 else f"[{', '.join(found)}]")


_TOKEN = re.compile(r"\s*(?:(!=|==|[=!<>(),])|([^\s!=<>(),]+)|$)")
_WORD = "word"
_END = ""
_BINARY: Final[Mapping[str, Operator]] = {
    "in": "in",
    "notin": "notin",
    "=": "in",
    "==": "in",
    "!=": "notin",
    ">": "gt",
    "<": "lt",
}


class _LabelParser:
    """A reader of the label selector language: one requirement after another, one token ahead."""

    def __init__(self, text: str) -> None:
        #: Pairs of what a token is (a symbol, `_WORD` or `_END`) and its text.
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while (found := _TOKEN.match(text, position)) is not None and found.end() > position:
            position = found.end()
            if found[1] or found[2]:
                self.tokens.append((found[1] or _WORD, found[1] or found[2]))
        self.tokens.append((_END, ""))
        self.position = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            kind, text = self.peek()
            if kind == _END:
                return requirements
            if kind not in (_WORD, "!"):
                raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self.requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            kind, text = self.take()
            if kind == _END:
                return requirements
            if kind != ",":
                raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
            kind, text = self.peek()
            if kind not in (_WORD, "!"):
                raise SelectorError(f"found '{text}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        kind, key = self.take()
        absent = kind == "!"
        if absent:
            kind, key = self.take()
        if kind != _WORD:
            raise SelectorError(f"found '{key}', expected: identifier")
        if absent:
            return _requirement(key, "!", ())
        if self.peek()[0] in (_END, ","):
            return _requirement(key, "exists", ())
        _, symbol = self.take()
        operator = _BINARY.get(symbol)
        if operator is None:
            raise SelectorError(f"found '{symbol}', expected: in, notin, =, ==, !=, gt, lt")
        values = self.values() if symbol in ("in", "notin") else [self.value()]
        return _requirement(key, operator, values)

    def value(self) -> str:
        if self.peek()[0] in (_END, ","):
            return ""
        kind, text = self.take()
        if kind != _WORD:
            raise SelectorError(f"found '{text}', expected: identifier")
        return text

    def values(self) -> list[str]:
        kind, text = self.take()
        if kind != "(":
            raise SelectorError(f"found '{text}' expected: '('")
        kind, text = self.peek()
        if kind == ")":
            self.take()
            return []
        if kind not in (_WORD, ","):
            raise SelectorError(f"found '{text}', expected: ',', ')' or identifier")
        found: list[str] = []
        # Between two commas, before the first and after the last there may be nothing: the empty value.
        while True:
            kind, text = self.peek()
            if kind == _WORD:
                self.take()
                found.append(text)
            elif kind in (",", ")"):
                found.append("")
            else:
                raise SelectorError(f"found '{text}', expected: ',', or identifier")
            kind, text = self.take()
            if kind == ")":
                return found
            if kind != ",":
                raise SelectorError(f"found '{text}', expected: ',' or ')'")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position]

    def take(self) -> tuple[str, str]:
        token = self.tokens[self.position]
        if token[0] != _END:
            self.position += 1
        return token


_FIELD_TERM = re.compile(r"((?:\\.|[^\\=!]|!(?!=))*?)(!=|==|=)", re.DOTALL)


def _split_terms(text: str) -> list[str]:
    """The parts between commas; a comma after a backslash does not count."""
    return re.findall(r"(?:\\.|[^\\,]|\\$)+", text, re.DOTALL)


def _unescape(text: str) -> str:
    def refuse(code: str) -> str:
        raise SelectorError(f"invalid field selector: {code}")

    def plain(found: re.Match[str]) -> str:
        token = found[0]
        if token in ("=", ","):
            return refuse(f"unescaped character in value: {ord(token)}")
        if token == "\\":
            return refuse("invalid escape sequence: \\")
        if len(token) == 2 and token[1] not in "\\,=":
            return refuse(f"invalid escape sequence: {token}")
        return token[-1]

    return re.sub(r"\\.|.", plain, text, flags=re.DOTALL)
