"""`proxy` of pods, services and nodes: what can be told without passing a request on.

Passing requests on is not there yet: it needs the pods' network, which the server does not reach by itself. What
upstream answers where there is nothing to pass on to, this answers too, and 503 for all else.
"""

from __future__ import annotations

from kube_core.abc.transport import Request, Response
from kube_core.apiserver.requests import RequestInfo
from kube_core.meta.status import BadRequest, ServiceUnavailable
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry

__all__ = ["Proxy"]


class Proxy:
    """The handler of `proxy`."""

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        if info.resource == "services":
            raise ServiceUnavailable(f'no endpoints available for service "{info.name}"')
        found = (await registry.find(info.key)).document
        if info.resource == "pods" and not (found.get("status") or {}).get("podIP"):
            raise BadRequest("address not allowed")
        raise ServiceUnavailable(f"this server does not pass requests on to {info.resource}")
