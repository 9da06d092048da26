"""The schema of a kind, from the server's own OpenAPI, as far as a policy's expressions need it.

Fields whose names no expression says are known by name only: what is below them is left out, so that neither size nor
recursion of a schema matters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kube_core.api.structural import Structural
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound

__all__ = ["schema_of", "within"]

_REFERENCE: Final = "#/components/schemas/"
_IDENTITY: Final = "x-kubernetes-group-version-kind"
#: Fields of a schema that are taken as they are.
_KEPT: Final = ("type", "format", "required", "enum", "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource",
                "x-kubernetes-preserve-unknown-fields", "nullable")  # fmt: skip
_UNKNOWN: Final[Mapping[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}


async def schema_of(client: ApiClient, resource: ResourceType, words: Collection[str]) -> Structural | None:
    """None where the server publishes none. `words`: all that expressions may name. Raises StatusErrors."""
    root = f"apis/{resource.group}" if resource.group else "api"
    try:
        document = await client.get_path(f"/openapi/v3/{root}/{resource.version}")
    except NotFound:
        return None
    wanted = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    schemas = (document.get("components") or {}).get("schemas") or {}
    for name, schema in schemas.items():
        if any({**each} == wanted for each in schema.get(_IDENTITY) or ()):
            return Structural(within(schemas, name, words))
    return None


def within(schemas: Mapping[str, Document], name: str, words: Collection[str]) -> Mapping[str, Any]:
    """A schema without references."""
    return _resolved({"$ref": _REFERENCE + name}, schemas, words, frozenset())


def _resolved(
    schema: Mapping[str, Any], schemas: Mapping[str, Document], words: Collection[str], above: frozenset[str]
) -> Mapping[str, Any]:
    """`above`: the references that led here."""
    parts: Sequence[Mapping[str, Any]] = schema.get("allOf") or ()
    reference = schema.get("$ref") or (parts[0].get("$ref") if len(parts) == 1 else None)
    if reference is not None:
        name = reference.removeprefix(_REFERENCE)
        if name in above or name not in schemas:
            return _UNKNOWN
        return _resolved(schemas[name], schemas, words, above | {name})
    if not schema.get("type"):
        # Of more than one type, or of any.
        return {**_UNKNOWN, "x-kubernetes-int-or-string": True} if schema.get("oneOf") else _UNKNOWN
    found: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    if schema.get("format") == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    if "properties" in schema:
        found["properties"] = {
            name: _resolved(member, schemas, words, above) if name in words else _UNKNOWN
            for name, member in schema["properties"].items()
        }
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            found[name] = _resolved(schema[name], schemas, words, above)
    return found
