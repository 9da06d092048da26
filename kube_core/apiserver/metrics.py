"""The server's metrics, under upstream's names where the meaning is the same, and the paths where they are read.

    /metrics          everything
    /metrics/slis     the health checks, as service level indicators

`RequestMetrics` is told of each request by the pipeline, and counts under 2 µs. What admission and storage count is
declared beside them, on the same `Metrics`; everything else is read when somebody asks (`readings`). Whoever reads has
passed authorization like any other request for a path.

A label never has a client's word for its value unless the server knows the word, so that nobody can fill the memory.

Upstream's behaviour: the "Kubernetes Metrics Reference".
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kube_core._kit.metrics import CONTENT_TYPE, Cell, Distribution, Metrics
from kube_core.abc.transport import Request, Response
from kube_core.api.version import MAJOR, MINOR, git_version
from kube_core.apiserver.fairness import Fairness
from kube_core.apiserver.health import Health
from kube_core.apiserver.readings import declare_fairness, declare_process, declare_storage, declare_watches
from kube_core.apiserver.requests import RequestInfo
from kube_core.bus.bus import Bus
from kube_core.storage.cache import WatchCache

__all__ = ["RequestMetrics", "ServerMetrics"]

_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_BYTES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
#: Paths that are no resources and are told apart.
_PATHS = frozenset(("api", "apis", "healthz", "livez", "metrics", "openapi", "readyz", "version"))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_VERBS = {"create": "POST", "update": "PUT", "delete": "DELETE", "get": "GET"}
_READING = frozenset(("get", "list", "watch"))
_APPLY = "application/apply-patch"
#: Subresources that connect somebody, whatever the method.
_CONNECTING = ("attach", "exec", "portforward", "proxy", "log")
#: How many kinds of requests are remembered.
_REMEMBERED = 4096


@attrs.frozen
class _Cells:
    """Where one kind of request is counted."""

    total: Cell
    duration: Distribution
    size: Distribution


class RequestMetrics:
    """Counts requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._total = metrics.counter("apiserver_request_total", "Requests that were answered.", *_LABELS, "code")
        self._duration = metrics.histogram(
            "apiserver_request_duration_seconds", "How long requests took, but for streams.", _SECONDS, *_LABELS
        )
        self._size = metrics.histogram(
            "apiserver_response_sizes",
            "Bytes of answers.",
            _BYTES,
            *(label for label in _LABELS if label != "dry_run"),
        )
        inflight = metrics.gauge(
            "apiserver_current_inflight_requests", "Requests that are being answered.", "request_kind"
        )
        self._reading, self._writing = inflight.cell("readOnly"), inflight.cell("mutating")
        self._events = metrics.counter(
            "apiserver_watch_events_total", "Events sent to watches.", "group", "version", "resource"
        )
        self._cells: dict[tuple[object, ...], _Cells] = {}

    def inflight(self, info: RequestInfo) -> Cell:
        """Where a request is counted while it is being answered."""
        return self._reading if info.verb in _READING else self._writing

    def answered(
        self,
        request: Request,
        info: RequestInfo,
        response: Response,
        seconds: float,
        knows: Callable[[RequestInfo], bool],
    ) -> None:
        """One request has its answer; `knows` says whether what it is about is served."""
        dry = request.parameter("dryRun") if request.query else ""
        key = (
            request.method,
            info.verb,
            info.group,
            info.version,
            info.resource or info.path,
            info.subresource,
            bool(info.name),
            bool(info.namespace),
            dry,
            response.status,
            info.verb == "patch" and request.headers.get("content-type", "").startswith(_APPLY),
        )
        cells = self._cells.get(key)
        if cells is None:
            if len(self._cells) >= _REMEMBERED:
                self._cells.clear()
            labels = _labels(
                request,
                info if request.method in _METHODS and knows(info) else None,
                "All" if dry == "All" else "",
                apply=bool(key[-1]),
            )
            cells = self._cells[key] = self._made(labels, response.status)
        cells.total.value += 1
        if (response.stream is None or response.finite) and response.upgrade is None:
            cells.duration.observe(seconds)
            if response.body is not None:
                cells.size.observe(len(response.body))

    def events(self, info: RequestInfo) -> Cell:
        """Where the events of a watch are counted."""
        return self._events.cell(info.group, info.version, info.resource)

    def _made(self, labels: tuple[str, ...], status: int) -> _Cells:
        return _Cells(
            self._total.cell(*labels, str(status)),
            self._duration.cell(*labels),
            self._size.cell(labels[0], *labels[2:]),
        )


def _labels(request: Request, info: RequestInfo | None, dry: str, *, apply: bool) -> tuple[str, ...]:
    """The labels of a request; `info` is None where it is of no resource that is served."""
    if info is None:
        first = request.path.strip("/").partition("/")[0]
        method = request.method if request.method in _METHODS else "other"
        return (method, dry, "", "", "", f"/{first}" if first in _PATHS else "", "", "apiserver")
    verb = _VERBS.get(info.verb, info.verb.upper())
    if apply:
        verb = "APPLY"
    if info.subresource in _CONNECTING:
        verb = "CONNECT"
    scope = "resource" if info.name or info.verb == "create" else "namespace" if info.namespace else "cluster"
    return (verb, dry, info.group, info.version, info.resource, info.subresource, scope, "apiserver")


class ServerMetrics:
    """All metrics of one server. `metrics` takes those of others in the same process, too."""

    def __init__(self, metrics: Metrics, cache: WatchCache, bus: Bus, fairness: Fairness, health: Health) -> None:
        self.metrics = metrics
        self.requests = RequestMetrics(metrics)
        self._slis = Metrics()
        declare_storage(metrics, cache)
        declare_watches(metrics, bus)
        declare_fairness(metrics, fairness)
        declare_process(metrics)
        metrics.reading(
            "kubernetes_build_info",
            "The version of the server.",
            lambda: [((MAJOR, MINOR, git_version()), 1)],
            "major",
            "minor",
            "git_version",
        )
        for where in (metrics, self._slis):
            where.reading(
                "kubernetes_healthcheck",
                "Whether a health check passes.",
                lambda: [(labels, int(passes)) for labels, passes in health.results()],
                "name",
                "type",
            )

    def handle(self, request: Request) -> Response | None:
        """The answer to a path of metrics, None for any other."""
        if request.path == "/metrics":
            text = self.metrics.text()
        elif request.path == "/metrics/slis":
            text = self._slis.text()
        else:
            return None
        return Response(content_type=CONTENT_TYPE, body=text.encode())
