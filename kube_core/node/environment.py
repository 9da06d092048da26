"""A container's environment: literals, references, services, and `$(NAME)` in all of them. Pure but for its sources.

The order, as the API documents it: service variables are overridden by `envFrom`, later entries of `envFrom` override
earlier ones, `env` overrides all. `$(NAME)` in a value sees what was defined before it; in command and args it sees
everything. An unknown name is left as it stands, `$$` is one `$`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from kube_core.meta.documents import Document, name_of, namespace_of
from kube_core.node.fieldrefs import field_value, resource_value

__all__ = ["ConfigurationError", "Sources", "container_environment", "expand", "service_variables"]

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


class ConfigurationError(Exception):
    """What a container refers to is not there (`CreateContainerConfigError`)."""


class Sources(Protocol):
    """Where values come from. An object that is not there is None."""

    async def config_map(self, namespace: str, name: str) -> Document | None: ...

    async def secret(self, namespace: str, name: str) -> Document | None: ...


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every `$(NAME)` that is known replaced."""
    if "$" not in text:
        return text

    def replaced(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group(0))

    return _REFERENCE.sub(replaced, text)


async def container_environment(
    pod: Document, container: Document, sources: Sources, *, services: Mapping[str, str], node: Document | None = None
) -> dict[str, str]:
    """All variables of a container. `services`: what `service_variables` gave. Raises `ConfigurationError`.

    `pod` carries its status (addresses), `node` its allocatable resources, where `resourceFieldRef` falls back on them.
    """
    own: dict[str, str] = {}
    namespace = namespace_of(pod)
    for entry in container.get("envFrom") or ():
        prefix = entry.get("prefix") or ""
        for key, value in (await _whole(entry, namespace, sources)).items():
            own[prefix + key] = value
    for variable in container.get("env") or ():
        name = str(variable["name"])
        source = variable.get("valueFrom")
        if source:
            found = await _value_from(source, pod, container, sources, node)
            if found is not None:
                own[name] = found
        else:
            own[name] = expand(str(variable.get("value") or ""), {**services, **own})
    return {**services, **own}


def service_variables(services: Iterable[Document], namespace: str, *, links: bool) -> dict[str, str]:
    """Docker-link style variables: of the namespace's services with `links`, and always of `default/kubernetes`."""
    chosen: dict[str, Document] = {}
    for service in services:
        address = (service.get("spec") or {}).get("clusterIP")
        if not address or address == "None":
            continue
        where, name = namespace_of(service), name_of(service)
        if (where, name) == ("default", "kubernetes"):
            chosen.setdefault(name, service)
        elif links and where == namespace:
            chosen[name] = service
    variables: dict[str, str] = {}
    for name, service in chosen.items():
        variables.update(_of_service(name, service))
    return variables


def _of_service(name: str, service: Document) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    address = str(service["spec"]["clusterIP"])
    host = f"[{address}]" if ":" in address else address
    variables = {f"{prefix}_SERVICE_HOST": address}
    for position, port in enumerate(service["spec"].get("ports") or ()):
        number = str(port["port"])
        protocol = str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{host}:{number}"
        if position == 0:
            variables[f"{prefix}_SERVICE_PORT"] = number
            variables[f"{prefix}_PORT"] = url
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{str(port['name']).upper().replace('-', '_')}"] = number
        link = f"{prefix}_PORT_{number}_{protocol}"
        variables[link] = url
        variables[f"{link}_PROTO"] = protocol.lower()
        variables[f"{link}_PORT"] = number
        variables[f"{link}_ADDR"] = address
    return variables


async def _whole(entry: Document, namespace: str, sources: Sources) -> dict[str, str]:
    """Every key of a ConfigMap or Secret."""
    kinds = (("configMapRef", "configmap", sources.config_map), ("secretRef", "secret", sources.secret))
    for field, kind, read in kinds:
        reference = entry.get(field)
        if reference:
            document = await read(namespace, str(reference["name"]))
            if document is None:
                if reference.get("optional"):
                    return {}
                raise ConfigurationError(f'{kind} "{reference["name"]}" not found')
            return values_of(document)
    return {}


def values_of(document: Document) -> dict[str, str]:
    """The data of a ConfigMap or Secret as texts."""
    data: Mapping[str, str] = document.get("data") or {}
    if document.get("kind") == "Secret":
        import base64

        return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()}
    return dict(data)


async def _value_from(
    source: Document, pod: Document, container: Document, sources: Sources, node: Document | None
) -> str | None:
    """A referenced value; None where it is optional and not there."""
    if "fieldRef" in source:
        return field_value(pod, str(source["fieldRef"]["fieldPath"]))
    if "resourceFieldRef" in source:
        return resource_value(pod, source["resourceFieldRef"], node, container=container)
    namespace = namespace_of(pod)
    for field, kind, read in (
        ("configMapKeyRef", "ConfigMap", sources.config_map),
        ("secretKeyRef", "Secret", sources.secret),
    ):
        reference = source.get(field)
        if not reference:
            continue
        name, key = str(reference["name"]), str(reference["key"])
        document = await read(namespace, name)
        if document is None:
            if reference.get("optional"):
                return None
            raise ConfigurationError(f'{kind.lower()} "{name}" not found')
        value = values_of(document).get(key)
        if value is None and not reference.get("optional"):
            raise ConfigurationError(f"couldn't find key {key} in {kind} {namespace}/{name}")
        return value
    raise ConfigurationError("a variable's valueFrom names no source that this node knows")
