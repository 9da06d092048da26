"""What one evaluation of an expression did cost, counted as upstream counts it.

Upstream's engine counts while it evaluates; the one here does not. So whoever has to know (a bound from the sizes of
the values was not enough, see `budgets.py`) goes through the tree once more, with the values: variables, fields, loops,
conditions and the common operators are followed here, step by step, and what else there is the engine is asked for,
one call at a time. The figures are those of CEL's own tracker and of Kubernetes' libraries: a variable or field is one,
a new list ten, a character that a function reads a tenth, and what is not evaluated nothing.

Where something is met that cannot be followed, what was counted so far is the answer: the engine's own bound on turns
still holds. Nothing here decides what an expression gives. Called by `engine.py` alone.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kube_core.cel import formats, syntax
from kube_core.cel.syntax import Node

__all__ = ["counted"]

Values = dict[str, Any]
Step = Callable[[Values], Any]
#: Evaluates a serialized expression.
Run = Callable[[bytes, Mapping[str, Any]], Any]

_TEXT_FACTOR: Final = 0.1
_PATTERN_FACTOR: Final = 0.25
_NEW_LIST: Final = 10
_NEW_MAP: Final = 30
_AUTHORIZER_CHECK: Final = 350_000
#: Characters of the patterns behind named formats.
_FORMATS: Final = {
    "dns1123Label": 30, "dns1123Subdomain": 60, "dns1035Label": 30, "qualifiedName": 60, "dns1123LabelPrefix": 30,
    "dns1123SubdomainPrefix": 60, "dns1035LabelPrefix": 30, "labelValue": 40,
}  # fmt: skip
_LONGEST_FORMAT: Final = 128
#: Numbers that are added to those of nodes, for what stands in their places.
_STANDS_IN: Final = 1 << 40
_TYPES: Final = frozenset(["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"])
#: What is read once, and what is read and written.
_ONCE: Final = frozenset(
    ["url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey", "cidr", "isIP", "isCIDR",
     "quantity", "isQuantity", "semver", "isSemver", "ip"]
)  # fmt: skip
_TWICE: Final = frozenset(["replace", "split", "ip.isCanonical"])
_WHOLE: Final = frozenset(["isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"])
_COMPARED: Final = frozenset(["_<_", "_<=_", "_>_", "_>=_"])


class _Beyond(Exception):
    """More than was to be counted."""


class _Unknown(Exception):
    """Something that is not followed here."""


class _Elsewhere(Exception):
    """A call that is the engine's to do, with these values."""


class _Failed(Exception):
    """No value: as a variable of a loop it is kept, and raised when it is named."""


def counted(
    serialized: bytes, variables: Mapping[str, Any], run: Run, failed: tuple[type[Exception], ...], limit: int
) -> int:
    """`failed`: what `run` raises. More than `limit` is not counted to its end."""
    counter = _Counter(serialized, run, failed, limit)
    try:
        counter.step(syntax.read(serialized).root)({**variables})
    except (_Beyond, _Unknown, _Failed):
        pass
    return counter.cost


class _Optional:
    """An optional value; `there` says whether it is one."""

    __slots__ = ("there", "value")

    def __init__(self, value: Any = None, *, there: bool = True) -> None:
        self.value, self.there = value, there


class _Type(str):
    __slots__ = ()


_NONE: Final = _Optional(there=False)


class _Counter:
    def __init__(self, serialized: bytes, run: Run, failed: tuple[type[Exception], ...], limit: int) -> None:
        self.cost = 0
        self._serialized = serialized
        self._root = syntax.read(serialized).root.written
        self._run = run
        self._failed = failed
        self._limit = limit

    def step(self, node: Node) -> Step:
        """What evaluates a node, and counts."""
        match node.kind:
            case "constant":
                value = node.value
                return lambda values: value
            case "name":
                return self._name(node)
            case "field":
                return self._field(node)
            case "call":
                return self._call(node)
            case "list":
                return self._list(node)
            case "map":
                return self._map(node)
        return self._loop(node)

    def _spend(self, cost: int) -> None:
        self.cost += cost
        if self.cost > self._limit:
            raise _Beyond

    # -- kinds of nodes ------------------------------------------------------------------------------------------------

    def _name(self, node: Node) -> Step:
        name = node.name

        def find(values: Values) -> Any:
            if name not in values:
                if name in _TYPES:
                    return _Type(name)
                raise _Failed
            self.cost += 1
            value = values[name]
            if isinstance(value, _Failed):
                raise value
            return value

        return find

    def _field(self, node: Node) -> Step:
        operand, name, presence = self.step(node.below[0]), node.name, node.presence
        cost = 1 + (not _is_found(node.below[0]))

        def find(values: Values) -> Any:
            value = operand(values)
            if presence:
                return _is_there(value, name)
            self.cost += cost
            return _member(value, name)

        return find

    def _list(self, node: Node) -> Step:
        parts = [(self.step(each), each.number in node.optional) for each in node.below]
        cost = 0 if _is_constant(node) else _NEW_LIST

        def make(values: Values) -> Any:
            made = []
            for part, optional in parts:
                value = part(values)
                if not optional:
                    made.append(value)
                elif not isinstance(value, _Optional):
                    raise _Unknown
                elif value.there:
                    made.append(value.value)
            self._spend(cost)
            return made

        return make

    def _map(self, node: Node) -> Step:
        below = node.below
        pairs = [
            (self.step(below[each]), self.step(below[each + 1]), below[each + 1].number in node.optional)
            for each in range(0, len(below), 2)
        ]
        cost = 0 if _is_constant(node) else _NEW_MAP

        def make(values: Values) -> Any:
            made = {}
            for key, part, optional in pairs:
                name, value = key(values), part(values)
                if not optional:
                    made[name] = value
                elif not isinstance(value, _Optional):
                    raise _Unknown
                elif value.there:
                    made[name] = value.value
            self._spend(cost)
            return made

        return make

    def _loop(self, node: Node) -> Step:
        over, start, condition, turn, result = (self.step(each) for each in node.below)
        one, two, gathered = node.variables
        endless = node.below[2].kind == "constant" and node.below[2].value is True

        def go(values: Values) -> Any:
            items = over(values)
            if not isinstance(items, list | dict):
                raise _Failed
            inner = {**values, gathered: start(values)}
            pairs = items.items() if isinstance(items, dict) else enumerate(items)
            for key, item in pairs:
                if two:
                    inner[one], inner[two] = key, item
                else:
                    inner[one] = key if isinstance(items, dict) else item
                if not endless and condition(inner) is False:
                    break
                try:
                    inner[gathered] = turn(inner)
                except _Failed as error:
                    inner[gathered] = error
                self._spend(0)
            return result(inner)

        return go

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> Step:
        match node.name:
            case "_&&_" | "_||_":
                return self._either(node, settles=node.name == "_||_")
            case "_?_:_":
                return self._chosen(node)
            case "@not_strictly_false":
                return self._not_false(node)
            case "_[_]" | "_?._" | "_[?_]":
                return self._found(node)
            case "@in" if _is_constant(node.below[1]):
                return self._among(node)
            case "_+_" if node.below[0].kind == "name" and node.below[0].name == "@result":
                return self._gathered(node)
        parts = [self.step(each) for each in node.below]
        ask = self._asked(node)
        do = _DONE.get(node.name, ask)
        name, spend = node.name, self._spend

        def call(values: Values) -> Any:
            given = [part(values) for part in parts]
            try:
                try:
                    value = do(*given)
                except _Elsewhere:
                    value = ask(*given)
            except (_Failed, _Unknown):
                raise
            except self._failed:
                raise _Failed from None
            except (TypeError, ValueError, ZeroDivisionError, AttributeError, OverflowError):
                raise _Failed from None
            spend(_cost(name, given, value))
            return value

        return call

    def _either(self, node: Node, *, settles: bool) -> Step:
        parts = [self.step(each) for each in node.below]

        def judge(values: Values) -> Any:
            failed = None
            for part in parts:
                try:
                    if part(values) is settles:
                        return settles
                except _Failed as error:
                    failed = error
            if failed is not None:
                raise failed
            return not settles

        return judge

    def _chosen(self, node: Node) -> Step:
        """A branch that is a variable, or a field of one, is part of the choice: its variable costs nothing more."""
        condition, yes, no = (self.step(each) for each in node.below)
        first, second = (_is_path(each) for each in node.below[1:])

        def choose(values: Values) -> Any:
            holds = condition(values) is True
            self.cost -= first if holds else second
            return yes(values) if holds else no(values)

        return choose

    def _among(self, node: Node) -> Step:
        """Whether something is in a list of constants, which upstream's engine has made a set of."""
        one, many = self.step(node.below[0]), self.step(node.below[1])
        return lambda values: _within(one(values), many(values))

    def _not_false(self, node: Node) -> Step:
        part = self.step(node.below[0])

        def judge(values: Values) -> bool:
            try:
                value = part(values)
            except _Failed:
                value = True
            self.cost += 1
            return value is not False

        return judge

    def _found(self, node: Node) -> Step:
        """An index, or an optional field or index: as much as a field."""
        of, key = self.step(node.below[0]), self.step(node.below[1])
        optional = node.name != "_[_]"
        # As with a choice, an index that is a variable is part of what it is an index into.
        cost = 1 + (not _is_found(node.below[0])) - _is_path(node.below[1])

        def find(values: Values) -> Any:
            value, index = of(values), key(values)
            self.cost += cost
            if not optional:
                return _member(value, index)
            if isinstance(value, _Optional):
                if not value.there:
                    return _NONE
                value = value.value
            if not isinstance(value, list | dict):
                raise _Failed
            return _Optional(_member(value, index)) if _is_there(value, index) else _NONE

        return find

    def _gathered(self, node: Node) -> Step:
        """What a loop has gathered, and one more. Not copied, or what costs upstream a little would cost here a lot."""
        before, more = (self.step(each) for each in node.below)

        def join(values: Values) -> Any:
            made, added = before(values), more(values)
            self.cost += 1
            if isinstance(made, list) and isinstance(added, list):
                made += added
                return made
            return _plus(made, added)

        return join

    def _asked(self, node: Node) -> Callable[..., Any]:
        """What asks the engine for the value of a call."""
        names = [f"part__{each.number}" for each in node.below]
        parts = {
            each.written: syntax.variable(_STANDS_IN + each.number, name)
            for each, name in zip(node.below, names, strict=True)
        }
        written = syntax.put({self._root: syntax.put(parts, node.written)}, self._serialized)

        def ask(*given: Any) -> Any:
            if any(isinstance(each, _Optional | _Type) for each in given):
                raise _Unknown
            return self._run(written, dict(zip(names, given, strict=True)))

        return ask


# -- what is done here -------------------------------------------------------------------------------------------------


def _is_found(node: Node) -> bool:
    """Whether what a field or index is of is found in the same step as that is."""
    return node.kind in ("name", "field") or node.name in ("_[_]", "_?._", "_[?_]", "_?_:_")


def _is_path(node: Node) -> bool:
    """Whether it is a variable, or a field of one, however deep: upstream's engine finds those in one step."""
    while (node.kind == "field" and not node.presence) or node.name in ("_[_]", "_?._", "_[?_]"):
        node = node.below[0]
    return node.kind == "name"


def _is_constant(node: Node) -> bool:
    """Whether upstream's engine has made a value of it before it is evaluated."""
    if node.kind == "constant":
        return True
    return node.kind in ("list", "map") and not node.optional and all(map(_is_constant, node.below))


def _member(value: Any, key: Any) -> Any:
    if isinstance(value, _Optional):
        return _Optional(_member(value.value, key)) if value.there and _is_there(value.value, key) else _NONE
    try:
        if isinstance(value, list) and not 0 <= key < len(value):
            raise _Failed
        return value[key]
    except (KeyError, IndexError, TypeError):
        raise _Failed from None


def _is_there(value: Any, key: Any) -> bool:
    if isinstance(value, _Optional):
        return value.there and _is_there(value.value, key)
    if isinstance(value, list):
        return isinstance(key, int) and 0 <= key < len(value)
    return isinstance(value, dict) and key in value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, _Optional) and isinstance(other, _Optional):
        return one.there == other.there and (not one.there or _same(one.value, other.value))
    return isinstance(one, bool) is isinstance(other, bool) and one == other


_JOINED: Final[Any] = (str, list, bytes, int, float)


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, _JOINED) and isinstance(other, _JOINED):
        return one + other
    raise _Elsewhere


def _minus(one: Any, other: Any) -> Any:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one - other
    raise _Elsewhere


def _divided(one: Any, other: Any) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
    return one / other if other else math.inf


def _not(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Failed
    return not value


def _within(one: Any, many: Any) -> bool:
    if not isinstance(many, list | dict):
        raise _Failed
    return one in many


def _sized(value: Any) -> int:
    return len(value)


def _type(value: Any) -> _Type:
    if isinstance(value, _Type):
        return _Type("type")
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return _Type(name)
    raise _Unknown


_KINDS: Final = (
    (bool, "bool"), (int, "int"), (float, "double"), (str, "string"), (bytes, "bytes"), (list, "list"), (dict, "map"),
    (type(None), "null_type"),
)  # fmt: skip


def _value(optional: Any) -> Any:
    if not isinstance(optional, _Optional) or not optional.there:
        raise _Failed
    return optional.value


def _or_value(optional: Any, otherwise: Any) -> Any:
    return optional.value if optional.there else otherwise


def _first(items: list[Any]) -> _Optional:
    return _Optional(items[0]) if items else _NONE


def _last(items: list[Any]) -> _Optional:
    return _Optional(items[-1]) if items else _NONE


_DONE: Final[Mapping[str, Callable[..., Any]]] = {
    "_==_": _same,
    "_!=_": lambda one, other: not _same(one, other),
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "_+_": _plus,
    "_-_": _minus,
    "_*_": operator.mul,
    "_/_": _divided,
    "_%_": lambda one, other: math.fmod(one, other) if isinstance(one, float) else int(math.fmod(one, other)),
    "!_": _not,
    "-_": operator.neg,
    "@in": _within,
    "size": _sized,
    "dyn": lambda value: value,
    "type": _type,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
    "hasValue": lambda optional: optional.there,
    "value": _value,
    "orValue": _or_value,
    "or": lambda optional, other: optional if optional.there else other,
    "optional.of": _Optional,
    "optional.none": lambda: _NONE,
    "optional.ofNonZeroValue": lambda value: _Optional(value) if value else _NONE,
    "first": _first,
    "last": _last,
}


# -- what calls cost ---------------------------------------------------------------------------------------------------


def _cost(name: str, given: Sequence[Any], value: Any) -> int:
    first = given[0] if given else None
    if name in _ONCE:
        return 1 if name == "ip" and isinstance(first, dict) else _read(first)
    if name in _TWICE:
        return math.ceil(_size(first) * 2 * _TEXT_FACTOR)
    if name in _WHOLE:
        return _traversed(first)
    if name in ("_==_", "_!=_"):
        return math.ceil(min(_size(first), _size(given[1])) * _TEXT_FACTOR)
    if name in _COMPARED:
        texts = isinstance(first, str | bytes)
        return math.ceil(min(_size(first), _size(given[1])) * _TEXT_FACTOR) if texts else 1
    special = _SPECIAL.get(name)
    return special(given, value) if special is not None else 1


def _size(value: Any) -> int:
    """Characters, items or entries; 1 of all else, and of addresses the bytes."""
    if isinstance(value, str | bytes | list):
        return len(value)
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(said := value.get("ip", value.get("cidr")), str):
            return 16 if ":" in said else 4
        return len(value)
    if isinstance(value, _Optional) and value.there:
        return _size(value.value)
    return 1


def _read(value: Any) -> int:
    return math.ceil(_size(value) * _TEXT_FACTOR)


def _traversed(value: Any) -> int:
    if isinstance(value, str | bytes):
        return int(len(value.encode() if isinstance(value, str) else value) * _TEXT_FACTOR)
    if isinstance(value, list):
        return sum(_traversed(each) for each in value)
    if isinstance(value, dict):
        return sum(_traversed(key) + _traversed(each) for key, each in value.items())
    return 1


def _matched(given: Sequence[Any], _: Any) -> int:
    pattern = math.ceil(_size(given[1]) * _PATTERN_FACTOR)
    return math.ceil((1 + _size(given[0])) * _TEXT_FACTOR) * pattern


def _joined(given: Sequence[Any], _: Any) -> int:
    texts = isinstance(given[0], str | bytes)
    return math.ceil((_size(given[0]) + _size(given[1])) * _TEXT_FACTOR) if texts else 1


def _converted(given: Sequence[Any], _: Any) -> int:
    return _read(given[0]) if isinstance(given[0], str | bytes) else 1


def _contains_address(given: Sequence[Any], _: Any) -> int:
    cost = math.ceil(2 * _size(given[0]) * _TEXT_FACTOR)
    return cost + (_read(given[1]) if isinstance(given[1], str) else 0)


def _contains_network(given: Sequence[Any], value: Any) -> int:
    return _contains_address(given, value) + _read(given[0]) + 1


def _validated(given: Sequence[Any], _: Any) -> int:
    name = given[0].get(formats.MARKER) if isinstance(given[0], dict) else None
    pattern = math.ceil(_FORMATS.get(name or "", _LONGEST_FORMAT) * _PATTERN_FACTOR)
    return math.ceil((1 + _size(given[1])) * _TEXT_FACTOR) * pattern if len(given) > 1 else 1


def _selected(given: Sequence[Any], _: Any) -> int:
    size = _size(given[1]) if len(given) > 1 else 0
    return _NEW_LIST + math.ceil(size * _TEXT_FACTOR) + math.ceil(math.ceil(size * 0.5) * 50)


def _self_compared(items: Any) -> int:
    factor = 2 + (_TEXT_FACTOR if items and isinstance(items[0], str | bytes) else 0)
    return 1 + _NEW_LIST + int(factor * len(items) ** 2)


_SPECIAL: Final[Mapping[str, Callable[[Sequence[Any], Any], int]]] = {
    "_+_": _joined,
    "@in": lambda given, _: _size(given[1]) if isinstance(given[1], list) else 1,
    "startsWith": lambda given, _: _read(given[1]),
    "endsWith": lambda given, _: _read(given[1]),
    "contains": lambda given, _: _read(given[0]) * _read(given[1]),
    "matches": _matched,
    "find": _matched,
    "findAll": _matched,
    "bytes": _converted,
    "string": _converted,
    "strings.quote": _converted,
    "format": _converted,
    "orValue": lambda given, value: 0,
    "or": lambda given, value: 0,
    "join": lambda _, value: math.ceil(_size(value) * 2 * _TEXT_FACTOR),
    "containsIP": _contains_address,
    "containsCIDR": _contains_network,
    "validate": _validated,
    "fieldSelector": _selected,
    "labelSelector": _selected,
    "check": lambda given, value: _AUTHORIZER_CHECK,
    "sets.contains": lambda given, _: 1 + _size(given[0]) * _size(given[1]),
    "sets.intersects": lambda given, _: 1 + _size(given[0]) * _size(given[1]),
    "sets.equivalent": lambda given, _: 1 + 2 * _size(given[0]) * _size(given[1]),
    "slice": lambda _, value: 1 + _NEW_LIST + _size(value),
    "reverse": lambda _, value: 1 + _NEW_LIST + _size(value),
    "lists.range": lambda _, value: 1 + _NEW_LIST + _size(value),
    "flatten": lambda given, _: 1 + _NEW_LIST + _size(given[0]) * (given[1] if len(given) > 1 else 1),
    "distinct": lambda given, _: _self_compared(given[0]),
    "sort": lambda given, _: _self_compared(given[0]),
    "@sortByAssociatedKeys": lambda given, _: _self_compared(given[1]),
}
