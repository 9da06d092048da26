"""The operations of a group version, derived from its descriptors: paths, verbs, parameters, answers.

Nothing about operations is stored: a descriptor's verbs and subresources decide them, by the rules of the API's
conventions. Operation ids are upstream's, as generated clients name their methods by them. `v2` and `v3` write them
down in the two forms of OpenAPI.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs

from kube_core.api.types import ResourceDescriptor, Subresource
from kube_core.apiserver.openapi import parameters
from kube_core.apiserver.openapi.parameters import Parameter
from kube_core.meta.gvk import GroupVersion, GroupVersionKind

__all__ = ["DELETE_OPTIONS", "META", "PATCH", "TEXT", "Naming", "Operation", "group_operation", "of_group_version"]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
DELETE_OPTIONS = META + "DeleteOptions"
PATCH = META + "Patch"
#: In place of a schema's name: an answer that is text.
TEXT = "string"

_BUILTIN_TYPES = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
_CUSTOM_TYPES = ("application/json", "application/yaml")
_WATCH_TYPES = (*_BUILTIN_TYPES, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_CUSTOM_PATCH_TYPES = _PATCH_TYPES[:3]
_OK = "200"
_CREATED = ("200", "201", "202")
_CHANGED = ("200", "201")
_ACCEPTED = ("200", "202")
_PROXIED = ("delete", "get", "head", "options", "patch", "post", "put")
#: How operation ids call a subresource's verbs.
_VERB_WORDS = {"create": "create", "get": "read", "patch": "patch", "update": "replace"}
#: Resources whose deletion answers the deleted object.
_RETURNED = {
    "": (
        "persistentvolumeclaims",
        "persistentvolumes",
        "podtemplates",
        "pods",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ),
    "resource.k8s.io": (
        "deviceclasses",
        "devicetaintrules",
        "resourceclaims",
        "resourceclaimtemplates",
        "resourceslices",
    ),
    "storage.k8s.io": (
        "csidrivers",
        "csinodes",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    ),
}


@attrs.frozen
class Operation:
    """One method of one path. Schemas are meant by their names; `body` is "" where there is none."""

    path: str
    method: str
    id: str
    description: str
    tag: str
    parameters: tuple[Parameter, ...] = ()
    action: str = ""
    kind: GroupVersionKind | None = None
    consumes: tuple[str, ...] = ()
    body: str = ""
    body_required: bool = True
    produces: tuple[str, ...] = _BUILTIN_TYPES
    codes: tuple[str, ...] = (_OK,)
    answer: str = ""


class Naming:
    """How schemas are called: built-in kinds by a table, custom ones by their group read backwards."""

    def __init__(self, builtin: dict[GroupVersionKind, str]) -> None:
        self._builtin = builtin

    def __call__(self, kind: GroupVersionKind) -> str:
        """The name of a kind's schema; `TEXT` where it has none (the options of exec and the like)."""
        found = self._builtin.get(kind)
        if found is None:
            if not kind.group:
                return TEXT
            return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
        return found


def group_operation(group: str, *, listing: bool = False) -> Operation:
    """The one operation of `/api/`, `/apis/` (a `listing`) or `/apis/GROUP/`."""
    if listing:
        path, name, answer, tag = "/apis/", "APIVersions", "APIGroupList", "apis"
    elif group:
        path, name, answer, tag = f"/apis/{group}/", f"{_words(group)}APIGroup", "APIGroup", _tag(group)
    else:
        path, name, answer, tag = "/api/", "CoreAPIVersions", "APIVersions", "core"
    return Operation(path, "get", f"get{name}", "Get what there is of the API.", tag, answer=META + answer)


def of_group_version(
    group_version: GroupVersion, descriptors: Iterable[ResourceDescriptor], naming: Naming
) -> Iterator[Operation]:
    """Every operation of a group version, its own list of resources first."""
    group, version = group_version.group, group_version.version
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    title = _words(group) + version[:1].upper() + version[1:]
    tag = f"{_tag(group)}_{version}"
    yield Operation(
        f"{root}/",
        "get",
        f"get{title}APIResources",
        "Get the resources of this version.",
        tag,
        answer=META + "APIResourceList",
    )
    for descriptor in descriptors:
        yield from _Maker(descriptor, naming, root, title, tag).operations()


@attrs.frozen
class _Maker:
    """Makes the operations of one resource. `title` is `AppsV1`, `root` is `/apis/apps/v1`."""

    descriptor: ResourceDescriptor
    naming: Naming
    root: str
    title: str
    tag: str

    def operations(self) -> Iterator[Operation]:
        resource, verbs = self.descriptor.type, self.descriptor.verbs
        collection = f"{self.root}{self._in_namespace}/{resource.plural}"
        item = f"{collection}/{{name}}"
        scope = self._scope
        name = (parameters.NAME, *scope)
        if "list" in verbs:
            yield self._list(collection, scope)
        if "create" in verbs:
            yield self._write("post", "create", collection, scope)
        if "deletecollection" in verbs:
            yield self._delete(collection, scope, many=True)
        if "get" in verbs:
            yield self._read(item, name)
        if "update" in verbs:
            yield self._write("put", "replace", item, name)
        if "patch" in verbs:
            yield self._patch(item, name)
        if "delete" in verbs:
            yield self._delete(item, name, many=False)
        for subresource in self.descriptor.subresources:
            yield from self._subresource(subresource, f"{item}/{subresource.name}", name)
        if resource.namespaced and "list" in verbs:
            yield self._list(f"{self.root}/{resource.plural}", (), every=True)
        if "watch" in verbs and not self._custom:
            yield from self._watches(resource.plural, scope, named="get" in verbs)

    @property
    def _custom(self) -> bool:
        return not self.descriptor.schema

    @property
    def _in_namespace(self) -> str:
        return "/namespaces/{namespace}" if self.descriptor.type.namespaced else ""

    @property
    def _scope(self) -> tuple[Parameter, ...]:
        return (parameters.NAMESPACE,) if self.descriptor.type.namespaced else ()

    def _id(self, verb: str, after: str = "", *, before: str = "", every: bool = False) -> str:
        namespaced = "Namespaced" if self.descriptor.type.namespaced and not every else ""
        everywhere = "ForAllNamespaces" if every else ""
        return f"{verb}{self.title}{before}{namespaced}{self.descriptor.type.kind}{after}{everywhere}"

    def _types(self, builtin: tuple[str, ...] = _BUILTIN_TYPES) -> tuple[str, ...]:
        return _CUSTOM_TYPES if self._custom else builtin

    def _schema(self, suffix: str = "") -> str:
        kind = self.descriptor.type.gvk
        return self.naming(attrs.evolve(kind, kind=kind.kind + suffix))

    def _list(self, path: str, scope: tuple[Parameter, ...], *, every: bool = False) -> Operation:
        return Operation(
            path,
            "get",
            self._id("list", every=every),
            f"List or watch {self.descriptor.type.plural}.",
            self.tag,
            (*scope, parameters.PRETTY, *parameters.LIST),
            "list",
            self.descriptor.type.gvk,
            produces=self._types(_WATCH_TYPES),
            answer=self._schema("List"),
        )

    def _read(self, path: str, name: tuple[Parameter, ...]) -> Operation:
        return Operation(
            path,
            "get",
            self._id("read"),
            f"Get one of {self.descriptor.type.plural}.",
            self.tag,
            (*name, parameters.PRETTY),
            "get",
            self.descriptor.type.gvk,
            produces=self._types(),
            answer=self._schema(),
        )

    def _write(self, method: str, verb: str, path: str, scope: tuple[Parameter, ...]) -> Operation:
        return Operation(
            path,
            method,
            self._id(verb),
            f"{verb.capitalize()} one of {self.descriptor.type.plural}.",
            self.tag,
            (*scope, parameters.PRETTY, *parameters.WRITE),
            method,
            self.descriptor.type.gvk,
            consumes=self._consumes,
            body=self._schema(),
            produces=self._types(),
            codes=_CREATED if method == "post" else _CHANGED,
            answer=self._schema(),
        )

    @property
    def _consumes(self) -> tuple[str, ...]:
        return _CUSTOM_TYPES if self._custom else ("*/*",)

    def _patch(self, path: str, name: tuple[Parameter, ...]) -> Operation:
        return Operation(
            path,
            "patch",
            self._id("patch"),
            f"Change parts of one of {self.descriptor.type.plural}.",
            self.tag,
            (*name, parameters.PRETTY, *parameters.PATCH),
            "patch",
            self.descriptor.type.gvk,
            consumes=_CUSTOM_PATCH_TYPES if self._custom else _PATCH_TYPES,
            body=PATCH,
            produces=self._types(),
            codes=(_OK,) if self._custom else _CHANGED,
            answer=self._schema(),
        )

    def _delete(self, path: str, scope: tuple[Parameter, ...], *, many: bool) -> Operation:
        resource = self.descriptor.type
        returned = not many and resource.plural in _RETURNED.get(resource.group, ())
        chosen = parameters.SELECT if many else ()
        return Operation(
            path,
            "delete",
            self._id("delete", before="Collection" if many else ""),
            f"Delete {'many' if many else 'one'} of {resource.plural}.",
            self.tag,
            (*scope, parameters.PRETTY, *sorted((*chosen, *parameters.DELETE), key=lambda each: each.name)),
            "deletecollection" if many else "delete",
            resource.gvk,
            consumes=self._consumes,
            body=DELETE_OPTIONS,
            body_required=False,
            produces=self._types(),
            codes=(_OK,) if many else _ACCEPTED,
            answer=self._schema() if returned else META + "Status",
        )

    def _subresource(self, subresource: Subresource, path: str, name: tuple[Parameter, ...]) -> Iterator[Operation]:
        if (connected := _CONNECTED.get(subresource.name)) is not None and not self._custom:
            yield from self._connections(subresource, path, name, connected)
            return
        title = subresource.name[:1].upper() + subresource.name[1:]
        answer = self.naming(subresource.kind)
        what = f"the {subresource.name} of one of {self.descriptor.type.plural}"
        if subresource.name == "log":
            yield attrs.evolve(
                self._read(path, name),
                id=self._id("read", title),
                description=f"Read {what}.",
                parameters=(*name, parameters.PRETTY, *parameters.LOG),
                produces=("text/plain", *_BUILTIN_TYPES),
                answer=TEXT,
            )
            return
        for verb in subresource.verbs:
            word = _VERB_WORDS.get(verb)
            if word is None:
                continue
            if verb == "get":
                operation = self._read(path, name)
            elif verb == "patch":
                operation = self._patch(path, name)
            else:
                operation = self._write("post" if verb == "create" else "put", word, path, name)
            yield attrs.evolve(
                operation,
                id=self._id(word, title),
                description=f"{word.capitalize()} {what}.",
                kind=subresource.kind,
                body=answer if operation.body not in ("", PATCH) else operation.body,
                answer=answer,
            )

    def _connections(
        self, subresource: Subresource, path: str, name: tuple[Parameter, ...], own: tuple[Parameter, ...]
    ) -> Iterator[Operation]:
        title = subresource.name[:1].upper() + subresource.name[1:]
        proxied = subresource.name == "proxy"
        if proxied:
            own = (parameters.path_query(self.descriptor.singular),)
        for method in _PROXIED if proxied else ("get", "post"):
            operation = Operation(
                path,
                method,
                self._id("connect", title, before=method.capitalize()),
                f"Connect to the {subresource.name} of one of {self.descriptor.type.plural}.",
                self.tag,
                (*name, *own),
                "connect",
                subresource.kind,
                produces=("*/*",),
                consumes=("*/*",),
                answer=TEXT,
            )
            yield operation
            if proxied:
                yield attrs.evolve(
                    operation,
                    path=path + "/{path}",
                    id=operation.id + "WithPath",
                    parameters=(*operation.parameters, parameters.PROXY_PATH),
                )

    def _watches(self, plural: str, scope: tuple[Parameter, ...], *, named: bool) -> Iterator[Operation]:
        """The old form of watches, `/watch/` in the path: upstream serves and deprecates it."""
        query = (parameters.PRETTY, *parameters.WATCH)
        collection = f"{self.root}/watch{self._in_namespace}/{plural}"
        base = Operation(
            collection,
            "get",
            self._id("watch", "List"),
            f"Deprecated: watch {plural}. List with 'watch' instead.",
            self.tag,
            (*scope, *query),
            "watchlist",
            self.descriptor.type.gvk,
            produces=_WATCH_TYPES,
            answer=META + "WatchEvent",
        )
        yield base
        if named:
            yield attrs.evolve(
                base,
                path=collection + "/{name}",
                id=self._id("watch"),
                description=f"Deprecated: watch one of {plural}. List with 'watch' and a field selector instead.",
                parameters=(parameters.NAME, *base.parameters),
                action="watch",
            )
        if self.descriptor.type.namespaced:
            yield attrs.evolve(
                base,
                path=f"{self.root}/watch/{plural}",
                id=self._id("watch", "List", every=True),
                parameters=query,
            )


#: Subresources that connect to a node or a pod, and their parameters.
_CONNECTED: dict[str, tuple[Parameter, ...]] = {
    "attach": parameters.ATTACH,
    "exec": parameters.EXEC,
    "portforward": parameters.PORT_FORWARD,
    "proxy": (),
}


def _tag(group: str) -> str:
    words = _words(group)
    return words[:1].lower() + words[1:]


def _words(group: str) -> str:
    """`rbac.authorization.k8s.io` → `RbacAuthorization`; the core group is `Core`."""
    parts: Sequence[str] = re.split(r"[.-]", group.removesuffix(".k8s.io")) if group else ("core",)
    return "".join(part[:1].upper() + part[1:] for part in parts)
