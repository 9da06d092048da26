"""Admission and conversion as functions: the decorators, and what they note.

    @kube.validate(Website)
    def has_a_known_host(site: Website) -> str | None:
        return None if site.repository.startswith("git.example/") else "only git.example is known"

    @kube.mutate(Website)
    def two_at_least(site: Website, request: kube.AdmissionRequest[Website]) -> Website:
        return attrs.evolve(site, replicas=max(site.replicas, 2))

    @kube.convert
    def from_beta(old: WebsiteV1beta1) -> Website:
        return Website(repository=old.repo)

A function stays what it is, so that it can be called, and tested, as any other. Which cluster it serves is decided by
who offers it (`bundle`); how the server's reviews come to it, by `reviews` and `webhooks`.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeVar, overload

import attrs

from kube_core.abc.transport import User
from kube_core.api.models import from_document, resource_of
from kube_core.kinds.declare import declaration_of
from kube_core.kinds.schemas import KindError
from kube_core.meta.documents import Document

__all__ = [
    "AdmissionFunction",
    "AdmissionRequest",
    "Conversion",
    "Denied",
    "Operation",
    "admission_of",
    "conversion_of",
    "convert",
    "mutate",
    "validate",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=Callable[[Any], Any])
Operation = Literal["CREATE", "UPDATE", "DELETE"]

_ADMISSION: Final = "__kube_admission__"
_CONVERSION: Final = "__kube_conversion__"


class Denied(Exception):
    """Raised by a function that refuses a write: the message is for who asked. `code` and `reason` are a Status's."""

    def __init__(self, message: str, *, code: int = 403, reason: str = "Forbidden") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@attrs.define
class AdmissionRequest(Generic[T]):
    """One write. `document` and `old_document` are the objects as they are sent, `object` and `old` as their class."""

    kind: type[T]
    operation: Operation
    name: str
    namespace: str
    user: User
    document: Document | None
    old_document: Document | None
    dry_run: bool = False
    subresource: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    warnings: list[str] = attrs.field(factory=list)

    @property
    def object(self) -> T | None:
        """What is to be written; None where it is deleted. Raises `ConversionError`."""
        return None if self.document is None else from_document(self.kind, self.document)

    @property
    def old(self) -> T | None:
        """What is there now; None where it is created. Raises `ConversionError`."""
        return None if self.old_document is None else from_document(self.kind, self.old_document)

    def warn(self, text: str) -> None:
        """Tell who asked, without refusing."""
        self.warnings.append(text)


@attrs.frozen(eq=False)
class AdmissionFunction:
    """A function that the server asks of writes, with the fields of its webhook."""

    call: Callable[..., Any]
    kind: type
    mutates: bool
    #: Fully qualified, as webhooks' names are; it stands in refusals.
    name: str
    operations: tuple[Operation, ...]
    subresources: tuple[str, ...]
    takes_request: bool
    #: Members of the webhook as they are written in JSON: `failurePolicy`, `matchConditions`, …
    fields: Mapping[str, Any]

    def webhook(self, client_config: Document) -> dict[str, Any]:
        """The entry in a configuration of webhooks."""
        resource = resource_of(self.kind)
        resources = [resource.plural, *(f"{resource.plural}/{each}" for each in self.subresources)]
        rule = {
            "apiGroups": [resource.group],
            "apiVersions": [resource.version],
            "resources": resources,
            "operations": list(self.operations),
            "scope": "*",
        }
        return {
            "name": self.name,
            "clientConfig": dict(client_config),
            "rules": [rule],
            "admissionReviewVersions": ["v1"],
            **self.fields,
        }


@attrs.frozen(eq=False)
class Conversion:
    """A way from one version's class to another's."""

    call: Callable[[Any], Any]
    source: type
    target: type


def validate(
    kind: type,
    *,
    operations: Sequence[Operation] = ("CREATE", "UPDATE"),
    name: str = "",
    subresources: Sequence[str] = (),
    failure_policy: Literal["Fail", "Ignore"] = "Fail",
    timeout: int = 10,
    **fields: Any,
) -> Callable[[F], F]:
    """Ask a function whether objects of `kind` may be written.

    It takes the object, and if it has a second parameter the `AdmissionRequest`; of a deletion the object is what is
    deleted. It returns None, or what is wrong: a text, or several. It may raise `Denied`, `ValueError` or a
    `StatusError`, which refuse as well. It may be a coroutine function. An object that does not fit its class is
    refused without it.

    `fields`: what else a webhook has, in snake_case: `namespace_selector`, `object_selector`, `match_conditions`,
    `match_policy`, `side_effects` (`None` unless it is given). `timeout` is in seconds.
    """
    further = {"failure_policy": failure_policy, "timeout_seconds": timeout, **fields}
    return _admission(kind, operations, name, subresources, further, mutates=False)


def mutate(
    kind: type,
    *,
    operations: Sequence[Literal["CREATE", "UPDATE"]] = ("CREATE", "UPDATE"),
    name: str = "",
    subresources: Sequence[str] = (),
    failure_policy: Literal["Fail", "Ignore"] = "Fail",
    timeout: int = 10,
    **fields: Any,
) -> Callable[[F], F]:
    """Let a function change objects of `kind` before they are written.

    It takes what a function of `validate` takes, and returns the changed object, or None to leave it. What the class
    has no field for stays as it was sent. To refuse, raise. `reinvocation_policy` is one of `fields`.

    The server has not judged the object yet: one that does not fit its class passes by the function, and is refused
    afterwards, with the paths of its fields.
    """
    further = {"failure_policy": failure_policy, "timeout_seconds": timeout, **fields}
    return _admission(kind, operations, name, subresources, further, mutates=True)


@overload
def convert(function: C) -> C: ...
@overload
def convert(*, source: type, target: type) -> Callable[[C], C]: ...
def convert(function: Any = None, *, source: type | None = None, target: type | None = None) -> Any:
    """A function from one version's class to another's, which its annotations name, or `source` and `target`.

    Labels and annotations may be changed where both classes have `metadata`; all other metadata stays what it is. A
    status that the target has no field for is taken over as it is. Write one for each way; of three versions it is
    enough that each can be reached.
    """
    if function is None:
        if source is None or target is None:
            raise TypeError("convert: source and target are the classes of two versions")
        return lambda each: _conversion(each, source, target)
    caller = sys._getframe(1)
    hints = typing.get_type_hints(function, localns=dict(caller.f_locals))
    target = hints.pop("return", None)
    if len(hints) != 1 or target is None:
        raise KindError(f"{function.__qualname__}: it takes one version's class and returns another's, both annotated")
    return _conversion(function, next(iter(hints.values())), target)


def admission_of(function: object) -> AdmissionFunction | None:
    """What `@validate` or `@mutate` noted at a function; None for anything else."""
    found = getattr(function, _ADMISSION, None)
    return found if isinstance(found, AdmissionFunction) else None


def conversion_of(function: object) -> Conversion | None:
    """What `@convert` noted at a function; None for anything else."""
    found = getattr(function, _CONVERSION, None)
    return found if isinstance(found, Conversion) else None


def _admission(
    kind: type,
    operations: Iterable[Operation],
    name: str,
    subresources: Iterable[str],
    fields: Mapping[str, Any],
    *,
    mutates: bool,
) -> Callable[[F], F]:
    resource = resource_of(kind)
    known = _KNOWN | (_KNOWN_MUTATING if mutates else {})
    unknown = fields.keys() - known.keys()
    if unknown:
        raise TypeError(f"a webhook has no {', '.join(sorted(unknown))}")
    members = {"sideEffects": "None", **{known[each]: value for each, value in fields.items()}}

    def note(function: F) -> F:
        noted = AdmissionFunction(
            call=function,
            kind=kind,
            mutates=mutates,
            name=name or _webhook_name(function, resource.plural, resource.group),
            operations=tuple(operations),
            subresources=tuple(subresources),
            takes_request=len(inspect.signature(function).parameters) > 1,
            fields=members,
        )
        setattr(function, _ADMISSION, noted)
        return function

    return note


_KNOWN: Final = {
    "failure_policy": "failurePolicy",
    "timeout_seconds": "timeoutSeconds",
    "namespace_selector": "namespaceSelector",
    "object_selector": "objectSelector",
    "match_conditions": "matchConditions",
    "match_policy": "matchPolicy",
    "side_effects": "sideEffects",
}
_KNOWN_MUTATING: Final = {"reinvocation_policy": "reinvocationPolicy"}


def _webhook_name(function: Callable[..., Any], plural: str, group: str) -> str:
    word = getattr(function, "__name__", "function").strip("_").replace("_", "-").lower()
    return f"{word}.{plural}.{group or 'core'}"


def _conversion(function: C, source: Any, target: Any) -> C:
    name = getattr(function, "__qualname__", repr(function))
    ends = declaration_of(source), declaration_of(target)
    for end, given in zip(ends, (source, target), strict=True):
        if end is None:
            raise KindError(f"{name}: {getattr(given, '__qualname__', given)} is not a kind: decorate it with @kind")
    if ends[0].resource.group_resource != ends[1].resource.group_resource or source is target:  # type: ignore[union-attr]
        raise KindError(f"{name}: {source.__qualname__} and {target.__qualname__} are not versions of one kind")
    setattr(function, _CONVERSION, Conversion(function, source, target))
    return function
