"""What an expression may cost, before it is evaluated: how many steps, from above, for values of a given size.

The engine cannot be stopped once it runs. So the steps are counted on the tree: each node is one, and what is in a loop
counts once for each element of the longest list, map or (where a text is taken apart) text there is. Loops within loops
multiply. That is generous to most expressions and certain for all: one that passes ends in bounded time.

Upstream counts while it evaluates, and gives each call 1,000,000 units; what could be is several times what is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.registry.cel.syntax import Node

__all__ = ["STEP_LIMIT", "Weight", "longest", "weigh"]

STEP_LIMIT: Final = 5_000_000
#: Functions that make lists as long as their texts.
_TAKE_APART: Final = frozenset(("split", "findAll", "chars"))


@attrs.frozen
class Weight:
    """`nodes[d]`: how many nodes are within `d` loops. `texts`: texts are taken apart, so their lengths count too."""

    nodes: Sequence[int]
    texts: bool

    @property
    def depth(self) -> int:
        return len(self.nodes) - 1

    def steps(self, size: int) -> int:
        """The most steps for values of which the longest has `size` elements."""
        return sum(count * size**depth for depth, count in enumerate(self.nodes))


def weigh(root: Node) -> Weight:
    nodes: list[int] = []
    texts = False
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        while len(nodes) <= depth:
            nodes.append(0)
        nodes[depth] += 1
        texts = texts or node.name in _TAKE_APART
        if node.kind == "loop":
            source, begin, condition, step, result = node.below
            # `cel.bind` is a loop over nothing.
            inner = depth if source.kind == "list" and not source.below else depth + 1
            waiting += [(source, depth), (begin, depth), (result, depth), (condition, inner), (step, inner)]
        else:
            waiting += [(each, depth) for each in node.below]
    return Weight(tuple(nodes), texts)


def longest(value: Any, *, texts: bool = False) -> int:
    """The length of the longest list or map (or text) in a value."""
    if isinstance(value, Mapping):
        return max([len(value), *(longest(each, texts=texts) for each in value.values())])
    if isinstance(value, list):
        return max([len(value), *(longest(each, texts=texts) for each in value)])
    return len(value) if texts and isinstance(value, str) else 0
