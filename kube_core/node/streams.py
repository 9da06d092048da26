"""What a node serves to the API server: logs, exec, attach and port-forward of its pods, as `kube_core.abc.node` says.

Failures are upstream's `StatusError`s. How they travel is not known here: the API server of the same program calls this
directly (`server.nodes[name] = PodStreams(agent)`), one elsewhere through an endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import attrs

from kube_core.abc.node import LogRequest
from kube_core.abc.runtime import ContainerStatus, ExecRequest, ExecSession, LogLine, LogOptions, RuntimeFailure, Stream
from kube_core.abc.transport import ByteStream
from kube_core.meta.documents import Document, uid_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import BadRequest, InternalError, not_found
from kube_core.node.agent import NodeAgent

__all__ = ["PodStreams"]


class PodStreams:
    """The streams of one node: a `NodeStreams`."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    async def logs(self, namespace: str, pod: str, container: str, request: LogRequest) -> AsyncIterator[bytes]:
        """Lines as they were written. Raises `BadRequest` where the container has written nothing yet, and why."""
        document = self._pod(namespace, pod)
        run = self._run_to_read(document, container, previous=request.previous)
        since = request.since_time or 0.0
        if request.since_seconds is not None:
            since = self._agent.clock.now() - request.since_seconds
        tail = -1 if request.tail_lines is None else request.tail_lines
        options = LogOptions(follow=request.follow and not request.previous, tail_lines=tail, since=since)
        return _text(self._agent.runtime.logs(run.id, options), request)

    async def exec(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        run = self._running(self._pod(namespace, pod), container)
        try:
            return await self._agent.runtime.exec(run.id, request)
        except RuntimeFailure as error:
            raise InternalError(f"error executing command in container: {error}") from None

    async def attach(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        """The streams of the container's main process from now on; its log, where the runtime has no more."""
        run = self._running(self._pod(namespace, pod), container)
        if not self._agent.runtime.attachable(run.id):
            return _Attached(self._agent, run)
        try:
            return await self._agent.runtime.attach(
                run.id, attrs.evolve(request, stdin=request.stdin and run.config.stdin)
            )
        except RuntimeFailure as error:
            raise InternalError(f"error attaching to container: {error}") from None

    async def port_forward(self, namespace: str, pod: str, port: int) -> ByteStream:
        runtime = self._agent.runtime
        ready = [each for each in runtime.list_sandboxes(uid_of(self._pod(namespace, pod))) if each.ready]
        if not ready:
            raise BadRequest(f"pod {pod} is not running")
        try:
            return await runtime.port_forward(ready[-1].id, port)
        except RuntimeFailure as error:
            raise InternalError(str(error)) from None

    def _pod(self, namespace: str, name: str) -> Document:
        pod = self._agent.pod(namespace, name)
        if pod is None:
            raise not_found(GroupResource("", "pods"), name)
        return pod

    def _runs(self, pod: Document, container: str) -> Sequence[ContainerStatus]:
        found = [each for each in self._agent.runtime.list_containers(uid_of(pod)) if each.config.name == container]
        return sorted(found, key=lambda each: each.config.attempt)

    def _running(self, pod: Document, container: str) -> ContainerStatus:
        runs = self._runs(pod, container)
        if not runs or runs[-1].state != "running":
            raise InternalError(f'unable to upgrade connection: container not found ("{container}")')
        return runs[-1]

    def _run_to_read(self, pod: Document, container: str, *, previous: bool) -> ContainerStatus:
        runs = [each for each in self._runs(pod, container) if each.state != "created"]
        name = pod["metadata"]["name"]
        if previous:
            if len(runs) < 2:
                raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
            return runs[-2]
        if not runs:
            why = _waiting_reason(pod, container)
            raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why}')
        return runs[-1]


def _waiting_reason(pod: Document, container: str) -> str:
    """What the container waits for, as upstream says it."""
    status = pod.get("status") or {}
    for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if each.get("name") != container:
            continue
        waiting = (each.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            return "trying and failing to pull image"
        return reason or "ContainerCreating"
    return "ContainerCreating"


async def _text(lines: AsyncIterator[LogLine], request: LogRequest) -> AsyncIterator[bytes]:
    """The lines as text; a time stands before the first part of a line."""
    left = request.limit_bytes
    begins = True
    async for line in lines:
        text = line.content if line.partial else line.content + b"\n"
        if request.timestamps and begins:
            text = line.timestamp.encode() + b" " + text
        begins = not line.partial
        if left is not None:
            text = text[:left]
            left -= len(text)
        if text:
            yield text
        if left == 0:
            return


class _Attached(ExecSession):
    """A container's output from now on, until it ends."""

    def __init__(self, agent: NodeAgent, run: ContainerStatus) -> None:
        self._agent = agent
        self._run = run

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        options = LogOptions(follow=True, tail_lines=0)
        async for line in self._agent.runtime.logs(self._run.id, options):
            yield line.stream, line.content if line.partial else line.content + b"\n"

    async def write(self, data: bytes) -> None:
        pass

    async def close_stdin(self) -> None:
        pass

    async def resize(self, width: int, height: int) -> None:
        pass

    async def exit_code(self) -> int:
        runs = self._agent.runtime.list_containers(self._run.pod_uid)
        return next((each.exit_code for each in runs if each.id == self._run.id), 0)

    async def close(self) -> None:
        pass
