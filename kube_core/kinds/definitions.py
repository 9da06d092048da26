"""CustomResourceDefinitions from declarations: the versions of a kind together, in an order that never changes.

The preferred version is stored unless one says that it is. What versions must agree on (names, scope) is checked here;
all else that upstream demands of a definition is the server's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kube_core.api.types import Column
from kube_core.kinds.declare import Declaration
from kube_core.kinds.schemas import KindError
from kube_core.meta.documents import Document
from kube_core.meta.versions import version_order

__all__ = ["definition_name", "definitions", "storage_version"]

_COLUMN_TYPES: Final = ("string", "integer", "number", "boolean")


def definition_name(declaration: Declaration) -> str:
    """The name of the definition that a version belongs to."""
    return str(declaration.resource.group_resource)


def definitions(
    declarations: Iterable[Declaration], conversions: Mapping[str, Document] | None = None
) -> list[dict[str, Any]]:
    """Definitions by name. `conversions`: the `clientConfig` of those that are converted by a webhook.

    Raises `KindError` for versions that do not go together.
    """
    kinds: dict[str, list[Declaration]] = {}
    for declaration in declarations:
        kinds.setdefault(definition_name(declaration), []).append(declaration)
    return [_definition(name, kinds[name], (conversions or {}).get(name)) for name in sorted(kinds)]


def storage_version(versions: Sequence[Declaration]) -> Declaration:
    """The version in which objects are stored. Raises `KindError`."""
    ordered = sorted(versions, key=lambda each: version_order(each.resource.version))
    chosen = [each for each in ordered if each.storage]
    if len(chosen) > 1:
        raise KindError(
            f"{chosen[0].cls.__qualname__} and {chosen[1].cls.__qualname__}: one version is stored, not two"
        )
    possible = chosen or [each for each in ordered if each.storage is None]
    if not possible:
        raise KindError(f"{ordered[0].cls.__qualname__}: one version must be stored")
    return possible[0]


def _definition(name: str, versions: Sequence[Declaration], conversion: Document | None) -> dict[str, Any]:
    stored = storage_version(versions)
    for each in versions:
        _check_agreement(stored, each)
    ordered = sorted(versions, key=lambda each: version_order(each.resource.version))
    numbers = [each.resource.version for each in ordered]
    if len(set(numbers)) != len(numbers):
        twice = next(each for each in ordered if numbers.count(each.resource.version) > 1)
        raise KindError(f"{twice.cls.__qualname__}: there is another {twice.resource.kind} of {twice.resource.version}")
    resource = stored.resource
    names: dict[str, Any] = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": stored.singular,
    }
    if stored.short_names:
        names["shortNames"] = list(stored.short_names)
    if stored.categories:
        names["categories"] = list(stored.categories)
    spec: dict[str, Any] = {
        "group": resource.group,
        "names": names,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "versions": [_version(each, stored=each is stored) for each in ordered],
    }
    if conversion is not None:
        webhook = {"clientConfig": conversion, "conversionReviewVersions": ["v1"]}
        spec["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": spec,
    }


def _check_agreement(stored: Declaration, other: Declaration) -> None:
    for said in ("kind", "namespaced"):
        if getattr(stored.resource, said) != getattr(other.resource, said):
            what = {"kind": "kind", "namespaced": "scope"}[said]
            raise KindError(f"{other.cls.__qualname__}: its {what} is another than that of {stored.cls.__qualname__}")


def _version(declaration: Declaration, *, stored: bool) -> dict[str, Any]:
    schema = declaration.schema(described=True)
    version: dict[str, Any] = {
        "name": declaration.resource.version,
        "served": declaration.served,
        "storage": stored,
        "schema": {"openAPIV3Schema": schema},
    }
    subresources: dict[str, Any] = {}
    if declaration.status is not None:
        subresources["status"] = {}
    if (scale := declaration.scale) is not None:
        subresources["scale"] = {"specReplicasPath": scale.replicas, "statusReplicasPath": scale.status_replicas}
        if scale.selector:
            subresources["scale"]["labelSelectorPath"] = scale.selector
    if subresources:
        version["subresources"] = subresources
    if declaration.columns:
        version["additionalPrinterColumns"] = [_column(each) for each in _columns(declaration, schema)]
    if declaration.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in declaration.selectable]
    if declaration.deprecated is not None:
        version["deprecated"] = True
        if declaration.deprecated:
            version["deprecationWarning"] = declaration.deprecated
    return version


def _columns(declaration: Declaration, schema: Document) -> Iterable[Column]:
    if not isinstance(declaration.columns, Mapping):
        return declaration.columns
    return [Column(name, _type_at(schema, path), path) for name, path in declaration.columns.items()]


def _type_at(schema: Document, path: str) -> str:
    """The type of a column, by the schema of what it shows."""
    if path == ".metadata.creationTimestamp":
        return "date"
    node: Any = schema
    for name in path.lstrip(".").split("."):
        properties = node.get("properties") or {}
        node = properties.get(name) or node.get("additionalProperties") or {}
    if node.get("format") == "date-time":
        return "date"
    found = node.get("type")
    return found if found in _COLUMN_TYPES else "string"


def _column(column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.format:
        document["format"] = column.format
    if column.description:
        document["description"] = column.description
    if column.priority:
        document["priority"] = column.priority
    return document
