"""From a CustomResourceDefinition to what the server serves: one `Served` for each version that is served.

A `Served` has the descriptor (names, subresources, columns), as built-in resources have one, and with it what only
custom resources need: the schema as a tree and as JSON, the paths of the scale, the fields that selectors may name.
It is a pure function of the definition, and says by `==` whether a changed definition changes anything for clients.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.api.structural import Structural
from kube_core.api.types import Column, ResourceDescriptor, ResourceType, Subresource
from kube_core.meta.documents import Document
from kube_core.meta.gvk import GroupVersionKind
from kube_core.meta.versions import version_order

__all__ = ["ScalePaths", "Served", "Version", "served_versions", "storage_version"]

#: In the order in which upstream's discovery lists them.
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUBRESOURCE_VERBS = ("get", "patch", "update")
_SCALE = GroupVersionKind("autoscaling", "v1", "Scale")


@attrs.frozen
class ScalePaths:
    """Where a custom resource keeps what its `scale` shows; simple JSONPaths. `selector` may be ""."""

    replicas: str
    status_replicas: str
    selector: str = ""


@attrs.frozen
class Version:
    """One version of a definition, served or not."""

    api_version: str
    #: The OpenAPI v3 schema as the definition has it.
    schema: Document = attrs.field(hash=False)
    _tree: list[Structural] = attrs.field(factory=list, eq=False, repr=False, init=False)

    @property
    def tree(self) -> Structural:
        """The schema as a tree; made when it first matters."""
        if not self._tree:
            self._tree.append(Structural(self.schema))
        return self._tree[0]


@attrs.frozen
class Served:
    """A version that clients reach."""

    descriptor: ResourceDescriptor
    version: Version
    #: Every version of the definition, by `apiVersion`, for objects that were written in another.
    versions: Mapping[str, Version] = attrs.field(hash=False)
    scale: ScalePaths | None = None
    selectable: tuple[str, ...] = ()
    #: The text of the warning that every request gets; "" where the version is not deprecated.
    deprecation: str = ""
    #: The other versions that are served, by their names.
    siblings: tuple[str, ...] = ()
    #: The definition is going away: nothing new may be made.
    terminating: bool = False
    #: The `spec.conversion.webhook` that converts; None where a changed apiVersion is all there is to it.
    webhook: Document | None = attrs.field(default=None, hash=False)

    @property
    def storage_api_version(self) -> str:
        return f"{self.descriptor.type.group}/{self.descriptor.storage_version}"


def storage_version(definition: Document) -> str:
    """The name of the version that objects are stored in; "" where there is none."""
    return next((each["name"] for each in definition["spec"].get("versions") or () if each.get("storage")), "")


def served_versions(definition: Document) -> list[Served]:
    """What an established definition serves."""
    spec = definition["spec"]
    conversion = spec.get("conversion") or {}
    group, names = spec["group"], (definition.get("status") or {}).get("acceptedNames") or spec["names"]
    versions = {
        f"{group}/{each['name']}": Version(f"{group}/{each['name']}", _schema(each)) for each in spec["versions"]
    }
    return [
        Served(
            _descriptor(definition, names, each),
            versions[f"{group}/{each['name']}"],
            versions,
            _scale(each),
            tuple(field["jsonPath"] for field in each.get("selectableFields") or ()),
            _deprecation(spec, names, each),
            tuple(other["name"] for other in spec["versions"] if other.get("served") and other is not each),
            "deletionTimestamp" in definition["metadata"],
            conversion.get("webhook") if conversion.get("strategy") == "Webhook" else None,
        )
        for each in spec["versions"]
        if each.get("served")
    ]


def _schema(version: Mapping[str, Any]) -> Document:
    return (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}


def _descriptor(definition: Document, names: Mapping[str, Any], version: Mapping[str, Any]) -> ResourceDescriptor:
    spec = definition["spec"]
    group, kind = spec["group"], names["kind"]
    resource = ResourceType(group, version["name"], kind, names["plural"], spec["scope"] == "Namespaced")
    subresources = version.get("subresources") or {}
    declared = []
    if subresources.get("status") is not None:
        declared.append(Subresource("status", resource.gvk, _SUBRESOURCE_VERBS))
    if subresources.get("scale") is not None:
        declared.append(Subresource("scale", _SCALE, _SUBRESOURCE_VERBS))
    stored = storage_version(definition)
    return ResourceDescriptor(
        resource,
        names.get("singular") or "",
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        _VERBS,
        tuple(declared),
        columns=tuple(_column(each) for each in version.get("additionalPrinterColumns") or ()),
        storage_version=stored,
        list_kind=names.get("listKind") or f"{kind}List",
        storage_version_hash=_hash(f"{group}/{stored}/{kind}"),
    )


def _column(column: Mapping[str, Any]) -> Column:
    return Column(
        column["name"],
        column["type"],
        column["jsonPath"],
        column.get("format") or "",
        column.get("description") or "",
        column.get("priority") or 0,
    )


def _scale(version: Mapping[str, Any]) -> ScalePaths | None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return None
    return ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath") or "")


def _deprecation(spec: Mapping[str, Any], names: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    if version.get("deprecationWarning"):
        return str(version["deprecationWarning"])
    text = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
    newer = _replacement(version["name"], spec["versions"])
    return f"{text}; use {spec['group']}/{newer} {names['kind']}" if newer else text


def _replacement(name: str, versions: Sequence[Mapping[str, Any]]) -> str:
    """The best version that is served and not deprecated, if it is a better one."""
    known = [each["name"] for each in versions if each.get("served") and not each.get("deprecated")]
    best = min(known, key=version_order, default="")
    return best if best and version_order(best) < version_order(name) else ""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()
