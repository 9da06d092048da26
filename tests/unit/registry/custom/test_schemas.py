"""Pruning, defaults and validation of values by structural schemas."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api.structural import NOTHING, Structural
from kube_core.meta.documents import thaw
from kube_core.meta.fields import Path
from kube_core.registry.custom import defaulting, embedded
from kube_core.registry.custom.formats import KNOWN, is_of_format
from kube_core.registry.custom.list_types import duplicates
from kube_core.registry.custom.patterns import compile_pattern, matches
from kube_core.registry.custom.pruning import prune
from kube_core.registry.custom.validation import validate
from kube_core.registry.decoding import DecodingError

TEXT: dict[str, Any] = {"type": "string"}


def spec(**properties: Any) -> Structural:
    return Structural({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})


def pruned(schema: Structural, value: Any) -> tuple[Any, list[str]]:
    unknown: list[str] = []
    return prune({"spec": value}, schema, unknown)["spec"], unknown


def said(schema: Structural, value: Any, old: Any = NOTHING) -> list[str]:
    before = {"spec": old} if old is not NOTHING else NOTHING
    return [str(error) for error in validate({"spec": value}, schema, old=before, root=True)]


# -- pruning ---------------------------------------------------------------------------------------------------------


def test_unknown_fields_are_dropped_and_named() -> None:
    schema = spec(a=TEXT, many={"type": "array", "items": {"type": "object", "properties": {"n": TEXT}}})
    value = {"a": "1", "b": 2, "many": [{"n": "x", "m": 1}]}
    assert pruned(schema, value) == ({"a": "1", "many": [{"n": "x"}]}, ["spec.b", "spec.many[0].m"])


def test_what_is_preserved_is_kept_but_for_what_is_specified_within() -> None:
    inner = {"type": "object", "properties": {"n": TEXT}}
    schema = spec(free={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"inner": inner}})
    value = {"free": {"x": {"y": [1, None]}, "inner": {"n": "1", "gone": 1}}}
    assert pruned(schema, value) == ({"free": {"x": {"y": [1, None]}, "inner": {"n": "1"}}}, ["spec.free.inner.gone"])


def test_embedded_resources_keep_what_they_are() -> None:
    schema = spec(one={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"x": TEXT}})
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    assert pruned(schema, {"one": {**whole, "y": 1}}) == ({"one": whole}, ["spec.one.y"])


EMBEDDED: dict[str, Any] = {
    "type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True,
}  # fmt: skip


def test_metadata_of_embedded_resources_is_of_the_type_of_every_objects() -> None:
    schema = spec(many={"type": "array", "items": EMBEDDED})
    document = {"spec": {"many": [{"kind": "Pod", "metadata": {"name": "a", "labels": {}, "color": "red"}}]}}
    unknown: list[str] = []
    embedded.coerce(document, schema, unknown)
    assert document == {"spec": {"many": [{"kind": "Pod", "metadata": {"name": "a"}}]}}
    assert unknown == ['unknown field "spec.many[0].metadata.color"']
    with pytest.raises(DecodingError, match=r"^spec\.many\[0\]\.metadata: json: cannot unmarshal number into"):
        embedded.coerce({"spec": {"many": [{"metadata": {"labels": {"a": 1}}}]}}, schema, unknown)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"apiVersion": "v1", "kind": "Pod"}, []),
        ({"apiVersion": "a.b/v1", "kind": "Pod", "metadata": {"name": "Any Thing"}}, []),
        ({}, ["apiVersion: Required value: must not be empty", "kind: Required value: must not be empty"]),
        ({"apiVersion": "", "kind": ""},
         ['apiVersion: Invalid value: "": must not be empty', 'kind: Invalid value: "": must not be empty']),
        ({"apiVersion": "a/b/c", "kind": "Pod"},
         ['apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
        ({"apiVersion": "v1", "kind": "P d"}, ['kind: Invalid value: "P d": may have mixed case, but should']),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a/b"}},
         ['metadata.name: Invalid value: "a/b": may not contain']),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b c"}}},
         ['metadata.labels: Invalid value: "b c": a valid label']),
    ],
)  # fmt: skip
def test_embedded_resources_say_what_they_are(value: dict[str, Any], expected: list[str]) -> None:
    found = [str(error) for error in embedded.problems({"spec": {"one": value}}, spec(one=EMBEDDED), Path())]
    assert len(found) == len(expected)
    assert all(error.startswith(f"spec.one.{start}") for error, start in zip(found, expected, strict=True))


def test_pruning_leaves_its_input_alone() -> None:
    value = {"spec": {"gone": {"a": [1]}}}
    before = thaw(value)
    prune(value, spec(a=TEXT), [])
    assert value == before


# -- defaults --------------------------------------------------------------------------------------------------------


def filled(schema: Structural, value: Any) -> Any:
    document = {"spec": value}
    defaulting.fill(document, schema)
    defaulting.drop_nulls(document, schema)
    return document["spec"]


def test_defaults_need_their_parent() -> None:
    deep = {"type": "object", "properties": {"level": {"type": "integer", "default": 1}}}
    assert filled(spec(deep=deep), {}) == {}
    assert filled(spec(deep=deep), {"deep": {}}) == {"deep": {"level": 1}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"x": None}),
        (TEXT, {}),
        ({"type": "string", "default": "d"}, {"x": "d"}),
        ({"type": "string", "nullable": True, "default": "d"}, {"x": None}),
    ],
)
def test_null_is_kept_dropped_or_replaced(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert filled(spec(x=schema), {"x": None}) == expected


def test_defaults_are_not_shared_between_objects() -> None:
    schema = spec(x={"type": "object", "default": {"a": []}, "x-kubernetes-preserve-unknown-fields": True})
    first: dict[str, Any] = {}
    filled(schema, first)
    first["x"]["a"].append(1)
    assert filled(schema, {}) == {"x": {"a": []}}


# -- validation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (TEXT, 1, 'Invalid value: "integer": spec.x in body must be of type string: "integer"'),
        ({"type": "integer"}, True, 'Invalid value: "boolean": spec.x in body must be of type integer: "boolean"'),
        ({"type": "string", "maxLength": 3}, "abcd", "Too long: may not be more than 3 bytes"),
        ({"type": "string", "minLength": 2}, "a", 'Invalid value: "a": spec.x in body should be at least 2 chars long'),
        ({"type": "string", "pattern": "^a+$"}, "b", "Invalid value: \"b\": spec.x in body should match '^a+$'"),
        ({"type": "string", "enum": ["a"]}, "b", 'Unsupported value: "b": supported values: "a"'),
        ({"type": "integer", "maximum": 5}, 9, "Invalid value: 9: spec.x in body should be less than or equal to 5"),
        (
            {"type": "integer", "minimum": 5, "exclusiveMinimum": True},
            5,
            "Invalid value: 5: spec.x in body should be greater than 5",
        ),
        ({"type": "number", "multipleOf": 0.5}, 0.7, "Invalid value: 0.7: spec.x in body should be a multiple of 0.5"),
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"], "Too many: 2: must have at most 1 items"),
        ({"type": "array", "items": TEXT, "minItems": 1}, [],
         "Invalid value: 0: spec.x in body should have at least 1 items"),
        ({"x-kubernetes-int-or-string": True}, False,
         'Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean"'),
        ({"type": "string", "format": "ipv4"}, "1.2",
         'Invalid value: "1.2": spec.x in body must be of type ipv4: "1.2"'),
    ],
)  # fmt: skip
def test_a_value_that_breaks_a_rule_is_refused_in_upstreams_words(
    schema: dict[str, Any], value: Any, expected: str
) -> None:
    assert said(spec(x=schema), {"x": value}) == [f"spec.x: {expected}"]


def test_errors_name_items_and_values_by_their_place() -> None:
    schema = spec(
        items={"type": "array", "items": {"type": "object", "required": ["n"], "properties": {"n": TEXT}}},
        map={"type": "object", "additionalProperties": TEXT},
    )
    found = said(schema, {"items": [{"n": "a"}, {}], "map": {"k": 5}})
    assert found == [
        "spec.items[1].n: Required value",
        'spec.map.k: Invalid value: "integer": spec.map.k in body must be of type string: "integer"',
    ]


def test_one_of_the_alternatives_must_fit() -> None:
    schema = spec(x={"type": "string", "anyOf": [{"pattern": "^a"}, {"pattern": "^b"}]})
    assert said(schema, {"x": "bee"}) == []
    assert (
        said(schema, {"x": "cow"})[0] == '<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)'
    )


def test_exactly_one_of_the_alternatives_must_fit() -> None:
    schema = spec(x={"type": "string", "oneOf": [{"pattern": "a"}, {"pattern": "b"}]})
    assert said(schema, {"x": "a"}) == []
    assert "must validate one and only one schema (oneOf). Found 2 valid" in said(schema, {"x": "ab"})[0]


def test_what_must_not_fit_may_not() -> None:
    schema = spec(x={"type": "string", "not": {"enum": ["a"]}})
    assert said(schema, {"x": "b"}) == []
    assert said(schema, {"x": "a"}) == ['<nil>: Invalid value: "": "spec.x" must not validate the schema (not)']


def test_an_integer_out_of_range_has_upstreams_pathless_error() -> None:
    found = said(spec(n={"type": "integer", "format": "int32"}), {"n": 1 << 32})
    assert found == ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.n']


def test_an_update_is_not_held_to_what_it_leaves_as_it_was() -> None:
    schema = spec(x={"type": "integer", "maximum": 5}, y=TEXT)
    assert said(schema, {"x": 9, "y": "new"}, old={"x": 9, "y": "old"}) == []
    assert len(said(schema, {"x": 8, "y": "old"}, old={"x": 9, "y": "old"})) == 1


def test_items_of_maps_are_compared_by_their_keys() -> None:
    item = {"type": "object", "properties": {"k": TEXT, "v": {"type": "integer", "maximum": 1}}}
    schema = spec(
        m={"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    )
    bad = {"k": "a", "v": 5}
    assert said(schema, {"m": [{"k": "b", "v": 1}, bad]}, old={"m": [bad]}) == []


# -- list types ------------------------------------------------------------------------------------------------------


def repeated(schema: Structural, value: Any, old: Any = NOTHING) -> list[str]:
    return [str(each) for each in duplicates({"spec": value}, schema, Path(), old)]


def test_sets_have_no_item_twice() -> None:
    schema = spec(s={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"})
    assert repeated(schema, {"s": ["1", "2", "1"]}) == ['spec.s[2]: Duplicate value: "1"']
    assert repeated(schema, {"s": ["1", "1"]}, {"spec": {"s": ["1", "1"]}}) == []


def test_maps_have_no_combination_of_keys_twice() -> None:
    item = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
    schema = spec(
        m={"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]}
    )
    value = [{"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"b": "1", "a": "1"}]
    assert repeated(schema, {"m": value}) == ['spec.m[2]: Duplicate value: {"a":"1","b":"1"}']


# -- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date-time", "2024-05-06T07:08:09Z", "noon"),
        ("date", "2024-05-06", "2024-13-06"),
        ("ipv6", "::1", "1.2.3.4"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "zz"),
        ("email", "a@example.org", "nobody"),
        ("duration", "1h5m", "later"),
        ("byte", "aGk=", "%%"),
        ("hostname", "a.example.org", "-a"),
        ("mac", "00:11:22:33:44:55", "00:11"),
        ("hexcolor", "#fff", "#ff"),
    ],
)
def test_formats_are_checked(form: str, good: str, bad: str) -> None:
    assert form in KNOWN
    assert (is_of_format(good, form), is_of_format(bad, form)) == (True, False)


def test_formats_that_nobody_knows_are_not_checked() -> None:
    assert "horoscope" not in KNOWN
    assert is_of_format("leo", "horoscope")


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [("^a$", "a", "a\n"), (r"\Aa\z", "a", "ab"), ("[[:digit:]]+x", "12x", "x"), (r"\Qa.b\E", "a.b", "axb")],
)
def test_patterns_mean_what_they_mean_upstream(pattern: str, matching: str, other: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.search(matching)
    assert not compiled.search(other)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing closing ): `(`"),
        ("[a", "missing closing ]: `[a`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
    ],
)
def test_patterns_that_are_none_are_refused_in_upstreams_words(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match="error parsing regexp") as raised:
        compile_pattern(pattern)
    assert str(raised.value) == f"error parsing regexp: {why}"


def test_patterns_that_would_go_back_for_hours_are_done_at_once() -> None:
    assert not matches("^(a+)+$", "a" * 40 + "b")
    assert not matches("a*b", "a" * 100_000)
    assert matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a.b-c.example.org")
    assert not matches("(", "(")
