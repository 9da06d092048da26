"""The endpoints of a node, by the paths of upstream's kubelet: what it runs, what that uses, and streams into it.

    /healthz                                      "ok"
    /pods                                         the pods of the node, as a PodList, with their status as it sees it
    /containerLogs/NS/POD/CONTAINER               what a container wrote (?follow, previous, tailLines, …)
    /exec/NS/POD[/UID]/CONTAINER, /attach/…       a command's streams (?command, input, output, error, tty)
    /portForward/NS/POD[/UID]                     connections to ports
    /stats/summary, /metrics/resource, /metrics/cadvisor, /metrics, /metrics/probes
    /configz                                      the settings of the node

`NodeEndpoints` is a handler of requests and knows no socket: an API server of the same program calls it for
`nodes/NAME/proxy`, and `server` puts HTTPS in front of it. Whether the caller may was decided by whoever calls.
"""

from __future__ import annotations

from collections.abc import Awaitable

import attrs

from kube_core._kit.metrics import CONTENT_TYPE, Metrics
from kube_core.abc.node import LogRequest, NodeStreams
from kube_core.abc.sessions import ExecRequest, ExecSession
from kube_core.abc.transport import ByteStream, Request, Response
from kube_core.meta import quantities
from kube_core.meta.documents import Document, name_of, namespace_of, uid_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import BadRequest, StatusError, not_found
from kube_core.meta.times import parse_time
from kube_core.node.agent import NodeAgent
from kube_core.node.serving.figures import cadvisor_metrics, resource_metrics, summary
from kube_core.node.stats import NodeStatistics
from kube_core.serving.forwarding import forwarding
from kube_core.serving.sessions import serving

__all__ = ["NodeEndpoints"]

_TEXT = "text/plain; charset=utf-8"
_TRUE = ("1", "true", "True", "TRUE", "t", "T")


class NodeEndpoints:
    """Of one node."""

    def __init__(self, agent: NodeAgent, streams: NodeStreams, statistics: NodeStatistics) -> None:
        self._agent = agent
        self._streams = streams
        self._statistics = statistics
        self._metrics = _metrics(agent)

    async def __call__(self, request: Request) -> Response:
        """Errors are answered in plain words, as upstream's kubelet does."""
        try:
            return await self._answer(request)
        except StatusError as error:
            return Response(error.code, content_type=_TEXT, body=error.message.encode())

    async def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            return Response(405, content_type=_TEXT, body=b"405: Method Not Allowed")
        match request.path.strip("/").split("/"):
            case ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]:
                return _text("ok")
            case ["pods"]:
                return Response(document=self._pods())
            case ["containerLogs", namespace, pod, container]:
                lines = await self._streams.logs(namespace, pod, container, log_request(request))
                return Response(content_type=_TEXT, stream=lines)
            case ["exec" | "attach" as verb, namespace, pod, container]:
                return self._session(verb, namespace, pod, container, request)
            case ["exec" | "attach" as verb, namespace, pod, uid, container]:
                self._require(namespace, pod, uid)
                return self._session(verb, namespace, pod, container, request)
            case ["portForward", namespace, pod]:
                return self._forwarding(namespace, pod, request)
            case ["portForward", namespace, pod, uid]:
                self._require(namespace, pod, uid)
                return self._forwarding(namespace, pod, request)
            case ["stats", "summary"]:
                figures = await self._statistics.figures()
                if figures is None:
                    raise _not_measured(self._agent)
                return Response(document=summary(figures))
            case ["metrics"]:
                return Response(content_type=CONTENT_TYPE, body=self._metrics.text().encode())
            case ["metrics", "resource"]:
                text = resource_metrics(await self._statistics.figures())
                return Response(content_type=CONTENT_TYPE, body=text.encode())
            case ["metrics", "cadvisor"]:
                return Response(content_type=CONTENT_TYPE, body=(await self._cadvisor()).encode())
            case ["configz"]:
                return Response(document={"kubeletconfig": attrs.asdict(self._agent.config.kubelet)})
        return Response(404, content_type=_TEXT, body=b"404 page not found\n")

    async def _cadvisor(self) -> str:
        capacity = ((self._agent.node or {}).get("status") or {}).get("capacity") or {}
        cores, memory = (quantities.parse(capacity.get(name) or "0") for name in ("cpu", "memory"))
        return cadvisor_metrics(await self._statistics.figures(), cores.milli_value / 1000, memory.value)

    def _pods(self) -> Document:
        seen = [self._agent.pod(namespace_of(pod), name_of(pod)) or pod for pod in self._agent.pods]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": seen}

    def _require(self, namespace: str, pod: str, uid: str) -> None:
        """Raises `NotFound` where the pod of that name is another one."""
        found = self._agent.pod(namespace, pod)
        if found is None or uid_of(found) != uid:
            raise not_found(GroupResource("", "pods"), pod)

    def _session(self, verb: str, namespace: str, pod: str, container: str, request: Request) -> Response:
        wanted = exec_request(request, command=verb == "exec")

        async def start() -> ExecSession:
            call = self._streams.exec if verb == "exec" else self._streams.attach
            return await call(namespace, pod, container, wanted)

        return Response(upgrade=serving(start, wanted, request.headers))

    def _forwarding(self, namespace: str, pod: str, request: Request) -> Response:
        def connect(port: int) -> Awaitable[ByteStream]:
            return self._streams.port_forward(namespace, pod, port)

        return Response(upgrade=forwarding(connect, pod, request.headers, request.query, "port"))


def exec_request(request: Request, *, command: bool) -> ExecRequest:
    """Raises `BadRequest`."""
    words = tuple(value for name, value in request.query if name == "command")
    if command and not words:
        raise BadRequest("command is required")
    stdin, stdout, stderr, tty = (_flag(request, name) for name in ("input", "output", "error", "tty"))
    if not (stdin or stdout or stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return ExecRequest(words, stdin, stdout, stderr and not tty, tty)


def log_request(request: Request) -> LogRequest:
    """Raises `BadRequest`."""
    since = request.parameter("sinceTime")
    try:
        return LogRequest(
            follow=_flag(request, "follow"),
            previous=_flag(request, "previous"),
            timestamps=_flag(request, "timestamps"),
            tail_lines=_number(request, "tailLines"),
            since_seconds=_number(request, "sinceSeconds"),
            since_time=parse_time(since) if since else None,
            limit_bytes=_number(request, "limitBytes"),
        )
    except ValueError as error:
        raise BadRequest(f"unable to parse logOptions: {error}") from None


def _flag(request: Request, name: str) -> bool:
    return request.parameter(name) in _TRUE


def _number(request: Request, name: str) -> int | None:
    text = request.parameter(name)
    return int(text) if text else None


def _text(text: str) -> Response:
    return Response(content_type=_TEXT, body=text.encode())


def _not_measured(agent: NodeAgent) -> StatusError:
    return StatusError(f"the runtime {agent.runtime.name} does not measure what containers use", code=501, reason="")


def _metrics(agent: NodeAgent) -> Metrics:
    """What the node counts, under upstream's names."""
    metrics = Metrics()

    def running(state: str) -> int:
        return sum(1 for each in agent.runtime.list_containers() if each.state == state)

    metrics.reading("kubelet_node_name", "The node.", lambda: [((agent.config.name,), 1)], "node")
    metrics.reading("kubelet_active_pods", "Pods that the node works on.", lambda: [((), len(agent.pods))])
    metrics.reading(
        "kubelet_running_pods",
        "Pods that have a running sandbox.",
        lambda: [((), sum(1 for each in agent.runtime.list_sandboxes() if each.ready))],
    )
    metrics.reading(
        "kubelet_running_containers",
        "Containers by their state.",
        lambda: [((state,), running(state)) for state in ("created", "exited", "running")],
        "container_state",
    )
    return metrics
