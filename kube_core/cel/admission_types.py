"""What expressions of admission know of `request`, `namespaceObject` and `variables`, whatever the object is.

The types are those that upstream's policies have (documented under "Validating Admission Policy"). Called where
policies are written, and where their types are checked.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from kube_core.api.structural import Structural

__all__ = ["schemas_of"]

_OF_TYPE: Final[dict[str, dict[str, Any]]] = {
    "STRING": {"type": "string"},
    "INT": {"type": "integer"},
    "DOUBLE": {"type": "number"},
    "BOOL": {"type": "boolean"},
}
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "object", "additionalProperties": _TEXT}
_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}


@functools.lru_cache(maxsize=256)
def schemas_of(variables: tuple[tuple[str, str], ...]) -> Mapping[str, Structural]:
    """Of what has a schema. `variables`: the policy's own, by name, with the engine's names of their types."""
    schemas = dict(_fixed())
    if variables:
        schemas["variables"] = _object({name: _OF_TYPE.get(kind, {}) for name, kind in variables})
    return schemas


def _texts(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, _TEXT)}


def _object(properties: Mapping[str, Any]) -> Structural:
    return Structural({"type": "object", "properties": properties})


@functools.cache
def _fixed() -> Mapping[str, Structural]:
    kind, resource = _texts("group", "version", "kind"), _texts("group", "version", "resource")
    user = _texts("username", "uid")
    user["properties"] |= {
        "groups": {"type": "array", "items": _TEXT},
        "extra": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
    }
    request = _texts("subResource", "requestSubResource", "name", "namespace", "operation")
    request["properties"] |= {"kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
                              "userInfo": user, "dryRun": {"type": "boolean"}, "options": _ANY}  # fmt: skip
    metadata = _texts("name", "generateName", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
                      "resourceVersion", "selfLink")  # fmt: skip
    metadata["properties"] |= {
        "labels": _TEXTS, "annotations": _TEXTS, "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"}, "finalizers": {"type": "array", "items": _TEXT},
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "deletionTimestamp": {"type": "string", "format": "date-time"},
    }  # fmt: skip
    namespace = {
        "metadata": metadata,
        "spec": {"type": "object", "properties": {"finalizers": {"type": "array", "items": _TEXT}}},
        "status": {"type": "object", "properties": {"phase": _TEXT}},
    }
    return {"request": Structural(request), "namespaceObject": _object(namespace)}
