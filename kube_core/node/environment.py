"""A container's environment: literals, references, services, and `$(NAME)` in all of them. Pure but for its sources.

The order, as the API documents it: service variables are overridden by `envFrom`, later entries of `envFrom` override
earlier ones, `env` overrides all. `$(NAME)` in a value sees what was defined before it; in command and args it sees
everything. An unknown name is left as it stands, `$$` is one `$`. Names are not judged here: what a ConfigMap calls its
keys are variables, as upstream has it since names may be anything without `=`.

A ConfigMap or Secret is read once for a container. What is missing and not optional is a `ConfigurationError`, with
upstream's words.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Protocol

import attrs

from kube_core.meta.documents import Document, name_of, namespace_of
from kube_core.node.envfiles import EnvFileError, variable_of
from kube_core.node.fieldrefs import FieldRefError, field_value, resource_value

__all__ = ["ConfigurationError", "Environment", "Sources", "expand", "references", "service_variables", "values_of"]

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_KINDS = (("configMap", "ConfigMap"), ("secret", "Secret"))


class ConfigurationError(Exception):
    """What a container refers to is not there (`CreateContainerConfigError`)."""


class Sources(Protocol):
    """Where values come from. An object that is not there is None."""

    async def config_map(self, namespace: str, name: str) -> Document | None: ...

    async def secret(self, namespace: str, name: str) -> Document | None: ...


def references(text: str) -> list[str]:
    """The names that `text` refers to."""
    return [name for name in _REFERENCE.findall(text) if name]


@attrs.frozen
class Environment:
    """Makes the variables of a pod's containers.

    `pod` carries its status (addresses), `node` its allocatable resources, where `resourceFieldRef` falls back on them.
    `services` is what `service_variables` gave, `read_file` reads a file of a volume: it raises `ConfigurationError`
    for a volume that is not there, and answers None for a file that is not; without it, there are no files.
    """

    pod: Document
    sources: Sources
    services: MutableMapping[str, str] = attrs.field(factory=dict)
    node: Document | None = None
    read_file: Callable[[str, str], Awaitable[str | None]] | None = None
    _read: dict[tuple[str, str], Document | None] = attrs.field(factory=dict)

    async def of(self, container: Document) -> dict[str, str]:
        """All variables of a container. Raises `ConfigurationError`."""
        own: dict[str, str] = {}
        for entry in container.get("envFrom") or ():
            prefix = entry.get("prefix") or ""
            for key, value in (await self._whole(entry)).items():
                own[prefix + key] = value
        for variable in container.get("env") or ():
            text, source = str(variable.get("value") or ""), variable.get("valueFrom")
            if text or not source:
                own[str(variable["name"])] = expand(text, ChainMap(own, self.services))
            elif (found := await self._value_from(source, container)) is not None:
                own[str(variable["name"])] = found
        return {**self.services, **own}

    async def _whole(self, entry: Document) -> dict[str, str]:
        """Every key of a ConfigMap or Secret."""
        for field, kind in _KINDS:
            if reference := entry.get(f"{field}Ref"):
                document = await self._object(kind, str(reference["name"]), bool(reference.get("optional")))
                return values_of(document) if document is not None else {}
        return {}

    async def _value_from(self, source: Document, container: Document) -> str | None:
        """A referenced value; None where it is optional and not there."""
        try:
            if source.get("fieldRef"):
                return field_value(self.pod, str(source["fieldRef"]["fieldPath"]))
            if source.get("resourceFieldRef"):
                return resource_value(self.pod, source["resourceFieldRef"], self.node, container=container)
        except FieldRefError as error:
            raise ConfigurationError(str(error)) from None
        for field, kind in _KINDS:
            if reference := source.get(f"{field}KeyRef"):
                return await self._key(kind, reference)
        if reference := source.get("fileKeyRef"):
            return await self._in_file(reference)
        raise ConfigurationError("a variable's valueFrom names no source that this node knows")

    async def _key(self, kind: str, reference: Document) -> str | None:
        name, key, optional = str(reference["name"]), str(reference["key"]), bool(reference.get("optional"))
        document = await self._object(kind, name, optional)
        if document is None:
            return None
        value = values_of(document).get(key)
        if value is None and not optional:
            raise ConfigurationError(f"couldn't find key {key} in {kind} {namespace_of(self.pod)}/{name}")
        return value

    async def _in_file(self, reference: Document) -> str | None:
        volume, path, key = str(reference["volumeName"]), str(reference["path"]), str(reference["key"])
        text = await self.read_file(volume, path) if self.read_file is not None else None
        try:
            value = variable_of(text, key) if text is not None else ""
        except EnvFileError:
            raise ConfigurationError("couldn't parse env file") from None
        if value:
            return value
        if reference.get("optional"):
            return None
        if text is None:
            raise ConfigurationError("couldn't parse env file")
        raise ConfigurationError(f'environment variable key "{key}" not found in file "{path}"')

    async def _object(self, kind: str, name: str, optional: bool) -> Document | None:
        """A ConfigMap or Secret; None where it is optional and not there."""
        if (kind, name) not in self._read:
            read = self.sources.config_map if kind == "ConfigMap" else self.sources.secret
            self._read[kind, name] = await read(namespace_of(self.pod), name)
        document = self._read[kind, name]
        if document is None and not optional:
            raise ConfigurationError(f'{kind.lower()} "{name}" not found')
        return document


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every `$(NAME)` that is known replaced."""
    if "$" not in text:
        return text

    def replaced(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group(0))

    return _REFERENCE.sub(replaced, text)


def service_variables(services: Iterable[Document], namespace: str, *, links: bool) -> dict[str, str]:
    """Docker-link style variables: of the namespace's services with `links`, and always of `default/kubernetes`."""
    chosen: dict[str, Document] = {}
    for service in services:
        address = (service.get("spec") or {}).get("clusterIP")
        if not address or address == "None" or not service["spec"].get("ports"):
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


def values_of(document: Document) -> dict[str, str]:
    """The data of a ConfigMap or Secret as texts."""
    data: Mapping[str, str] = document.get("data") or {}
    if document.get("kind") == "Secret":
        import base64

        return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()}
    return dict(data)


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
