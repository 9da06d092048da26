"""The metrics server: looks at what nodes say that they use, and answers metrics.k8s.io of it.

    server = MetricsServer(sources, nodes=…, pods=…, clock=clock)
    response = await server.handle(request)

`sources` are the nodes' figures, by name: in this program now, and for a node elsewhere whatever reads its endpoint.
With `always` it looks every fifteen seconds (`run`), as upstream's does, so that a rate is always that of the last
quarter of a minute; without, only when somebody asks, so that a cluster whose time is moved by hand has no timers for
what nobody wants to know. A node that does not answer has no metrics, nor have its pods.

Called by the API server's aggregation layer, after it has authenticated and authorised. Mirrors metrics-server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kube_core._kit.clock import Clock, turn
from kube_core._kit.logs import get_logger
from kube_core.abc.transport import Request, Response
from kube_core.abc.usage import FiguresSource, NodeFigures
from kube_core.client.informer import Lister
from kube_core.meta import selectors
from kube_core.meta.documents import Document, Key, labels_of, name_of, namespace_of, uid_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import MethodNotSupported, NotFound, not_found
from kube_core.metricsserver import documents
from kube_core.metricsserver.points import Points

__all__ = ["RESOLUTION", "MetricsServer"]

_log = get_logger("kube_core.metricsserver")
#: Seconds between two looks.
RESOLUTION = 15.0
#: Seconds that a node gets to answer.
_TIMEOUT = 10.0
#: Objects that are gone through without letting others have their turn.
_AT_ONCE = 200
_TABLE = "as=table"


class MetricsServer:
    """Of one cluster. `nodes` and `pods` are listers; their labels are those of the metrics."""

    def __init__(
        self,
        sources: Callable[[], Mapping[str, FiguresSource]],
        *,
        nodes: Lister,
        pods: Lister,
        clock: Clock,
        always: bool,
    ) -> None:
        self._sources = sources
        self._nodes = nodes
        self._pods = pods
        self._clock = clock
        self._always = always
        self._points = Points()
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Look again and again, until cancelled; returns at once where it only looks when somebody asks."""
        while self._always:
            await self._look()
            await self._clock.sleep(RESOLUTION)

    async def handle(self, request: Request) -> Response:
        """Answer a request below the path of the version. Raises `NotFound`, `MethodNotSupported`, `BadRequest`."""
        _only_read(request)
        match request.path.strip("/").split("/")[3:]:
            case []:
                return Response(document=documents.resource_list())
            case ["nodes"]:
                await self._refresh()
                return await self._listing(request, "nodes", "")
            case ["nodes", name]:
                await self._refresh()
                found = self._node_metrics(self._nodes.get(Key("", name)))
                return self._single(request, found, not_found(GroupResource("metrics.k8s.io", "nodemetrics"), name))
            case ["pods"]:
                await self._refresh()
                return await self._listing(request, "pods", "")
            case ["namespaces", namespace, "pods"]:
                await self._refresh()
                return await self._listing(request, "pods", namespace)
            case ["namespaces", namespace, "pods", name]:
                await self._refresh()
                found = self._pod_metrics(self._pods.get(Key(namespace, name)))
                missing = not_found(GroupResource("metrics.k8s.io", "podmetrics"), f"{namespace}/{name}")
                return self._single(request, found, missing)
        raise NotFound("the server could not find the requested resource", details={})

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Have figures to answer with: the last ones, or, without a loop that looks, those of now."""
        if self._looked_at is None or (not self._always and self._looked_at < self._clock.monotonic()):
            await self._look()

    async def _look(self) -> None:
        began = self._clock.monotonic()
        async with self._looking:
            if self._looked_at is not None and self._looked_at >= began:
                return  # somebody else has just looked
            sources = self._sources()
            found = await asyncio.gather(*(self._ask(name, source) for name, source in sources.items()))
            look = self._points.begin()
            for each in found:
                if each is not None:
                    look.add(each)
                    await turn()  # a node at a time, so that a large cluster holds up nobody
            self._points.end(look)
            self._looked_at = self._clock.monotonic()

    async def _ask(self, name: str, source: FiguresSource) -> NodeFigures | None:
        try:
            async with self._clock.timeout(_TIMEOUT):
                return await source.figures()
        except Exception as error:
            _log.warning("a node does not say what it uses", node=name, error=f"{type(error).__name__}: {error}")
            return None

    # -- answering ---------------------------------------------------------------------------------------------------

    async def _listing(self, request: Request, plural: str, namespace: str) -> Response:
        labels = selectors.parse_labels(request.parameter("labelSelector"))
        fields = selectors.parse_fields(request.parameter("fieldSelector"))
        lister, make = (self._nodes, self._node_metrics) if plural == "nodes" else (self._pods, self._pod_metrics)
        items = []
        for number, document in enumerate(lister.list(namespace), start=1):
            if not number % _AT_ONCE:
                await turn()
            named = {"metadata.name": name_of(document), "metadata.namespace": namespace_of(document)}
            if labels.matches(labels_of(document)) and fields.matches(named):
                made = make(document)
                if made is not None:
                    items.append(made)
        items.sort(key=lambda each: (each["metadata"].get("namespace", ""), each["metadata"]["name"]))
        if _wants_table(request):
            return Response(document=documents.table(items, request.parameter("includeObject", "Metadata")))
        return Response(document=documents.listed(plural, items))

    def _single(self, request: Request, found: Mapping[str, Any] | None, missing: NotFound) -> Response:
        if found is None:
            raise missing
        if _wants_table(request):
            return Response(document=documents.table([found], request.parameter("includeObject", "Metadata")))
        return Response(document=dict(found))

    def _node_metrics(self, node: Document | None) -> dict[str, Any] | None:
        rate = self._points.nodes.get(name_of(node)) if node is not None else None
        return documents.node_metrics(node, rate, self._clock.now()) if node is not None and rate is not None else None

    def _pod_metrics(self, pod: Document | None) -> dict[str, Any] | None:
        rates = self._points.pods.get((namespace_of(pod), name_of(pod))) if pod is not None else None
        if pod is None or rates is None or rates.uid != uid_of(pod):
            return None
        return documents.pod_metrics(pod, rates, self._clock.now())


def _only_read(request: Request) -> None:
    if request.method not in ("GET", "HEAD") or request.parameter("watch") in ("true", "1"):
        raise MethodNotSupported("the server does not allow this method on the requested resource", details={})


def _wants_table(request: Request) -> bool:
    """Whether the form that the client names first is a table."""
    return _TABLE in request.headers.get("accept", "").partition(",")[0].replace(" ", "").lower()
