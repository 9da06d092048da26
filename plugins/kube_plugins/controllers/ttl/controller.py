"""The annotation `node.alpha.kubernetes.io/ttl`, in seconds, by the number of nodes.

The sizes at which it changes overlap, so that a cluster whose size goes back and forth does not write every node each
time. Mirrors upstream's ttl controller, with its numbers. A node is written when it comes, or changes, next; nothing is
gained by hurrying.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, annotations_of

__all__ = ["ANNOTATION", "TtlController", "step_for"]

ANNOTATION = "node.alpha.kubernetes.io/ttl"


@attrs.frozen
class _Step:
    smallest: int
    largest: float
    seconds: int


_STEPS = (_Step(0, 100, 0), _Step(90, 500, 15), _Step(450, 1000, 30), _Step(900, 2000, 60), _Step(1800, math.inf, 300))


def step_for(nodes: int, step: int = 0) -> tuple[int, int]:
    """The step for so many nodes, coming from `step`; and its seconds."""
    while nodes > _STEPS[step].largest:
        step += 1
    while nodes < _STEPS[step].smallest:
        step -= 1
    return step, _STEPS[step].seconds


class TtlController(Controller):
    """Watches nodes."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._nodes = context.informers.lister(resources.NODES)
        self._step = 0

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.NODES, predicate=self._differs),)

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        if node is not None and annotations_of(node).get(ANNOTATION) != (wanted := self._wanted()):
            await self.client.patch(resources.NODES, key.name, {"metadata": {"annotations": {ANNOTATION: wanted}}})
        return await_change()

    def _wanted(self) -> str:
        self._step, seconds = step_for(len(self._nodes), self._step)
        return str(seconds)

    def _differs(self, before: Document | None, after: Document | None) -> bool:
        return after is not None and annotations_of(after).get(ANNOTATION) != self._wanted()
