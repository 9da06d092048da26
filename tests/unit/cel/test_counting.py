"""What evaluating expressions costs: the figures are what upstream's own tracker counts for the same rule and value."""

from __future__ import annotations

from typing import Any

import pytest

from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import COST_EXCEEDED, CelError, compile_expression

SELF: dict[str, Any] = {
    "apiVersion": "e/v1", "kind": "X", "metadata": {"name": "abc"}, "a": "hello world, héé", "b": "10.0.0.1", "n": 3,
    "f": 2.5, "t": True, "ls": ["aa", "b", "cccccccccccccccccccc"], "lu": ["ab", "abcdef", "x"], "li": [1, 2, 3, 4],
    "ll": [[1, 2], [3], []], "m": {"k1": "v", "k2": "vv"}, "mu": {"a": 1, "b": 2}, "e": "bbbb", "ios": "5%",
    "o": {"x": "q", "y": [{"k": "z", "v": 1}, {"k": "zz", "v": 5}]}, "lo": [{"k": "a"}, {"k": "b"}], "a__dash__b": "xx",
}  # fmt: skip
COSTS: list[tuple[str, int]] = [
    ("self.a == 'x'", 3),
    ("self.b.size() < 5", 4),
    ("self.n > 3 && self.n < self.f", 3),
    ("has(self.b) && self.b.matches('^[a-z]+$')", 5),
    ("self.a.matches('^[a-z]+$')", 6),
    ("self.ls.all(x, x.startsWith('ab'))", 10),
    ("self.lu.all(x, x.startsWith('ab'))", 18),
    ("self.ls.exists(x, x == self.b)", 27),
    ("self.ls.exists_one(x, x == 'z')", 10),
    ("self.ls.map(x, x + 'foo').all(y, y.size() > 2)", 66),
    ("self.ls.filter(x, x != '').size() > 1", 47),
    ("self.ll.all(x, x.all(y, y > 1))", 17),
    ("self.li.sum() > 3", 7),
    ("self.ls.isSorted()", 4),
    ("self.lu.isSorted()", 2),
    ("self.m.all(k, self.m[k] == 'a')", 12),
    ("self.mu.all(k, self.mu[k] > 1)", 12),
    ("'a' in self.m", 3),
    ("'a' in self.ls", 5),
    ("self.n in [1,2,3]", 2),
    ("self.o.y.all(z, z.k.contains(self.b))", 14),
    ("self.o.y.exists(z, z.k == 'x' && z.v > 2)", 18),
    ("self.o.y[0].k == self.o.x", 9),
    ("self.ls[0].startsWith(self.ls[1])", 7),
    ("self.e == 'bbbb'", 3),
    ("type(self.ios) == string ? self.ios == '5%' : self.ios == 5", 7),
    ("self.ios == 5", 3),
    ("self.a + self.b == self.b", 10),
    ("(self.a + self.b).size() > 2", 9),
    ("self.b.replace('a', 'bb').size() < 3", 6),
    ("self.b.split(',').all(x, x.size() > 1)", 11),
    ("self.a.split(',').all(x, self.b.contains(x))", 17),
    ("self.ls.join(',').size() < 3", 9),
    ("self.b.lowerAscii() == self.b", 6),
    ("self.b.trim().upperAscii() == 'A'", 5),
    ("self.b.substring(1) == 'a'", 4),
    ("self.b.find('[0-9]+') == '3'", 5),
    ("self.b.findAll('[0-9]+').size() > 3", 6),
    ("isURL(self.b)", 3),
    ("isQuantity(self.b)", 3),
    ("ip(self.b).family() == 4", 5),
    ("isIP(self.b)", 3),
    ("ip.isCanonical(self.b)", 4),
    ("ip(self.b) == ip('1.2.3.4')", 5),
    ("self.lo.all(x, self.lo.exists_one(y, y.k == x.k))", 41),
    ("self.lo.all(x, x.k == 'a')", 15),
    ("self.t ? self.b == 'x' : self.a == 'y'", 5),
    ("dyn(self.a) == 'x'", 4),
    ("string(self.n) == '3'", 4),
    ("bytes(self.b).size() > 3", 5),
    ("self.metadata.name.startsWith('a')", 4),
    ("self.kind == 'x'", 3),
    ("self.a__dash__b == 'x'", 3),
    ("[1,2,3].all(x, x > 0)", 16),
    ("['a','bb'].exists(x, self.b == x)", 17),
    ("{'a': 1}['a'] == self.n", 5),
    ("sets.contains(self.ls, ['a'])", 6),
    ("sets.intersects(self.ls, self.ls)", 14),
    ("self.ls.indexOf('a') > 1", 5),
    ("self.a.indexOf('b') > 1", 4),
    ("self.ls.min() == 'a'", 5),
    ("self.li.max() == 3", 7),
    ("double(self.n) < self.f", 6),
    ("self.n + 1 == 2 || self.n * 3 > 9", 8),
    ("self.a < self.b", 5),
    ("self.ls + ['x'] == ['y']", 4),
    ("(self.ls + self.ls).all(x, x == 'a')", 13),
    ("(self.t ? self.ls : ['b']).all(x, x == 'a')", 11),
    ("self.o.y.map(z, z.k).all(k, k == 'a')", 40),
    ("self.m.map(k, self.m[k]).size() > 2", 35),
    ("self.?b.orValue('x') == 'y'", 3),
    ("self.?o.?x.hasValue()", 4),
    ("self.o.y.all(i, v, v.k == 'a' && i < 4)", 12),
    ("self.m.all(k, v, v == k)", 11),
    ("self.ls.transformList(i, v, v + 'a').size() > 1", 49),
    ("self.m.transformMap(k, v, v + 'a').size() > 1", 15),
    ("'%s'.format([self.b]) == 'a'", 14),
    ("self.b.charAt(1) == 'x'", 4),
    ("self.o.y.filter(z, z.v > 1).all(z, z.k == 'q')", 30),
    ("self.ls.exists(x, x in self.ls)", 16),
    ("[1,2].distinct().size()==2", 21),
    ("lists.range(3).size()==3", 16),
    ("[[1],[2]].flatten().size()==2", 15),
    ("[2,1].sort()==[1,2]", 20),
    ("self.o.y.sortBy(z, z.k).size()>0", 55),
    ("[1].reverse()==[1]", 13),
    ("[1,2].slice(0,1)==[1]", 13),
    ("[1,2].first().hasValue()", 2),
    ("[1,2].last().orValue(2)==2", 2),
    ("strings.quote('a')=='a'", 2),
    ("'a'.charAt(0)=='a'", 2),
    ("self.?b.optMap(x, x+'a').orValue('b')=='c'", 10),
    ("self.?o.optFlatMap(x, x.?x).orValue('b')=='c'", 9),
    ("self.?n.orValue(1)==2", 3),
    ("self.?f.orValue(1.0)==2.0", 3),
    ("self.?n.orValue(1)<self.f", 5),
    ("self.?n.orValue(1) < 2.5", 3),
    ("self.?ls[?0].orValue('a')=='b'", 4),
    ("self.ls[?0].hasValue() && self.n < self.f", 9),
    ("optional.of(1).hasValue()", 2),
    ("optional.none().hasValue()", 2),
    ("optional.ofNonZeroValue(self.n).hasValue()", 4),
    ("[?self.?b].size()==1", 14),
    ("{?'a': self.?b}.size()==1", 34),
    ("self.?o.?y[?0].?k.orValue('')==''", 5),
    ("optional.of(self.n).value() < self.f", 7),
    ("self.ls.first()==optional.of('a')", 5),
    ("sets.contains([1],[1])", 2),
    ("[1,2].exists(i, v, v==i)", 15),
    ("self.ls.distinct().size()>1", 33),
    ("self.ls.sort()[0]=='a'", 34),
    ("self.li.sort()[0]==1", 48),
    ("self.o.y.sortBy(z, z.v).all(z, z.v > 1)", 62),
    ("self.ls.reverse().all(x, x=='a')", 24),
    ("self.ls.slice(0,2).all(x, x=='a')", 23),
    ("self.ll.flatten().size()>1", 18),
    ("self.ll.flatten(2).size()>1", 21),
    ("lists.range(100).all(x, x > 1)", 119),
    ("lists.range(self.n).all(x, x > 1)", 24),
    ("self.ls.last().orValue('a')=='b'", 4),
    ("self.?a.optMap(x, x.size()).orValue(1) < 2.5", 10),
    ("self.ls[self.n - 3] == 'aa'", 7),
    ("self.li[self.li[0]] == 2", 6),
    ("self.ls.all(i, v, self.ls[i] == v)", 28),
    ("self.o.y.all(i, v, self.o.y[i].v == v.v)", 26),
    ("(self.t ? self.o : self.o).x == 'q'", 5),
    ("self.ls.map(x, self.t ? x : 'q').size() == 3", 47),
    ("self.ls.map(x, self.t ? x + '' : 'q').size() == 3", 54),
    ("self.ls.filter(x, x == 'b')[0] == 'b'", 25),
    ("self.?o.x.hasValue()", 4),
    ("[self.o][0].x == 'q'", 16),
    ("self.o.y.map(z, z).all(z, z.k != '')", 41),
    ("self.ls.all(x, self.lu.all(y, x != y || true))", 75),
    ("[1,2,self.n].size()>2", 14),
    ("{'a':self.n,'b':2}.size()==2", 34),
    ("has(self.o.x) && has(self.b)", 3),
    ("self.o.y.exists(z, has(z.k) && z.k == 'zz')", 20),
    ("(self.ls + ['q']).filter(x, x.size()>1).map(x, x + 'u').exists(y, y.endsWith('u'))", 83),
    ("self.a.split(' ').map(x, x.upperAscii()).join('-').size() > 3", 55),
    ("-self.n < 1", 4),
    ("self.n % 2 == 1", 4),
    ("self.o.y.map(z, z.v > 2, z.k).size()==1", 26),
    ("self.t ? self.ls.all(x, true) : self.lu.all(x, true)", 14),
    ("!self.t || self.ls.exists(x, x == 'b')", 21),
    ("self.ls.all(i, v, i < 5)", 18),
    ("self.o.y[0].k == 'z'", 6),
    ("[[1,2]][0][1] == 2", 4),
    ("self.m['k1'] == 'v'", 4),
    ("self.m.k1 == 'v'", 4),
    ("url('https://a.b/c').getHost() == 'a.b'", 4),
    ("'a' + 'b' == 'ab'", 2),
    ("[1,2].all(x, x in [1,2,3])", 9),
    ("self.n in [self.n]", 15),
    ("type(self.n) == int", 4),
    ("self.ls.map(x, {'a': x}).all(y, y.a != '')", 148),
]


@pytest.mark.parametrize(("rule", "cost"), COSTS)
def test_what_an_evaluation_costs_is_counted_as_upstream_does(rule: str, cost: int) -> None:
    assert compile_expression(rule, ("self",)).counted({"self": SELF}, 1_000_000) == cost


@pytest.mark.parametrize("rule", [rule for rule, _ in COSTS])
def test_the_bounds_are_no_smaller_than_the_cost(rule: str) -> None:
    program = compile_expression(rule, ("self",))
    cost = program.counted({"self": SELF}, 1_000_000)
    assert program.cost_at_most({"self": SELF}, 1000) >= cost
    assert program.cost_within(1000) >= cost


def numbers(count: int) -> dict[str, Any]:
    return {"self": list(range(count))}


PAIRS = "self.all(x, self.all(y, x + y >= 0))"


def test_one_evaluation_may_cost_a_million() -> None:
    program = compile_expression(PAIRS, ("self",))
    Budget().spend(program, numbers(100), 1000)
    with pytest.raises(CelError, match=COST_EXCEEDED):
        Budget().spend(program, numbers(600), 3000)


def test_what_is_not_evaluated_costs_nothing() -> None:
    """The bound of this one is far above the limit, and what it costs is not."""
    program = compile_expression(f"self.exists(x, x == 0) || {PAIRS}", ("self",))
    Budget().spend(program, numbers(2000), 10_000)


def test_evaluations_share_a_budget() -> None:
    program, budget = compile_expression(PAIRS, ("self",)), Budget(left=200_000)
    cost = program.counted(numbers(100), 1_000_000)
    for _ in range(200_000 // cost):
        budget.spend(program, numbers(100), 1000)
    with pytest.raises(OutOfBudget):
        budget.spend(program, numbers(100), 1000)


def test_a_budget_is_not_spent_by_what_evaluations_might_have_cost() -> None:
    """Each might cost a tenth of it, and none does."""
    program, budget = compile_expression("self.exists(x, x == 0)", ("self",)), Budget(left=60_000)
    for _ in range(100):
        budget.spend(program, numbers(1000), 4000)
