"""What the engine made of an expression: its tree, read from the form in which the engine writes it down.

`read` takes the bytes of `Expression.serialize()`: a `cel.expr.CheckedExpr`, or a `ParsedExpr` where nothing was
checked (`checked.proto` and `syntax.proto` of cel-spec), of which only what is asked for here is kept. Who wants to
know something about an expression that the engine does not tell (what it may cost, where optional values go) walks the
tree. `put` makes another
expression of its parts. Nothing here evaluates.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core._kit.varints import read_varint, varint

__all__ = ["Checked", "Node", "put", "read", "variable", "walk"]

#: Fields of `Expr` that say what it is.
_KINDS: Final = {3: "constant", 4: "name", 5: "field", 6: "call", 7: "list", 8: "map", 9: "loop"}
_PRIMITIVES: Final = ("", "bool", "int", "uint", "double", "string", "bytes")
#: Fields of `Constant`.
_CONSTANTS: Final = {
    2: "bool",
    3: "int",
    4: "uint",
    5: "double",
    6: "string",
    7: "bytes",
    8: "duration",
    9: "timestamp",
}
_WELL_KNOWN: Final = ("", "any", "timestamp", "duration")

Message = Mapping[int, Sequence[int | bytes]]


@attrs.frozen(slots=True)
class Node:
    """One expression. `below` are its parts: operand, target and arguments, elements, keys and values, a loop's six."""

    number: int
    #: `constant`, `name`, `field`, `call`, `list`, `map` or `loop`.
    kind: str
    #: Of a variable, field or function; of a constant its type.
    name: str = ""
    below: tuple[Node, ...] = ()
    #: The numbers of those elements and values that are left out where they are `optional.none()`.
    optional: frozenset[int] = frozenset()
    #: The variables that a loop declares: for keys or items, for values, for what it gathers.
    variables: tuple[str, ...] = ()
    #: A field that is only asked for (`has`).
    presence: bool = False
    #: Characters of a text, elements of a list or map.
    size: int = 0
    #: What a constant of text says.
    text: str = ""
    #: What a constant is.
    value: Any = None
    #: A call whose first part is what it is called on.
    member: bool = False
    #: The bytes that it was read from. No two nodes of a tree have the same, as each has a number of its own.
    written: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Checked:
    """A tree, and what the checker found out: types as upstream writes them, and the overloads of calls, by number."""

    root: Node
    types: Mapping[int, str]
    references: Mapping[int, tuple[str, ...]]

    def overloads(self, node: Node) -> tuple[str, ...]:
        return self.references.get(node.number, ())


def read(serialized: bytes) -> Checked:
    whole = _fields(serialized)
    message = _fields(_bytes(whole, 2))
    if _decoded(_bytes(whole, 1)).endswith("ParsedExpr"):
        return Checked(_node(_bytes(message, 2)), {}, {})
    types = {}
    for entry in message.get(3, ()):
        pair = _fields(entry)
        types[_number(pair, 1)] = _type(_fields(_bytes(pair, 2)))
    references = {}
    for entry in message.get(2, ()):
        pair = _fields(entry)
        references[_number(pair, 1)] = tuple(_decoded(each) for each in _fields(_bytes(pair, 2)).get(3, ()))
    return Checked(_node(_bytes(message, 4)), types, references)


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.below)


def put(parts: Mapping[bytes, bytes], data: bytes) -> bytes:
    """What is written, a node or a whole expression, with other nodes in the place of parts of it."""
    made = bytearray()
    place = 0
    while place < len(data):
        start = place
        tag, place = read_varint(data, place)
        match tag & 7:
            case 0:
                _, place = read_varint(data, place)
            case 2:
                length, begin = read_varint(data, place)
                place = begin + length
                value = data[begin:place]
                if value in parts or any(each in value for each in parts):
                    value = parts[value] if value in parts else put(parts, value)
                    made += varint(tag) + varint(len(value)) + value
                    continue
            case wire:
                place += 8 if wire == 1 else 4
        made += data[start:place]
    return bytes(made)


def variable(number: int, name: str) -> bytes:
    """What a variable is written as. `number`: one that no node has."""
    said = name.encode()
    named = b"\x0a" + varint(len(said)) + said
    return b"\x10" + varint(number) + b"\x22" + varint(len(named)) + named


def _node(data: int | bytes) -> Node:
    return attrs.evolve(_parsed(data), written=data if isinstance(data, bytes) else b"")


def _parsed(data: int | bytes) -> Node:
    message = _fields(data)
    number = _number(message, 2)
    field = next((each for each in _KINDS if each in message), 3)
    kind, body = _KINDS[field], _fields(_bytes(message, field))
    match kind:
        case "constant":
            text = _decoded(_bytes(body, 6)) if 6 in body else ""
            form = next((name for field, name in _CONSTANTS.items() if field in body), "null_type")
            size = len(text) or len(_bytes(body, 7))
            return Node(number, kind, form, size=size, text=text, value=_constant(form, body))
        case "name":
            return Node(number, kind, _decoded(_bytes(body, 1)))
        case "field":
            below = (_node(_bytes(body, 1)),)
            return Node(number, kind, _decoded(_bytes(body, 2)), below, presence=bool(_number(body, 3)))
        case "call":
            return Node(number, kind, _decoded(_bytes(body, 2)), _nodes(body, 1) + _nodes(body, 3), member=1 in body)
        case "list":
            elements = _nodes(body, 1)
            optional = frozenset(elements[each].number for each in _numbers(body.get(2, ())))
            return Node(number, kind, "", elements, optional, size=len(elements))
        case "map":
            return _map(number, body)
    variables = tuple(_decoded(_bytes(body, each)) for each in (1, 8, 3))
    return Node(number, kind, "", tuple(_node(_bytes(body, each)) for each in (2, 4, 5, 6, 7)), variables=variables)


def _constant(form: str, body: Message) -> Any:
    match form:
        case "bool":
            return bool(_number(body, 2))
        case "int":
            value = _number(body, 3)
            return value - (1 << 64) if value >> 63 else value
        case "uint":
            return _number(body, 4)
        case "double":
            return struct.unpack("<d", _bytes(body, 5))[0]
        case "string":
            return _decoded(_bytes(body, 6))
        case "bytes":
            return _bytes(body, 7)
    return None


def _map(number: int, body: Message) -> Node:
    below: list[Node] = []
    optional = set()
    entries = body.get(2, ())
    for entry in entries:
        pair = _fields(entry)
        below += _nodes(pair, 3)
        value = _node(_bytes(pair, 4))
        below.append(value)
        if _number(pair, 5):
            optional.add(value.number)
    return Node(number, "map", _decoded(_bytes(body, 1)), tuple(below), frozenset(optional), size=len(entries))


def _nodes(message: Message, field: int) -> tuple[Node, ...]:
    return tuple(_node(each) for each in message.get(field, ()))


def _type(message: Message) -> str:
    if 3 in message:
        return _PRIMITIVES[_number(message, 3)]
    if 5 in message:
        return _WELL_KNOWN[_number(message, 5)]
    if 6 in message:
        return f"list({_type(_fields(_bytes(_fields(_bytes(message, 6)), 1)))})"
    if 7 in message:
        pair = _fields(_bytes(message, 7))
        return f"map({_type(_fields(_bytes(pair, 1)))}, {_type(_fields(_bytes(pair, 2)))})"
    if 9 in message:
        return _decoded(_bytes(message, 9))
    if 14 in message:
        body = _fields(_bytes(message, 14))
        inner = ", ".join(_type(_fields(each)) for each in body.get(2, ()))
        return f"{_decoded(_bytes(body, 1))}({inner})"
    if 4 in message:
        return f"wrapper({_PRIMITIVES[_number(message, 4)]})"
    if 11 in message:
        return "type"
    return "null_type" if 2 in message else "dyn"


# -- the wire: tags, varints and lengths -----------------------------------------------------------------------------


def _fields(data: int | bytes) -> Message:
    found: dict[int, list[int | bytes]] = {}
    if isinstance(data, int):
        return found
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        value: int | bytes
        match tag & 7:
            case 0:
                value, place = read_varint(data, place)
            case 2:
                length, place = read_varint(data, place)
                value, place = data[place : place + length], place + length
            case wire:
                size = 8 if wire == 1 else 4
                value, place = data[place : place + size], place + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _numbers(values: Sequence[int | bytes]) -> Iterator[int]:
    """Repeated numbers, packed or not."""
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        place = 0
        while place < len(value):
            number, place = read_varint(value, place)
            yield number


def _number(message: Message, field: int) -> int:
    value = message.get(field, (0,))[-1]
    return value if isinstance(value, int) else 0


def _bytes(message: Message, field: int) -> bytes:
    value = message.get(field, (b"",))[-1]
    return value if isinstance(value, bytes) else b""


def _decoded(value: int | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else ""
