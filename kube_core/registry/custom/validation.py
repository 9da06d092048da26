"""Values against a structural schema: every rule of OpenAPI v3 that upstream has, in its words and with its paths.

`validate` gives the errors of a whole value. With `old`, what an update leaves as it was is not held against it
("ratcheting"): a part that equals its counterpart in the old value is not looked at; counterparts are found by field
name, and by keys in lists of type map.

Some errors have no path of their own, which clients see as `<nil>`: upstream's validator loses it there, and so do we.
Which keys lists have is judged in `list_types.py`, what embedded resources are in `embedded.py`, rules in `rules.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kube_core.api.structural import NOTHING, Structural
from kube_core.meta import fields
from kube_core.meta.equality import same
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.custom.counterparts import paired
from kube_core.registry.custom.formats import is_of_format
from kube_core.registry.custom.patterns import matches

__all__ = ["kind_name", "validate"]

Errors = Iterator[FieldError]
_INTEGERS = {"int32": 31, "int64": 63}
_UNKNOWN_PATH = Path()


def validate(
    value: Any, schema: Structural, *, base: Path = _UNKNOWN_PATH, old: Any = NOTHING, root: bool = False
) -> list[FieldError]:
    """What is wrong with a value. `base`: where it is; `root`: a whole object, whose metadata is judged elsewhere."""
    skipped = ("apiVersion", "kind", "metadata") if root else ()
    return list(_Validation(base).node(value, schema, "", old, skipped))


def kind_name(value: Any) -> str:
    """What messages call the kind of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


@attrs.frozen
class _Validation:
    base: Path

    def at(self, name: str) -> Path:
        if not name:
            return self.base
        if name.startswith("[") or not self.base.text:
            return Path(self.base.text + name)
        return self.base.child(name)

    def invalid(self, name: str, value: Any, rule: str) -> FieldError:
        return fields.invalid(self.at(name), value, f"{name} in body {rule}")

    def mistyped(self, name: str, value: str, rule: str) -> FieldError:
        return fields.type_invalid(self.at(name), value, f"{name} in body {rule}")

    def node(self, value: Any, schema: Structural, name: str, old: Any, skipped: Sequence[str] = ()) -> Errors:
        if old is not NOTHING and old is not None and same(value, old):
            return
        if value is None and schema.nullable:
            return
        found = kind_name(value)
        wanted = "integer,string" if schema.int_or_string else schema.type
        if wanted and not _fits(found, wanted):
            yield self.mistyped(name, found, f'must be of type {wanted}: "{found}"')
        yield from self._combinations(value, schema, name)
        match value:
            case str():
                yield from self._text(value, schema, name)
            case int() | float() if not isinstance(value, bool):
                yield from self._number(value, schema, name)
            case list():
                yield from self._count(len(value), schema.document, name, "Items", "items")
        yield from self._enumerated(value, schema, name)
        if isinstance(value, Mapping):
            yield from self._object(value, schema, name, old, skipped)
        elif isinstance(value, list) and schema.items is not None:
            yield from self._items(value, schema, schema.items, name, old)

    # -- scalars -----------------------------------------------------------------------------------------------------

    def _text(self, value: str, schema: Structural, name: str) -> Errors:
        document = schema.document
        most, least, pattern = document.get("maxLength"), document.get("minLength"), document.get("pattern")
        if most is not None and len(value) > most:
            yield fields.too_long(self.at(name), most)
        elif least is not None and len(value) < least:
            yield self.invalid(name, value, f"should be at least {least} chars long")
        elif pattern and not matches(pattern, value):
            yield self.invalid(name, value, f"should match '{pattern}'")
        form = document.get("format")
        if form and schema.type in ("string", "") and not is_of_format(value, form):
            yield self.mistyped(name, value, f'must be of type {form}: "{value}"')

    def _number(self, value: float, schema: Structural, name: str) -> Errors:
        document = schema.document
        form = document.get("format") or ""
        if schema.type == "integer":
            whole = isinstance(value, int) or value.is_integer()
            if not whole or not _in_range(value, form):
                said = f"with format {form}" if form in _INTEGERS else "(default format)"
                yield fields.invalid(_UNKNOWN_PATH, "", f"Checked value must be of type integer {said} in {name}")
        factor, most, least = document.get("multipleOf"), document.get("maximum"), document.get("minimum")
        if factor and not float(value / factor).is_integer():
            yield self.invalid(name, value, f"should be a multiple of {_plain(factor)}")
        if most is not None:
            if document.get("exclusiveMaximum") and value >= most:
                yield self.invalid(name, value, f"should be less than {_plain(most)}")
            elif value > most:
                yield self.invalid(name, value, f"should be less than or equal to {_plain(most)}")
        if least is not None:
            if document.get("exclusiveMinimum") and value <= least:
                yield self.invalid(name, value, f"should be greater than {_plain(least)}")
            elif value < least:
                yield self.invalid(name, value, f"should be greater than or equal to {_plain(least)}")

    def _enumerated(self, value: Any, schema: Structural, name: str) -> Errors:
        allowed = schema.document.get("enum")
        if allowed and not any(same(value, each) for each in allowed):
            yield fields.not_supported(self.at(name), value, [_worded(each) for each in allowed])

    def _count(self, count: int, document: Mapping[str, Any], name: str, what: str, word: str) -> Errors:
        most, least = document.get(f"max{what}"), document.get(f"min{what}")
        if most is not None and count > most:
            yield fields.too_many(self.at(name), count, most)
        elif least is not None and count < least:
            yield self.invalid(name, count, f"should have at least {least} {word}")

    # -- what contains others ----------------------------------------------------------------------------------------

    def _object(
        self, value: Mapping[str, Any], schema: Structural, name: str, old: Any, skipped: Sequence[str]
    ) -> Errors:
        yield from self._count(len(value), schema.document, name, "Properties", "properties")
        before = old if isinstance(old, Mapping) else {}
        for member in schema.required:
            if member not in value and member not in skipped:
                yield fields.required(self.at(_under(name, member)))
        for member, below in value.items():
            found = schema.member(member)
            if found is not None and member not in skipped:
                yield from self.node(below, found, _under(name, member), before.get(member, NOTHING))

    def _items(self, value: list[Any], schema: Structural, items: Structural, name: str, old: Any) -> Errors:
        for index, item, counterpart in paired(value, old, schema):
            yield from self.node(item, items, f"{name}[{index}]", counterpart)

    def _combinations(self, value: Any, schema: Structural, name: str) -> Errors:
        if schema.any_of:
            best = self._best(value, schema.any_of, name)
            if best:
                yield fields.invalid(self.base, "", f'"{name}" must validate at least one schema (anyOf)')
                yield from best
        if schema.one_of:
            results = [list(self.node(value, each, name, NOTHING)) for each in schema.one_of]
            valid = sum(not errors for errors in results)
            if valid != 1:
                found = "Found none valid" if not valid else f"Found {valid} valid alternatives"
                detail = f'"{name}" must validate one and only one schema (oneOf). {found}'
                yield fields.invalid(self.base, "", detail)
                if not valid:
                    yield from min(results, key=len)
        if schema.all_of:
            results = [list(self.node(value, each, name, NOTHING)) for each in schema.all_of]
            failed = [errors for errors in results if errors]
            if failed:
                suffix = ". None validated" if len(failed) == len(results) else ""
                yield fields.invalid(self.base, "", f'"{name}" must validate all the schemas (allOf){suffix}')
                for errors in failed:
                    yield from errors
        if schema.negated is not None and not list(self.node(value, schema.negated, name, NOTHING)):
            yield fields.invalid(self.base, "", f'"{name}" must not validate the schema (not)')

    def _best(self, value: Any, schemas: Sequence[Structural], name: str) -> list[FieldError]:
        """The errors of the schema that fits best; none where one fits."""
        best: list[FieldError] | None = None
        for schema in schemas:
            errors = list(self.node(value, schema, name, NOTHING))
            if not errors:
                return []
            if best is None or len(errors) < len(best):
                best = errors
        return best or []


def _under(name: str, member: str) -> str:
    return f"{name}.{member}" if name else member


def _fits(found: str, wanted: str) -> bool:
    if found == wanted or (wanted == "number" and found == "integer"):
        return True
    return wanted == "integer,string" and found in ("integer", "string")


def _in_range(value: float, form: str) -> bool:
    bits = _INTEGERS.get(form, 63)
    return -(1 << bits) <= value < 1 << bits


def _plain(number: float) -> str:
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
