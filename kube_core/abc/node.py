"""What a node serves to the API server: logs, exec, attach, port-forward of its pods.

The server finds the node of a pod and calls this; in one program directly, otherwise through a client of the node's
own HTTPS endpoint. Failures are the `StatusError`s that the user is to see (`BadRequest` for a container that has not
started, `NotFound`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import attrs

from kube_core.abc.sessions import ExecRequest, ExecSession
from kube_core.abc.transport import ByteStream

__all__ = ["KUBELET_PORT", "LogRequest", "NodeStreams"]

#: Where a node's server listens, unless its status says another port.
KUBELET_PORT = 10250


@attrs.frozen
class LogRequest:
    """`PodLogOptions`. `since_time` is in seconds since the epoch; None where not said."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: float | None = None
    limit_bytes: int | None = None


class NodeStreams(Protocol):
    """The streams of one node."""

    async def logs(self, namespace: str, pod: str, container: str, request: LogRequest) -> AsyncIterator[bytes]:
        """What a container wrote, as text."""
        ...

    async def exec(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        """Run a command in a container."""
        ...

    async def attach(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        """The container's own output, and its stdin where it has one. `request.command` is empty."""
        ...

    async def port_forward(self, namespace: str, pod: str, port: int) -> ByteStream:
        """A connection to a port of the pod."""
        ...
