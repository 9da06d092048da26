"""`pods/NAME/log`: what a container wrote, as plain text, following it where asked to."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kube_core.abc.node import LogRequest
from kube_core.abc.transport import Request, Response
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.streams.pods import NodeConnector, find_target
from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.status import BadRequest, invalid
from kube_core.meta.times import parse_time
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry
from kube_core.registry.options import flag

__all__ = ["Logs"]


class Logs:
    """The handler of `log`."""

    def __init__(self, connect: NodeConnector) -> None:
        self._connect = connect

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        wanted = _options(request, info.name)
        target = await find_target(registry, info.key, request.parameter("container"), self._connect, needs_node=False)
        if target.node is None:
            return Response(content_type="text/plain", body=b"")
        lines = await target.node.logs(info.namespace, info.name, target.container, wanted)
        stream = _limited(lines, wanted.limit_bytes) if wanted.limit_bytes is not None else lines
        return Response(content_type="text/plain", stream=stream)


async def _limited(lines: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    left = limit
    async for chunk in lines:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def _options(request: Request, pod: str) -> LogRequest:
    """Raises `BadRequest`, `Invalid`."""
    since = request.parameter("sinceTime")
    try:
        since_time = parse_time(since) if since else None
    except ValueError:
        raise BadRequest(f"sinceTime: {since!r} is not a time") from None
    options = LogRequest(
        follow=flag(request.parameter("follow")),
        previous=flag(request.parameter("previous")),
        timestamps=flag(request.parameter("timestamps")),
        tail_lines=_number(request, "tailLines"),
        since_seconds=_number(request, "sinceSeconds"),
        since_time=since_time,
        limit_bytes=_number(request, "limitBytes"),
    )
    errors: list[FieldError] = []
    if options.tail_lines is not None and options.tail_lines < 0:
        errors.append(fields.invalid(Path("tailLines"), options.tail_lines, "must be greater than or equal to 0"))
    if options.limit_bytes is not None and options.limit_bytes < 1:
        errors.append(fields.invalid(Path("limitBytes"), options.limit_bytes, "must be greater than 0"))
    if options.since_seconds is not None and options.since_time is not None:
        errors.append(fields.forbidden(Path(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if options.since_seconds is not None and options.since_seconds < 1:
        errors.append(fields.invalid(Path("sinceSeconds"), options.since_seconds, "must be greater than 0"))
    if errors:
        raise invalid(GroupKind("", "PodLogOptions"), pod, errors)
    return options


def _number(request: Request, name: str) -> int | None:
    text = request.parameter(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
