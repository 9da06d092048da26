"""Operations and schemas written down as an OpenAPI v3 document."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.api.version import MAJOR, MINOR
from kube_core.apiserver.openapi.components import REF_PREFIX
from kube_core.apiserver.openapi.operations import TEXT, Operation
from kube_core.apiserver.openapi.parameters import Parameter
from kube_core.apiserver.openapi.shared import by_path, extensions, outcome

__all__ = ["document"]

_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "name": "authorization",
        "in": "header",
        "description": "A bearer token",
    }
}


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
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"{MAJOR}.{MINOR}"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


def _operation(operation: Operation, shared: Sequence[Parameter]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.id,
    }
    if own := [_parameter(each) for each in operation.parameters if each not in shared]:
        entry["parameters"] = own
    if operation.body:
        schema = {"$ref": REF_PREFIX + operation.body}
        entry["requestBody"] = {"content": {media_type: {"schema": schema} for media_type in operation.consumes}}
        if operation.body_required:
            entry["requestBody"]["required"] = True
    schema = {"type": "string"} if operation.answer == TEXT else {"$ref": REF_PREFIX + operation.answer}
    content = {media_type: {"schema": schema} for media_type in operation.produces}
    responses: dict[str, Any] = {code: {"description": outcome(code), "content": content} for code in operation.codes}
    entry["responses"] = {**responses, "401": {"description": outcome("401")}}
    return {**entry, **extensions(operation)}


@functools.cache
def _parameter(parameter: Parameter) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": {"type": parameter.type, "uniqueItems": True},
    }
    if parameter.place == "path":
        entry["required"] = True
    return entry
