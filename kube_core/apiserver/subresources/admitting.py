"""Admission of what is no write of an object: a connection to a pod, service or node, and what is created beside one.

Webhooks and policies see `exec`, `attach`, `portforward` and `proxy` as the operation `CONNECT`, with the request's
query as the object (`PodExecOptions` and the others); a Binding or an Eviction as the `CREATE` of a subresource, with
that as the object. What follows from it, a pod that is bound or deleted, is not reviewed again, as upstream has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from kube_core.abc.transport import Request, Response
from kube_core.admission.chain import Chain
from kube_core.apiserver.requests import RequestInfo
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.generic import Registry
from kube_core.registry.options import flag
from kube_core.registry.shapes import OptionShapes, SpokenShapes

__all__ = ["admit_creation", "admitted", "connecting"]

#: The kinds of options by resource and subresource.
_KINDS: Final[Mapping[tuple[str, str], str]] = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}
_FLAGS: Final = ("stdin", "stdout", "stderr", "tty")
#: The types of their fields.
_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(_FLAGS, bool),
    "container": str,
    "command": list,
    "ports": list,
    "path": str,
}

Handler = Callable[[Request, RequestInfo, Registry, Context], Awaitable[Response]]


def connecting(handler: Handler) -> Handler:
    """The handler of a connection, which admission sees first."""

    async def admitting(request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = _options(request, info)
        attributes = context.attributes(
            "CONNECT",
            registry.type,
            info.key,
            options,
            subresource=info.subresource,
            options=WriteOptions(),
            shapes=OptionShapes(_FIELDS, registry.type),
        )
        await context.admission.mutate(attributes)
        await context.admission.validate(attributes)
        changed = attributes.object
        if changed is not None and changed is not options:
            request, info = _changed(request, info, changed)
        return await handler(request, info, registry, context)

    return admitting


async def admit_creation(
    info: RequestInfo, registry: Registry, context: Context, document: Document, options: WriteOptions, schema: str
) -> MutableDocument:
    """The object that is created beside another, as admission leaves it. Raises the StatusError that refuses it."""
    asked: MutableDocument = thaw(document)
    attributes = context.attributes(
        "CREATE",
        registry.type,
        info.key,
        asked,
        subresource=info.subresource,
        options=options,
        shapes=SpokenShapes(registry.type, schema),
    )
    await context.admission.mutate(attributes)
    await context.admission.validate(attributes)
    return attributes.object or asked


def admitted(context: Context) -> Context:
    """The same request, past admission."""
    return attrs.evolve(context, admission=Chain())


def _options(request: Request, info: RequestInfo) -> MutableDocument:
    """What a connection asks for, as an object."""
    options: dict[str, Any] = {"kind": _KINDS[info.resource, info.subresource], "apiVersion": "v1"}
    if info.subresource == "proxy":
        options["path"] = f"/{info.rest}"
    elif info.subresource == "portforward":
        options["ports"] = [int(port) for port in _values(request, "ports") if port.isdecimal()]
    else:
        options |= {name: True for name in _FLAGS if flag(request.parameter(name))}
        if container := request.parameter("container"):
            options["container"] = container
        if command := _values(request, "command"):
            options["command"] = command
    return options


def _changed(request: Request, info: RequestInfo, options: Document) -> tuple[Request, RequestInfo]:
    """The request that has these options."""
    if info.subresource == "proxy":
        return request, attrs.evolve(info, rest=str(options.get("path") or "").removeprefix("/"))
    query = [(name, value) for name, value in request.query if name not in _FIELDS]
    for name, value in options.items():
        if name in _FIELDS:
            values = value if isinstance(value, list) else ["true" if value is True else str(value)] if value else []
            query += [(name, str(each)) for each in values]
    return attrs.evolve(request, query=query, raw_query=""), info


def _values(request: Request, name: str) -> Sequence[str]:
    return [value for key, value in request.query if key == name]
