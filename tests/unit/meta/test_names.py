"""Names: what passes, and what is said of what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kube_core.meta import names

GOOD = [
    (names.dns1123_label, ["a", "a-b", "0", "x" * 63]),
    (names.dns1123_subdomain, ["a", "a.b-c.d", "0.1", ".".join(["x" * 60] * 4)]),
    (names.dns1035_label, ["a", "a-1"]),
    (names.wildcard_dns1123_subdomain, ["*.example.org"]),
    (names.qualified_name, ["a", "A_b.c", "example.org/Name", "x" * 63]),
    (names.label_value, ["", "a", "A_b.c", "x" * 63]),
    (names.config_map_key, ["a", "A.b_c-d", ".hidden"]),
    (names.environment_name, ["A", "a.b-c", "with space", "1"]),
    (names.header_name, ["Host", "X-Y"]),
    (names.path_segment, ["system:node", "a b"]),
    (names.domain_prefixed_path, ["acme.io/foo"]),
    (names.port_name, ["http", "a-1"]),
    (names.percent, ["0%", "250%"]),
    (names.ip_address, ["10.0.0.1", "::1", "2001:db8::ffff"]),
    (names.cidr, ["10.0.0.0/8", "2001:db8::/64", "0.0.0.0/0"]),
]
BAD = [
    (names.dns1123_label, ["", "A", "a.b", "-a", "a-", "a\n"]),
    (names.dns1123_subdomain, ["", "A", "a..b", "a.", "a_b"]),
    (names.dns1035_label, ["", "1a", "a."]),
    (names.wildcard_dns1123_subdomain, ["example.org", "*", "a.*.org"]),
    (names.qualified_name, ["", "/", "a/b/c", "-a", "Up/x", "a b", "é"]),
    (names.label_value, ["-", "a b", "a/b"]),
    (names.config_map_key, ["", ".", "..", "..a", "a/b"]),
    (names.environment_name, ["", "a=b", "é"]),
    (names.header_name, ["", "a b"]),
    (names.path_segment, [".", "..", "a/b", "a%b"]),
    (names.domain_prefixed_path, ["foo", "/foo", "a.io/", "A.io/x"]),
    (names.port_name, ["", "Http", "1", "a--b", "-a", "x" * 16]),
    (names.percent, ["5", "%", "ten%"]),
    (names.ip_address, ["", "x", "10.0.0", "010.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"]),
    (names.cidr, ["10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/-1"]),
]


@pytest.mark.parametrize(("check", "texts"), GOOD, ids=lambda value: getattr(value, "__name__", ""))
def test_good_names_pass(check: Callable[[str], names.Messages], texts: list[str]) -> None:
    assert {text: tuple(check(text)) for text in texts} == dict.fromkeys(texts, ())


@pytest.mark.parametrize(("check", "texts"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_names_are_refused(check: Callable[[str], names.Messages], texts: list[str]) -> None:
    assert [text for text in texts if not check(text)] == []


def test_long_names_are_told_the_limit() -> None:
    assert names.dns1123_label("x" * 64) == ("must be no more than 63 characters",)
    assert names.dns1123_subdomain("x" * 254) == ("must be no more than 253 characters",)
    assert names.label_value("x" * 64) == ("must be no more than 63 bytes",)


def test_message_shows_rule_examples_and_expression() -> None:
    assert names.dns1123_label("A") == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    )


def test_both_parts_of_a_qualified_name_are_judged() -> None:
    prefix, name = names.qualified_name("Up/a b")
    assert prefix.startswith("prefix part a lowercase RFC 1123 subdomain must")
    assert name.startswith("name part must consist of alphanumeric characters, '-', '_' or '.'")


def test_prefix_of_a_generated_name_may_end_in_a_dash() -> None:
    assert not names.dns1123_subdomain_prefix("web-")
    assert not names.dns1123_label_prefix("web-")
    assert names.dns1123_subdomain_prefix("Web-")
