"""What the server puts there by itself, whatever controllers run: the first namespaces, the `kubernetes` Service.

Written at start through the registry, so that these are objects like any other; what exists already is left as it is,
but for the address of the server, which follows where it really listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from kube_core.abc.transport import User
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.status import AlreadyExists
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Admission, Context, WriteOptions
from kube_core.registry.generic import Update

__all__ = [
    "NAMESPACES",
    "OWN_OPTIONS",
    "OWN_USER",
    "Address",
    "bootstrap",
    "ensure",
    "ensure_service",
    "named",
    "publish_address",
    "write_authentication",
]

OWN_OPTIONS = WriteOptions(field_manager="kube-apiserver", field_validation="Ignore")
OWN_USER = User("system:apiserver", ("system:masters", "system:authenticated"))
_NAMESPACES = ResourceType("", "v1", "Namespace", "namespaces", False)
_SERVICES = ResourceType("", "v1", "Service", "services", True)
_ENDPOINTS = ResourceType("", "v1", "Endpoints", "endpoints", True)
_SLICES = ResourceType("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True)
_PRIORITIES = ResourceType("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False)
_CONFIG_MAPS = ResourceType("", "v1", "ConfigMap", "configmaps", True)

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@attrs.frozen
class Address:
    """Where clients inside the cluster reach the server."""

    host: str
    port: int


async def bootstrap(catalogue: Catalogue, admission: Admission, *, service_ip: str, client_ca: bytes) -> None:
    """Make what is missing."""
    first = [ensure(catalogue, admission, _NAMESPACES, named(name)) for name in NAMESPACES]
    first += [ensure(catalogue, admission, _PRIORITIES, document) for document in _priority_classes()]
    await asyncio.gather(*first)
    # The authority is what pods are given to trust, so it is there from the start.
    authentication = _authentication(client_ca, {})
    await asyncio.gather(
        ensure_service(catalogue, admission, service_ip),
        ensure(catalogue, admission, _CONFIG_MAPS, authentication),
    )


async def ensure_service(catalogue: Catalogue, admission: Admission, service_ip: str) -> None:
    """Make the `kubernetes` Service, if it is missing."""
    await ensure(catalogue, admission, _SERVICES, _kubernetes_service(service_ip))


async def write_authentication(
    catalogue: Catalogue, admission: Admission, client_ca: bytes, front_proxy: Mapping[str, str]
) -> None:
    """Say to other servers how requests are authenticated here, and how they may believe what this one passes on."""
    await _put(catalogue, admission, _CONFIG_MAPS, _authentication(client_ca, front_proxy), ("data",))


async def publish_address(catalogue: Catalogue, admission: Admission, address: Address) -> None:
    """Point the `kubernetes` Service at the server."""
    endpoints = named("kubernetes", "default")
    endpoints["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints["subsets"] = [
        {
            "addresses": [{"ip": address.host}],
            "ports": [{"name": "https", "port": address.port, "protocol": "TCP"}],
        }
    ]
    piece = named("kubernetes", "default")
    piece["metadata"]["labels"] = {"kubernetes.io/service-name": "kubernetes"}
    piece["addressType"] = "IPv6" if ":" in address.host else "IPv4"
    piece["endpoints"] = [{"addresses": [address.host], "conditions": {"ready": True}}]
    piece["ports"] = [{"name": "https", "port": address.port, "protocol": "TCP"}]
    service = catalogue.of(_SERVICES).cache.get(Key("default", "kubernetes"))
    writes = [
        _put(catalogue, admission, _ENDPOINTS, endpoints, ("subsets",)),
        _put(catalogue, admission, _SLICES, piece, ("endpoints", "ports")),
    ]
    if service is not None:
        wanted = thaw(service.document)
        wanted["spec"]["ports"][0]["targetPort"] = address.port
        writes.append(_put(catalogue, admission, _SERVICES, wanted, ("spec",)))
    await asyncio.gather(*writes)


async def ensure(catalogue: Catalogue, admission: Admission, resource: ResourceType, document: MutableDocument) -> None:
    """Create an object, unless there is one of its name."""
    registry = catalogue.of(resource)
    document = {"apiVersion": resource.api_version, "kind": resource.kind, **document}
    metadata = document["metadata"]
    key = Key(metadata.get("namespace", ""), metadata["name"])
    if registry.cache.get(key) is not None:
        return
    try:
        await registry.create(Context(OWN_USER, admission), key, document, OWN_OPTIONS)
    except AlreadyExists:
        pass


async def _put(
    catalogue: Catalogue,
    admission: Admission,
    resource: ResourceType,
    document: MutableDocument,
    fields: tuple[str, ...],
) -> None:
    """Make the object, or give it these fields of `document`."""
    registry = catalogue.of(resource)
    metadata = document["metadata"]
    key = Key(metadata["namespace"], metadata["name"])
    if registry.cache.get(key) is None:
        await ensure(catalogue, admission, resource, document)
        return

    async def changed(current: Document | None) -> MutableDocument:
        copy: MutableDocument = thaw(current)
        copy.update({name: document[name] for name in fields})
        return copy

    await registry.update(Context(OWN_USER, admission), key, Update(OWN_OPTIONS), changed)


def named(name: str, namespace: str = "") -> MutableDocument:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata}


def _authentication(client_ca: bytes, front_proxy: Mapping[str, str]) -> MutableDocument:
    document = named("extension-apiserver-authentication", "kube-system")
    document["data"] = {"client-ca-file": client_ca.decode(), **front_proxy}
    return document


def _kubernetes_service(service_ip: str) -> MutableDocument:
    service = named("kubernetes", "default")
    service["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    service["spec"] = {
        "type": "ClusterIP",
        "clusterIP": service_ip,
        "clusterIPs": [service_ip],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        "sessionAffinity": "None",
    }
    return service


def _priority_classes() -> list[MutableDocument]:
    texts = {
        "system-cluster-critical": (
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if "
            "necessary.",
        ),
        "system-node-critical": (2_000_001_000, "Used for system critical pods that must not be moved."),
    }
    return [{**named(name), "value": value, "description": text} for name, (value, text) in texts.items()]
