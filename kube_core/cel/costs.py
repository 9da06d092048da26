"""What evaluating an expression costs at most, told from its tree and from how large the values can be.

Upstream refuses rules of custom resources whose worst case costs too much, when the definition is written. So that the
same rules are written here as there, `worst_cost` counts in upstream's units: a variable or field is one, a character
that a function reads a tenth, a turn of a loop what its parts cost. The worst case takes every branch that costs more,
and every loop to its end. The numbers are those of CEL's own checker and of Kubernetes' libraries; the units are
documented under "Resource use by validation functions" of CustomResourceDefinitions.

Where upstream's estimate is odd (what is gathered in a loop counts as large as the root), so is this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from kube_core.cel.sizes import ANY, Sized, of_type
from kube_core.cel.syntax import Checked, Node

__all__ = ["UNBOUNDED", "Size", "cost_within", "worst_cost"]

#: More is not counted.
UNBOUNDED: Final = 2**64 - 1
_TEXT_FACTOR: Final = 0.1
_PATTERN_FACTOR: Final = 0.25
_NEW_LIST: Final = 10
_NEW_MAP: Final = 30
#: Of patterns behind named formats.
_FORMAT_PATTERN: Final = 128 * _PATTERN_FACTOR
_AUTHORIZER_CHECK: Final = 350_000

_ORDER: Final = ("_<_", "_<=_", "_>_", "_>=_")
_EQUALITY: Final = ("_==_", "_!=_")
_NOMINAL: Final = frozenset(
    ["serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error",
     "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast",
     "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat",
     "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname",
     "getHost", "getPort", "getEscapedPath", "getQuery"]
)  # fmt: skip
_PARSERS: Final = frozenset(
    ["cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver", "url", "jsonpatch.escapeKey"]
)
#: What functions give whose types the engine does not know.
_MADE: Final = {"cidr": "cidr", "masked": "cidr", "ip": "ip", "quantity": "quantity", "semver": "semver", "url": "url"}


@attrs.frozen
class Size:
    """Characters, items or entries, at least and at most."""

    least: int
    most: int

    def union(self, other: Size) -> Size:
        return Size(min(self.least, other.least), max(self.most, other.most))

    def plus(self, other: Size) -> Size:
        return Size(_capped(self.least + other.least), _capped(self.most + other.most))

    def times(self, other: Size) -> Size:
        return Size(_capped(self.least * other.least), _capped(self.most * other.most))


_UNKNOWN: Final = Size(0, UNBOUNDED)
_ONE: Final = Size(1, 1)


@attrs.frozen
class _Entries:
    """How large the keys and values of a container are; the keys of a list are its indices."""

    listed: bool
    keys: Size
    values: Size


@attrs.frozen
class _Local:
    """A variable of a loop, or a bound one."""

    path: tuple[str, ...]
    type: Sized
    size: Size | None = None
    entries: _Entries | None = None


@attrs.frozen
class _Given:
    """A call whose parts are estimated. `target`: what it is called on; `parts`: the others."""

    node: Node
    target: Node | None
    parts: Sequence[Node]


def worst_cost(checked: Checked, variables: Mapping[str, Sized], root: Sized, node: Node | None = None) -> int:
    """`variables`: the types of those that have one. `root`: where paths into values start, whichever the variable.
    `node`: the part to be estimated, if not the whole."""
    return _Estimate(checked, variables, root).cost(node or checked.root)


def cost_within(checked: Checked, variables: Mapping[str, Sized], largest: int) -> int:
    """What an expression costs at most on values of such sizes. `largest`: of all of which no more is known.

    Here a path leads from its own variable, as it is not upstream's estimate of what may be written that this is to
    meet, but a bound on what one evaluation costs.
    """
    return _Estimate(checked, variables, None, Size(0, largest)).cost(checked.root)


class _Estimate:
    def __init__(
        self, checked: Checked, variables: Mapping[str, Sized], root: Sized | None, unknown: Size = _UNKNOWN
    ) -> None:
        self._checked = checked
        self._variables = variables
        self._root = root
        self._unknown = unknown
        self._paths: dict[int, tuple[str, ...]] = {}
        self._types: dict[int, Sized] = {}
        self._sizes: dict[int, Size] = {}
        self._entries: dict[int, _Entries] = {}
        self._locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> int:
        match node.kind:
            case "name":
                cost = self._name(node)
            case "field":
                cost = self._field(node)
            case "call":
                cost = self._call(node)
            case "list":
                cost = self._list(node)
            case "map":
                cost = self._map(node)
            case "loop":
                cost = self._bind(node) if _is_bind(node) else self._loop(node)
            case _:
                cost = 0
                self._types[node.number] = Sized(node.name)
        return _capped(cost)

    # -- kinds of nodes ------------------------------------------------------------------------------------------------

    def _name(self, node: Node) -> int:
        local = self._local(node.name)
        self._paths[node.number] = local.path if local is not None else (node.name,)
        self._types[node.number] = local.type if local is not None else self._variables.get(node.name, ANY)
        return 1

    def _field(self, node: Node) -> int:
        operand = node.below[0]
        cost = self.cost(operand)
        if node.presence:
            self._types[node.number] = Sized("bool")
            return cost
        within = self._types[operand.number]
        if within.kind in ("map", "object") or self._root is None:
            cost += 1 + self._begins(operand)
        self._paths[node.number] = (*self._path(operand), node.name)
        self._types[node.number] = _member(within, node.name)
        return cost

    def _list(self, node: Node) -> int:
        cost = sum(self.cost(each) for each in node.below)
        size = _joined([self.size(each) for each in node.below])
        self._entries[node.number] = _Entries(True, _ONE, size)
        self._types[node.number] = Sized("list", inner=self._types[node.below[0].number] if node.below else ANY)
        return cost + _NEW_LIST

    def _map(self, node: Node) -> int:
        cost = sum(self.cost(each) for each in node.below)
        keys, values = (_joined([self.size(each) for each in node.below[start::2]]) for start in (0, 1))
        self._entries[node.number] = _Entries(False, keys, values)
        first = [self._types[each.number] for each in node.below[:2]] or [ANY, ANY]
        self._types[node.number] = Sized("map", key=first[0], inner=first[1])
        return cost + _NEW_MAP

    def _loop(self, node: Node) -> int:
        over, start, condition, step, result = node.below
        one, two, gathered = node.variables
        cost = self.cost(over) + self.cost(start)
        self._push(gathered, self._bound(start))
        for name, local in self._turn(over, one, two):
            self._push(name, local)
        turn = self.cost(condition) + self.cost(step)
        for name in (one, two) if two else (one,):
            self._locals[name].pop()
        local = self._locals[gathered].pop()
        if start.kind in ("list", "map"):
            local = attrs.evolve(local, type=self._types[step.number])
        self._push(gathered, local)
        cost += self.cost(result)
        self._locals[gathered].pop()
        count = self.size(over)
        self._types[node.number] = self._types[result.number]
        if start.kind == "constant":
            self._sizes[node.number] = self.size(start)
        elif start.kind in ("list", "map"):
            self._sizes[node.number] = count
            if (entries := self._entries_of(step)) is not None:
                self._entries[node.number] = entries
        return cost + count.most * _capped(turn)

    def _turn(self, over: Node, one: str, two: str) -> list[tuple[str, _Local]]:
        """The variables of a loop over something."""
        path, entries, type_ = self._path(over), self._entries_of(over), self._types[over.number]
        listed = entries.listed if entries is not None else type_.kind == "list"
        keys, values = (entries.keys, entries.values) if entries is not None else (None, None)
        value = _Local((*path, "@items" if listed else "@values"), type_.inner or ANY, values)
        if listed:
            key = _Local((*path, "@indices"), Sized("int"), keys)
        else:
            key = _Local((*path, "@keys"), type_.key or ANY, keys)
        if two:
            return [(one, key), (two, value)]
        return [(one, value if listed else key)]

    def _bind(self, node: Node) -> int:
        over, value, _, _, result = node.below
        cost = self.cost(over) + self.cost(value)
        self._push(node.variables[2], self._bound(value))
        cost += self.cost(result)
        self._locals[node.variables[2]].pop()
        self._copy(node, result)
        return cost

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> int:
        costs = [self.cost(each) for each in node.below]
        self._types[node.number] = self._returned(node)
        match node.name:
            case "dyn":
                self._copy(node, node.below[0])
                self._types[node.number] = ANY
                return 1 + costs[0]
            case "_&&_" | "_||_":
                return sum(costs)
            case "_?_:_":
                return self._either(node, costs)
            case "optional.ofNonZeroValue" if node.below[0].name in ("validate", "format.named"):
                return costs[0]  # what makes an optional of it is not of the rule's author
        target = node.below[0] if node.member else None
        given = _Given(node, target, node.below[1:] if node.member else node.below)
        cost, size = self._function(given)
        if node.name == "_[_]":
            cost += self._begins(node.below[0])
            listed = self._types[node.below[0].number].kind == "list"
            self._paths[node.number] = (*self._path(node.below[0]), "@items" if listed else "@values")
            entries = self._entries_of(node.below[0])
            size = entries.values if entries is not None else None
        size = size or self._known_size(node)
        if size is not None:
            self._sizes[node.number] = size
        return sum(costs) + cost

    def _begins(self, operand: Node) -> bool:
        """Whether looking into something costs one more than upstream's estimate has it: where it is no variable."""
        return self._root is None and operand.kind not in ("name", "field")

    def _either(self, node: Node, costs: Sequence[int]) -> int:
        _, yes, no = node.below
        self._sizes[node.number] = self.size(yes).union(self.size(no))
        one, other = self._entries_of(yes), self._entries_of(no)
        if one is not None and other is not None:
            self._entries[node.number] = _union(one, other)
        return costs[0] + max(costs[1], costs[2])

    def _function(self, given: _Given) -> tuple[int, Size | None]:
        """What the call itself costs, and how large its result is, where that is known."""
        name, parts, target = given.node.name, given.parts, given.target
        if name in _NOMINAL or (name == "ip" and target is not None):
            return 1, None
        if name in _PARSERS and parts:
            size = self.size(parts[0])
            return _scan(size), size if name in ("url", "jsonpatch.escapeKey") else None
        special = _SPECIAL.get(name)
        found = special(self, given) if special is not None else None
        return found if found is not None else (1, None)

    def plus(self, given: _Given) -> tuple[int, Size | None]:
        kinds = {self._types[each.number].kind for each in given.parts} - {"dyn"}
        if kinds and not kinds & {"string", "bytes", "list"}:
            return 1, None
        one, other = given.parts
        size = self.size(one).plus(self.size(other))
        first, second = self._entries_of(one), self._entries_of(other)
        if first is not None and second is not None:
            self._entries[given.node.number] = _union(first, second)
        return (1 if kinds == {"list"} else max(1, _scan(size)) if not kinds else _scan(size)), size

    def compared(self, given: _Given) -> tuple[int, Size | None]:
        one, other = given.parts
        kinds = {self._types[each.number].kind for each in given.parts}
        if given.node.name in _EQUALITY:
            if given.node.name == "_==_" and len(kinds) == 1 and kinds <= {*_MADE.values(), "authorizer"}:
                return 1, None
        elif kinds - {"dyn"} and not kinds & {"string", "bytes"}:
            return 1, None
        smaller = min(self.size(one).most, self.size(other).most)
        cost = _times(smaller, _TEXT_FACTOR)
        return (max(1, cost) if given.node.name in _ORDER and kinds == {"dyn"} else cost), None

    def contained(self, given: _Given) -> tuple[int, Size | None]:
        within = self._types[given.parts[1].number]
        return (1 if within.kind == "map" else max(self.size(given.parts[1]).most, within.kind == "dyn")), None

    def affix(self, given: _Given) -> tuple[int, Size | None]:
        return _scan(self.size(given.parts[0])), None

    def substring(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None:
            return None
        return _capped(_scan(self.size(given.target)) * _scan(self.size(given.parts[0]))), None

    def matched(self, given: _Given) -> tuple[int, Size | None]:
        text, pattern = (given.target, given.parts[0]) if given.target is not None else given.parts[:2]
        size = self.size(text)
        cost = _scan(size.plus(_ONE)) * _times(self.size(pattern).most, _PATTERN_FACTOR)
        return _capped(cost), None if given.node.name == "matches" else Size(0, size.most)

    def converted(self, given: _Given) -> tuple[int, Size | None] | None:
        """Of texts to bytes, and back."""
        size, kind = self.size(given.parts[0]), self._types[given.parts[0].number].kind
        if given.node.name == "bytes":
            return (_scan(size), Size(size.least, _capped(4 * size.most))) if kind in ("string", "dyn") else None
        return (_scan(size), Size(size.least // 4, size.most)) if kind in ("bytes", "dyn") else None

    def ordered(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None:
            return None
        type_, size = self._types[given.target.number], self.size(given.target)
        if type_.kind != "list":
            return (size.most if given.node.name == "includes" else _scan(size)), None
        each = 1
        if type_.inner is not None and type_.inner.kind in ("string", "bytes"):
            path = self._path(given.target)
            found = self._declared((*path, "@items")) if path else None
            each += _scan(found or self._unknown)
        return _capped(size.most * each), None

    def changed(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None:
            return None
        size = self.size(given.target)
        return _scan(size), size

    def replaced(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None or len(given.parts) < 2:
            return None
        size, old, new = (self.size(each) for each in (given.target, *given.parts[:2]))
        made = Size(_replaced(size.least, old.most, new.least), _replaced(size.most, old.least, new.most))
        return _times(size.most, 2 * _TEXT_FACTOR), made

    def split(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None:
            return None
        size = self.size(given.target)
        return _times(size.most, 2 * _TEXT_FACTOR), Size(0, size.most)

    def joined(self, given: _Given) -> tuple[int, Size | None] | None:
        if given.target is None:
            return None
        count, made = self.size(given.target), Size(0, 0)
        if self._types[given.target.number].inner is not None:
            path = self._path(given.target)
            made = count.times((self._declared((*path, "@items")) if path else None) or self._unknown)
        if given.parts:
            between = Size(max(count.least - 1, 0), max(count.most - 1, 0))
            made = made.plus(self.size(given.parts[0]).times(between))
        return _scan(made), made

    def canonical(self, given: _Given) -> tuple[int, Size | None]:
        return _times(self.size(given.parts[0]).most, 2 * _TEXT_FACTOR), None

    def contains_network(self, given: _Given) -> tuple[int, Size | None]:
        """An address has 4 to 16 bytes, and is read twice; what is given as text is parsed, and read again."""
        cost = 4 if given.node.name == "containsIP" else 4 + 2 + 1
        if self._types[given.parts[0].number].kind == "string":
            cost += _scan(self.size(given.parts[0]))
        return cost, None

    def validated(self, given: _Given) -> tuple[int, Size | None]:
        return _times(_scan(self.size(given.parts[0])), _FORMAT_PATTERN), None

    def selected(self, given: _Given) -> tuple[int, Size | None]:
        """A selector is parsed into a list of requirements; the shortest takes two characters."""
        size = self.size(given.parts[0])
        return _capped(_NEW_LIST + _scan(size) + _times(_times(size.most, 0.5), 50)), None

    def checked_access(self, given: _Given) -> tuple[int, Size | None]:
        return _AUTHORIZER_CHECK, None

    def sets(self, given: _Given) -> tuple[int, Size | None]:
        factor = 2 if given.node.name == "sets.equivalent" else 1
        return _capped(1 + factor * self.size(given.parts[0]).times(self.size(given.parts[1])).most), None

    # -- what is known of a node ---------------------------------------------------------------------------------------

    def rearranged(self, given: _Given) -> tuple[int, Size | None] | None:
        """Of functions that make another list of a list; those that compare all of it with itself cost most."""
        name = given.node.name
        if name == "lists.range":
            return _new_list(1, _fixed(_whole(given.parts[0], UNBOUNDED)))
        over = given.parts[0] if name == "@sortByAssociatedKeys" else given.target
        if over is None:
            return None
        size = self.size(over)
        match name:
            case "slice":
                least, most = _whole(given.parts[0], 0), _whole(given.parts[1], size.most)
                return _new_list(1, _fixed(max(most - least, 0)))
            case "flatten":
                return _new_list(_whole(given.parts[0], UNBOUNDED) if given.parts else 1, size)
            case "reverse":
                return _new_list(1, size)
        inner = self._types[over.number].inner or ANY
        texts = name != "distinct" and inner.kind in ("string", "bytes")
        return _new_list(2 + (_TEXT_FACTOR if texts else 0), size.times(size))

    def size(self, node: Node) -> Size:
        return self._known_size(node) or self._unknown

    def _known_size(self, node: Node) -> Size | None:
        if node.number in self._sizes:
            return self._sizes[node.number]
        if node.kind == "constant":
            size = node.size if node.name in ("string", "bytes") else 1
            return Size(size, size)
        if node.kind in ("list", "map"):
            return Size(node.size, node.size)
        if (declared := self._declared(self._path(node))) is not None:
            return declared
        if self._types.get(node.number, ANY).scalar:
            return _ONE
        local = self._local(node.name) if node.kind == "name" else None
        return local.size if local is not None else None

    def _declared(self, path: Sequence[str]) -> Size | None:
        """By the schema. The first step is a variable, and leads to the root."""
        if not path:
            return None
        at: Sized | None = self._root if self._root is not None else self._variables.get(path[0])
        for step in path[1:]:
            if at is None:
                return None
            match step:
                case "@items" | "@values":
                    at = at.inner
                case "@keys":
                    at = at.key
                case _:
                    at = at.fields.get(step) or (at.inner if at.kind in ("map", "dyn") else None)
        return Size(0, at.most) if at is not None else None

    def _path(self, node: Node) -> tuple[str, ...]:
        return self._paths.get(node.number, ())

    def _entries_of(self, node: Node) -> _Entries | None:
        if node.number in self._entries:
            return self._entries[node.number]
        local = self._local(node.name) if node.kind == "name" else None
        return local.entries if local is not None else None

    def _returned(self, node: Node) -> Sized:
        """The type of a call: as the engine's checker has it, or, where that knows nothing, by those of its parts."""
        types = [self._types[each.number] for each in node.below]
        match node.name:
            case "_?_:_":
                return types[1] if types[1].kind != "dyn" else types[2]
            case "_+_" if types[0].kind == "list":
                empty = types[0].inner is None or types[0].inner.kind == "dyn"
                return types[1] if empty and types[1].kind == "list" else types[0]
            case "_+_" | "_-_" | "_*_" | "_/_" | "_%_":
                return types[0] if types[0].kind != "dyn" else types[1]
            case "_[_]" | "min" | "max" | "sum" | "value" | "first" | "last" | "optional.of":
                inner = types[0].inner or ANY
                return Sized("optional_type", inner=types[0]) if node.name == "optional.of" else inner
            case "reverse" | "slice" | "distinct" | "sort" | "@sortByAssociatedKeys" if types[0].kind == "list":
                return types[0]
            case "orValue":
                return types[1] if types[1].kind != "dyn" else types[0].inner or ANY
            case "_?._":
                within = types[0].inner or ANY if types[0].kind == "optional_type" else types[0]
                return Sized("optional_type", inner=_member(within, node.below[1].text))
        if node.name in _MADE:
            return Sized(_MADE[node.name])
        return of_type(self._checked.types.get(node.number, ""))

    def _bound(self, node: Node) -> _Local:
        return _Local(self._path(node), self._types[node.number], self._known_size(node), self._entries_of(node))

    def _copy(self, to: Node, of: Node) -> None:
        self._types[to.number] = self._types[of.number]
        if (size := self._known_size(of)) is not None:
            self._sizes[to.number] = size
        if (entries := self._entries_of(of)) is not None:
            self._entries[to.number] = entries

    def _local(self, name: str) -> _Local | None:
        return self._locals[name][-1] if self._locals.get(name) else None

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)


def _is_bind(node: Node) -> bool:
    over, _, condition, _, _ = node.below
    return over.kind == "list" and not over.below and condition.kind == "constant" and node.variables[2] != "@result"


def _member(within: Sized, name: str) -> Sized:
    if within.kind == "map" and name not in within.fields:
        return within.inner or ANY
    return within.fields.get(name, ANY)


def _whole(node: Node, otherwise: int) -> int:
    return int(node.value) if node.kind == "constant" and node.name in ("int", "uint") else otherwise


def _fixed(size: int) -> Size:
    return Size(size, size)


def _new_list(factor: float, size: Size) -> tuple[int, Size]:
    return _capped(1 + _NEW_LIST + _times(size.most, factor)), size


def _joined(sizes: Sequence[Size]) -> Size:
    found = sizes[0] if sizes else Size(0, 0)
    for each in sizes[1:]:
        found = found.union(each)
    return found


def _union(one: _Entries, other: _Entries) -> _Entries:
    return _Entries(one.listed, one.keys.union(other.keys), one.values.union(other.values))


def _replaced(size: int, old: int, new: int) -> int:
    """How long a text gets in which every `old` becomes `new`; an empty `old` is between all characters."""
    if old == 0:
        return _capped(_capped(size + 1) * new + size)
    if new <= old:
        return size
    return _capped(math.ceil(size / old) * new)


def _scan(size: Size) -> int:
    return _times(size.most, _TEXT_FACTOR)


def _times(count: int, factor: float) -> int:
    return _capped(math.ceil(count * factor))


def _capped(count: int) -> int:
    return min(count, UNBOUNDED)


_SPECIAL: Final[Mapping[str, Callable[[_Estimate, _Given], tuple[int, Size | None] | None]]] = {
    "_+_": _Estimate.plus,
    **dict.fromkeys((*_ORDER, *_EQUALITY), _Estimate.compared),
    "@in": _Estimate.contained,
    **dict.fromkeys(("startsWith", "endsWith"), _Estimate.affix),
    "contains": _Estimate.substring,
    **dict.fromkeys(("matches", "find", "findAll"), _Estimate.matched),
    **dict.fromkeys(("bytes", "string"), _Estimate.converted),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _Estimate.ordered),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _Estimate.changed),
    "replace": _Estimate.replaced,
    "split": _Estimate.split,
    "join": _Estimate.joined,
    "ip.isCanonical": _Estimate.canonical,
    **dict.fromkeys(("containsIP", "containsCIDR"), _Estimate.contains_network),
    "validate": _Estimate.validated,
    **dict.fromkeys(("fieldSelector", "labelSelector"), _Estimate.selected),
    "check": _Estimate.checked_access,
    **dict.fromkeys(
        ("slice", "lists.range", "reverse", "flatten", "distinct", "sort", "@sortByAssociatedKeys"),
        _Estimate.rearranged,
    ),
    **dict.fromkeys(("sets.contains", "sets.intersects", "sets.equivalent"), _Estimate.sets),
}
