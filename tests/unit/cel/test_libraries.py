"""Kubernetes' libraries of CEL: what each function gives, a table a library, as upstream documents it."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.cel.engine import CelError, compile_expression

OBJECT = {"a": {"b": 1, "name": "x"}, "list": [3, 1, 2], "texts": ["b", "a"]}


def value(expression: str) -> Any:
    return compile_expression(expression, ("object",)).evaluate({"object": OBJECT})


HOLDS = {
    "lists": [
        "[1, 2, 3].isSorted()", "!['b', 'a'].isSorted()", "[1, 2].sum() == 3", "[1.5, 2.5].sum() == 4.0",
        "[3, 1].min() == 1", "['a', 'b'].max() == 'b'", "object.list.max() == 3", "[1, 2, 1].indexOf(1) == 0",
        "[1, 2, 1].lastIndexOf(1) == 2", "['a'].indexOf('z') == -1",
    ],
    "regex": [
        "'abc 123'.find('[0-9]+') == '123'", "'abc'.find('[0-9]+') == ''",
        "'123 abc 456'.findAll('[0-9]+').size() == 2",
        "'1 2 3'.findAll('[0-9]+', 2) == ['1', '2']", "'abc'.matches('^a')",
    ],
    "url": [
        "url('https://example.com:80/path').getScheme() == 'https'", "url('https://example.com:80/').getPort() == '80'",
        "url('https://example.com:80/').getHost() == 'example.com:80'",
        "url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://example.com/a%20b').getEscapedPath() == '/a%20b'",
        "url('https://example.com/?k=a&k=b').getQuery()['k'] == ['a', 'b']", "isURL('https://example.com')",
        "!isURL('not a url')", "url('/path').getScheme() == ''",
    ],
    "quantity": [
        "isQuantity('1.3Gi')", "!isQuantity('1.3 Gi')", "quantity('200M').compareTo(quantity('0.2G')) == 0",
        "quantity('50M').isLessThan(quantity('50Mi'))", "quantity('50Mi').isGreaterThan(quantity('50M'))",
        "quantity('50k').add(quantity('20')) == quantity('50020')", "quantity('50k').sub(20) == quantity('49980')",
        "quantity('-1').sign() == -1", "quantity('1.5').isInteger() == false", "quantity('50k').asInteger() == 50000",
        "quantity('50.5').asApproximateFloat() == 50.5", "quantity('200M') == quantity('0.2G')",
    ],
    "ip": [
        "isIP('::1')", "!isIP('a')", "ip('127.0.0.1').family() == 4", "ip('::1').family() == 6",
        "ip('127.0.0.1').isLoopback()", "ip('0.0.0.0').isUnspecified()", "ip('fe80::1').isLinkLocalUnicast()",
        "ip('224.0.0.1').isLinkLocalMulticast()", "ip('192.168.0.1').isGlobalUnicast()", "ip.isCanonical('::1')",
        "!ip.isCanonical('0:0::1')", "string(ip('::1')) == '::1'", "ip('::1') == ip('0:0::1')",
    ],
    "cidr": [
        "isCIDR('10.0.0.0/8')", "!isCIDR('10.0.0.0')", "cidr('10.0.0.0/8').containsIP('10.1.2.3')",
        "cidr('10.0.0.0/8').containsIP(ip('10.1.2.3'))", "!cidr('10.0.0.0/8').containsIP('11.0.0.1')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "cidr('10.1.2.3/8').prefixLength() == 8",
        "cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
    ],
    "semver": [
        "isSemver('1.2.3')", "!isSemver('v1.2')", "isSemver('v1.2', true)", "semver('1.2.3').major() == 1",
        "semver('v01.2', true).minor() == 2", "semver('1.2.3').patch() == 3",
        "semver('1.2.3-alpha').isLessThan(semver('1.2.3'))", "semver('1.10.0').isGreaterThan(semver('1.9.0'))",
        "semver('1.0.0').compareTo(semver('1.0.0')) == 0",
    ],
    "format": [
        "!format.dns1123Label().validate('abc').hasValue()", "format.dns1123Label().validate('A_b').hasValue()",
        "format.named('uuid').value().validate('nope').value()[0].contains('UUID')",
        "!format.named('nope').hasValue()",
        "format.qualifiedName().validate('a b').orValue([]).size() > 0",
        "!format.date().validate('2020-01-02').hasValue()",
        "format.date().validate('20200102').hasValue()",
        "!format.datetime().validate('2020-01-02T03:04:05Z').hasValue()",
        "!format.byte().validate('YWJj').hasValue()", "!format.uri().validate('https://a/b').hasValue()",
        "!format.labelValue().validate('a.b').hasValue()", "format.dns1035Label().validate('1a').hasValue()",
        "!format.dns1123Subdomain().validate(string('a.b')).hasValue()",
    ],
    "strings": [
        "'%s has %d, %.2f'.format(['a', 2, 1.5]) == 'a has 2, 1.50'", "'a-b'.split('-') == ['a', 'b']",
        "['a', 'b'].join(',') == 'a,b'", "' a '.trim() == 'a'", "'Ab'.lowerAscii() == 'ab'", "'abc'.charAt(1) == 'b'",
        "'abcabc'.replace('a', 'x', 1) == 'xbcabc'", "'abc'.substring(1, 2) == 'b'", "'abc'.indexOf('c') == 2",
        "strings.quote('a') == '\"a\"'",
    ],
    "sets": [
        "sets.contains([1, 2], [1])", "sets.equivalent([1, 2], [2, 1, 1])", "sets.intersects([1], [1, 2])",
        "!sets.intersects([1], [2])",
    ],
    "two-variable loops": [
        "object.list.all(i, v, v >= 0 && i < 3)", "{'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "object.list.existsOne(i, v, v == 3)", "[1, 2].transformList(i, v, i * v) == [0, 2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}", "[1, 2, 3].transformList(i, v, i > 0, v) == [2, 3]",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}",
    ],
    "optionals": [
        "object.?missing.orValue('d') == 'd'", "object.?a.?b.orValue(0) == 1", "object.a[?'b'].value() == 1",
        "!object.?missing.hasValue()", "[?object.?missing, 1].size() == 1",
        "object.?a.optMap(a, a.b).orValue(0) == 1", "optional.ofNonZeroValue('').or(optional.of('x')).value() == 'x'",
    ],
    "numbers": ["1 < 1.5", "1 < 1.5 && [?optional.of(2)].all(x, x > 1.5)", "optional.of(1).value() + 1 >= 1.5",
                "{'a': 1 < 1.5}['a'] && (true ? 2 > 1.5 : 1u < 1.5)"],
    "jsonpatch": ["jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("library", "expression"), [(library, each) for library, expressions in HOLDS.items() for each in expressions]
)
def test_a_function_gives_what_upstreams_does(library: str, expression: str) -> None:
    assert value(expression) is True


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("[].min() == 1", "min called on empty list"),
        ("quantity('x') == quantity('1')", ""),
        ("semver('v1').major() == 1", ""),
        ("url('no url').getHost() == ''", "URL parse error during conversion from string"),
        ("object.missing", "no such key: missing"),
        ("object.list[7]", "index out of bounds: 7"),
        ("1 / (object.a.b - 1)", "division by zero"),
        ("quantity('1').allowed()", "no such overload"),
        ("object.a.check('get')", "no such overload"),
    ],
)
def test_what_has_no_value_is_an_error(expression: str, said: str) -> None:
    with pytest.raises(CelError) as caught:
        value(expression)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "optional.of(1)",
        "[optional.of(1)].size()",
        "[1].indexOf(optional.of(1))",
        "dyn(optional.of(1))",
        "(true ? optional.of(1) : dyn(1)).isLessThan(1)",
        "{'a': optional.of(1)}",
        "[1, 2].transformMap(i, v, optional.of(v))",
        "[1].map(x, optional.of(x))",
    ],
)
def test_an_optional_value_never_leaves_the_engine(expression: str) -> None:
    """The engine takes the process down when it has to turn one into a value of Python."""
    with pytest.raises(CelError):
        value(expression)


@pytest.mark.parametrize(
    ("expression", "place", "name"), [("a.b.c == 1", "1:1", "a"), ("true &&\n  b.c", "2:3", "b"), ("x", "1:1", "x")]
)
def test_an_undeclared_variable_is_told_by_its_own_name(expression: str, place: str, name: str) -> None:
    with pytest.raises(CelError, match=rf"<input>:{place}: undeclared reference to '{name}' "):
        value(expression)
