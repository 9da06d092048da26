"""What a request asks for: verb, group, version, resource, namespace, name, subresource (upstream's RequestInfo).

    /api/v1/namespaces/NS/RESOURCE[/NAME[/SUBRESOURCE[/REST]]]      the core group
    /apis/GROUP/VERSION/…                                           the others
    …/VERSION/watch/[namespaces/NS/]RESOURCE[/NAME]                 the old form of watches, deprecated and served

Everything else is a non-resource request: `resource` is "" and the verb is the HTTP method in lower case.
"""

from __future__ import annotations

import attrs

from kube_core.abc.transport import Request
from kube_core.meta.documents import Key
from kube_core.registry.options import flag

__all__ = ["RequestInfo", "parse"]

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: Subresources of a namespace, which are not resources in it.
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@attrs.frozen(slots=True)
class RequestInfo:
    """A parsed request. `name` is "" for a collection; `rest` is what follows a subresource's name (proxy paths).

    `watched` is the one object that a watch in the old form is of: it is a watch of a collection all the same.
    """

    path: str
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watched: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


def parse(request: Request) -> RequestInfo:
    """Take a request's method, path and query apart. Never fails: what is not understood is a non-resource path."""
    path = request.path
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(path, request.method.lower())

    if rest[0] == "watch" and len(rest) > 1 and request.method == "GET":
        return _old_watch(path, group, version, rest[1:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]
        if len(rest) >= 3 and not (rest[2] in _NAMESPACE_SUBRESOURCES and len(rest) == 3):
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if resource == "namespaces":
        namespace = ""
    return RequestInfo(
        path,
        _verb(request, collection=not name),
        group,
        version,
        resource,
        namespace,
        name,
        subresource,
        "/".join(rest[3:]),
    )


def _old_watch(path: str, group: str, version: str, rest: list[str]) -> RequestInfo:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 2:
        return RequestInfo(path, "get")
    return RequestInfo(path, "watch", group, version, rest[0], namespace, watched="".join(rest[1:]))


def _verb(request: Request, *, collection: bool) -> str:
    verb = _VERBS.get(request.method, request.method.lower())
    if not collection:
        return verb
    if verb == "get":
        watch = any(key == "watch" and flag(value) for key, value in request.query)
        return "watch" if watch else "list"
    return "deletecollection" if verb == "delete" else verb
