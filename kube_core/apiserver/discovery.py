"""Discovery: which groups, versions and resources are served, and which version the server has.

    /api, /apis                 the groups; with the aggregated media type, all their resources at once
    /apis/GROUP                 one group
    /api/v1, /apis/GROUP/V      the resources of one version
    /version

Documents are functions of the catalogue and of what backends serve (`aggregation`), made when first asked for, kept as
bytes, and dropped when either changes. Groups are ordered by priority, then name; versions as a built-in group says, by
their priority, or by `version_order`. Of a backend that is not available the older documents do not tell; the
aggregated ones tell what it last said, and that this is stale.

Upstream's behaviour: "aggregated discovery" and "API discovery" in its documentation of the API. As there, `/apis` and
`/apis/GROUP` answer every method; the others only GET. Aggregated documents carry an ETag, and answer 304 to it. Of the
aggregated forms only `v=v2` is served: upstream has removed `v2beta1`.

What does not belong here: OpenAPI, and the routing of requests for objects. The pipeline calls `handle`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs

from kube_core.abc.transport import Request, Response
from kube_core.api.descriptors import CUSTOM_PRIORITY, builtin_groups
from kube_core.api.types import ResourceDescriptor, Subresource
from kube_core.api.version import version_info
from kube_core.apiserver import negotiation
from kube_core.apiserver.aggregation.discovery import RemoteVersion
from kube_core.apiserver.negotiation import Form
from kube_core.meta.gvk import GroupVersionKind
from kube_core.meta.status import MethodNotSupported, NotAcceptable, NotFound
from kube_core.meta.versions import version_order

__all__ = ["Discovery", "Served"]

Json = dict[str, Any]

#: The priority of a custom resource's version within its group.
_CUSTOM_VERSION = 100
_AGGREGATED_KIND = "APIGroupDiscoveryList"
_AGGREGATED_GROUP = "apidiscovery.k8s.io"


class Served(Protocol):
    """What discovery describes: a catalogue, with a count of its changes."""

    @property
    def changed(self) -> int: ...

    def __iter__(self) -> Iterator[ResourceDescriptor]: ...


class Aggregated(Protocol):
    """What backends serve, with a count of its changes."""

    @property
    def changed(self) -> int: ...

    def versions(self) -> Sequence[RemoteVersion]: ...


class Discovery:
    """The discovery documents of one server.

    `address` is where clients reach it, as `host:port`; "" says what each request's Host header says.
    """

    def __init__(self, catalogue: Served, aggregated: Aggregated | None = None, *, address: str = "") -> None:
        self._catalogue = catalogue
        self._aggregation = aggregated
        self.address = address
        self._state = _State((-1, -1), {}, {})
        self._bodies: dict[tuple[str, Form], bytes] = {}

    def handle(self, request: Request) -> Response | None:
        """The answer to a discovery path, None for any other. Raises StatusErrors."""
        match request.path.strip("/").split("/"):
            case ["version"]:
                return self._answer(request, "version", version_info)
            case ["api"]:
                if (aggregated := self._aggregated(request, "api")) is not None:
                    return aggregated
                address = self.address or request.headers.get("host", "")
                return self._answer(request, f"api at {address}", lambda: self.api_versions(address))
            case ["apis"]:
                if (aggregated := self._aggregated(request, "apis")) is not None:
                    return aggregated
                return self._answer(request, "apis", self.group_list, only_get=False)
            case ["apis", group] if group in self._versions():
                return self._answer(request, f"apis/{group}", lambda: self.group(group), only_get=False)
            case ["api", version]:
                return self._resource_list(request, "", version)
            case ["apis", group, version] if group in self._versions():
                return self._resource_list(request, group, version)
        return None

    def api_versions(self, address: str) -> Json:
        """`/api`: the versions of the core group, and where the server is."""
        return {
            "kind": "APIVersions",
            "versions": list(self._versions().get("", ())),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }

    def group_list(self) -> Json:
        """`/apis`: every named group."""
        groups = [self._group(group) for group in self._versions() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, group: str) -> Json:
        """`/apis/GROUP`. Raises KeyError for a group that is not served."""
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}

    def resource_list(self, group: str, version: str) -> Json:
        """`/apis/GROUP/VERSION`: its resources and their subresources."""
        # Upstream's core list, older than its API conventions, does not say its own version.
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {})}
        resources: list[Json] = []
        for descriptor in self._local(group, version):
            resources.append(_resource(descriptor))
            resources += (_subresource(descriptor, each) for each in descriptor.subresources)
        return {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": resources}

    def aggregated(self, *, core: bool) -> Json:
        """All that is served of the core group, or of all the others, in one document."""
        items = []
        for group, versions in self._current().resources.items():
            if (group == "") is core:
                metadata = {"name": group} if group else {}
                items.append({"metadata": metadata, "versions": [_version(*each) for each in versions.items()]})
        return {
            "kind": _AGGREGATED_KIND,
            "apiVersion": f"{_AGGREGATED_GROUP}/v2",
            "metadata": {},
            "items": items,
        }

    def _resource_list(self, request: Request, group: str, version: str) -> Response:
        if not self._local(group, version):
            raise NotFound("the server could not find the requested resource", details={})
        return self._answer(request, f"{group}/{version}", lambda: self.resource_list(group, version))

    def _answer(self, request: Request, name: str, make: Callable[[], Json], *, only_get: bool = True) -> Response:
        if only_get and request.method != "GET":
            raise MethodNotSupported("the server does not allow this method on the requested resource", details={})
        try:
            form = negotiation.form_of(request)
        except NotAcceptable:
            # Which version this is, upstream tells in JSON whatever is asked for.
            if name != "version":
                raise
            form = Form()
        if name == "version" and form.media_type == negotiation.PROTOBUF:
            form = Form()
        if form.view:
            raise _not_acceptable()
        return Response(content_type=form.media_type, body=self._body(name, form, make))

    def _aggregated(self, request: Request, name: str) -> Response | None:
        """The aggregated document, where that is what the client likes best of what there is."""
        media_type = _aggregated_media_type(request.headers.get("accept", ""))
        if request.method != "GET" or not media_type:
            return None
        form = Form(media_type)
        body = self._body(f"aggregated {name}", form, lambda: self.aggregated(core=name == "api"))
        tag = f'"{_digest(body)}"'
        headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
        content_type = f"{media_type};g={_AGGREGATED_GROUP};v=v2;as={_AGGREGATED_KIND}"
        if request.headers.get("if-none-match") == tag:
            return Response(304, headers, content_type=content_type, body=b"")
        return Response(200, headers, content_type=content_type, body=body)

    def _body(self, name: str, form: Form, make: Callable[[], Json]) -> bytes:
        self._current()
        found = self._bodies.get((name, form))
        if found is None:
            found = negotiation.encode(make(), form)
            if form.media_type == negotiation.JSON and not form.pretty:
                found += b"\n"
            if len(self._bodies) < 1000:  # a Host header is part of a name: clients could fill the memory
                self._bodies[name, form] = found
        return found

    def _local(self, group: str, version: str) -> Sequence[ResourceDescriptor]:
        """What this server itself serves of a version."""
        content = self._current().resources.get(group, {}).get(version, ())
        return () if isinstance(content, RemoteVersion) else content

    def _versions(self) -> Mapping[str, Sequence[str]]:
        """Of each group that is served its versions, in order."""
        return self._current().listed

    def _group(self, group: str) -> Json:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._versions()[group]]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _current(self) -> _State:
        remote = self._aggregation
        changed = (self._catalogue.changed, remote.changed if remote is not None else 0)
        if self._state.changed != changed:
            resources = _arrange(self._catalogue, remote.versions() if remote is not None else ())
            self._state = _State(changed, resources, _listed(resources))
            self._bodies.clear()
        return self._state


#: What a version consists of: resources of this server's, or those of a backend.
_Content = list[ResourceDescriptor] | RemoteVersion


@attrs.frozen
class _State:
    """All that is served, after so many changes: group → version → content, in order; and what is listed of it."""

    changed: tuple[int, int]
    resources: Mapping[str, Mapping[str, _Content]]
    listed: Mapping[str, Sequence[str]]


def _arrange(catalogue: Served, remotes: Sequence[RemoteVersion]) -> Mapping[str, Mapping[str, _Content]]:
    builtin = {group.name: group for group in builtin_groups()}
    found: dict[str, dict[str, _Content]] = {}
    for descriptor in catalogue:
        versions = found.setdefault(descriptor.type.group, {})
        content = versions.setdefault(descriptor.type.version, [])
        if isinstance(content, list):
            content.append(descriptor)
    priorities = {group: builtin[group].priority if group in builtin else CUSTOM_PRIORITY for group in found}
    for remote in remotes:
        group, version = remote.group_version.group, remote.group_version.version
        found.setdefault(group, {})[version] = remote
        priorities[group] = max(priorities.get(group, 0), remote.group_priority)

    def order(group: str, version: str) -> tuple[object, ...]:
        content = found[group][version]
        if isinstance(content, RemoteVersion):
            return (1, -content.version_priority, *version_order(version))
        known = builtin[group].versions if group in builtin else ()
        return (0, known.index(version)) if version in known else (1, -_CUSTOM_VERSION, *version_order(version))

    ordered: dict[str, dict[str, _Content]] = {}
    for group in sorted(found, key=lambda group: (-priorities[group], group)):
        versions = {each: found[group][each] for each in sorted(found[group], key=lambda each: order(group, each))}
        for content in versions.values():
            if isinstance(content, list):
                content.sort(key=lambda one: one.type.plural)
        ordered[group] = versions
    return ordered


def _listed(resources: Mapping[str, Mapping[str, _Content]]) -> Mapping[str, Sequence[str]]:
    """Groups and versions as the older documents have them."""
    listed = {}
    for group, versions in resources.items():
        there = [
            each for each, content in versions.items() if not isinstance(content, RemoteVersion) or content.available
        ]
        if there:
            listed[group] = there
    return listed


def _resource(descriptor: ResourceDescriptor) -> Json:
    resource = descriptor.type
    entry: Json = {
        "name": resource.plural,
        "singularName": descriptor.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": descriptor.verbs,
    }
    if descriptor.short_names:
        entry["shortNames"] = descriptor.short_names
    if descriptor.categories:
        entry["categories"] = descriptor.categories
    if descriptor.storage_version_hash:
        entry["storageVersionHash"] = descriptor.storage_version_hash
    return entry


def _subresource(descriptor: ResourceDescriptor, subresource: Subresource) -> Json:
    entry: Json = {
        "name": f"{descriptor.type.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": descriptor.type.namespaced,
    }
    kind = subresource.kind
    if kind.group_version != descriptor.type.gvk.group_version:
        entry |= {"group": kind.group, "version": kind.version}
    return {**entry, "kind": kind.kind, "verbs": subresource.verbs}


def _version(version: str, content: _Content) -> Json:
    if isinstance(content, RemoteVersion):
        freshness = "Current" if content.fresh else "Stale"
        return {"version": version, "resources": content.resources, "freshness": freshness}
    return {
        "version": version,
        "resources": [_aggregated_resource(each) for each in content],
        "freshness": "Current",
    }


def _aggregated_resource(descriptor: ResourceDescriptor) -> Json:
    own = descriptor.type.gvk
    entry: Json = {
        "resource": descriptor.type.plural,
        "responseKind": _response_kind(own, own),
        "scope": "Namespaced" if descriptor.type.namespaced else "Cluster",
        "singularResource": descriptor.singular,
        "verbs": descriptor.verbs,
    }
    if descriptor.short_names:
        entry["shortNames"] = descriptor.short_names
    if descriptor.categories:
        entry["categories"] = descriptor.categories
    if descriptor.subresources:
        entry["subresources"] = [
            {"subresource": each.name, "responseKind": _response_kind(each.kind, own), "verbs": each.verbs}
            for each in descriptor.subresources
        ]
    return entry


def _response_kind(kind: GroupVersionKind, own: GroupVersionKind) -> Json:
    """A kind, its group and version empty where they are those of the list it is in."""
    if kind.group_version == own.group_version:
        return {"group": "", "version": "", "kind": kind.kind}
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


@functools.lru_cache(maxsize=64)
def _aggregated_media_type(accept: str) -> str:
    """The media type of an aggregated document that the client likes best; "" where it likes another form better."""
    for clause in accept.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        if media_type not in (negotiation.JSON, negotiation.YAML, "*/*", "application/*"):
            continue
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if "as" not in given:
            return ""
        if (given["as"], given.get("g"), given.get("v")) == (_AGGREGATED_KIND, _AGGREGATED_GROUP, "v2"):
            return media_type if "*" not in media_type else negotiation.JSON
    return ""


def _not_acceptable() -> NotAcceptable:
    accepted = ", ".join((negotiation.JSON, negotiation.YAML, negotiation.PROTOBUF))
    return NotAcceptable(f"only the following media types are accepted: {accepted}")


@functools.lru_cache(maxsize=8)
def _digest(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()
