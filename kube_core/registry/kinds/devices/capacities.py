"""How much of a device's capacity may be asked for: values that are offered, or a range with steps.

Only a device that may be allocated several times has such a policy. Documented under "Dynamic Resource Allocation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kube_core.meta import fields, quantities
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors

__all__ = ["request_policy"]

Part = Mapping[str, Any]

_OPTIONS: Final = 10
_WHOLE: Final = 10**9
_LARGEST: Final = 2**63 - 1
_TOO_LARGE: Final = f"must not be larger than {_LARGEST}"


def request_policy(path: Path, capacity: Part, *, several: bool) -> Errors:
    """`several`: whether the device may be allocated several times."""
    policy, here = capacity.get("requestPolicy"), path.child("requestPolicy")
    if policy is None:
        return
    if not several:
        yield fields.forbidden(here, "allowMultipleAllocations must be true")
        return
    values, span, default = policy.get("validValues") or (), policy.get("validRange"), policy.get("default")
    if values and span is not None:
        detail = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        yield fields.forbidden(here, detail)
    elif values or span is not None:
        name = "validValues" if values else "validRange"
        if default is None:
            yield fields.required(here.child("default"), f"required when {name} is defined")
        elif values:
            yield from _values(here.child(name), default, capacity.get("value"), values)
        elif span is not None:
            yield from _range(here.child(name), default, capacity.get("value"), span)


def _values(path: Path, default: Any, most: Any, values: Any) -> Errors:
    amounts = [_nano(each) for each in values]
    for position in range(len(amounts) - 1):
        if amounts[position] > amounts[position + 1]:
            where = path.index(position + 1)
            yield fields.invalid(where, str(values[position + 1]), "values must be sorted in ascending order")
    if len(values) > _OPTIONS:
        yield fields.too_many(path, len(values), _OPTIONS)
    else:
        for position, each in enumerate(values):
            if amounts[position] > _nano(most):
                detail = f"option is larger than capacity value: {most}"
                yield fields.invalid(path.index(position), str(each), detail)
        seen = set()
        for position, amount in enumerate(amounts):
            if amount in seen:
                yield fields.duplicate(path.index(position), str(values[position]))
            seen.add(amount)
    if len(values) > _OPTIONS or _nano(default) not in amounts:
        yield fields.invalid(path, str(default), "default value is not valid according to the requestPolicy")


def _range(path: Path, default: Any, capacity: Any, span: Part) -> Errors:
    least, most, step = span.get("min"), span.get("max"), span.get("step")
    if least is None:
        yield fields.required(path.child("min"), "required when validRange is defined")
        return
    if _nano(least) > _nano(capacity):
        yield fields.invalid(path.child("min"), str(least), f"min is larger than capacity value: {capacity}")
    if _nano(default) < _nano(least):
        yield fields.invalid(path.child("default"), str(default), f"default is less than min: {least}")
    if most is not None:
        if _nano(least) > _nano(most):
            yield fields.invalid(path.child("max"), str(least), f"min is larger than max: {most}")
        if _nano(most) > _nano(capacity):
            yield fields.invalid(path.child("max"), str(most), f"max is larger than capacity value: {capacity}")
        if _nano(default) > _nano(most):
            yield fields.invalid(path.child("default"), str(default), f"default is more than max: {most}")
    if step is None:
        return
    where = path.child("step")
    if _nano(step) <= 0:
        yield fields.invalid(where, str(step), "must be greater than zero")
        return
    first = _nano(least) + _nano(step)
    if first > _nano(capacity):
        added = quantities.parse(str(least)) + quantities.parse(str(step))
        yield fields.invalid(where, str(step), f"one step {added} is larger than capacity value: {capacity}")
    unsafe = False
    for name, each in (("default", default), ("min", least), ("max", most), ("step", step)):
        if each is None:
            continue
        if _nano(each) < 0:
            unsafe = True
            yield fields.invalid(path.child(name), str(each), "must be greater than or equal to 0")
        elif _nano(each) > _LARGEST * _WHOLE:
            unsafe = True
            yield fields.invalid(path.child(name), str(each), _TOO_LARGE)
    for each in () if unsafe else (default, most):
        if each is not None and (_whole(each) - _whole(least)) % _whole(step):
            detail = f"value is not a multiple of a given step ({step}) from ({least})"
            yield fields.invalid(where, str(each), detail)


def _nano(amount: Any) -> int:
    return quantities.parse(str(amount)).nano if amount is not None else 0


def _whole(amount: Any) -> int:
    """Rounded up."""
    return -(-_nano(amount) // _WHOLE)
