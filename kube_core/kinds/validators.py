"""attrs validators as members of a schema: what Python refuses, the server refuses too, with the field's path.

`in_`, `ge`, `gt`, `le`, `lt`, `matches_re`, `min_len`, `max_len`, and of these `and_`, `optional`, `deep_iterable` and
`deep_mapping`. What a schema cannot say (a function of one's own, `or_`, `not_`) holds in Python alone; write it as a
rule or a `@validate` function to have the server hold it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

__all__ = ["constrain"]

_BOUNDS: Final[Mapping[Any, tuple[str, bool]]] = {
    operator.ge: ("minimum", False),
    operator.gt: ("minimum", True),
    operator.le: ("maximum", False),
    operator.lt: ("maximum", True),
}
_LENGTHS: Final = {"string": "Length", "array": "Items", "object": "Properties"}


def constrain(schema: dict[str, Any], validator: Any) -> None:
    """Add to a value's schema what a validator says of it."""
    # attrs has no public names for the classes of its validators: they are known by what they have.
    match type(validator).__name__:
        case "_AndValidator":
            for each in validator._validators:
                constrain(schema, each)
        case "_OptionalValidator":
            constrain(schema, validator.validator)
        case "_InValidator":
            schema["enum"] = _values(getattr(validator, "_original_options", validator.options))
        case "_NumberValidator":
            _bound(schema, validator)
        case "_MatchesReValidator":
            _match(schema, validator)
        case "_MinLengthValidator" if noun := _noun(schema):
            schema[f"min{noun}"] = max(validator.min_length, schema.get(f"min{noun}", 0))
        case "_MaxLengthValidator" if noun := _noun(schema):
            schema[f"max{noun}"] = min(validator.max_length, schema.get(f"max{noun}", validator.max_length))
        case "_DeepIterable":
            _inside(schema.get("items"), validator.member_validator)
            constrain(schema, validator.iterable_validator)
        case "_DeepMapping":
            _inside(schema.get("additionalProperties"), validator.value_validator)
            constrain(schema, validator.mapping_validator)


def _noun(schema: dict[str, Any]) -> str:
    """What is counted of a value; "" where a schema cannot (bytes, which it sees in base64)."""
    return "" if "anyOf" in schema else _LENGTHS.get(schema.get("type", ""), "")


def _inside(schema: Any, validator: Any) -> None:
    if isinstance(schema, dict) and validator is not None:
        constrain(schema, validator)


def _values(options: Any) -> list[Any]:
    values = [each.value if isinstance(each, Enum) else each for each in options]
    # A set has no order, and a definition must always be the same.
    return sorted(values, key=repr) if isinstance(options, set | frozenset) else values


def _bound(schema: dict[str, Any], validator: Any) -> None:
    name, exclusive = _BOUNDS[validator.compare_func]
    present = schema.get(name)
    if present is not None and validator.compare_func(present, validator.bound) and present != validator.bound:
        return
    schema[name] = validator.bound
    schema.pop(f"exclusive{name.capitalize()}", None)
    if exclusive:
        schema[f"exclusive{name.capitalize()}"] = True


def _match(schema: dict[str, Any], validator: Any) -> None:
    pattern = validator.pattern.pattern
    # A bound method of the pattern, which by its name says where the text must match.
    how = getattr(validator.match_func, "__name__", "fullmatch")
    anchored = {"search": pattern, "match": f"^(?:{pattern})"}.get(how, f"^(?:{pattern})$")
    if how == "fullmatch" and re.fullmatch(r"\^[^|]*\$", pattern):
        anchored = pattern
    # A schema has room for one; of several, the others hold as further schemas of the same value.
    if "pattern" in schema:
        schema.setdefault("allOf", []).append({"pattern": anchored})
    else:
        schema["pattern"] = anchored
