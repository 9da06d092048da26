"""Paths into a document and what can be wrong there: upstream's `field.Path` and `field.Error`.

Reasons and wording are part of the contract with clients (kubectl prints them), so the constructors below are the
only place where they are written. Values are shown as upstream shows them: text in quotes, the rest as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import orjson

__all__ = ["FieldError", "Path", "duplicate", "forbidden", "internal", "invalid", "not_found", "not_supported",
           "required", "too_long", "too_many", "type_invalid"]  # fmt: skip


@attrs.frozen(slots=True)
class Path:
    """A place in a document: `Path("spec").child("containers").index(0)` reads `spec.containers[0]`."""

    text: str = ""

    def child(self, *names: str) -> Path:
        """The field `names[-1]` under here."""
        dotted = ".".join(names)
        return Path(f"{self.text}.{dotted}" if self.text else dotted)

    def index(self, position: int) -> Path:
        return Path(f"{self.text}[{position}]")

    def key(self, name: str) -> Path:
        return Path(f"{self.text}[{name}]")

    def __str__(self) -> str:
        return self.text or "<nil>"


@attrs.frozen(slots=True)
class FieldError:
    """One thing that is wrong. `reason` is a `CauseType`, `body` is the message without its path."""

    field: str
    reason: str
    body: str

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def _show(value: Any) -> str:
    # Upstream quotes text with Go's %q, which differs from JSON only in characters nobody names things with.
    return orjson.dumps(value).decode()


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueInvalid", f"Invalid value: {_show(value)}: {detail}")


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueTypeInvalid", f"Invalid value: {_show(value)}: {detail}")


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError(str(path), "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def duplicate(path: Path, value: Any) -> FieldError:
    return FieldError(str(path), "FieldValueDuplicate", f"Duplicate value: {_show(value)}")


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    quoted = ", ".join(f'"{item}"' for item in supported)
    tail = f": supported values: {quoted}" if quoted else ""
    return FieldError(str(path), "FieldValueNotSupported", f"Unsupported value: {_show(value)}{tail}")


def not_found(path: Path, value: Any) -> FieldError:
    return FieldError(str(path), "FieldValueNotFound", f"Not found: {_show(value)}")


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueForbidden", f"Forbidden: {detail}")


def too_long(path: Path, limit: int) -> FieldError:
    return FieldError(str(path), "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: Path, actual: int, limit: int) -> FieldError:
    return FieldError(str(path), "FieldValueTooMany", f"Too many: {actual}: must have at most {limit} items")


def internal(path: Path, detail: str) -> FieldError:
    return FieldError(str(path), "InternalError", f"Internal error: {detail}")
