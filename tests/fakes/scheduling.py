"""The built-in plugins over nodes and objects that a test puts there by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.client.cache import Cache
from kube_core.client.informer import Lister
from kube_core.scheduler.framework import SchedulerHandle
from kube_core.scheduler.nodes import Nodes
from kube_core.scheduler.pods import read_pod
from kube_core.scheduler.profile import Nowhere, Profile
from kube_plugins.scheduler.builtin import BUILT_IN

__all__ = ["World"]


class Informers:
    """Caches filled by hand."""

    def __init__(self) -> None:
        self.caches: dict[str, Cache] = {}

    def informer(self, resource: Any) -> Any:
        cache = self.caches.setdefault(resource.plural, Cache())
        return SimpleNamespace(lister=Lister(cache), add_handler=lambda handler: None)


class World:
    def __init__(self, *documents: dict[str, Any]) -> None:
        self.nodes = Nodes()
        self.informers = Informers()
        self.random = Random(1)
        handle = SchedulerHandle(
            client=None,  # type: ignore[arg-type]
            informers=self.informers,  # type: ignore[arg-type]
            nodes=self.nodes,
            clock=FakeClock(),
            random=self.random,
            events=None,  # type: ignore[arg-type]
            log=None,  # type: ignore[arg-type]
            filters=lambda state, pod, node: None,
        )
        self.profile = Profile(BUILT_IN, handle)
        for document in documents:
            self.nodes.set_node(document)

    def place(self, document: dict[str, Any]) -> str:
        """The node's name, which the pod then takes room on, or the message."""
        info = read_pod(document)
        answer = self.profile.place(info, self.nodes, self.random)
        if isinstance(answer, Nowhere):
            return answer.message
        self.nodes.assume(info, answer.node)
        return answer.node

    def answer(self, document: dict[str, Any]) -> Nowhere:
        """For a pod that there is no place for."""
        answer = self.profile.place(read_pod(document), self.nodes, self.random)
        assert isinstance(answer, Nowhere)
        return answer

    def put(self, plural: str, document: dict[str, Any]) -> None:
        self.informers.caches[plural].put(document)
