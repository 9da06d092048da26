"""Expressions whose loops take more turns than the engine takes at once: evaluated part by part.

The engine gives up after ten thousand turns of all loops of an expression, and upstream has a limit on cost instead,
which is further away. So where the engine gives up, the expression is taken apart as far as is needed: `&&`, `||`, `!`
and `?:` choose as they do in the engine, other calls get the values of their parts, a loop goes over its list a slice
at a time, and, where a single turn is too much, over the parts of a turn.

Loops that gather lists are taken apart before the engine sees them, where lists are long: it makes the whole list anew
in each turn.

All of it together may take `MOST_TURNS` turns. What upstream's limit on the cost of one evaluation (`budgets.py`) lets
pass is fewer: this is for what is evaluated without a budget.
Called by `engine.py` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.cel import syntax
from kube_core.cel.syntax import Node

__all__ = ["MOST_TURNS", "GaveUp", "Sliced", "gathers", "is_long"]

MOST_TURNS: Final = 500_000
#: Turns that the engine takes at once.
_AT_ONCE: Final = 10_000
_LARGEST_SLICE: Final = 4096
#: Of a list that is made anew in each turn.
_GATHERED_SLICE: Final = 64
#: Turns that an attempt counts as which showed only that a slice is too long.
_TRIED: Final = 1000
#: Turns that a turn counts as which is taken apart.
_APART: Final = 20
#: Entries from which on a list or map is long.
_LONG: Final = 512
#: Numbers that are added to those of nodes, for what stands in their places.
_STANDS_IN: Final = 1 << 40
#: Name, in an evaluation, of what a loop goes over.
_OVER: Final = "slice__"

Variables = Mapping[str, Any]


class GaveUp(Exception):
    """Too many turns: for the engine, or for all."""


def gathers(node: Node) -> bool:
    """Whether a loop in it makes a list or map."""
    return any(each.kind == "loop" and _builds(each) for each in syntax.walk(node))


def is_long(value: Any) -> bool:
    """Whether there is a long list or map in it."""
    if isinstance(value, dict | list):
        return len(value) > _LONG or any(
            is_long(each) for each in (value.values() if isinstance(value, dict) else value)
        )
    return isinstance(value, str) and len(value) > _LONG


@attrs.define
class Sliced:
    """One evaluation. `run` evaluates a serialized expression; it raises `GaveUp`, and `failed` for other errors."""

    serialized: bytes
    run: Callable[[bytes, Variables], Any]
    failed: type[Exception]
    _root: bytes = b""
    _turns: int = 0

    def value(self, variables: Variables) -> Any:
        """Raises `GaveUp`, and what `run` raises."""
        root = syntax.read(self.serialized).root
        self._root = root.written
        return self._apart(root, variables)

    def _value(self, node: Node, variables: Variables) -> Any:
        if node.kind == "name" and node.name in variables:
            return variables[node.name]
        if not gathers(node):
            try:
                return self._run(node.written, variables)
            except GaveUp:
                self._take(_AT_ONCE)
        return self._apart(node, variables)

    def _apart(self, node: Node, variables: Variables) -> Any:
        if node.kind == "loop":
            over, start, _, _, result = node.below
            if not over.below and over.kind == "list":  # a bound variable
                bound = self._value(start, variables)
                return self._value(result, {**variables, node.variables[2]: bound})
            return self._loop(node, variables)
        match node.name if node.kind == "call" else "":
            case "_&&_" | "_||_":
                return self._either(node.below, variables, settles=node.name == "_||_")
            case "!_":
                return self._value(node.below[0], variables) is False
            case "_?_:_":
                holds = self._value(node.below[0], variables)
                return self._value(node.below[1] if holds is True else node.below[2], variables)
        return self._with_parts(node, variables)

    def _either(self, parts: Sequence[Node], variables: Variables, *, settles: bool) -> bool:
        """The one part that settles it does so whatever becomes of the other."""
        error = None
        for part in parts:
            try:
                if self._value(part, variables) is settles:
                    return bool(settles)
            except self.failed as failure:
                error = error or failure
        if error is not None:
            raise error
        return not settles

    def _with_parts(self, node: Node, variables: Variables) -> Any:
        parts, found = {}, dict(variables)
        for each in node.below:
            if any(below.kind == "loop" for below in syntax.walk(each)):
                name = f"part__{each.number}"
                found[name] = self._value(each, variables)
                parts[each.written] = syntax.variable(_STANDS_IN + each.number, name)
        if not parts and any(each.kind == "loop" for each in syntax.walk(node)):
            raise GaveUp
        return self._run(syntax.put(parts, node.written), found)

    def _loop(self, node: Node, variables: Variables) -> Any:
        over, start, _, step, result = node.below
        items = self._value(over, variables)
        if isinstance(items, dict):
            pairs: list[Any] = [*items.items()] if node.variables[1] else [*items]
        else:
            pairs = [*enumerate(items)] if node.variables[1] else items
        counts = result.kind == "call"  # exactly one
        slice_ = {over.written: syntax.variable(_STANDS_IN + over.number, _OVER)}
        if counts:
            slice_[result.written] = result.below[0].written
        written = syntax.put(slice_, node.written)
        first = self._run(start.written, variables)
        nested = any(each.kind == "loop" for each in syntax.walk(step))
        gathered, error = first, None
        apart, place = gathers(step), 0
        size = 1 if apart else _GATHERED_SLICE if _builds(node) else _LARGEST_SLICE
        while place < len(pairs):
            part = pairs[place : place + size]
            self._take(_APART if apart else self._worth(size, nested=nested))
            given = dict(part) if node.variables[1] else part
            try:
                if apart:
                    found = self._value(step, self._turn(node, part[0], first, variables))
                else:
                    found = self._run(written, {**variables, _OVER: given})
            except GaveUp:
                self._take(_TRIED)
                size //= 2
                apart = not size
                size = size or 1
                continue
            except self.failed as failure:
                if not isinstance(first, bool):
                    raise
                error, found = error or failure, first
            place += len(part)
            if isinstance(first, bool) and found is not first:
                return found
            gathered = self._gathered(gathered, found)
        if error is not None:
            raise error
        return gathered == 1 if counts else gathered

    def _worth(self, size: int, *, nested: bool) -> int:
        """Turns that a slice counts as: where there are loops within, what the engine may have taken for it."""
        if not nested:
            return size
        return _AT_ONCE if size > 1 else _AT_ONCE // 2

    def _turn(self, node: Node, item: Any, first: Any, variables: Variables) -> Variables:
        """The variables of one turn."""
        one, two, gathered = node.variables
        own = {one: item[0], two: item[1]} if two else {one: item}
        return {**variables, **own, gathered: first}

    def _gathered(self, before: Any, found: Any) -> Any:
        if isinstance(before, bool):
            return found
        if isinstance(before, dict):
            for key in found:
                if key in before:
                    raise self.failed(f"insert failed: key {key} already exists")
            return {**before, **found}
        return before + found

    def _run(self, written: bytes, variables: Variables) -> Any:
        return self.run(syntax.put({self._root: written}, self.serialized), variables)

    def _take(self, turns: int) -> None:
        self._turns += turns
        if self._turns > MOST_TURNS:
            raise GaveUp


def _builds(loop: Node) -> bool:
    return loop.below[1].kind in ("list", "map")
