"""What claims, classes and slices of devices have in common: names, tolerations, taints, parameters.

Upstream checks some of this by hand and some by generated code, which words the same mistakes otherwise (a driver's
name in a configuration, and in a slice), and whose errors come after all others.
Documented under "Dynamic Resource Allocation".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from kube_core.meta import fields, names
from kube_core.meta.fields import Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors, named

__all__ = [
    "MOST_REQUESTS",
    "binding_conditions",
    "checked_each",
    "device_uid",
    "distinct",
    "driver_name",
    "opaque",
    "opaque_driver",
    "parameters",
    "pool_name",
    "qualified",
    "skip_operations",
    "taint",
    "toleration",
]

Part = Mapping[str, Any]

MOST_REQUESTS: Final = 32
_DRIVER_NAME: Final = 63
_POOL_NAME: Final = 253
_IDENTIFIER_LENGTH: Final = 32
_PARAMETERS: Final = 10 * 1024
_BINDING_CONDITIONS: Final = 4
_EFFECTS: Final = ("NoExecute", "NoSchedule", "None")
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BAD_IDENTIFIER: Final = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    f"or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '{_IDENTIFIER.pattern}')"
)
_BAD_CASELESS: Final = (
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'Example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def checked_each(path: Path, listed: Sequence[Any], most: int, check: Callable[[Path, Any], Errors]) -> Errors:
    """Each item, unless there are too many of them."""
    if len(listed) > most:
        yield from generated([fields.too_many(path, len(listed), most)])
        return
    for position, each in enumerate(listed):
        yield from check(path.index(position), each)


def distinct(path: Path, listed: Sequence[Any], most: int, key: Callable[[Any], Any]) -> Errors:
    """No two with the same key, where there are not too many of them to say that of each."""
    if len(listed) > most:
        return
    seen = set()
    for position, each in enumerate(listed):
        if (found := key(each)) in seen:
            yield from generated([fields.duplicate(path.index(position), each)])
        seen.add(found)


def driver_name(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
        return
    if len(name) > _DRIVER_NAME:
        yield fields.too_long(path, _DRIVER_NAME)
    yield from (fields.invalid(path, name, message) for message in names.dns1123_subdomain(name.lower()))


def opaque_driver(path: Path, name: str) -> Errors:
    """A driver's name, as generated checks word what is wrong with it."""
    if not name:
        yield fields.required(path)
        return
    for message in names.dns1123_subdomain(name.lower()):
        yield fields.invalid(path, name, _BAD_CASELESS if message.startswith("a lowercase RFC 1123") else message)
    if len(name) > _DRIVER_NAME:
        error = fields.too_long(path, _DRIVER_NAME)
        yield fields.FieldError(error.field, error.reason, error.body.replace("bytes", "characters"))


def pool_name(path: Path, name: str) -> Errors:
    if not name:
        yield fields.required(path)
        return
    if len(name) > _POOL_NAME:
        yield fields.too_long(path, _POOL_NAME)
    for part in name.split("/"):
        yield from named(path, part, names.dns1123_subdomain)


def qualified(path: Path, name: str, *, domain_needed: bool = False) -> Errors:
    """The name of an attribute or capacity: an identifier, which a domain and a slash may precede."""
    parts = name.split("/")
    if len(parts) == 1:
        yield from _identifier(path, name)
    elif len(parts) == 2:
        domain, identifier = parts
        if domain:
            yield from driver_name(path, domain)
        else:
            yield fields.invalid(path, "", "the domain must not be empty")
        if identifier:
            yield from _identifier(path, identifier)
        else:
            yield fields.invalid(path, "", "the name must not be empty")
    if domain_needed and len(parts) == 1:
        yield fields.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def _identifier(path: Path, name: str) -> Errors:
    if len(name) > _IDENTIFIER_LENGTH:
        yield fields.too_long(path, _IDENTIFIER_LENGTH)
    if not _IDENTIFIER.fullmatch(name):
        yield fields.invalid(path, name, _BAD_IDENTIFIER)


def toleration(path: Path, part: Part) -> Errors:
    operator, value, effect = (part.get(name) or "" for name in ("operator", "value", "effect"))
    if operator == "Exists" and value:
        yield fields.invalid(path.child("value"), value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        yield from named(path.child("value"), value, names.label_value)
    if part.get("key"):
        yield from generated(named(path.child("key"), part["key"], names.qualified_name))
    if operator:
        yield from generated(checks.one_of(path.child("operator"), operator, ("Equal", "Exists")))
    else:
        yield from generated([fields.required(path.child("operator"))])
    if effect:
        yield from generated(checks.one_of(path.child("effect"), effect, _EFFECTS))


def taint(path: Path, part: Part, old: Part | None = None) -> Errors:
    yield from named(path.child("key"), part.get("key") or "", names.qualified_name)
    if part.get("value"):
        yield from named(path.child("value"), part["value"], names.label_value)
    effect = part.get("effect") or ""
    if old is not None and (old.get("effect") or "") == effect:
        return
    where = path.child("effect")
    yield from generated(checks.one_of(where, effect, _EFFECTS) if effect else [fields.required(where)])


def opaque(path: Path, config: Part, *, stored: bool = False) -> Errors:
    """What a driver is told. `stored`: it was stored as it is, when there may have been no limit."""
    found, here = config.get("opaque"), path.child("opaque")
    if found is None:
        yield fields.required(here)
        return
    yield from parameters(here.child("parameters"), found.get("parameters"), stored=stored)
    yield from generated(opaque_driver(here.child("driver"), found.get("driver") or ""))


def parameters(path: Path, value: Any, *, stored: bool = False) -> Errors:
    if value is None:
        yield fields.required(path)
    elif not stored and len(orjson.dumps(value)) > _PARAMETERS:
        yield fields.too_long(path, _PARAMETERS)
    elif not isinstance(value, Mapping):
        yield fields.invalid(path, "<value omitted>", "must be a valid JSON object")


def binding_conditions(path: Path, part: Part) -> Errors:
    """What must become true of a device, and what may, before a pod is bound to its node."""
    wanted, failing = (part.get(name) or () for name in ("bindingConditions", "bindingFailureConditions"))
    here, there = path.child("bindingConditions"), path.child("bindingFailureConditions")
    for place, listed in ((here, wanted), (there, failing)):
        yield from checked_each(
            place, listed, _BINDING_CONDITIONS, lambda spot, each: iter(named(spot, each, names.qualified_name))
        )
    yield from checks.duplicates(here, wanted)
    seen: set[str] = set()
    for position, each in enumerate(failing):
        if each in seen:
            yield fields.duplicate(there.index(position), each)
        seen.add(each)
        if each in wanted:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            yield fields.invalid(there.index(position), each, detail)
    if failing and not wanted:
        detail = "bindingConditions are required to use bindingFailureConditions"
        yield fields.invalid(here, part.get("bindingConditions"), detail)
    if wanted and not failing:
        detail = "bindingFailureConditions are required to use bindingConditions"
        yield fields.invalid(there, part.get("bindingFailureConditions"), detail)


def skip_operations(path: Path, listed: Sequence[str]) -> Errors:
    if "NodePrepareResources" in listed and not {"NodeUnprepareResources", "*"} & {*listed}:
        detail = "NodePrepareResources cannot be skipped unless NodeUnprepareResources is also skipped"
        yield fields.invalid(path, list(listed), detail)


def device_uid(path: Path, value: str) -> Errors:
    try:
        normal = str(uuid.UUID(value))
    except ValueError:
        yield fields.invalid(path, value, f"error validating uid: invalid UUID length: {len(value)}")
        return
    if normal != value:
        yield fields.invalid(
            path,
            value,
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
            "hexadecimal characters",
        )
