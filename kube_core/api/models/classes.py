"""What makes a class a model: frozen, keyword-only attrs, made into one when it is first used.

There are some five hundred generated classes, and attrs takes half a millisecond for each; a program uses a few dozen.
So a subclass of `Model` only says that it is one, and attrs gets to it when somebody makes an instance or asks for its
fields. To type checkers and to whoever uses it, it is an ordinary frozen attrs class.

A field's name in JSON is its name in camelCase; where that is not so, `field(json=...)` says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import attrs

from kube_core.api.types import ResourceType

__all__ = ["Layout", "Model", "camel_case", "evolve", "field", "json_name", "layout_of", "register", "resource_of"]

T = TypeVar("T")

#: Where an attribute's metadata has its name in JSON, if that is another than its own in camelCase.
_JSON_NAME = "kube_core.json"


@attrs.frozen
class Layout:
    """Where in a document the fields of a class are that has none for `spec`: all are in `spec`, but for these two.

    `status` is the class of the status, whether or not an instance has a field for it.
    """

    metadata: bool = False
    status: type | None = None
    has_status: bool = False


_RESOURCES: dict[type, ResourceType] = {}
_LAYOUTS: dict[type, Layout] = {}


def field(*, default: Any = attrs.NOTHING, factory: Callable[[], Any] | None = None, json: str = "") -> Any:
    """A field of a model, or of an attrs class. `json`: its name in JSON, where that is not its own in camelCase."""
    metadata = {_JSON_NAME: json} if json else None
    return attrs.field(default=default, factory=factory, metadata=metadata)


def json_name(attribute: attrs.Attribute[Any]) -> str:
    """What an attribute is called in JSON."""
    return attribute.metadata.get(_JSON_NAME) or camel_case(attribute.name)


def camel_case(name: str) -> str:
    """`pod_cidr` → `podCidr`; a trailing underscore (`from_`) is Python's, and goes."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def evolve(value: T, **changes: Any) -> T:
    """The same object with other values for some fields. It is attrs' own, for what mypy does not know to be attrs'."""
    return attrs.evolve(value, **changes)  # type: ignore[misc]


def register(kind: type, resource: ResourceType, layout: Layout | None = None) -> None:
    """Objects of the class `kind` are those of `resource`. Without a layout its fields are those of the document."""
    _RESOURCES[kind] = resource
    if layout is not None:
        _LAYOUTS[kind] = layout


def resource_of(kind: type) -> ResourceType:
    """The resource whose objects a class stands for. Raises TypeError for a class that stands for none."""
    for base in kind.__mro__:
        if (resource := _RESOURCES.get(base)) is not None:
            return resource
    raise TypeError(f"{kind.__qualname__} is not a kind of object")


def layout_of(kind: type) -> Layout | None:
    """How a class that is registered is laid out; None where its fields are those of the document."""
    return next((found for base in kind.__mro__ if (found := _LAYOUTS.get(base)) is not None), None)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Model:
    """What generated models extend: each is a frozen attrs class whose fields are given by keyword."""

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        for name in ("__attrs_attrs__", "__init__"):
            setattr(cls, name, _Deferred(name))
        cls.__repr__ = _shown  # type: ignore[method-assign]


def _shown(self: Any) -> str:
    """Of some dozens of fields, those that say something."""
    values = ((name, getattr(self, name)) for name in (each.name for each in attrs.fields(type(self))))
    said = ", ".join(f"{name}={value!r}" for name, value in values if value is not None and value not in ((), {}))
    return f"{type(self).__qualname__}({said})"


class _Deferred:
    """Stands for what attrs adds to a class until somebody wants it, and then lets attrs add it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        for cls in reversed(owner.__mro__):
            if isinstance(vars(cls).get(self._name), _Deferred):
                del cls.__attrs_attrs__, cls.__init__  # type: ignore[attr-defined, misc]
                attrs.frozen(cls, slots=False, kw_only=True)
        found = getattr(owner, self._name)
        return found if instance is None or self._name != "__init__" else found.__get__(instance, owner)
