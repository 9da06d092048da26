"""The errors of the API: `metav1.Status` as exceptions, and the constructors that every layer raises them with.

A `StatusError` carries code, reason, message and details as upstream's `apimachinery/pkg/api/errors` documents them;
`to_document()` is the body that a client gets, and `from_document()` is the way back on the client's side. Catch the
subclasses (`NotFound`, `Conflict`, …): there is one for each reason that callers act upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from kube_core.meta.fields import FieldError
from kube_core.meta.gvk import GroupKind, GroupResource

__all__ = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotSupported",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StatusError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
    "already_exists",
    "conflict",
    "forbidden",
    "invalid",
    "not_found",
]


class StatusError(Exception):
    """A failure with an HTTP code and a machine-readable reason.

    `details` is the JSON of `metav1.StatusDetails`, or None. `code` and `reason` default to those of the subclass.
    """

    default_code: ClassVar[int] = 500
    default_reason: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.reason = self.default_reason if reason is None else reason
        self.details = details
        self.headers = headers or {}

    @property
    def causes(self) -> Sequence[dict[str, str]]:
        """`details.causes`: one mapping with `reason`, `message` and `field` for each."""
        return (self.details or {}).get("causes") or ()

    def to_document(self) -> dict[str, Any]:
        """The `Status` object, in upstream's field order."""
        document: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            document["reason"] = self.reason
        if self.details is not None:
            document["details"] = self.details
        document["code"] = self.code
        return document

    @staticmethod
    def from_document(document: dict[str, Any]) -> StatusError:
        """The exception for a `Status` that a server answered."""
        code = int(document.get("code") or 500)
        reason = str(document.get("reason") or "")
        kind = _BY_REASON.get(reason) or _BY_CODE.get(code, StatusError)
        error = kind(str(document.get("message") or ""), code=code, reason=reason, details=document.get("details"))
        if isinstance(error, Expired):
            error.continue_token = str((document.get("metadata") or {}).get("continue") or "")
        return error


class BadRequest(StatusError):
    default_code, default_reason = 400, "BadRequest"


class Unauthorized(StatusError):
    default_code, default_reason = 401, "Unauthorized"


class Forbidden(StatusError):
    default_code, default_reason = 403, "Forbidden"


class NotFound(StatusError):
    default_code, default_reason = 404, "NotFound"


class MethodNotSupported(StatusError):
    default_code, default_reason = 405, "MethodNotAllowed"


class NotAcceptable(StatusError):
    default_code, default_reason = 406, "NotAcceptable"


class AlreadyExists(StatusError):
    default_code, default_reason = 409, "AlreadyExists"


class Conflict(StatusError):
    default_code, default_reason = 409, "Conflict"


class Gone(StatusError):
    default_code, default_reason = 410, "Gone"


class Expired(StatusError):
    """A resource version or continue token that is too old (410)."""

    default_code, default_reason = 410, "Expired"
    #: With what a list may be continued nevertheless, of the present state; "" where it may not.
    continue_token = ""

    def to_document(self) -> dict[str, Any]:
        document = super().to_document()
        if self.continue_token:
            document["metadata"] = {"continue": self.continue_token}
        return document


class RequestEntityTooLarge(StatusError):
    default_code, default_reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    default_code, default_reason = 415, "UnsupportedMediaType"


class Invalid(StatusError):
    default_code, default_reason = 422, "Invalid"


class TooManyRequests(StatusError):
    default_code, default_reason = 429, "TooManyRequests"


class InternalError(StatusError):
    default_code, default_reason = 500, "InternalError"


class ServiceUnavailable(StatusError):
    default_code, default_reason = 503, "ServiceUnavailable"


class ServerTimeout(StatusError):
    default_code, default_reason = 500, "ServerTimeout"


class Timeout(StatusError):
    default_code, default_reason = 504, "Timeout"


_ALL: tuple[type[StatusError], ...] = (
    BadRequest, Unauthorized, Forbidden, NotFound, MethodNotSupported, NotAcceptable, AlreadyExists, Conflict, Gone,
    Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
    ServiceUnavailable, ServerTimeout, Timeout,
)  # fmt: skip
_BY_REASON = {kind.default_reason: kind for kind in _ALL}
_BY_CODE = {kind.default_code: kind for kind in reversed(_ALL)} | {
    409: Conflict,
    410: Gone,
    500: InternalError,
}


def _details(name: str, group: str, kind: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    return details | more


def not_found(resource: GroupResource, name: str) -> NotFound:
    return NotFound(f'{resource} "{name}" not found', details=_details(name, resource.group, resource.resource))


def already_exists(resource: GroupResource, name: str) -> AlreadyExists:
    return AlreadyExists(
        f'{resource} "{name}" already exists', details=_details(name, resource.group, resource.resource)
    )


def conflict(resource: GroupResource, name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {resource} "{name}": {why}',
        details=_details(name, resource.group, resource.resource),
    )


def forbidden(resource: GroupResource, name: str, why: str) -> Forbidden:
    what = f'{resource} "{name}" is forbidden: {why}' if name else f"{resource} is forbidden: {why}"
    return Forbidden(what, details=_details(name, resource.group, resource.resource))


def invalid(kind: GroupKind, name: str, errors: Iterable[FieldError], *, once: bool = False) -> Invalid:
    """422 with a cause for each field error; the message lists them as upstream's aggregate does.

    `once`: what is said twice is one cause, as for the kinds that upstream also has generated checks for.
    """
    errors = sorted(errors, key=lambda error: error.generated)
    if once:
        said = dict.fromkeys(error for error in errors if not error.generated)
        errors = [*said, *(error for error in errors if error.generated)]
    details = _details(name, kind.group, kind.kind)
    if errors:
        details["causes"] = [{"reason": error.reason, "message": error.body, "field": error.field} for error in errors]
    unique = list(dict.fromkeys(str(error) for error in errors))
    text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]" if unique else ""
    message = f'{kind} "{name}" is invalid' + (f": {text}" if text else "")
    return Invalid(message, details=details)
