"""Options of requests: what they say, and in which words they are refused."""

from __future__ import annotations

import base64
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.abc.transport import Request
from kube_core.meta.status import BadRequest, Invalid
from kube_core.registry import options
from kube_core.registry.context import DeleteOptions, WriteOptions
from kube_core.registry.options import LATEST, ContinueToken, ListOptions


def request(*query: tuple[str, str], **headers: str) -> Request:
    return Request("GET", "/", query, headers)


@given(
    st.integers(1, 2**53) | st.just(LATEST), st.text(st.characters(codec="utf-8", exclude_characters="/."), min_size=1)
)
def test_a_continue_token_says_where_it_was(revision: int, name: str) -> None:
    token = ContinueToken(revision, f"/registry/core/{name}")
    assert ContinueToken.decode(token.encode()) == token


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "²²²²",
        "\udc80",
        "W10",
        encoded("null"),
        encoded('{"v":"other","rv":1,"start":"a"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":"x","start":"a"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":0,"start":"a"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":1,"start":"a/../../b"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":1e999,"start":"a"}'),
        encoded('{"v":"meta.k8s.io/v1","rv":1,"start":""}'),
        encoded('{"v":"meta.k8s.io/v1","rv":1}'),
    ],
)
def test_a_continue_token_that_was_not_ours_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="continue key is not valid"):
        ContinueToken.decode(text)


def test_a_request_without_a_query_asks_for_what_is_usual() -> None:
    assert options.list_options(request()) == ListOptions()
    assert options.write_options(request(), "CreateOptions") == WriteOptions()
    assert options.delete_options(request(), None) == DeleteOptions()


def test_the_field_manager_is_the_program_where_nobody_names_one() -> None:
    agent = {"user-agent": "kubectl/v1.37.0 (linux/amd64)"}
    assert options.write_options(request(**agent), "PatchOptions").field_manager == "kubectl"
    named = options.write_options(request(("fieldManager", "me"), **agent), "PatchOptions")
    assert named.field_manager == "me"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (("dryRun", "Some"), 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
        (("fieldManager", "x" * 129), "fieldManager: Too long: may not be more than 128 bytes"),
        (("fieldManager", "a\nb"), "should only contain printable characters"),
        (("fieldValidation", "Maybe"), 'fieldValidation: Unsupported value: "Maybe"'),
    ],
)
def test_write_options_that_cannot_be_are_invalid(query: tuple[str, str], why: str) -> None:
    with pytest.raises(Invalid) as refused:
        options.write_options(request(query), "CreateOptions")
    assert refused.value.message.startswith('CreateOptions.meta.k8s.io "" is invalid: ')
    assert why in refused.value.message


def test_write_options_are_read() -> None:
    query = [("dryRun", "All"), ("fieldValidation", "Strict"), ("force", "true"), ("fieldManager", "me")]
    found = options.write_options(request(*query), "PatchOptions")
    assert attrs.evolve(found, sent={}) == WriteOptions(True, "me", "Strict", True)
    assert found.sent == {"dryRun": ["All"], "fieldManager": "me", "fieldValidation": "Strict"}
    assert options.write_options(request(("force", "false")), "PatchOptions").force is False


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"resourceVersionMatch": "Exact"}, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ({"resourceVersionMatch": "Some", "resourceVersion": "1"}, 'Unsupported value: "Some"'),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 'forbidden for resourceVersion "0"'),
        (
            {"resourceVersionMatch": "Exact", "resourceVersion": "1", "continue": "x"},
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        ({"sendInitialEvents": "true"}, "sendInitialEvents is forbidden for list"),
        ({"watch": "1", "sendInitialEvents": "true"}, "sendInitialEvents requires setting resourceVersionMatch"),
        ({"watch": "1", "resourceVersionMatch": "Exact"}, "forbidden for watch unless sendInitialEvents is provided"),
    ],
)
def test_list_options_that_do_not_go_together_are_invalid(query: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid) as refused:
        options.list_options(request(*query.items()))
    assert why in refused.value.message


def test_a_limit_below_nothing_is_no_limit_and_what_is_no_number_is_refused() -> None:
    assert options.list_options(request(("limit", "-5"))).limit == 0
    assert options.list_options(request(("limit", ""))).limit == 0
    for name in ("limit", "timeoutSeconds"):
        with pytest.raises(BadRequest, match='parsing "x": invalid syntax'):
            options.list_options(request((name, "x")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "invalid syntax"),
        ("²", "invalid syntax"),
        ("-1", "invalid syntax"),
        ("9" * 5000, "out of range"),
        (str(2**64), "out of range"),
    ],
)
def test_a_resource_version_that_is_no_number_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        options.parse_revision(text)


def test_a_resource_version_is_a_number() -> None:
    assert [options.parse_revision(text) for text in ("", "0", "17", str(2**64 - 1))] == [0, 0, 17, 2**64 - 1]


@pytest.mark.parametrize(
    ("query", "body", "wanted"),
    [
        ({"gracePeriodSeconds": "5"}, None, DeleteOptions(grace_period=5)),
        ({"gracePeriodSeconds": "0"}, None, DeleteOptions(grace_period=0)),
        ({"propagationPolicy": "Orphan", "dryRun": "All"}, None, DeleteOptions(propagation="Orphan", dry_run=True)),
        ({"orphanDependents": "true"}, None, DeleteOptions(orphan_dependents=True)),
        ({"orphanDependents": "false"}, None, DeleteOptions(orphan_dependents=False)),
        # A body counts instead of the query.
        ({"gracePeriodSeconds": "5"}, {"kind": "DeleteOptions"}, DeleteOptions()),
        ({}, {"gracePeriodSeconds": 0}, DeleteOptions(grace_period=0)),
        ({}, {"gracePeriodSeconds": -3}, DeleteOptions(grace_period=1)),
        ({}, {"orphanDependents": False}, DeleteOptions(orphan_dependents=False)),
        (
            {},
            {"dryRun": ["All"], "propagationPolicy": "Foreground"},
            DeleteOptions(propagation="Foreground", dry_run=True),
        ),
        ({}, {"preconditions": {"uid": "u", "resourceVersion": "7"}}, DeleteOptions(uid="u", resource_version="7")),
    ],
)
def test_delete_options_come_from_the_body_or_the_query(
    query: dict[str, str], body: Any, wanted: DeleteOptions
) -> None:
    assert attrs.evolve(options.delete_options(request(*query.items()), body), sent={}) == wanted


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"propagationPolicy": "Never"}, 'propagationPolicy: Unsupported value: "Never"'),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "orphanDependents and deletionPropagation cannot be both set",
        ),
        ({"dryRun": ["Some"]}, "dryRun: Unsupported value"),
    ],
)
def test_delete_options_that_cannot_be_are_invalid(body: Any, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        options.delete_options(request(), body)
    assert why in refused.value.message


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "the body is not an object"),
        ({"kind": "Pod", "apiVersion": "v1"}, 'no kind "Pod" is registered'),
        ({"gracePeriodSeconds": "5"}, "cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds"),
        ({"preconditions": "x"}, "cannot unmarshal string into Go struct field DeleteOptions.preconditions"),
        ({"orphanDependents": 1}, "of type bool"),
    ],
)
def test_a_body_that_is_no_delete_options_is_a_bad_request(body: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        options.delete_options(request(), body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"kind": "Pod", "apiVersion": "v1"}, 'no kind "Pod" is registered for version "v1" in scheme '),
        ({"kind": "Scale", "apiVersion": "apps/v1"}, 'no kind "Scale" is registered for version "apps/v1" in scheme '),
        ({"kind": "CreateOptions", "apiVersion": "apps/v1"}, "decoded object cannot be converted to DeleteOptions"),
        (
            {"kind": "ListOptions", "apiVersion": "meta.k8s.io/v1"},
            "decoded object cannot be converted to DeleteOptions",
        ),
    ],
)
def test_a_body_of_another_kind_is_no_delete_options(body: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(why)):
        options.delete_options(Request("DELETE", "/"), body)


def test_delete_options_are_of_any_group() -> None:
    assert (
        options.delete_options(Request("DELETE", "/"), {"kind": "DeleteOptions", "apiVersion": "any/v9"}).dry_run
        is False
    )
