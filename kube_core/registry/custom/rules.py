"""Rules in CEL (`x-kubernetes-validations`): judged on values that fit their schema.

`self` is the value that a rule is on, `oldSelf` its counterpart in the old object. A rule that names `oldSelf` is a
transition rule: it is judged only where there is a counterpart, unless it says `optionalOldSelf`. Other rules are not
judged on what an update leaves as it was.

`rule_errors` judges values, `rule_problems` a definition. Mirrors "Validation rules" in
upstream's documentation of CustomResourceDefinitions: escaped names, message expressions, reasons and field paths are
as it has them. So are the limits on what rules may cost in the worst case, when a definition is written
(`rule_costs.py`), and on what they do cost on an object (`kube_core.cel.budgets`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import orjson

from kube_core.api.structural import NOTHING, Structural
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.costs import worst_cost
from kube_core.cel.engine import COST_EXCEEDED, CelError, Program, compile_expression
from kube_core.cel.field_types import type_problem
from kube_core.cel.sizes import Sized, escaped, sized
from kube_core.meta import fields
from kube_core.meta.equality import same
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.times import parse_time
from kube_core.registry.custom.counterparts import paired
from kube_core.registry.custom.rule_costs import TotalCost, bounded
from kube_core.registry.custom.validation import kind_name

__all__ = ["rule_errors", "rule_problems"]

Errors = Iterator[FieldError]
Rule = Mapping[str, Any]

_REASONS: Final = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_OLD = re.compile(r"\boldSelf\b")
_STEP = re.compile(r"\.(?P<name>[A-Za-z_]\w*)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]", re.ASCII)
#: Bytes.
_LONGEST_MESSAGE: Final = 5 * 1024
_OPTIONAL_OLD = (
    "cel.bind(oldSelf, size(old__) == 0 ? optional.none() : optional.of(old__[0]), {rule}\n)"  # comments end with lines
)


# -- values ------------------------------------------------------------------------------------------------------------


def rule_errors(
    value: Any, schema: Structural, path: Path, old: Any = NOTHING, warned: list[str] | None = None
) -> Errors:
    """What rules say of a value and what is below it. `old`: its counterpart. `warned`: gets what they say of what an
    update left as it was, which is no error."""
    if schema.has_rules:
        size = len(orjson.dumps(value)) + (len(orjson.dumps(old)) if old is not NOTHING else 0)
        yield from _Judgement(size, warned if warned is not None else [], Budget()).errors(value, schema, path, old)


@attrs.define
class _Judgement:
    """Of one object by all rules of its schema, which share a budget. `size`: of the object, in bytes of JSON."""

    size: int
    warned: list[str]
    budget: Budget
    #: Whether nothing more is to be judged.
    over: bool = False

    def errors(self, value: Any, schema: Structural, path: Path, old: Any, *, unchanged: bool = False) -> Errors:
        """`unchanged`: whether what is above is what it was; what has no counterpart is then as it was too."""
        if not schema.has_rules or value is None or self.over:
            return
        if old is not NOTHING:
            unchanged = same(old, value)
        if schema.rules:
            yield from self._judge_all(value, schema, path, old, unchanged=unchanged)
        if isinstance(value, Mapping):
            before = old if isinstance(old, Mapping) else {}
            for name, member in value.items():
                below = schema.member(name)
                if below is not None and below.has_rules:
                    here = path.child(name) if name in schema.properties else path.key(name)
                    yield from self.errors(member, below, here, before.get(name, NOTHING), unchanged=unchanged)
        elif isinstance(value, list) and schema.items is not None:
            for index, item, counterpart in paired(value, old, schema):
                yield from self.errors(item, schema.items, path.index(index), counterpart, unchanged=unchanged)

    def _judge_all(self, value: Any, schema: Structural, path: Path, old: Any, *, unchanged: bool) -> Errors:
        variables: dict[str, Any] = {}
        for rule in schema.rules:
            transition, optional = _uses_old(rule["rule"]), bool(rule.get("optionalOldSelf"))
            if transition and not optional and old is NOTHING:
                continue
            if not variables:
                variables["self"] = _shown(value, schema)
                if old is not NOTHING and old is not None:
                    variables["oldSelf"] = _shown(old, schema)
            error, refused = self._judge(rule, variables, schema, path, value)
            if error is not None and refused and unchanged and not transition:
                self.warned.append(str(error))
            elif error is not None:
                yield error
            if self.over:
                return

    def _judge(
        self, rule: Rule, variables: Mapping[str, Any], schema: Structural, path: Path, value: Any
    ) -> tuple[FieldError | None, bool]:
        """What is wrong, and whether it is that the rule does not hold."""
        text, kind = rule["rule"].strip(), kind_name(value)
        named = (rule.get("message") or "").strip() or text
        try:
            holds = self._value(rule["rule"], rule, variables)
        except OutOfBudget as error:
            self.over = True
            return fields.invalid(path, kind, str(error)), False
        except CelError as error:
            if str(error) == COST_EXCEEDED:
                self.over = True
                said = f"no further validation rules will be run due to call cost exceeds limit for rule: {named}"
                return fields.invalid(path, kind, f"'{error}': {said}"), False
            return fields.invalid(path, kind, _without_value(str(error), named)), False
        if holds is True:
            return None, False
        if not isinstance(holds, bool):
            return fields.invalid(path, kind, _without_value("no such overload", named)), False
        said = (rule.get("message") or "").strip() or f"failed rule: {text}"
        place = _place(rule.get("fieldPath") or "", schema, path)
        if rule.get("messageExpression"):
            try:
                said = self._message(rule, variables) or said
            except _NoMessage as error:
                self.over = True
                return fields.invalid(place, kind, str(error)), True
        shown = fields.UNSHOWN if isinstance(value, Mapping | list) else value
        return _refusal(rule.get("reason") or "FieldValueInvalid", place, shown, said), True

    def _message(self, rule: Rule, variables: Mapping[str, Any]) -> str:
        """What a message expression says; "" where it does not say a line of text. Raises `_NoMessage`."""
        text = rule["messageExpression"]
        try:
            found = self._value(text, rule, variables)
        except OutOfBudget:
            raise _NoMessage(
                "messageExpression evaluation failed due to running out of cost budget, "
                "no further validation rules will be run"
            ) from None
        except CelError as error:
            if str(error) != COST_EXCEEDED:
                return ""
            said = f"call cost exceeds limit for messageExpression: {orjson.dumps(text).decode()}"
            raise _NoMessage(f"no further validation rules will be run due to {said}") from None
        if not isinstance(found, str) or len(found.strip().encode()) > _LONGEST_MESSAGE or "\n" in found.strip():
            return ""
        return found.strip()

    def _value(self, text: str, rule: Rule, variables: Mapping[str, Any]) -> Any:
        """Raises `CelError`."""
        program = _program(text, optional=bool(rule.get("optionalOldSelf")))
        old = [variables["oldSelf"]] if "oldSelf" in variables else []
        given = {"oldSelf": None, **variables, "old__": old}
        self.budget.spend(program, given, self.size)
        return program.evaluate(given)


class _NoMessage(Exception):
    """A message expression cost too much."""


def _without_value(error: str, named: str) -> str:
    """What is said where a rule has no value. `named`: the rule, as it calls itself."""
    if error.startswith("no such overload"):
        why = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {why}: {named}"
    return f"{error} evaluating rule: {named}"


def _refusal(reason: str, path: Path, value: Any, said: str) -> FieldError:
    match reason:
        case "FieldValueRequired":
            return fields.required(path, said)
        case "FieldValueForbidden":
            return fields.forbidden(path, said)
        case "FieldValueDuplicate":
            return fields.duplicate(path, value)
    return fields.invalid(path, value, said)


def _place(text: str, schema: Structural, path: Path) -> Path:
    """The path that a rule names, below its own."""
    below: Structural | None = schema
    for step in _STEP.finditer(text):
        name = step["name"] or step["quoted"]
        declared = below is not None and name in below.properties
        path = path.child(name) if declared or step["name"] else path.key(name)
        below = below.member(name) if below is not None else None
    return path


def _program(text: str, *, optional: bool) -> Program:
    if optional:
        compile_expression(text, ("self", "oldSelf"))  # by itself it may not say what it may within
        return compile_expression(_OPTIONAL_OLD.format(rule=text), ("self", "old__"), binds=True)
    return compile_expression(text, ("self", "oldSelf") if _uses_old(text) else ("self",))


@functools.lru_cache(maxsize=4096)
def _uses_old(text: str) -> bool:
    return _OLD.search(_STRINGS.sub("''", text)) is not None


def _shown(value: Any, schema: Structural | None) -> Any:
    """A value as rules see it: what the schema knows of it, under names that expressions can say."""
    if isinstance(value, Mapping):
        return _shown_object(value, schema)
    if isinstance(value, list):
        items = schema.items if schema is not None else None
        return [_shown(item, items) for item in value]
    if schema is None:
        return value
    if schema.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if schema.type == "string" and isinstance(value, str):
        return _shown_text(value, schema.document.get("format"))
    return value


def _shown_object(value: Mapping[str, Any], schema: Structural | None) -> dict[str, Any]:
    if schema is None or schema.values is not None or not schema.properties:
        values = schema.values if schema is not None else None
        return {name: _shown(member, values) for name, member in value.items()}
    shown = {escaped(name): _shown(value[name], below) for name, below in schema.properties.items() if name in value}
    for name in ("apiVersion", "kind"):
        if name in value:
            shown.setdefault(name, value[name])
    if isinstance(metadata := value.get("metadata"), Mapping):
        shown["metadata"] = {name: metadata[name] for name in ("name", "generateName") if name in metadata}
    return shown


def _shown_text(value: str, form: Any) -> Any:
    if form in ("date-time", "datetime", "date", "duration"):
        from google.protobuf.duration_pb2 import Duration  # slow to import, and rarely needed
        from google.protobuf.timestamp_pb2 import Timestamp

        try:
            if form == "duration":
                return _duration(value, Duration())
            seconds = parse_time(value if form != "date" else f"{value}T00:00:00Z")
            return Timestamp(seconds=int(seconds // 1), nanos=int(seconds % 1 * 1e9))
        except ValueError:
            return value
    return value


_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(text: str, into: Any) -> Any:
    found = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in found) * (-1 if text.startswith("-") else 1)
    into.seconds, into.nanos = int(seconds), int((seconds - int(seconds)) * 1e9)
    return into


# -- definitions -------------------------------------------------------------------------------------------------------


def rule_problems(schema: Structural, path: Path, *, cheap: bool = True) -> list[FieldError]:
    """What is wrong with the rules of a version's schema. `cheap`: each rule by itself is held to its limit on cost."""
    if not schema.has_rules:
        return []
    total = TotalCost(cheap=cheap)
    found = list(_problems_below(schema, path, _Place(total, sized(schema, root=True))))
    return [*found, *total.problems(path)]


@attrs.frozen
class _Place:
    """Where in a schema its rules are. `times`: how often a value can be there, None where nothing bounds that."""

    total: TotalCost
    #: The type of the values, with their sizes; None where they are no whole objects, or expressions do not see them.
    type: Sized | None
    times: int | None = 1
    root: bool = True
    #: The list above whose items have no counterparts.
    uncorrelatable: Path | None = None

    def below(self, schema: Structural, member: Structural, type_: Sized | None, without: Path | None) -> _Place:
        """The place of a member, a value or an item of a schema's values."""
        times = bounded(self.times, schema)
        type_ = type_ if type_ is not None else sized(member, root=member.embedded)
        return _Place(self.total, type_, times, root=False, uncorrelatable=without)


def _problems_below(schema: Structural, path: Path, place: _Place) -> Errors:
    if not schema.has_rules:
        return
    type_, without = place.type, place.uncorrelatable
    atomic = without or (path if schema.map_type == "atomic" else None)
    for name, member in schema.properties.items():
        known = type_.fields.get(escaped(name)) if type_ is not None else None
        below = place.below(schema, member, known, atomic)
        yield from _problems_below(member, path.child("properties").key(name), below)
    inner = type_.inner if type_ is not None else None
    if schema.values is not None:
        below = place.below(schema, schema.values, inner, without)
        yield from _problems_below(schema.values, path.child("additionalProperties"), below)
    if schema.items is not None:
        within = without if schema.list_type == "map" else without or path
        below = place.below(schema, schema.items, inner, within)
        yield from _problems_below(schema.items, path.child("items"), below)
    for index, rule in enumerate(schema.rules):
        here = path.child("x-kubernetes-validations").index(index)
        yield from _cost_problems(rule, here, place)
        errors = list(_rule_problems(rule, here, schema, place.uncorrelatable))
        yield from errors or _type_problems(rule, schema, here, root=place.root)


def _cost_problems(rule: Rule, path: Path, place: _Place) -> Errors:
    """The limits on what a rule, and what its message, may cost; what does not compile costs nothing."""
    if place.type is None:
        return
    optional = bool(rule.get("optionalOldSelf"))
    for name, times in (("rule", place.times), ("messageExpression", 1)):
        text = rule.get(name) or ""
        if not text.strip():
            continue
        try:
            cost = _worst_cost(text, place.type, optional=optional)
        except CelError:
            continue
        yield from place.total.add(path.child(name), name, cost, times, place.type)


def _worst_cost(text: str, type_: Sized, *, optional: bool) -> int:
    """Raises `CelError`."""
    checked = _program(text, optional=optional).tree()
    if not optional:
        return worst_cost(checked, {"self": type_, "oldSelf": type_}, type_)
    # The rule is what is said of the variable that is bound around it.
    old = Sized("optional_type", inner=type_)
    return worst_cost(checked, {"self": type_, "oldSelf": old}, type_, checked.root.below[-1])


def _rule_problems(rule: Rule, path: Path, schema: Structural, uncorrelatable: Path | None) -> Errors:
    text, optional = rule.get("rule") or "", bool(rule.get("optionalOldSelf"))
    transition = _uses_old(text)
    if not text.strip():
        yield fields.required(path.child("rule"), "rule is not specified")
        return
    yield from _compiled(path.child("rule"), text, optional=optional, wanted="BOOL", word="bool")
    if transition and uncorrelatable is not None:
        detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
        yield fields.invalid(path.child("rule"), text, detail)
    if rule.get("optionalOldSelf") is not None and not transition:
        detail = "may not be set if oldSelf is not used in rule"
        yield fields.invalid(path.child("optionalOldSelf"), rule["optionalOldSelf"], detail)
    yield from _message_problems(rule, text, path, optional=optional)
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        yield fields.not_supported(path.child("reason"), reason, _REASONS)
    yield from _place_problems(rule.get("fieldPath") or "", schema, path.child("fieldPath"))


def _place_problems(text: str, schema: Structural, path: Path) -> Errors:
    if not text:
        return
    if not text.strip():
        yield fields.invalid(path, text, "fieldPath must be non-empty if specified")
    if "\n" in text or "\r" in text:
        yield fields.invalid(path, text, "fieldPath must not contain line breaks")
    below: Structural | None = schema
    for step in _STEP.finditer(text):
        below = below.member(step["name"] or step["quoted"]) if below is not None else None
    if below is None or _STEP.sub("", text):
        yield fields.invalid(path, text, "fieldPath must be a valid path")


def _type_problems(rule: Rule, schema: Structural, path: Path, *, root: bool) -> Errors:
    optional = bool(rule.get("optionalOldSelf"))
    for name in ("rule", "messageExpression"):
        text = rule.get(name)
        problem = type_problem(text, schema, root=root, optional=optional) if text else ""
        if problem:
            yield fields.invalid(path.child(name), text, f"compilation failed: {problem}")


def _message_problems(rule: Rule, text: str, path: Path, *, optional: bool) -> Errors:
    message = rule.get("message")
    if message and not message.strip():
        yield fields.invalid(path.child("message"), message, "message must be non-empty if specified")
    elif message and "\n" in message.strip():
        yield fields.invalid(path.child("message"), message, "message must not contain line breaks")
    elif not message and "\n" in text.strip():
        yield fields.required(path.child("message"), "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression")
    if expression is not None and not expression.strip():
        detail = "messageExpression must be non-empty if specified"
        yield fields.required(path.child("messageExpression"), detail)
    elif expression:
        yield from _compiled(
            path.child("messageExpression"), expression, optional=optional, wanted="STRING", word="string"
        )


def _compiled(path: Path, text: str, *, optional: bool, wanted: str, word: str) -> Errors:
    try:
        program = _program(text, optional=optional)
    except CelError as error:
        yield fields.invalid(path, text, f"compilation failed: {error}")
        return
    if program.returns not in (wanted, "DYN"):
        what = "cel expression" if wanted == "BOOL" else "messageExpression"
        yield fields.invalid(path, text, f"compilation failed: {what} must evaluate to a {word}")
