"""Environment variables, and the selectors of single values (fields, resources, keys) that volumes use too.

Documented under "Define Environment Variables for a Container" and "Downward API".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, named
from kube_core.registry.kinds.pods.paths import no_backsteps

__all__ = ["ENV_FIELDS", "VOLUME_FIELDS", "environment", "environment_from", "field_reference", "resource_reference"]

#: Fields that can become variables, and those that can become files.
ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")

_KNOWN_FIELDS = {
    *ENV_FIELDS,
    *VOLUME_FIELDS,
    "spec.host",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
_SUBSCRIPT = re.compile(r"(.+)\['(.*)'\]", re.DOTALL)
_RESOURCES = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_DIVISORS: Mapping[str, Collection[str]] = {
    "cpu": ("1m", "1"),
    "memory": ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"),
}
#: How upstream calls the resources that have divisors.
_DIVIDED = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "local ephemeral storage"}
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ONE_SOURCE = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_TOO_MANY_SOURCES = "may not have more than one field specified at a time"


def environment(path: Path, variables: Sequence[Mapping[str, Any]]) -> Errors:
    for position, variable in enumerate(variables):
        here = path.index(position)
        name = variable.get("name") or ""
        if not name:
            yield fields.required(here.child("name"))
        else:
            yield from named(here.child("name"), name, names.environment_name)
        if variable.get("valueFrom") is not None:
            yield from _value_from(here.child("valueFrom"), variable)


def file_volumes(
    path: Path, variables: Sequence[Mapping[str, Any]], volumes: Mapping[str, Mapping[str, Any]]
) -> Errors:
    """Files that variables are read from lie in empty directories; `volumes` are all that the pod names."""
    for position, variable in enumerate(variables):
        selector = (variable.get("valueFrom") or {}).get("fileKeyRef")
        if selector is None:
            continue
        here, name = path.index(position).child("valueFrom").child("fileKeyRef"), selector.get("volumeName") or ""
        where = here.child("volumeName")
        if name not in volumes:
            yield fields.not_found(where, name)
        elif volumes[name].get("emptyDir") is None:
            yield fields.invalid(where, name, "referenced volume must be of type emptyDir")


def environment_from(path: Path, sources: Sequence[Mapping[str, Any]]) -> Errors:
    """Whole ConfigMaps and Secrets. Upstream names the list, not the item, where a source is missing."""
    for position, source in enumerate(sources):
        here = path.index(position)
        if source.get("prefix"):
            yield from named(here.child("prefix"), source["prefix"], names.environment_name)
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in given:
            target = source[name].get("name") or ""
            if target:
                yield from named(here.child(name).child("name"), target, names.dns1123_subdomain)
            else:
                yield fields.required(here.child(name).child("name"))
        if not given:
            yield fields.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield fields.invalid(path, "", _TOO_MANY_SOURCES)


def field_reference(path: Path, reference: Mapping[str, Any], allowed: Collection[str]) -> Errors:
    """A `fieldRef` to one of the fields `allowed`, or to one label or annotation."""
    text = reference.get("fieldPath") or ""
    here = path.child("fieldPath")
    if not reference.get("apiVersion"):
        yield fields.required(path.child("apiVersion"))
        return
    if not text:
        yield fields.required(here)
        return
    subscript = _SUBSCRIPT.fullmatch(text)
    field = subscript[1] if subscript else text
    if reference["apiVersion"] != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}"
        yield fields.invalid(here, text, detail)
        return
    if field not in _KNOWN_FIELDS:
        yield fields.invalid(here, text, f"error converting fieldPath: field label not supported: {field}")
        return
    if subscript is None:
        if text not in allowed:
            yield fields.not_supported(here, text, sorted(allowed))
    elif field in ("metadata.annotations", "metadata.labels"):
        key = subscript[2].lower() if field == "metadata.annotations" else subscript[2]
        # Upstream names the reference here, not its field.
        yield from named(path, key, names.qualified_name)
    else:
        yield fields.invalid(path, field, "does not support subscript")


def resource_reference(path: Path, reference: Mapping[str, Any], *, in_volume: bool) -> Errors:
    """A `resourceFieldRef`; in a volume it must name the container."""
    name = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        yield fields.required(path.child("containerName"))
    elif not name:
        yield fields.required(path.child("resource"))
    elif name not in _RESOURCES:
        kind, _, resource = name.partition(".")
        if kind not in ("requests", "limits") or not resource.startswith("hugepages-"):
            yield fields.not_supported(path.child("resource"), name, _RESOURCES)
    divisor = reference.get("divisor") or "0"
    resource = name.partition(".")[2]
    what = "hugepages" if resource.startswith("hugepages-") else _DIVIDED.get(resource)
    supported = _DIVISORS["cpu" if resource == "cpu" else "memory"]
    if what is not None and quantities.parse(divisor).nano and divisor not in supported:
        listed = "1m and 1" if resource == "cpu" else ", ".join(supported)
        detail = f"only divisor's values {listed} are supported with the {what} resource"
        yield fields.invalid(path.child("divisor"), name, detail)


def _value_from(path: Path, variable: Mapping[str, Any]) -> Errors:
    source: Mapping[str, Any] = variable["valueFrom"]
    given = [name for name in _SOURCES if source.get(name) is not None]
    for name in given:
        here, part = path.child(name), source[name]
        match name:
            case "fieldRef":
                yield from field_reference(here, part, ENV_FIELDS)
            case "resourceFieldRef":
                yield from resource_reference(here, part, in_volume=False)
            case "fileKeyRef":
                yield from _file_key(here, part)
            case _:
                yield from _object_key(here, part)
    if not given:
        yield fields.invalid(path, "", _ONE_SOURCE)
    elif variable.get("value"):
        yield fields.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield fields.invalid(path, "", _TOO_MANY_SOURCES)


def _object_key(path: Path, selector: Mapping[str, Any]) -> Errors:
    yield from named(path.child("name"), selector.get("name") or "", names.dns1123_subdomain)
    if not selector.get("key"):
        yield fields.required(path.child("key"))
    else:
        yield from named(path.child("key"), selector["key"], names.config_map_key)


def _file_key(path: Path, selector: Mapping[str, Any]) -> Errors:
    for name, rule in (("key", names.environment_name), ("volumeName", names.dns1123_label)):
        if not selector.get(name):
            yield fields.required(path.child(name))
        else:
            yield from named(path.child(name), selector[name], rule)
    if not selector.get("path"):
        yield fields.required(path.child("path"))
    else:
        yield from no_backsteps(path.child("path"), selector["path"])
