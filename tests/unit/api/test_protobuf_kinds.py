"""Every built-in kind keeps all that it says on its way through protobuf: documents made of the schemas themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kube_core.api import protobuf
from kube_core.api.schemas import Schema, builtin, builtin_documents, builtin_name

_META = "io.k8s.apimachinery.pkg."
_DEPTH = 7


def kinds() -> list[tuple[str, str]]:
    found = []
    for name, document in builtin_documents().items():
        for each in document.get("x-kubernetes-group-version-kind") or ():
            version = f"{each['group']}/{each['version']}" if each.get("group") else each["version"]
            if builtin_name(version, each["kind"]) == name:
                found.append((version, each["kind"]))
    return sorted(set(found))


class Maker:
    """Makes documents of schemas; from one seed, always the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def object(self, api_version: str, kind: str) -> dict[str, Any]:
        schema = builtin(builtin_name(api_version, kind))
        return {"kind": kind, "apiVersion": api_version, **self.members(schema, 0)}

    def members(self, schema: Schema, depth: int) -> dict[str, Any]:
        # An object says its kind in the envelope, so one within another does not say it at all.
        is_kind = "x-kubernetes-group-version-kind" in schema.document or "gracePeriodSeconds" in schema.member_names
        without = ("kind", "apiVersion") if is_kind else ()
        made: dict[str, Any] = {}
        for name in schema.member_names:
            if name in without or (depth and self.random.random() < 0.3):
                continue
            value = self.value(schema, name, depth)
            if value not in (None, [], {}):
                made[name] = value
        return made

    def value(self, owner: Schema, name: str, depth: int) -> Any:
        declared = owner.document["properties"][name]
        schema = owner.member(name)
        assert schema is not None
        return self.any(declared, schema, depth)

    def any(self, declared: Mapping[str, Any], schema: Schema, depth: int) -> Any:
        special = _SPECIAL.get(_referred(declared))
        if special is not None:
            return special(self.random)
        if depth > _DEPTH:
            return None
        match schema.type:
            case "object" if schema.member_names:
                return self.members(schema, depth + 1)
            case "object" if schema.values is not None:
                values = schema.document["additionalProperties"]
                return {
                    key: made
                    for key in ("a", "b/c")
                    if (made := self.any(values, schema.values, depth + 1)) is not None
                }
            case "array" if schema.items is not None:
                made = [self.any(schema.document["items"], schema.items, depth + 1) for _ in range(2)]
                return [each for each in made if each not in (None, {}, [])]
            case "string":
                return self.text(schema)
            case "integer":
                return self.random.choice((1, 127, 128, -1, 2**31 - 1, -(2**31)))
            case "number":
                return self.random.choice((0.5, -3.25, 1e10))
            case "boolean":
                return self.random.random() < 0.5
        return None

    def text(self, schema: Schema) -> str:
        if schema.format == "byte":
            return self.random.choice(("AAEC", "/w=="))
        return self.random.choice(("x", "ä€𐍈", "y" * 200, "line\nline"))


def _referred(declared: Mapping[str, Any]) -> str:
    inner = declared.get("allOf", [{}])[0] if "allOf" in declared else declared
    return str(inner.get("$ref", "")).removeprefix("#/components/schemas/")


_SPECIAL: Mapping[str, Callable[[random.Random], Any]] = {
    _META + "apis.meta.v1.Time": lambda _: "2026-01-02T03:04:05Z",
    _META + "apis.meta.v1.MicroTime": lambda _: "2026-01-02T03:04:05.678901Z",
    _META + "apis.meta.v1.FieldsV1": lambda _: {"f:metadata": {"f:labels": {".": {}}}},
    _META + "api.resource.Quantity": lambda chance: chance.choice(("100m", "1Gi", "0")),
    _META + "util.intstr.IntOrString": lambda chance: chance.choice(("http", 80, "50%", 0)),
    _META + "runtime.RawExtension": lambda _: {"any": ["thing", 1, None, {"else": True}]},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": lambda _: {"any": [1.5, "x"]},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": lambda chance: chance.choice(
        (True, False, {"type": "string"})
    ),
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": lambda chance: chance.choice(
        ({"type": "string"}, [{"type": "string"}, {"type": "integer"}])
    ),
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": lambda chance: (
        chance.choice(({"type": "string"}, ["a", "b"]))
    ),
}


@pytest.mark.parametrize(("api_version", "kind"), kinds())
def test_nothing_that_an_object_says_is_lost(api_version: str, kind: str) -> None:
    for seed in range(4):
        document = Maker(seed).object(api_version, kind)
        body = protobuf.encode(document, builtin_name(api_version, kind))
        assert protobuf.decode(body, builtin_name) == document
