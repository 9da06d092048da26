"""What a backend says that it serves, as the entries of aggregated discovery.

A backend is asked for the aggregated form, and where it has none for the older list of its one version, from which the
same entries are made. Pure: bytes in, entries out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kube_core.meta.gvk import GroupVersion

__all__ = ["ACCEPT", "RemoteVersion", "of_aggregated", "of_list"]

Json = dict[str, Any]
_FORM = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
#: What backends are asked for, the newest first.
ACCEPT = ",".join((_FORM.format("v2"), _FORM.format("v2beta1"), "application/json"))


@attrs.frozen
class RemoteVersion:
    """A version of a group that a backend serves, as discovery shows it."""

    group_version: GroupVersion
    group_priority: int
    version_priority: int
    #: It is listed in the older documents.
    available: bool
    #: The last answer is from now; otherwise discovery calls it stale.
    fresh: bool = False
    resources: Sequence[Json] = ()


def of_aggregated(body: bytes, wanted: GroupVersion) -> list[Json] | None:
    """The entries of one version from an aggregated document; None where the answer is none, or lacks it."""
    document = _loads(body)
    if not isinstance(document, dict) or document.get("kind") != "APIGroupDiscoveryList":
        return None
    for group in document.get("items") or ():
        if (group.get("metadata") or {}).get("name", "") == wanted.group:
            for version in group.get("versions") or ():
                if version.get("version") == wanted.version:
                    return list(version.get("resources") or ())
    return None


def of_list(body: bytes, wanted: GroupVersion) -> list[Json] | None:
    """The entries from an APIResourceList."""
    document = _loads(body)
    if not isinstance(document, dict) or document.get("kind") != "APIResourceList":
        return None
    entries: dict[str, Json] = {}
    for resource in document.get("resources") or ():
        name, _, subresource = str(resource.get("name", "")).partition("/")
        if not subresource:
            entries[name] = {**_entry(resource, wanted), **entries.get(name, {})}
            continue
        # A subresource may come before, or even without, what it is of.
        entry = entries.setdefault(name, {"resource": name})
        entry.setdefault("subresources", []).append(
            {
                "subresource": subresource,
                "responseKind": _response_kind(resource, wanted),
                "verbs": list(resource.get("verbs") or ()),
            }
        )
    for entry in entries.values():
        entry.setdefault("verbs", [])
    return list(entries.values())


def _entry(resource: Mapping[str, Any], wanted: GroupVersion) -> Json:
    entry: Json = {
        "resource": resource["name"],
        "responseKind": _response_kind(resource, wanted),
        "scope": "Namespaced" if resource.get("namespaced") else "Cluster",
        "singularResource": resource.get("singularName", ""),
        "verbs": list(resource.get("verbs") or ()),
    }
    for field in ("shortNames", "categories"):
        if resource.get(field):
            entry[field] = list(resource[field])
    return entry


def _response_kind(resource: Mapping[str, Any], wanted: GroupVersion) -> Json:
    return {
        "group": resource.get("group") or wanted.group,
        "version": resource.get("version") or wanted.version,
        "kind": resource.get("kind", ""),
    }


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
