"""Documents made by chance from a schema, and then damaged: for fuzzing. The same seed makes the same ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any

from kube_core.api.schemas import Schema, builtin
from kube_core.api.types import ResourceDescriptor

__all__ = ["damaged", "document", "hostile", "name"]

_WORDS = (
    "a", "b", "default", "app", "web-1", "example.com/role", "TCP", "UDP", "80", "http", "10m", "1Gi", "0", "-1", "1e3",
    "10.0.0.1", "fd00::1", "10.0.0.0/24", "*", "*.example.com", "/", "/a/../b", "0 * * * *", "@hourly", "50%", "120%",
    "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "1h", "Always", "Never", "ClusterIP", "None", "nginx:1.2",
    "self.x > 1", "self.spec.replicas <= 5", "object.metadata.name == 'a'", "a in (b, c)", "!a", "a=b", "{", "[", "(",
    "{.spec.replicas}", "$(A)", "aGVsbG8=", "https://example.com/x?y=1", "Service", "v1", "apps/v1",
    "Deployment", "metadata.name", "spec.nodeName", "system:masters", "https://x:99999/", "::ffff:1.2.3.4",
)  # fmt: skip
_HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 65536, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, -0.0, 1e300, 1e-300,
    "", " ", "a" * 300, "a" * 70_000, "\0", "\n", "\u2028", "\u202e", "\U0001f600", "é", "..", "../..", "%00", "'\"`\\",
    [], {}, [[]], [None], [{}], {"": ""}, {"a": None}, {"a": {"a": {"a": {}}}}, ["a", "a"], [1, "a", {}], "1" * 400,
    "9" * 30 + "Ki", "1e999999999", "1e-999999999", "0x10", "١", "nan", "Infinity", "-", "+", ".", "1.", "1h1", "P1D",
    "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "a" * 63 + "/b",
)  # fmt: skip
_FORMATS: Mapping[str, tuple[Any, ...]] = {
    "date-time": ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00+01:00"),
    "byte": ("aGVsbG8=", "", "eA=="),
    "quantity": ("1", "100m", "1Gi", 2, 0.5, "1e3", "-1"),
}
_DEEPEST = 7


def name(chance: random.Random) -> str:
    return chance.choice(("a", "b", "c", "web", "x-1"))


def hostile(chance: random.Random) -> Any:
    """A value that is rarely what a field wants."""
    if chance.random() < 0.02:
        value: Any = "x"
        for _ in range(chance.choice((20, 200, 400))):
            value = {"a": value} if chance.random() < 0.5 else [value]
        return value
    return _copied(chance.choice(_HOSTILE))


def document(descriptor: ResourceDescriptor, chance: random.Random) -> dict[str, Any]:
    """An object of the kind that might well be one."""
    kind = descriptor.type
    made: dict[str, Any] = {}
    if descriptor.schema:
        schema = builtin(descriptor.schema)
        for member in schema.member_names:
            if member not in ("apiVersion", "kind", "metadata", "status") or chance.random() < 0.1:
                found = schema.member(member)
                if found is not None and (member in ("spec", *schema.required) or chance.random() < 0.7):
                    made[member] = _value(found, chance, 1)
    made["apiVersion"], made["kind"] = kind.api_version, kind.kind
    made["metadata"] = {"name": name(chance)}
    if chance.random() < 0.3:
        metadata = builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        for member in chance.sample(metadata.member_names, 3):
            found = metadata.member(member)
            if found is not None and member not in ("name", "namespace"):
                made["metadata"][member] = _value(found, chance, 2)
    return made


def damaged(value: Any, chance: random.Random, times: int) -> Any:
    """The same with some of its parts replaced, removed, repeated or put where they do not belong."""
    for _ in range(times):
        places = list(_places(value))
        if not places:
            return hostile(chance)
        holder, key = chance.choice(places)
        match chance.randrange(5):
            case 0 if isinstance(holder, MutableMapping):
                del holder[key]
            case 1 if isinstance(holder, MutableSequence):
                holder.append(_copied(holder[key]))
            case 2 if isinstance(holder, MutableMapping):
                holder[str(chance.choice(_WORDS))] = _copied(holder[key])
            case 3:
                other, elsewhere = chance.choice(places)
                holder[key] = _copied(other[elsewhere])
            case _:
                holder[key] = hostile(chance)
    return value


def _places(value: Any, deep: int = 0) -> Iterator[tuple[Any, Any]]:
    if deep > 20:
        return
    if isinstance(value, dict):
        for key, part in list(value.items()):
            yield value, key
            yield from _places(part, deep + 1)
    elif isinstance(value, list):
        for position, part in enumerate(list(value)):
            yield value, position
            yield from _places(part, deep + 1)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _value(schema: Schema, chance: random.Random, depth: int) -> Any:
    if (enum := schema.document.get("enum")) and chance.random() < 0.9:
        return chance.choice(enum)
    if schema.int_or_string:
        return chance.choice((80, 0, "http", "50%", "25%", -1))
    if schema.format in _FORMATS:
        return chance.choice(_FORMATS[schema.format])
    match schema.type:
        case "object" | "":
            return _object(schema, chance, depth)
        case "array":
            items = schema.items
            if items is None or depth > _DEEPEST:
                return []
            return [_value(items, chance, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)))]
        case "string":
            return chance.choice(_WORDS)
        case "integer":
            return chance.choice((0, 1, 2, 3, 80, 443, 600, 30000, -1, 2**31 - 1))
        case "number":
            return chance.choice((0, 1, 0.5, -1.5))
        case _:
            return chance.random() < 0.5


def _object(schema: Schema, chance: random.Random, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if depth <= _DEEPEST:
        likely = chance.choice((0.0, 0.05, 0.2, 0.5))
        for member in schema.member_names:
            found = schema.member(member)
            if found is not None and (member in schema.required or chance.random() < likely):
                made[member] = _value(found, chance, depth + 1)
        if (values := schema.values) is not None and not made:
            for _ in range(chance.randrange(3)):
                made[chance.choice(_WORDS)] = _value(values, chance, depth + 1)
    return made
