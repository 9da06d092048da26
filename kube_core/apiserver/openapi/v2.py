"""Operations and schemas written down as an OpenAPI v2 (Swagger) document.

v2 knows less than v3: no unions, no default beside a reference, one schema for a body. What it cannot say is left out,
as upstream leaves it out: a quantity is a string, an int-or-string a string of that format.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.api.version import KUBERNETES_VERSION
from kube_core.apiserver.openapi.components import REF_PREFIX
from kube_core.apiserver.openapi.operations import TEXT, Operation
from kube_core.apiserver.openapi.parameters import Parameter
from kube_core.apiserver.openapi.shared import by_path, extensions, outcome

__all__ = ["document"]

_KIND = "x-kubernetes-group-version-kind"
_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_DROPPED = ("default", "nullable", "oneOf", "anyOf", "not", "allOf", "$ref")


def document(operations: Iterable[Operation], schemas: Mapping[str, Any]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for path, group in by_path(operations).items():
        entry: dict[str, Any] = {
            operation.method: _operation(operation, group.parameters) for operation in group.operations
        }
        if group.parameters:
            entry["parameters"] = [_parameter(each) for each in group.parameters]
        paths[path] = entry
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": paths,
        "definitions": {name: _kind(schema) for name, schema in schemas.items()},
        "securityDefinitions": {
            "BearerToken": {
                "description": "A bearer token",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


def _operation(operation: Operation, shared: Sequence[Parameter]) -> dict[str, Any]:
    own = [_parameter(each) for each in operation.parameters if each not in shared]
    if operation.body:
        body: dict[str, Any] = {"name": "body", "in": "body", "schema": {"$ref": _definition(operation.body)}}
        own.append({**body, "required": True} if operation.body_required else body)
    schema = {"type": "string"} if operation.answer == TEXT else {"$ref": _definition(operation.answer)}
    answers: dict[str, Any] = {code: {"description": outcome(code), "schema": schema} for code in operation.codes}
    entry: dict[str, Any] = {
        "description": operation.description,
        "consumes": operation.consumes or ("*/*",),
        "produces": operation.produces,
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.id,
        "responses": {**answers, "401": {"description": outcome("401")}},
    }
    if own:
        entry["parameters"] = own
    return {**entry, **extensions(operation)}


@functools.cache
def _parameter(parameter: Parameter) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "uniqueItems": True,
        "type": parameter.type,
        "description": parameter.description,
        "name": parameter.name,
        "in": parameter.place,
    }
    if parameter.place == "path":
        entry["required"] = True
    return entry


def _kind(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema at the top. Of a kind whose objects may hold anything nothing is said: kubectl would refuse the rest."""
    if schema.get(_UNKNOWN) and _KIND in schema:
        return {"type": "object", _KIND: schema[_KIND]}
    return _schema(schema)


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    members = schema.get("allOf")
    if reference is None and members:
        reference = members[0].get("$ref")
    if isinstance(reference, str):
        described = {"description": schema["description"]} if "description" in schema else {}
        return {**described, "$ref": _definition(reference.removeprefix(REF_PREFIX))}
    written = {key: value for key, value in schema.items() if key not in _DROPPED}
    if schema.get("oneOf") and "type" not in schema:
        written["type"] = "string"
    if isinstance(properties := schema.get("properties"), Mapping):
        written["properties"] = {name: _schema(field) for name, field in properties.items()}
    for key in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(key), Mapping):
            written[key] = _schema(inner)
    return _for_kubectl(schema, written)


def _for_kubectl(schema: Mapping[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """Without what makes kubectl refuse values that the schema allows: nulls, unknown fields, lists of anything."""
    nullable, unknown = schema.get("nullable"), schema.get(_UNKNOWN)
    dropped = ["items", "properties"] if nullable or unknown else []
    if nullable or (unknown and schema.get("type") == "object"):
        dropped.append("type")
    for key in dropped:
        written.pop(key, None)
    if written.get("type") == "array" and "items" not in written:
        del written["type"]
    if "required" in written:
        nulls = {name for name, field in (schema.get("properties") or {}).items() if field.get("nullable")}
        values = schema.get("additionalProperties")
        any_null = isinstance(values, Mapping) and values.get("nullable")
        required = [] if any_null else [name for name in written["required"] if name not in nulls]
        written["required"] = required
        if not required:
            del written["required"]
    return written


def _definition(name: str) -> str:
    return "#/definitions/" + name
