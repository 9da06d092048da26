"""`pods/NAME/exec` and `attach`: a command's streams in a container of whichever node has it."""

from __future__ import annotations

from kube_core.abc.sessions import ExecRequest, ExecSession
from kube_core.abc.transport import Request, Response
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.streams.pods import NodeConnector, find_target
from kube_core.meta.status import BadRequest
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry
from kube_core.registry.options import flag
from kube_core.serving.sessions import serving

__all__ = ["Attach", "Exec"]


class Exec:
    """The handler of `exec`."""

    runs_command = True

    def __init__(self, connect: NodeConnector) -> None:
        self._connect = connect

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        target = await find_target(registry, info.key, request.parameter("container"), self._connect)
        wanted = _options(request, command=self.runs_command)
        node = target.node
        if node is None:
            raise AssertionError("find_target refuses pods without a node")

        async def start() -> ExecSession:
            call = node.exec if self.runs_command else node.attach
            return await call(info.namespace, info.name, target.container, wanted)

        return Response(upgrade=serving(start, wanted, request.headers))


class Attach(Exec):
    """The handler of `attach`."""

    runs_command = False


def _options(request: Request, *, command: bool) -> ExecRequest:
    """Raises `BadRequest`."""
    words = tuple(value for name, value in request.query if name == "command")
    if command and not words:
        raise BadRequest("you must specify at least 1 command for the container")
    tty = flag(request.parameter("tty"))
    streams = {name: flag(request.parameter(name)) for name in ("stdin", "stdout", "stderr")}
    if not any(streams.values()):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return ExecRequest(words, streams["stdin"], streams["stdout"], streams["stderr"] and not tty, tty)
