"""Selectors of devices: expressions in CEL over one `device`. Documented under "Dynamic Resource Allocation".

`device` has a `driver`, and by domain `attributes` and `capacity`; whether it `allowMultipleAllocations`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kube_core.api.structural import Structural
from kube_core.cel.engine import CelError, compile_expression
from kube_core.cel.field_types import typed
from kube_core.meta import fields
from kube_core.meta.fields import Path
from kube_core.registry.kinds.admission.expressions import type_name
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.devices.parts import checked_each

__all__ = ["selectors"]

_LIMIT: Final = 10 * 1024
_MOST: Final = 32
_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}
_BY_DOMAIN: Final = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": _ANY},
}


def selectors(path: Path, listed: Sequence[Mapping[str, Any]], *, stored: bool = False) -> Errors:
    """`stored`: they were stored as they are, so their expressions were good."""

    def check(here: Path, selector: Mapping[str, Any]) -> Errors:
        if selector.get("cel") is None:
            yield fields.required(here.child("cel"))
            return
        text, spot = selector["cel"].get("expression") or "", here.child("cel").child("expression")
        if stored:
            return
        if len(text.encode()) > _LIMIT:
            yield fields.too_long(spot, _LIMIT)
        else:
            yield from _problems(spot, text)

    return checked_each(path, listed, _MOST, check)


def _problems(path: Path, text: str) -> Errors:
    try:
        program = compile_expression(text, ("device",))
        returns = typed(text, _schemas(), ("device",)) or program.returns
    except CelError as error:
        yield fields.invalid(path, text, f"compilation failed: {error}")
        return
    if returns not in ("BOOL", "DYN"):
        yield fields.invalid(path, text, f"must evaluate to bool or the unknown type, not {type_name(returns)}")


@functools.cache
def _schemas() -> Mapping[str, Structural]:
    properties = {
        "driver": {"type": "string"},
        "attributes": _BY_DOMAIN,
        "capacity": _BY_DOMAIN,
        "allowMultipleAllocations": {"type": "boolean"},
    }
    return {"device": Structural({"type": "object", "properties": properties})}
