"""Rules in CEL: on values, and in definitions."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from kube_core.api.structural import NOTHING, Structural
from kube_core.cel.budgets import Budget
from kube_core.cel.engine import CelError, compile_expression
from kube_core.meta.fields import Path
from kube_core.registry.custom import rules
from kube_core.registry.custom.rules import rule_errors, rule_problems

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer"}


def ruled(*rules: Any, **properties: Any) -> Structural:
    given = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules]
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": given}
    return Structural({"type": "object", "properties": {"spec": spec}})


def said(schema: Structural, value: Any, old: Any = NOTHING) -> list[str]:
    before = NOTHING if old is NOTHING else {"spec": old}
    return [str(error) for error in rule_errors({"spec": value}, schema, Path(), before)]


def test_a_rule_that_holds_says_nothing_and_one_that_fails_says_itself() -> None:
    schema = ruled("self.min <= self.max", min=NUMBER, max=NUMBER)
    assert said(schema, {"min": 1, "max": 2}) == []
    assert said(schema, {"min": 3, "max": 2}) == ["spec: Invalid value: failed rule: self.min <= self.max"]


def test_messages_reasons_and_places_are_the_rules_own() -> None:
    rule = {
        "rule": "self.n < 3", "message": "never shown", "messageExpression": "'n is ' + string(self.n)",
        "reason": "FieldValueForbidden", "fieldPath": ".n",
    }  # fmt: skip
    assert said(ruled(rule, n=NUMBER), {"n": 5}) == ["spec.n: Forbidden: n is 5"]


def test_a_message_expression_that_fails_leaves_the_message() -> None:
    rule = {"rule": "self.n < 3", "message": "too many", "messageExpression": "self.gone"}
    assert said(ruled(rule, n=NUMBER), {"n": 5}) == ["spec: Invalid value: too many"]


def test_a_transition_rule_needs_an_old_value() -> None:
    schema = ruled("self.n >= oldSelf.n", n=NUMBER)
    assert said(schema, {"n": 1}) == []
    assert said(schema, {"n": 2}, old={"n": 1}) == []
    assert said(schema, {"n": 1}, old={"n": 2}) == ["spec: Invalid value: failed rule: self.n >= oldSelf.n"]


def test_an_optional_old_value_makes_a_rule_for_new_objects_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self.n == 0", "optionalOldSelf": True, "message": "begins with 0"}
    schema = ruled(rule, n=NUMBER)
    assert said(schema, {"n": 1}) == ["spec: Invalid value: begins with 0"]
    assert said(schema, {"n": 2}, old={"n": 1}) == []


def test_what_rules_say_of_what_an_update_leaves_is_a_warning() -> None:
    schema = ruled("self.n < 3", n=NUMBER)
    warned: list[str] = []
    assert not [*rule_errors({"spec": {"n": 5}}, schema, Path(), {"spec": {"n": 5}}, warned)]
    assert warned == ["spec: Invalid value: failed rule: self.n < 3"]
    assert len(said(schema, {"n": 6}, old={"n": 5})) == 1


def test_items_without_counterparts_are_left_as_their_list_is() -> None:
    item = {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 3"}]}
    schema = Structural({"type": "object", "properties": {"l": {"type": "array", "items": item}}})
    warned: list[str] = []
    assert not [*rule_errors({"l": ["abc"]}, schema, Path(), {"l": ["abc"]}, warned)]
    assert warned == ['l[0]: Invalid value: "abc": failed rule: self.size() < 3']
    assert [*rule_errors({"l": ["abc", "d"]}, schema, Path(), {"l": ["abc"]}, warned)]


@pytest.mark.parametrize(
    ("rule", "said_of"),
    [
        ({"rule": "type(self.v) == int"}, ""),
        ({"rule": "self.v.size() > 1"}, "'no such overload': call arguments did not match a supported operator, "
         "function or macro signature for rule: self.v.size() > 1"),
        ({"rule": "self.v.size() > 1", "message": "long"}, "'no such overload': call arguments did not match a "
         "supported operator, function or macro signature for rule: long"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_told_as_such(rule: dict[str, str], said_of: str) -> None:
    schema = ruled(rule, v={"x-kubernetes-int-or-string": True})
    assert said(schema, {"v": 1}) == ([f'spec: Invalid value: "object": {said_of}'] if said_of else [])


PAIRS = "self.l.all(x, self.l.all(y, x + y >= 0))"


def test_a_rule_may_cost_a_million_and_ends_the_judging_where_it_costs_more() -> None:
    schema = ruled(PAIRS, "false", l={"type": "array", "items": NUMBER})
    assert said(schema, {"l": [*range(100)]}) == ["spec: Invalid value: failed rule: false"]
    assert said(schema, {"l": [*range(600)]}) == [
        "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation "
        f"rules will be run due to call cost exceeds limit for rule: {PAIRS}"
    ]


def test_all_rules_on_an_object_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "Budget", functools.partial(Budget, 100_000))  # what there really is takes long to spend
    item = {"type": "array", "items": NUMBER, "x-kubernetes-validations": [{"rule": PAIRS.replace("self.l", "self")}]}
    schema = Structural({"type": "object", "properties": {"many": {"type": "array", "items": item}}})
    many = [[*range(30)]] * 20
    assert [str(each) for each in rule_errors({"many": many}, schema, Path())] == [
        'many[15]: Invalid value: "array": validation failed due to running out of cost budget, '
        "no further validation rules will be run"
    ]
    assert not [*rule_errors({"many": [[*range(10)]] * 20}, schema, Path())]


def test_a_message_is_bounded_too() -> None:
    rule = {"rule": "self.l.size() < 2", "messageExpression": f"{PAIRS} ? 'a' : 'b'"}
    schema = ruled(rule, "false", l={"type": "array", "items": NUMBER})
    assert said(schema, {"l": [*range(100)]}) == [
        "spec: Invalid value: a",
        "spec: Invalid value: failed rule: false",
    ]
    [found] = said(schema, {"l": [*range(600)]})
    assert found.startswith('spec: Invalid value: "object": no further validation rules will be run due to call cost')


def test_items_of_maps_have_counterparts_by_their_keys() -> None:
    item = {
        "type": "object", "properties": {"k": TEXT, "v": NUMBER},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v"}],
    }  # fmt: skip
    schema = Structural(
        {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    )
    old = [{"k": "a", "v": 5}, {"k": "b", "v": 1}]
    found = list(rule_errors([{"k": "b", "v": 2}, {"k": "a", "v": 1}], schema, Path("m"), old))
    assert [error.field for error in found] == ["m[1]"]


def test_names_are_escaped_and_unknown_members_unseen() -> None:
    schema = ruled("self.__namespace__ == 'x' && self.a__dash__b == 1", namespace=TEXT, **{"a-b": NUMBER})
    assert said(schema, {"namespace": "x", "a-b": 1}) == []
    assert said(ruled("!has(self.other)", n=NUMBER), {"n": 1, "other": 1}) == []


def test_an_expression_without_a_value_is_an_error_too() -> None:
    [found] = said(ruled("self.n == 1", n=NUMBER), {})
    assert found == 'spec: Invalid value: "object": no such key: n evaluating rule: self.n == 1'


def test_times_and_durations_are_what_their_format_says() -> None:
    when, long = {"type": "string", "format": "date-time"}, {"type": "string", "format": "duration"}
    schema = ruled("self.when < timestamp('2025-01-01T00:00:00Z') && self.long < duration('2h')", when=when, long=long)
    assert said(schema, {"when": "2024-01-01T00:00:00Z", "long": "1h30m"}) == []
    assert len(said(schema, {"when": "2026-01-01T00:00:00Z", "long": "1h"})) == 1


def evaluate(text: str) -> Any:
    return compile_expression(text, ()).evaluate({})


@pytest.mark.parametrize(
    "text",
    [
        "quantity('1Gi').isGreaterThan(quantity('1M'))",
        "quantity('1') == quantity('1000m')",
        "quantity('1.5').add(quantity('500m')).asInteger() == 2",
        "!isQuantity('x')",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1')",
        "ip('::1').isLoopback() && ip('::1').family() == 6",
        "url('https://a.example:80/p').getHostname() == 'a.example'",
        "semver('1.2.3').isLessThan(semver('1.10.0'))",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "[1, 2, 3].sum() == 6 && ![2, 1].isSorted() && [1, 3].max() == 3",
        "'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "1.5 < 2",
    ],
)
def test_kubernetes_functions_are_there(text: str) -> None:
    assert evaluate(text) is True


def test_what_is_no_expression_says_where() -> None:
    with pytest.raises(CelError, match="Syntax error"):
        compile_expression("1 +", ())


# -- definitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "field", "part"),
    [
        ({"rule": ""}, "rule", "Required value"),
        ({"rule": "1 +"}, "rule", "compilation failed: ERROR: <input>:1:4: Syntax error"),
        ({"rule": "nobody"}, "rule", "undeclared reference to 'nobody'"),
        ({"rule": "1 + 1"}, "rule", "must evaluate to a bool"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression", "must evaluate to a string"),
        ({"rule": "true", "message": "a\nb"}, "message", "must not contain line breaks"),
        ({"rule": "true", "messageExpression": " "}, "messageExpression", "Required value: messageExpression must"),
        ({"rule": "true", "reason": "Whim"}, "reason", "Unsupported value"),
        ({"rule": "true", "fieldPath": ".nobody"}, "fieldPath", "fieldPath must be a valid path"),
        ({"rule": "true", "fieldPath": "x"}, "fieldPath", "fieldPath must be a valid path"),
        ({"rule": "true", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not used"),
    ],
)
def test_rules_that_cannot_be_are_refused(rule: dict[str, Any], field: str, part: str) -> None:
    [found] = rule_problems(ruled(rule), Path("s"))
    assert found.field == f"s.properties[spec].x-kubernetes-validations[0].{field}"
    assert part in found.body


def test_transition_rules_need_something_to_compare_with() -> None:
    item = {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    [found] = rule_problems(Structural({"type": "array", "items": item}), Path("s"))
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within s" in found.body
    atomic = {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": item}}
    [found] = rule_problems(Structural(atomic), Path("s"))
    assert found.field == "s.properties[a].x-kubernetes-validations[0].rule"


def test_rules_may_name_formats() -> None:
    schema = ruled("!format.dns1123Label().validate(self.name).hasValue()", name={**TEXT, "maxLength": 63})
    assert list(rule_problems(schema, Path("s"))) == []
    assert said(schema, {"name": "a"}) == []
    assert len(said(schema, {"name": "?"})) == 1


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("self.none == 1", "<input>:1:5: undefined field 'none'"),
        ("self.n == 'x'", "no matching overload for '_==_' applied to '(int, string)'"),
        ("self.n.deep == 1", "undefined field 'deep'"),
        ("self.name > 1", "no matching overload for '_>_' applied to '(string, int)'"),
        ("has(self.gone)", "undefined field 'gone'"),
        ("self.n >= oldSelf.gone", "undefined field 'gone'"),
    ],
)
def test_rules_are_held_against_the_schema(rule: str, part: str) -> None:
    [found] = rule_problems(ruled(rule, n=NUMBER, name=TEXT), Path("s"))
    assert part in found.body


@pytest.mark.parametrize(
    "rule",
    [
        "self.n > 1.5",
        "self.name.startsWith('self.gone')",
        "self.labels.all(k, self.labels[k] != '') && self.labels.any == 'x'",
        "self.list.all(x, x.k == 'a')",
        "self.free.anything == 1",
        "self.either == '50%' || self.either == 5",
        "has(self.n) && self.__namespace__ == 'x' && self.a__dash__b == 1",
        "self.when < timestamp('2025-01-01T00:00:00Z')",
        "self.maybe == null",
        "!has(oldSelf.n) || self.n == oldSelf.n",
    ],
)
def test_rules_that_fit_the_schema_are_taken(rule: str) -> None:
    schema = ruled(
        rule,
        n=NUMBER,
        name=TEXT,
        namespace=TEXT,
        labels={"type": "object", "additionalProperties": TEXT},
        list={"type": "array", "items": {"type": "object", "properties": {"k": TEXT}}},
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        either={"x-kubernetes-int-or-string": True},
        when={"type": "string", "format": "date-time"},
        maybe={"type": "string", "nullable": True},
        **{"a-b": NUMBER},
    )
    assert [str(error) for error in rule_problems(schema, Path("s"))] == []


def test_rules_of_whole_objects_know_their_names() -> None:
    schema = Structural({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name.size() < 9"}]})
    assert list(rule_problems(schema, Path("s"))) == []
    named = {"metadata": {"name": "a" * 9}}
    assert len(list(rule_errors(named, schema, Path()))) == 1


def test_loops_within_loops_over_much_are_refused_rather_than_run() -> None:
    many = {"type": "array", "items": NUMBER}
    schema = ruled("self.l.all(a, self.l.all(b, self.l.all(c, a + b + c > 0)))", l=many)
    assert said(schema, {"l": [1] * 20}) == []
    assert "call cost exceeds limit for rule" in said(schema, {"l": [1] * 200})[0]
    assert said(ruled("self.l.all(a, a > 0) && self.l.all(b, b > 0)", l=many), {"l": [1] * 2000}) == []


# -- costs -------------------------------------------------------------------------------------------------------------

_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
    "are declared)"
)


def problems(schema: dict[str, Any], *, cheap: bool = True) -> list[tuple[str, str]]:
    return [(each.field, each.body) for each in rule_problems(Structural(schema), Path("s"), cheap=cheap)]


def test_rules_that_may_cost_too_much_are_forbidden() -> None:
    rule = {"rule": "self.all(x, self.all(y, x == y))"}
    lists: dict[str, Any] = {"type": "array", "items": TEXT, "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {"a": lists}}
    place = "s.properties[a].x-kubernetes-validations[0].rule"
    excess = f"exceeds budget by factor of more than 100x {_ADVICE}"
    total = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
    assert problems(schema) == [
        (place, f"Forbidden: estimated rule cost {excess}"),
        (place, "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"),
        ("s", f"Forbidden: {total} {excess}"),
    ]
    bounds = {"maxItems": 10, "items": {**TEXT, "maxLength": 10}}
    assert problems({"type": "object", "properties": {"a": {**lists, **bounds}}}) == []


def test_a_rule_costs_as_often_as_its_value_can_be_there() -> None:
    item = {**TEXT, "maxLength": 1000, "x-kubernetes-validations": [{"rule": "self.contains('abc')"}]}
    once = {"type": "object", "properties": {"a": {"type": "array", "maxItems": 100, "items": item}}}
    assert problems(once) == []
    often = {"type": "object", "properties": {"a": {"type": "array", "maxItems": 30_000, "items": item}}}
    [(place, said)] = problems(often)
    assert place == "s.properties[a].items.x-kubernetes-validations[0].rule"
    assert said == f"Forbidden: estimated rule cost exceeds budget by factor of 1.203000x {_ADVICE}"


def test_a_message_has_a_limit_of_its_own() -> None:
    rule = {"rule": "true", "messageExpression": f"self.matches('{'a' * 150}') ? 'yes' : 'no'"}
    schema = {"type": "object", "properties": {"a": {**TEXT, "x-kubernetes-validations": [rule]}}}
    [(place, said)] = problems(schema)
    assert place == "s.properties[a].x-kubernetes-validations[0].messageExpression"
    assert said.startswith("Forbidden: estimated messageExpression cost exceeds budget by factor of ")


def test_what_was_written_before_is_held_to_the_limit_for_all_rules_only() -> None:
    rule = {"rule": "self.contains('abc')"}
    item = {**TEXT, "maxLength": 1000, "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {"a": {"type": "array", "maxItems": 30_000, "items": item}}}
    assert problems(schema, cheap=False) == []
