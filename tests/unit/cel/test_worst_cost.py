"""What expressions cost at most: the figures are what upstream's own estimate gives for the same schema and rule."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.api.structural import Structural
from kube_core.cel.costs import UNBOUNDED, worst_cost
from kube_core.cel.engine import compile_expression
from kube_core.cel.sizes import sized

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer"}


def text(most: int) -> dict[str, Any]:
    return {**TEXT, "maxLength": most}


def listed(items: Any, most: int | None = None) -> dict[str, Any]:
    return {"type": "array", "items": items, **({"maxItems": most} if most is not None else {})}


def mapped(values: Any, most: int | None = None) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values, **({"maxProperties": most} if most is not None else {})}


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


PROPERTIES: dict[str, Any] = {
    "a": TEXT, "b": text(10), "n": NUMBER, "f": {"type": "number"}, "t": {"type": "boolean"},
    "ls": listed(text(20), 50), "lu": listed(TEXT), "li": listed(NUMBER, 100), "ll": listed(listed(NUMBER, 5), 7),
    "m": mapped(text(3), 9), "mu": mapped(NUMBER),
    "o": fields("x", x=text(4), y=listed(fields("k", k=text(63), v=NUMBER), 20)),
    "e": {**TEXT, "enum": ["a", "bbbb"]}, "d": {**TEXT, "format": "date-time"}, "du": {**TEXT, "format": "duration"},
    "by": {**TEXT, "format": "byte"}, "ios": {"x-kubernetes-int-or-string": True},
    "lo": listed(fields("k", k=TEXT)), "a-b": text(5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "cost"),
    [
        ("self.a == 'x'", 3),
        ("self.b.size() < 5", 4),
        ("self.n > 3 && self.n < self.f", 8),
        ("has(self.b) && self.b.matches('^[a-z]+$')", 13),
        ("self.a.matches('^[a-z]+$')", 629148),
        ("self.ls.all(x, x.startsWith('ab'))", 253),
        ("self.lu.all(x, x.startsWith('ab'))", 5242878),
        ("self.ls.exists(x, x == self.b)", 553),
        ("self.ls.exists_one(x, x == 'z')", 204),
        ("self.ls.map(x, x + 'foo').all(y, y.size() > 2)", 1414),
        ("self.ls.filter(x, x != '').size() > 1", 715),
        ("self.ll.all(x, x.all(y, y > 1))", 213),
        ("self.li.sum() > 3", 103),
        ("self.ls.isSorted()", 452),
        ("self.lu.isSorted()", 329854432052),
        ("self.m.all(k, self.m[k] == 'a')", 75),
        ("self.mu.all(k, self.mu[k] > 1)", 3595115),
        ("'a' in self.m", 3),
        ("'a' in self.ls", 52),
        ("self.n in [1,2,3]", 15),
        ("self.o.y.all(z, z.k.contains(self.b))", 2224),
        ("self.o.y.exists(z, z.k == 'x' && z.v > 2)", 204),
        ("self.o.y[0].k == self.o.x", 10),
        ("self.ls[0].startsWith(self.ls[1])", 14),
        ("self.e == 'bbbb'", 3),
        ("self.d > timestamp('2020-01-01T00:00:00Z')", 4),
        ("self.du < duration('1h')", 4),
        ("size(self.by) > 2", 4),
        ("type(self.ios) == string ? self.ios == '5%' : self.ios == 5", 7),
        ("self.ios == 5", 3),
        ("self.a + self.b == self.b", 314587),
        ("(self.a + self.b).size() > 2", 314583),
        ("self.b.replace('a', 'bb').size() < 3", 12),
        ("self.b.split(',').all(x, x.size() > 1)", 251),
        ("self.a.split(',').all(x, self.b.contains(x))", 19503505),
        ("self.ls.join(',').size() < 3", 409),
        ("self.b.lowerAscii() == self.b", 12),
        ("self.b.trim().upperAscii() == 'A'", 11),
        ("self.b.substring(1) == 'a'", 7),
        ("self.b.find('[0-9]+') == '3'", 13),
        ("self.b.findAll('[0-9]+').size() > 3", 14),
        ("url(self.b).getHost() == 'a'", 8),
        ("isURL(self.b)", 3),
        ("quantity(self.b).isLessThan(quantity('1Gi'))", 8),
        ("isQuantity(self.b)", 6),
        ("ip(self.b).family() == 4", 8),
        ("isIP(self.b)", 6),
        ("cidr(self.b).containsIP('10.0.0.1')", 11),
        ("cidr(self.b).containsIP(ip('10.0.0.1'))", 11),
        ("cidr(self.b).containsCIDR(self.b)", 19),
        ("ip.isCanonical(self.b)", 10),
        ("ip(self.b) == ip('1.2.3.4')", 8),
        ("semver(self.b).isLessThan(semver('1.0.0'))", 8),
        ("self.ls == oldSelf.ls", 9),
        ("self.o == oldSelf.o", 4),
        ("self == oldSelf", 2),
        ("self.lo.all(x, self.lo.exists_one(y, y.k == x.k))", 31129335821481543),
        ("self.lo.all(x, x.k == 'a')", 1887435),
        ("self.t ? self.b == 'x' : self.a == 'y'", 5),
        ("!format.dns1123Label().validate(self.b).hasValue()", 133),
        ("dyn(self.a) == 'x'", 4),
        ("string(self.n) == '3'", 4),
        ("bytes(self.b).size() > 3", 8),
        ("string(self.by) == 'a'", 314576),
        ("self.metadata.name.startsWith('a')", 4),
        ("self.kind == 'x'", 3),
        ("self.a__dash__b == 'x'", 3),
        ("[1,2,3].all(x, x > 0)", 26),
        ("['a','bb'].exists(x, self.b == x)", 25),
        ("{'a': 1}['a'] == self.n", 33),
        ("sets.contains(self.ls, ['a'])", 63),
        ("sets.intersects(self.ls, self.ls)", 2505),
        ("self.ls.indexOf('a') > 1", 453),
        ("self.a.indexOf('b') > 1", 314576),
        ("self.ls.min() == 'a'", 453),
        ("self.li.max() == 3", 103),
        ("double(self.n) < self.f", 6),
        ("self.n + 1 == 2 || self.n * 3 > 9", 8),
        ("self.a < self.b", 8),
        ("self.ls + ['x'] == ['y']", 24),
        ("(self.ls + self.ls).all(x, x == 'a')", 406),
        ("(self.t ? self.ls : ['b']).all(x, x == 'a')", 213),
        ("self.o.y.map(z, z.k).all(k, k == 'a')", 375),
        ("self.m.map(k, self.m[k]).size() > 2", 159),
        ("self.?b.orValue('x') == 'y'", 4),
        ("self.?o.?x.hasValue()", 4),
        ("self.o.y.all(i, v, v.k == 'a' && i < 4)", 164),
        ("self.m.all(k, v, v == k)", 48),
        ("self.ls.transformList(i, v, v + 'a').size() > 1", 1115),
        ("self.m.transformMap(k, v, v + 'a').size() > 1", 89),
        ("'%s'.format([self.b]) == 'a'", 14),
        ("self.b.charAt(1) == 'x'", 4),
        ("self.o.y.filter(z, z.v > 1).all(z, z.k == 'q')", 455),
        ("self.ls.exists(x, x in self.ls)", 2853),
        ("self.ls.all(x, self.m[x] == 'a')", 403),
    ],
)
def test_costs_are_upstreams(rule: str, cost: int) -> None:
    type_ = sized(Structural({"type": "object", "properties": PROPERTIES}), root=True)
    assert type_ is not None
    checked = compile_expression(rule, ("self", "oldSelf") if "oldSelf" in rule else ("self",)).tree()
    assert worst_cost(checked, {"self": type_, "oldSelf": type_}, type_) == cost


def test_what_nothing_bounds_is_not_counted_on() -> None:
    wide = listed(listed(listed(TEXT)))
    type_ = sized(Structural({"type": "object", "properties": {"a": wide}}), root=True)
    assert type_ is not None
    rule = "self.a.all(x, self.a.all(y, self.a.all(z, x == y && y == z)))"
    cost = worst_cost(compile_expression(rule, ("self",)).tree(), {"self": type_}, type_)
    assert 10_000_000 < cost <= UNBOUNDED
