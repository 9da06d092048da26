"""Paths into a document and what can be wrong there: upstream's `field.Path` and `field.Error`.

Reasons and wording are part of the contract with clients (kubectl prints them), so the constructors below are the
only place where they are written. Values are shown as upstream shows them: text in quotes, the rest as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs
import orjson

__all__ = ["FieldError", "Path", "duplicate", "forbidden", "internal", "invalid", "not_found", "not_supported",
           "required", "too_long", "too_many", "type_invalid"]  # fmt: skip

_new = object.__new__


class Path:
    """A place in a document: `Path("spec").child("containers").index(0)` reads `spec.containers[0]`.

    Most paths are made for an error that does not happen, so a path is put into words only when somebody reads it.
    """

    __slots__ = ("_above", "_text")

    def __init__(self, text: str = "", above: Path | None = None) -> None:
        """`text`: what follows `above`, its dot or bracket included where there is something before it."""
        self._text = text
        self._above = above

    @property
    def text(self) -> str:
        above = self._above
        if above is not None:
            before = above.text
            self._text = before + self._text if before else self._text.removeprefix(".")
            self._above = None
        return self._text

    def child(self, name: str, *more: str) -> Path:
        """The field `name` under here, or the last of `more` under that."""
        # Not by `Path(…)`, which takes twice as long: a pod's validation makes some eighty of them.
        made = _new(Path)
        made._text = f".{name}" if not more else f".{name}.{'.'.join(more)}"
        made._above = self
        return made

    def index(self, position: int) -> Path:
        made = _new(Path)
        made._text = f"[{position}]"
        made._above = self
        return made

    def key(self, name: str) -> Path:
        return Path(f"[{name}]", self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def __str__(self) -> str:
        return self.text or "<nil>"


#: In the place of a value that is not shown: a whole object, or a list.
UNSHOWN: Final = object()


@attrs.frozen(slots=True)
class FieldError:
    """One thing that is wrong. `reason` is a `CauseType`, `body` is the message without its path."""

    field: str
    reason: str
    body: str
    #: Upstream finds it out by generated checks, whose errors come after all others.
    generated: bool = attrs.field(default=False, eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def _show(value: Any) -> str:
    # Upstream quotes text with Go's %q, which differs from JSON only in characters nobody names things with.
    return orjson.dumps(value).decode()


def generated(errors: Iterable[FieldError]) -> Iterator[FieldError]:
    """The same, as errors of upstream's generated checks."""
    for error in errors:
        yield FieldError(error.field, error.reason, error.body, True)


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    shown = f": {_show(value)}" if value is not UNSHOWN else ""
    tail = f": {detail}" if detail else ""
    return FieldError(str(path), "FieldValueInvalid", f"Invalid value{shown}{tail}")


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueTypeInvalid", f"Invalid value: {_show(value)}: {detail}")


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError(str(path), "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def duplicate(path: Path, value: Any) -> FieldError:
    shown = f": {_show(value)}" if value is not UNSHOWN else ""
    return FieldError(str(path), "FieldValueDuplicate", f"Duplicate value{shown}")


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    quoted = ", ".join(f'"{item}"' for item in supported)
    tail = f": supported values: {quoted}" if quoted else ""
    return FieldError(str(path), "FieldValueNotSupported", f"Unsupported value: {_show(value)}{tail}")


def not_found(path: Path, value: Any) -> FieldError:
    return FieldError(str(path), "FieldValueNotFound", f"Not found: {_show(value)}")


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueForbidden", f"Forbidden: {detail}" if detail else "Forbidden")


def too_long(path: Path, limit: int) -> FieldError:
    return FieldError(str(path), "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: Path, actual: int, limit: int) -> FieldError:
    return FieldError(str(path), "FieldValueTooMany", f"Too many: {actual}: must have at most {limit} items")


def internal(path: Path, detail: str) -> FieldError:
    return FieldError(str(path), "InternalError", f"Internal error: {detail}")
