"""Where a Service leads: the addresses behind it, for whoever in the server calls one by itself.

Callers are the aggregation layer, the `proxy` subresources and webhooks. The server runs where no service proxy need
be, so it goes to the endpoints, never to the cluster address (upstream's `--enable-aggregator-routing`). EndpointSlices
come first; Endpoints count where a Service has no slice.

Everything is read from the watch cache, in the turn of the loop in which it is asked. Connecting does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kube_core._kit.random import Random
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import ServiceUnavailable, not_found
from kube_core.storage.cache import WatchCache

__all__ = ["ServiceEndpoint", "ServiceEndpoints", "find_port"]

_SERVICES = GroupResource("", "services")
_ENDPOINTS = GroupResource("", "endpoints")
_SLICES = GroupResource("discovery.k8s.io", "endpointslices")
_OWNER_LABEL = "kubernetes.io/service-name"


@attrs.frozen
class ServiceEndpoint:
    """One address behind a Service. `pod` is the key of the Pod that it is of, where it is said."""

    host: str
    port: int
    pod: Key | None = None


class ServiceEndpoints:
    """The Services of one server."""

    def __init__(self, cache: WatchCache, random: Random) -> None:
        self._services = cache.resource(_SERVICES)
        self._endpoints = cache.resource(_ENDPOINTS)
        self._slices = cache.resource(_SLICES)
        self._random = random

    def service(self, key: Key) -> Document:
        """Raises `NotFound`."""
        stored = self._services.get(key)
        if stored is None:
            raise not_found(_SERVICES, key.name)
        return stored.document

    def resolve(self, namespace: str, name: str, port: int) -> ServiceEndpoint:
        """An endpoint behind a port of a Service, any of them; or the name that an ExternalName service stands for.

        Raises `NotFound`, `ServiceUnavailable`.
        """
        service = self.service(Key(namespace, name))
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return ServiceEndpoint(spec["externalName"], port)
        wanted = find_port(service, port)
        if wanted is None:
            raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
        return self.pick(Key(namespace, name), wanted.get("name") or "")

    def pick(self, key: Key, port_name: str, *, shown: str = "") -> ServiceEndpoint:
        """Any ready endpoint of a named port. Raises `ServiceUnavailable`, which calls the Service `shown`."""
        found = list(self.ready(key, port_name))
        if not found:
            raise ServiceUnavailable(f'no endpoints available for service "{shown or key.name}"')
        return found[self._random.below(len(found))] if len(found) > 1 else found[0]

    def ready(self, key: Key, port_name: str) -> Iterator[ServiceEndpoint]:
        """Every ready endpoint of a named port ("" for the only, unnamed one)."""
        slices = self.slices(key)
        if slices:
            for each in slices:
                yield from _of_slice(each, port_name)
        elif (stored := self._endpoints.get(key)) is not None:
            for subset in stored.document.get("subsets") or ():
                yield from _of_subset(subset, port_name, key.namespace)

    def known(self, key: Key) -> bool:
        """Whether anything at all says where a Service leads."""
        return bool(self.slices(key)) or self._endpoints.get(key) is not None

    def slices(self, key: Key) -> list[Document]:
        return [
            stored.document
            for stored in self._slices.list(key.namespace)
            if stored.labels.get(_OWNER_LABEL) == key.name
        ]


def find_port(service: Document, number: int) -> Mapping[str, Any] | None:
    """The port of a Service by its number."""
    ports = (service.get("spec") or {}).get("ports") or ()
    return next((each for each in ports if each["port"] == number), None)


def _of_slice(document: Document, port_name: str) -> Iterator[ServiceEndpoint]:
    for port in document.get("ports") or ():
        if (port.get("name") or "") != port_name or not port.get("port"):
            continue
        for endpoint in document.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                pod = _pod(endpoint.get("targetRef"), document["metadata"]["namespace"])
                yield from (ServiceEndpoint(address, port["port"], pod) for address in endpoint["addresses"][:1])


def _of_subset(subset: Mapping[str, Any], port_name: str, namespace: str) -> Iterator[ServiceEndpoint]:
    for port in subset.get("ports") or ():
        if (port.get("name") or "") == port_name:
            for address in subset.get("addresses") or ():
                yield ServiceEndpoint(address["ip"], port["port"], _pod(address.get("targetRef"), namespace))


def _pod(reference: Mapping[str, Any] | None, namespace: str) -> Key | None:
    if not reference or reference.get("kind") != "Pod":
        return None
    return Key(reference.get("namespace") or namespace, reference.get("name") or "")
