"""`pods/NAME/portforward`: connections to ports of a pod on whichever node has it."""

from __future__ import annotations

from collections.abc import Awaitable

from kube_core.abc.transport import ByteStream, Request, Response
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.streams.pods import NodeConnector
from kube_core.meta.status import BadRequest, ServiceUnavailable
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry
from kube_core.serving.forwarding import forwarding

__all__ = ["PortForward"]


class PortForward:
    """The handler of `portforward`."""

    def __init__(self, connect: NodeConnector) -> None:
        self._connect = connect

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        pod = (await registry.find(info.key)).document
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            raise BadRequest(f"pod {info.name} does not have a host assigned")
        streams = self._connect(node)
        if streams is None:
            raise ServiceUnavailable(f"node {node!r} of pod {info.name} cannot be reached")

        def connect(port: int) -> Awaitable[ByteStream]:
            return streams.port_forward(info.namespace, info.name, port)

        return Response(upgrade=forwarding(connect, info.name, request.headers, request.query))
