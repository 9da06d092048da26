"""The checks that many kinds share: each yields what is wrong with one value at one place.

Wording is upstream's (`apimachinery/pkg/api/validation`, `pkg/apis/core/validation`). A check for one kind only belongs
into that kind's module.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds.rules import ValidationContext

__all__ = [
    "IMMUTABLE",
    "Errors",
    "duplicates",
    "fixed",
    "given",
    "immutable",
    "int_or_percent",
    "ip",
    "is_percent",
    "label_selector",
    "labels",
    "mapping",
    "named",
    "non_negative",
    "non_special_ip",
    "one_of",
    "percent_of",
    "port",
    "port_number",
    "positive",
    "sequence",
]

Errors = Iterator[FieldError]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"


def mapping(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object under a path; empty where there is none."""
    found: Any = document
    for name in path:
        found = found.get(name)
        if not found:
            return {}
    return found  # type: ignore[no-any-return]


def sequence(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The list in a field; empty where there is none."""
    return document.get(name) or ()


def given(
    check: Callable[[Path, Any], Iterable[FieldError]], path: Path, part: Mapping[str, Any], name: str
) -> Iterable[FieldError]:
    """What `check` has to say of a field, if there is anything in it: most fields are empty."""
    value = part.get(name)
    return check(path.child(name), value) if value else ()


# These are asked of nearly every object, and nearly always have nothing to say: to make an iterator for that would take
# longer than to look.


def named(path: Path, value: str, rule: Callable[[str], names.Messages]) -> Iterable[FieldError]:
    """One error for each message that a rule of `kube_core.meta.names` has."""
    messages = rule(value)
    return [fields.invalid(path, value, message) for message in messages] if messages else ()


def one_of(path: Path, value: Any, supported: Collection[str], *, ordered: bool = False) -> Iterable[FieldError]:
    """Supported values are listed in alphabetical order, unless `ordered` says that theirs is upstream's."""
    if value in supported:
        return ()
    return (fields.not_supported(path, value, supported if ordered else sorted(supported)),)


def non_negative(path: Path, value: int | None) -> Iterable[FieldError]:
    return () if value is None or value >= 0 else (fields.invalid(path, value, NOT_NEGATIVE),)


def labels(path: Path, values: Mapping[str, str] | None) -> Iterable[FieldError]:
    return _labels(path, values) if values else ()


def positive(path: Path, value: int | None) -> Errors:
    if value is not None and value <= 0:
        yield fields.invalid(path, value, "must be greater than 0")


def immutable(path: Path, new: Any, old: Any) -> Errors:
    """Nothing and an empty value are the same."""
    if (new or None) != (old or None) if not isinstance(new, bool | int) else new != old:
        yield fields.invalid(path, new, IMMUTABLE)


def fixed(path: Path, new: Any, old: Any) -> Errors:
    """As `immutable`, by upstream's generated checks: those do not show the value."""
    for error in immutable(path, new, old):
        yield fields.invalid(Path(error.field), None, IMMUTABLE)


def duplicates(path: Path, values: Iterable[Any]) -> Errors:
    """Every value that was there before, at its own index."""
    seen = set()
    for position, value in enumerate(values):
        if value in seen:
            yield fields.duplicate(path.index(position), value)
        seen.add(value)


def port_number(path: Path, number: int) -> Errors:
    for message in names.port_number(number):
        yield fields.invalid(path, number, message)


def port(path: Path, value: int | str) -> Errors:
    """A port by number or by name."""
    if isinstance(value, int):
        yield from port_number(path, value)
    else:
        yield from named(path, value, names.port_name)


def ip(path: Path, value: str) -> Errors:
    yield from named(path, value, names.ip_address)


def non_special_ip(path: Path, value: str, context: ValidationContext) -> Errors:
    """An address that can be an endpoint: not of the loopback or link-local ranges, unless the cluster exempts it."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        yield fields.invalid(path, value, "must be a valid IP address")
        return
    if context.exempts(value):
        return
    if address.is_unspecified:
        yield fields.invalid(path, value, f"may not be unspecified ({value})")
    if address.is_loopback:
        yield fields.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield fields.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        yield fields.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


_LINK_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def is_percent(value: int | str) -> bool:
    return isinstance(value, str) and not names.percent(value)


def percent_of(value: int | str) -> int | None:
    """The number before the percent sign, or None."""
    return int(value[:-1]) if isinstance(value, str) and is_percent(value) else None


def int_or_percent(path: Path, value: int | str) -> Errors:
    """A count that is not negative, or a percentage."""
    if isinstance(value, int):
        yield from non_negative(path, value)
    else:
        yield from named(path, value, names.percent)


def _labels(path: Path, values: Mapping[str, str]) -> Errors:
    for key, value in values.items():
        yield from named(path, key, names.qualified_name)
        yield from named(path, value, names.label_value)


def label_selector(
    path: Path, selector: Mapping[str, Any] | None, *, values_checked: bool = True, value: bool = False
) -> Errors:
    """A `LabelSelector` document; None is fine. `values_checked`: the values of expressions are labels' too."""
    if not selector:
        return
    yield from labels(path.child("matchLabels"), selector.get("matchLabels"))
    for position, expression in enumerate(selector.get("matchExpressions") or ()):
        here = path.child("matchExpressions").index(position)
        operator, values = expression.get("operator"), expression.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield fields.required(here.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield fields.forbidden(
                    here.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            yield fields.invalid(here.child("operator"), operator or "", "not a valid selector operator")
        yield from named(here.child("key"), expression.get("key") or "", names.qualified_name)
        if values_checked:
            for index, each in enumerate(values):
                yield from named(here.child("values").index(index), each, names.label_value)
