"""`@kind`: an attrs class becomes a kind of object.

A class is laid out in one of three ways, told by its fields:

* It has no field `spec`: all its fields are those of `spec`. `kube.metadata_of` tells the metadata of an instance that
  was read.
* The same with fields `metadata` and `status`, which are where these are in a document. `Object` has the first.
* It has a field `spec`: its fields are those of the document.

The types are looked at when the class is declared, so that a mistake is told there, as a `KindError`. Nothing is sent
to a server from here; what becomes of the declaration is made by `definitions`.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs

from kube_core.api.generated.models.meta import ObjectMeta
from kube_core.api.models import Layout, register
from kube_core.api.types import Column, ResourceType
from kube_core.kinds.schemas import KindError, Namespace, object_schema, resolve

__all__ = ["Declaration", "Object", "Scale", "declaration_of", "kind"]

C = TypeVar("C", bound=type)
Scope = Literal["Namespaced", "Cluster"]

_DECLARATION: Final = "__kube_kind__"
_PLURAL: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@attrs.frozen
class Object:
    """What a kind extends that wants its metadata typed. A field `status` of its own class makes that typed, too."""

    metadata: ObjectMeta = attrs.field(factory=ObjectMeta, kw_only=True)


@attrs.frozen
class Scale:
    """Where the scale of an object is. Paths as in a definition: `.spec.replicas`."""

    replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str = ""


@attrs.frozen
class Declaration:
    """What a class said of itself: one version of a kind."""

    cls: type
    resource: ResourceType
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    columns: tuple[Column, ...] | Mapping[str, str]
    scale: Scale | None
    selectable: tuple[str, ...]
    status: type | None
    served: bool
    storage: bool | None
    #: Why the version is deprecated, or "" for no particular reason; None where it is not.
    deprecated: str | None
    #: None where the fields are those of the document.
    layout: Layout | None
    names: Namespace = attrs.field(repr=False, eq=False)

    def schema(self, *, described: bool = False) -> dict[str, Any]:
        """The schema of a whole object. Raises `KindError`."""
        if self.layout is None:
            schema = object_schema(self.cls, self.names, without=("metadata",), described=described)
        else:
            spec = object_schema(self.cls, self.names, without=("metadata", "status"), described=described)
            schema = {"type": "object", "properties": {"spec": spec}}
            if described and (words := spec.pop("description", "")):
                schema = {"description": words, **schema}
            if spec.get("required"):
                schema["required"] = ["spec"]
            else:
                # Without it there would be nothing for the defaults of fields to stand in.
                spec["default"] = {}
        if self.status is not None:
            schema["properties"]["status"] = object_schema(self.status, self.names, described=described)
        return schema


def kind(  # noqa: PLR0913 (each is something that a definition says)
    *,
    group: str,
    version: str,
    kind: str = "",
    plural: str = "",
    singular: str = "",
    short_names: Sequence[str] = (),
    categories: Sequence[str] = (),
    scope: Scope = "Namespaced",
    columns: Sequence[Column] | Mapping[str, str] = (),
    scale: Scale | bool = False,
    selectable: Sequence[str] = (),
    status: type | None = None,
    served: bool = True,
    storage: bool | None = None,
    deprecated: bool | str = False,
) -> Callable[[C], C]:
    """Declare an attrs class to be a kind of object.

    `kind` is the class's name unless it is given, `plural` the usual plural of that. `columns`: names of columns and
    paths into the object (`{"Replicas": ".spec.replicas"}`), or `Column`s. `scale=True` is `Scale()`. `selectable`:
    paths of fields that selectors may name. `status`: the class of the status, for a class that has no field for it.
    `storage`: whether objects are stored in this version; the preferred one is, unless one says so. `deprecated`: that
    it is, or what to tell those who use it.

    Raises `KindError`, which names class and field.
    """
    # The names that a class in a function may use are in that function's frame, for as long as this runs.
    caller = sys._getframe(1)
    names: Namespace = {} if caller.f_locals is caller.f_globals else dict(caller.f_locals)

    def declare(cls: C) -> C:
        layout, status_class = _layout(cls, status, names)
        name = kind or cls.__name__
        resource = ResourceType(group, version, name, plural or _plural(name), scope == "Namespaced")
        if not _PLURAL.fullmatch(resource.plural) or "." not in group:
            raise KindError(
                f"{cls.__qualname__}: {resource.plural}.{group} is no name for a resource; groups have a dot"
            )
        declaration = Declaration(
            cls=cls,
            resource=resource,
            singular=singular or name.lower(),
            short_names=tuple(short_names),
            categories=tuple(categories),
            columns=columns if isinstance(columns, Mapping) else tuple(columns),
            scale=Scale() if scale is True else scale or None,
            selectable=tuple(selectable),
            status=status_class,
            served=served,
            storage=storage,
            deprecated="" if deprecated is True else deprecated or None,
            layout=layout,
            names={**names, cls.__name__: cls},
        )
        declaration.schema()
        register(cls, resource, layout)
        setattr(cls, _DECLARATION, declaration)
        return cls

    return declare


def declaration_of(cls: object) -> Declaration | None:
    """What `@kind` was told of a class; None for anything else."""
    found = vars(cls).get(_DECLARATION) if isinstance(cls, type) else None
    return found if isinstance(found, Declaration) else None


def _layout(cls: type, status: type | None, names: Namespace) -> tuple[Layout | None, type | None]:
    """How a class is laid out, and the class of its status."""
    fields = {each.name: each for each in resolve(cls, names)}
    if "metadata" in fields and fields["metadata"].type is not ObjectMeta:
        raise KindError(f"{cls.__qualname__}.metadata: it is an ObjectMeta, of kube_core.api.meta")
    if "status" in fields:
        if status is not None:
            raise KindError(f"{cls.__qualname__}.status: its class is the field's, and is not to be given besides")
        if fields["status"].default is attrs.NOTHING:
            raise KindError(f"{cls.__qualname__}.status: it needs a default, as new objects have none")
        status = _status_class(cls, fields["status"].type)
    elif status is not None:
        resolve(status, names)
    if "spec" in fields:
        return None, status
    layout = Layout("metadata" in fields, status, "status" in fields)
    if not (layout.metadata and layout.has_status) and not hasattr(cls, "__weakref__"):
        raise KindError(
            f"{cls.__qualname__}: what it has no fields for is remembered of its objects: weakref_slot=True"
        )
    return layout, status


def _status_class(cls: type, kind: Any) -> type:
    members = [each for each in get_args(kind) if each is not types.NoneType] if get_origin(kind) else [kind]
    if len(members) != 1 or not isinstance(members[0], type) or not attrs.has(members[0]):
        raise KindError(f"{cls.__qualname__}.status: it is an attrs class, or None")
    return members[0]


def _plural(name: str) -> str:
    word = name.lower()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
