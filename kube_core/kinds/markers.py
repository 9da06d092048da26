"""What types and validators do not say of a field: rules, list types, formats. They stand in `Annotated`.

    ports: Annotated[tuple[Port, ...], kube.list_map("name")] = ()
    size: Annotated[int, kube.rule("self % 2 == 0", message="must be even")] = 2
    owner: Annotated[str, kube.immutable]

Each adds extensions to the schema of the type it stands at, as upstream documents them under "Extend the Kubernetes
API with CustomResourceDefinitions". A rule is a decorator of classes as well. Nothing here looks at types: that is
done by `schemas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import attrs

__all__ = [
    "Atomic",
    "Immutable",
    "Marker",
    "Rule",
    "atomic",
    "embedded_resource",
    "immutable",
    "in_schema",
    "list_map",
    "list_set",
    "preserve_unknown_fields",
    "rule",
    "rules_of",
    "text_format",
]

C = TypeVar("C", bound=type)
_RULES: Final = "__kube_rules__"
Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


# By identity: it is part of types, and those are keys.
@attrs.frozen(eq=False)
class Marker:
    """Adds `extensions` to the schema of a type; `of` says which types of schema it goes with ("" for any)."""

    extensions: Mapping[str, Any]
    of: str = ""


@attrs.frozen
class Rule:
    """A rule in CEL. In `Annotated` it holds for that value (`self`), as a decorator for a whole class."""

    expression: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool | None = None

    def __call__(self, cls: C) -> C:
        # Rules read from top to bottom, and decorators come from bottom to top.
        setattr(cls, _RULES, (self, *vars(cls).get(_RULES, ())))
        return cls

    def document(self) -> dict[str, Any]:
        """The entry of `x-kubernetes-validations`."""
        said = {
            "rule": self.expression,
            "message": self.message,
            "messageExpression": self.message_expression,
            "reason": self.reason,
            "fieldPath": self.field_path,
        }
        document: dict[str, Any] = {name: value for name, value in said.items() if value}
        if self.optional_old_self is not None:
            document["optionalOldSelf"] = self.optional_old_self
        return document


@attrs.frozen
class Atomic:
    """A list or an object that server-side apply takes as a whole."""


@attrs.frozen
class Immutable:
    """The value stays what it is; a field that is optional stays set, or not set."""


def rule(
    expression: str,
    *,
    message: str = "",
    message_expression: str = "",
    reason: Reason | Literal[""] = "",
    field_path: str = "",
    optional_old_self: bool | None = None,
) -> Rule:
    """A rule in CEL, of a class (`@kube.rule(...)`) or of a value (`Annotated[int, kube.rule(...)]`).

    Fields have their names of JSON in it: `self.maxSize`.
    """
    return Rule(expression, message, message_expression, reason, field_path, optional_old_self)


#: A value that cannot be changed once the object is there.
immutable: Final = Immutable()
#: A list or an object that is applied as a whole: server-side apply does not merge it.
atomic: Final = Atomic()
#: A list without duplicates, of which several may each own some elements.
list_set: Final = Marker({"x-kubernetes-list-type": "set"}, "array")
#: Keep what the class does not have.
preserve_unknown_fields: Final = Marker({"x-kubernetes-preserve-unknown-fields": True})
#: A whole object, with apiVersion, kind and metadata.
embedded_resource: Final = Marker(
    {"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}, "object"
)


def list_map(*keys: str) -> Marker:
    """A list of objects that `keys` (names of JSON) tell apart: several may each own some."""
    return Marker({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}, "array")


def text_format(name: str) -> Marker:
    """A `format` of a string: `ipv4`, `uri`, `date`, `duration`, …"""
    return Marker({"format": name}, "string")


def in_schema(**members: Any) -> Marker:
    """Any members of the schema, as they are written in JSON: `kube.in_schema(title="Size", multipleOf=2)`."""
    return Marker(members)


def rules_of(cls: type) -> tuple[Rule, ...]:
    """The rules of a class, those of its bases first."""
    return tuple(found for base in reversed(cls.__mro__) for found in vars(base).get(_RULES, ()))
