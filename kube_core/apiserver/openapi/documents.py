"""OpenAPI: what the API is, for machines (clients' validation and generators) and, by `kubectl explain`, for people.

    /openapi/v3                         which documents there are, each with a hash of its content
    /openapi/v3/apis/GROUP/VERSION      one of them
    /openapi/v2                         all in one, in the older form

Documents are made when first asked for, and kept as bytes until what they describe changes. A document's hash is taken
from its inputs (descriptors, custom schemas, the program's version), so the index does not have to make any. A request
that names another hash than the present one is redirected; the ETag is the hash too.

Upstream's behaviour is that of kube-openapi and its aggregator, down to their bare 404s. v2 is served in protobuf, too,
as clients before v1.29 want it; v3 is not, which no client needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import attrs
import orjson

from kube_core.abc.transport import Request, Response
from kube_core.api.descriptors import builtin_groups
from kube_core.api.types import ResourceDescriptor
from kube_core.api.version import git_version
from kube_core.apiserver.aggregation.openapi import RemoteOpenApi, merged
from kube_core.apiserver.discovery import Served
from kube_core.apiserver.openapi import protobuf, v2, v3
from kube_core.apiserver.openapi.components import CustomSchema, Library
from kube_core.apiserver.openapi.operations import Operation, group_operation, of_group_version
from kube_core.meta.gvk import GroupVersion

__all__ = ["OpenApi"]

_JSON = "application/json"
_V2 = "v2"
_INDEX_TYPE = "text/plain; charset=utf-8"  # upstream's handler leaves the type to be guessed from the content
_VERSION_OPERATION = Operation(
    "/version/",
    "get",
    "getCodeVersion",
    "Get the version of the server.",
    "version",
    produces=(_JSON,),
    answer="io.k8s.apimachinery.pkg.version.Info",
)


@attrs.frozen
class _Part:
    """What one document of v3 is made from."""

    operations: tuple[Operation, ...] = ()
    group_version: GroupVersion | None = None
    descriptors: tuple[ResourceDescriptor, ...] = ()


class OpenApi:
    """The OpenAPI documents of one server. `custom_schema` gives the schemas of kinds that are not built in."""

    def __init__(
        self,
        catalogue: Served,
        *,
        custom_schema: CustomSchema = lambda descriptor: None,
        remote: Callable[[], Mapping[str, RemoteOpenApi]] = dict,
    ) -> None:
        """`remote`: what backends say of their API, by the path below which it is."""
        self._catalogue = catalogue
        self._remote = remote
        self._custom_schema = custom_schema
        self._changed = -1
        self._parts: Mapping[str, _Part] = {}
        self._hashes: dict[str, str] = {}
        self._bodies: dict[tuple[str, str], tuple[str, bytes]] = {}

    def handle(self, request: Request) -> Response | None:
        """The answer to an OpenAPI path, None for any other."""
        path = request.path.rstrip("/") if request.path != "/openapi/" else request.path
        if path == "/openapi/v2":
            return self._answer(request, _V2, self._v2_hash())
        if path == "/openapi/v3":
            return Response(content_type=_INDEX_TYPE, body=orjson.dumps(self.index()))
        if not path.startswith("/openapi/v3/"):
            return None
        name = path.removeprefix("/openapi/v3/")
        if name not in self._current():
            return Response(404, content_type="", body=b"")
        present = self._hash(name)
        if request.parameter("hash") not in ("", present):
            return Response(301, {"Location": self._url(name)}, content_type="", body=b"")
        return self._answer(request, name, present)

    def index(self) -> dict[str, object]:
        """`/openapi/v3`: every document's URL."""
        urls = {name: self._url(name) for name in self._current()}
        for remote in self._remote().values():
            urls.update((name, f"/openapi/v3/{name}?hash={present}") for name, present in remote.hashes.items())
        return {"paths": {name: {"serverRelativeURL": urls[name]} for name in sorted(urls)}}

    def document(self, name: str, form: str = _JSON) -> bytes:
        """A document by its path below `/openapi/v3/`, or `v2`, in a media type. Raises KeyError."""
        parts = self._current()
        library = Library(self._custom_schema)
        chosen = list(parts.values()) if name == _V2 else [parts[name]]
        operations: list[Operation] = []
        for part in chosen:
            operations += part.operations
            if part.group_version is not None:
                operations += of_group_version(part.group_version, part.descriptors, library.naming)
        descriptors = [descriptor for part in chosen for descriptor in part.descriptors]
        versions = [GroupVersion(group.name, version) for group in builtin_groups() for version in group.versions]
        schemas = library.components(operations, descriptors, versions)
        document = (v2 if name == _V2 else v3).document(operations, schemas)
        if name == _V2 and (others := self._remote()):
            given = ((f"{path}/", each.document) for path, each in others.items() if each.document is not None)
            document = merged(document, given)
        return protobuf.encode(document) if form == protobuf.MEDIA_TYPE else orjson.dumps(document)

    def _answer(self, request: Request, name: str, present: str) -> Response:
        form = _form(request.headers.get("accept", ""), name)
        if form is None:
            return Response(406, content_type="", body=b"")
        tag = f'"{present}"'
        headers = {"ETag": tag, "Vary": "Accept"}
        if request.parameter("hash"):
            headers["Cache-Control"] = "public, immutable"
        if request.headers.get("if-none-match") == tag:
            return Response(304, headers, body=b"")
        kept = self._bodies.get((name, form))
        if kept is None or kept[0] != present:
            kept = self._bodies[name, form] = (present, self.document(name, form))
        return Response(200, headers, content_type=form, body=kept[1])

    def _url(self, name: str) -> str:
        return f"/openapi/v3/{name}?hash={self._hash(name)}"

    def _hash(self, name: str) -> str:
        found = self._hashes.get(name)
        if found is None:
            part = self._current()[name]
            digest = hashlib.sha512(f"{git_version()} {name}".encode())
            for descriptor in part.descriptors:
                if descriptor.schema:  # the rest of a built-in descriptor changes with the program only
                    digest.update(descriptor.type.plural.encode())
                else:
                    digest.update(repr(descriptor).encode())
                    digest.update(orjson.dumps(self._custom_schema(descriptor), option=orjson.OPT_SORT_KEYS))
            found = self._hashes[name] = digest.hexdigest().upper()
        return found

    def _v2_hash(self) -> str:
        everything = "".join(self._hash(name) for name in self._current())
        for path, remote in self._remote().items():
            everything += path + (remote.tag or hashlib.sha512(orjson.dumps(remote.document)).hexdigest())
        return hashlib.sha512(everything.encode()).hexdigest().upper()

    def _current(self) -> Mapping[str, _Part]:
        if self._changed != self._catalogue.changed:
            self._changed = self._catalogue.changed
            self._parts = _parts(self._catalogue)
            self._hashes.clear()
            for name, form in list(self._bodies):
                if name not in self._parts:
                    del self._bodies[name, form]
        return self._parts


def _parts(catalogue: Iterable[ResourceDescriptor]) -> Mapping[str, _Part]:
    parts = {
        "version": _Part((_VERSION_OPERATION,)),
        "api": _Part((group_operation(""),)),
        "apis": _Part((group_operation("", listing=True),)),
    }
    builtin = {group.name for group in builtin_groups()}
    found: dict[GroupVersion, list[ResourceDescriptor]] = {}
    for descriptor in catalogue:
        found.setdefault(descriptor.type.gvk.group_version, []).append(descriptor)
    for group_version, descriptors in found.items():
        group, version = group_version.group, group_version.version
        if group in builtin and group:
            parts[f"apis/{group}"] = _Part((group_operation(group),))
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        parts[name] = _Part((), group_version, tuple(descriptors))
    return parts


def _form(accept: str, name: str) -> str | None:
    """The media type that the client likes best of those there are, None where it likes none."""
    for clause in accept.split(","):
        media_type = clause.split(";", 1)[0].strip()
        if media_type in ("", _JSON, "*/*", "application/*"):
            return _JSON
        if name == _V2 and media_type.replace("@", ".") == protobuf.MEDIA_TYPE:
            return protobuf.MEDIA_TYPE
    return None
