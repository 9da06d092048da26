"""From types and validators to schemas, and what is no kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import attrs
import pytest
from attrs import validators

import kube_core as kube
from kube_core.api import core
from kube_core.kinds.declare import declaration_of
from kube_core.kinds.schemas import KindError, object_schema


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Mixed(Enum):
    A = "a"
    B = 1


@attrs.frozen
class Inner:
    """Something inside."""

    #: How it is
    #: called.
    name: str
    size: Size = Size.SMALL


def schema_of(kind: Any, validator: Any = None, default: Any = attrs.NOTHING) -> Any:
    cls = attrs.make_class("Made", {"value": attrs.field(type=kind, validator=validator, default=default)}, frozen=True)
    return object_schema(cls, {})["properties"]["value"]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer", "format": "int64"}),
        (float, {"type": "number", "format": "double"}),
        (bool, {"type": "boolean"}),
        (bytes, {"type": "string", "anyOf": [{"format": "byte"}, {"maxLength": 0}]}),
        (datetime, {"type": "string", "format": "date-time"}),
        (str | None, {"type": "string"}),
        (Size, {"type": "integer", "enum": [1, 2]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (frozenset[str], {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        (Mapping[str, str], {"type": "object", "additionalProperties": {"type": "string"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (int | str, {"x-kubernetes-int-or-string": True}),
        (int | str | None, {"x-kubernetes-int-or-string": True}),
        (Any, {"x-kubernetes-preserve-unknown-fields": True}),
        (Annotated[str, kube.text_format("ipv4")], {"type": "string", "format": "ipv4"}),
        (Annotated[Mapping[str, str], kube.atomic],
         {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"}),
        (Annotated[tuple[str, ...], kube.atomic],
         {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"}),
        (Annotated[int, kube.in_schema(title="Size", multipleOf=2)],
         {"type": "integer", "format": "int64", "title": "Size", "multipleOf": 2}),
        (Annotated[int, kube.rule("self > 1", message="more", reason="FieldValueForbidden")],
         {"type": "integer", "format": "int64", "x-kubernetes-validations":
          [{"rule": "self > 1", "message": "more", "reason": "FieldValueForbidden"}]}),
    ],
)  # fmt: skip
def test_each_type_has_its_schema(kind: Any, schema: Any) -> None:
    assert schema_of(kind) == schema


@pytest.mark.parametrize(
    ("kind", "validator", "schema"),
    [
        (int, validators.ge(1), {"minimum": 1}),
        (int, validators.gt(1), {"minimum": 1, "exclusiveMinimum": True}),
        (int, validators.le(9), {"maximum": 9}),
        (float, validators.lt(9), {"maximum": 9, "exclusiveMaximum": True}),
        (int, validators.and_(validators.ge(1), validators.gt(5), validators.ge(3)),
         {"minimum": 5, "exclusiveMinimum": True}),
        (str, validators.in_(["b", "a"]), {"enum": ["b", "a"]}),
        (str, validators.in_({"b", "a"}), {"enum": ["a", "b"]}),
        (str, validators.matches_re("a|b"), {"pattern": "^(?:a|b)$"}),
        (str, validators.matches_re("^a+$"), {"pattern": "^a+$"}),
        (str, validators.matches_re("a"), {"pattern": "^(?:a)$"}),
        (str, validators.and_(validators.matches_re("^a.*$"), validators.matches_re("^.*b$")),
         {"pattern": "^a.*$", "allOf": [{"pattern": "^.*b$"}]}),
        (str, [validators.min_len(1), validators.max_len(3)], {"minLength": 1, "maxLength": 3}),
        (tuple[str, ...], validators.max_len(3), {"maxItems": 3}),
        (Mapping[str, str], validators.min_len(3), {"minProperties": 3}),
        (str | None, validators.optional(validators.min_len(2)), {"minLength": 2}),
        (tuple[str, ...], validators.deep_iterable(validators.min_len(2), validators.min_len(1)),
         {"items": {"type": "string", "minLength": 2}, "minItems": 1}),
        (Mapping[str, int], validators.deep_mapping(validators.min_len(1), validators.ge(0)),
         {"additionalProperties": {"type": "integer", "format": "int64", "minimum": 0}}),
        (str, lambda *_: None, {}),
    ],
)  # fmt: skip
def test_each_validator_has_its_constraint(kind: Any, validator: Any, schema: Any) -> None:
    assert schema_of(kind, validator) == {**schema_of(kind), **schema}


def test_a_default_that_says_something_is_the_schemas() -> None:
    assert schema_of(int, default=0)["default"] == 0
    assert schema_of(Size, default=Size.LARGE)["default"] == 2
    assert schema_of(Inner, default=attrs.Factory(lambda: Inner("a")))["default"] == {"name": "a", "size": 1}
    for kind, default in ((str | None, None), (tuple[str, ...], ()), (dict[str, str], attrs.Factory(dict))):
        assert "default" not in schema_of(kind, default=default)


def test_a_class_inside_has_its_own_words_and_required_fields() -> None:
    assert object_schema(Inner, {}, described=True) == {
        "description": "Something inside.",
        "type": "object",
        "properties": {
            "name": {"description": "How it is\ncalled.", "type": "string"},
            "size": {"type": "integer", "enum": [1, 2], "default": 1},
        },
        "required": ["name"],
    }


def test_models_of_built_in_kinds_are_types_of_fields() -> None:
    schema = schema_of(core.PodTemplateSpec)
    container = schema["properties"]["spec"]["properties"]["containers"]["items"]
    assert container["required"] == ["name"]
    assert container["properties"]["ports"]["items"]["properties"]["containerPort"]["type"] == "integer"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (timedelta, "cannot be timedelta"),
        (int | float, "cannot be int | float"),
        (tuple[int, str], "cannot be tuple"),
        (Mapping[int, str], "cannot be"),
        (object, "cannot be object"),
        (tuple, "cannot be tuple"),
        (Mixed, "all texts, or all numbers"),
        (Annotated[int, kube.atomic], "atomic goes with lists and objects, not integer"),
        (Annotated[str, kube.list_set], "x-kubernetes-list-type goes with array, not string"),
    ],
)
def test_an_unknown_type_is_told_with_class_and_field(kind: Any, why: str) -> None:
    with pytest.raises(KindError, match=why) as refused:
        schema_of(kind)
    assert str(refused.value).startswith("Made.value: ")


@attrs.frozen
class Recursive:
    children: tuple[Recursive, ...] = ()


def test_a_class_within_itself_is_refused() -> None:
    with pytest.raises(KindError, match="Recursive has itself among its fields"):
        object_schema(Recursive, {})


def test_mistakes_are_told_when_a_class_is_declared() -> None:
    with pytest.raises(KindError, match=r"Wrong\.value: a field cannot be timedelta"):

        @kube.kind(group="example.dev", version="v1")
        @attrs.frozen
        class Wrong:
            value: timedelta

    with pytest.raises(KindError, match="is not an attrs class"):

        @kube.kind(group="example.dev", version="v1")
        class Plain:
            value: str

    with pytest.raises(KindError, match="name 'Unknown' is not defined"):

        @kube.kind(group="example.dev", version="v1")
        @attrs.frozen
        class Unresolved:
            value: Unknown  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(KindError, match="groups have a dot"):

        @kube.kind(group="example", version="v1")
        @attrs.frozen
        class NoDot:
            value: str


def test_a_class_in_a_function_may_name_what_is_in_the_function() -> None:
    @attrs.frozen
    class Local:
        value: str

    @kube.kind(group="example.dev", version="v1")
    @attrs.frozen
    class Holder:
        local: Local

    declaration = declaration_of(Holder)
    assert declaration is not None
    spec = declaration.schema()["properties"]["spec"]
    assert spec["properties"]["local"]["properties"] == {"value": {"type": "string"}}


def test_the_three_layouts() -> None:
    @attrs.frozen
    class Status:
        ready: bool = False

    @kube.kind(group="example.dev", version="v1", status=Status)
    @attrs.frozen
    class Bare:
        size: int = 1

    @kube.kind(group="example.dev", version="v1")
    @attrs.frozen
    class Typed(kube.Object):
        size: int
        status: Status | None = attrs.field(default=None, kw_only=True)

    @kube.kind(group="example.dev", version="v1")
    @attrs.frozen
    class Whole(kube.Object):
        spec: Status
        data: Mapping[str, str] = attrs.field(factory=dict)

    status = {"type": "object", "properties": {"ready": {"type": "boolean", "default": False}}}
    size = {"type": "integer", "format": "int64"}
    found = [declaration_of(each) for each in (Bare, Typed, Whole)]
    assert [each.schema() for each in found if each is not None] == [
        {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {**size, "default": 1}}, "default": {}},
            "status": status}},
        {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": size}, "required": ["size"]}, "status": status},
         "required": ["spec"]},
        {"type": "object", "properties": {
            "spec": status, "data": {"type": "object", "additionalProperties": {"type": "string"}}},
         "required": ["spec"]},
    ]  # fmt: skip
