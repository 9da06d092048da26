"""Selectors: the three ways to write one, what it selects, and what is said of a bad one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.meta import selectors
from kube_core.meta.selectors import (
    FieldSelector,
    FieldTerm,
    LabelSelector,
    Requirement,
    SelectorError,
    from_document,
    from_labels,
    parse_fields,
    parse_labels,
)

KEYS = st.sampled_from(["a", "b", "example.org/c", "in", "notin"])
VALUES = st.sampled_from(["", "x", "y", "7", "12"])


def _requirement(key: str, operator: str, values: list[str]) -> Requirement:
    if operator in ("exists", "!"):
        return Requirement(key, operator)  # type: ignore[arg-type]
    if operator in ("gt", "lt"):
        return Requirement(key, operator, ("9",))  # type: ignore[arg-type]
    return Requirement(key, operator, tuple(sorted(set(values))))  # type: ignore[arg-type]


REQUIREMENTS = st.builds(
    _requirement,
    KEYS,
    st.sampled_from(["in", "notin", "exists", "!", "gt", "lt"]),
    st.lists(VALUES, min_size=1, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "db"}, False),
        ("app=", {"app": ""}, True),
        ("app=", {}, False),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("app", {"app": ""}, True),
        ("!app", {"app": ""}, False),
        ("app in (web, db)", {"app": "db"}, True),
        ("app in (,db)", {"app": ""}, True),
        ("app notin (web,db)", {}, True),
        ("size>9", {"size": "10"}, True),
        ("size>9", {"size": "9"}, False),
        ("size<9", {"size": "x"}, False),
        (" app = web , tier != db , !old ", {"app": "web"}, True),
        ("in=notin", {"in": "notin"}, True),
    ],
)
def test_label_selector_text_selects(text: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_labels(text).matches(labels) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("!!", "unable to parse requirement: found '!', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        (
            "a>x",
            'unable to parse requirement: values[0]: Invalid value: "x": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_malformed_label_selector_is_explained(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_labels(text)
    assert str(caught.value) == message


@given(st.lists(REQUIREMENTS, max_size=4))
def test_label_selector_survives_its_text_form(requirements: list[Requirement]) -> None:
    selector = LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))
    assert parse_labels(str(selector)) == selector


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(KEYS, VALUES))
def test_what_is_selected_satisfies_every_equality(requirements: list[Requirement], labels: dict[str, str]) -> None:
    selector = LabelSelector(tuple(requirements))
    if selector.matches(labels):
        assert all(labels[key] == value for key, value in selector.equalities)


def test_document_without_selector_selects_nothing_and_empty_one_everything() -> None:
    assert not from_document(None).matches({"a": "b"})
    assert from_document({}).matches({"a": "b"})
    assert from_document({}).is_everything
    assert not from_document(None).is_everything


def test_document_combines_labels_and_expressions() -> None:
    selector = from_document(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["db"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "Exists"},
            ],
        }
    )
    assert selector.matches({"app": "web", "zone": ""})
    assert not selector.matches({"app": "web", "zone": "", "old": ""})
    assert selector.equalities == (("app", "web"),)
    assert str(selector) == "app=web,!old,tier!=db,zone"


def test_document_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(SelectorError, match="is not a valid label selector operator"):
        from_document({"matchExpressions": [{"key": "a", "operator": "Near"}]})


def test_selectors_are_hashable_and_compare_by_meaning() -> None:
    assert {parse_labels("a=b,c"), parse_labels("c, a==b")} == {parse_labels("c,a=b")}
    assert from_labels({"a": "b"}) == parse_labels("a=b") == from_document({"matchLabels": {"a": "b"}})


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("a=b,c!=d", [FieldTerm("a", True, "b"), FieldTerm("c", False, "d")]),
        ("spec.nodeName==n1", [FieldTerm("spec.nodeName", True, "n1")]),
        ("a=", [FieldTerm("a", True, "")]),
        (r"a=x\,y\=z\\", [FieldTerm("a", True, "x,y=z\\")]),
    ],
)
def test_field_selector_text_is_read(text: str, terms: list[FieldTerm]) -> None:
    assert list(parse_fields(text).terms) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_malformed_field_selector_is_explained(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_fields(text)
    assert str(caught.value) == message


@given(st.lists(st.tuples(st.sampled_from(["a", "spec.b"]), st.booleans(), st.text(max_size=6)), max_size=3))
def test_field_selector_survives_its_text_form(terms: list[tuple[str, bool, str]]) -> None:
    selector = FieldSelector(tuple(FieldTerm(*term) for term in terms))
    assert parse_fields(str(selector)) == selector


def test_field_selector_takes_a_missing_field_as_empty() -> None:
    assert parse_fields("spec.nodeName=").matches({})
    assert not parse_fields("spec.nodeName!=").matches({})
    assert parse_fields("status.phase!=Failed").matches({"status.phase": "Running"})
    assert parse_fields("a=b,c!=d").equalities == (("a", "b"),)


def test_everything_and_nothing() -> None:
    assert selectors.EVERYTHING.matches({})
    assert not selectors.NOTHING.matches({})
    assert selectors.EVERY_FIELD.matches({})
