"""Endpoints and EndpointSlices: the addresses behind a Service. Documented under "EndpointSlices"."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors, named

__all__ = ["EndpointSliceStrategy", "EndpointsStrategy"]

Part = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_ENDPOINTS = 1000
_ADDRESSES = 100
_PORTS = 20000
_HINTS = 8
_HOST_LABEL = "kubernetes.io/hostname"


class EndpointsStrategy(BuiltinStrategy):
    allows_create_on_update = True

    def default(self, document: MutableDocument) -> None:
        for subset in document.get("subsets", ()):
            for port in subset.get("ports", ()):
                port.setdefault("protocol", "TCP")

    def validate(self, document: Document) -> Errors:
        for position, subset in enumerate(document.get("subsets") or ()):
            here = Path("subsets").index(position)
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                yield fields.required(here, "must specify `addresses` or `notReadyAddresses`")
            for name in ("addresses", "notReadyAddresses"):
                for index, address in enumerate(subset.get(name) or ()):
                    yield from self._address(here.child(name).index(index), address)
            ports = subset.get("ports") or ()
            for index, port in enumerate(ports):
                yield from _port(here.child("ports").index(index), port, named_needed=len(ports) > 1)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        # What earlier versions took, and nobody changes, is left alone.
        if (document.get("subsets") or ()) != (old.get("subsets") or ()):
            yield from self.validate(document)

    def _address(self, path: Path, address: Part) -> Errors:
        text = address.get("ip") or ""
        messages = names.ip_address(text)
        for message in messages:
            yield fields.invalid(path.child("ip"), text, message)
        if address.get("hostname"):
            yield from named(path.child("hostname"), address["hostname"], names.dns1123_label)
        if address.get("nodeName") is not None:
            yield from named(path.child("nodeName"), address["nodeName"], names.dns1123_subdomain)
        # Of what is no address, this says it once more.
        yield from checks.non_special_ip(path.child("ip"), text, self.context)


def _port(path: Path, port: Part, *, named_needed: bool) -> Errors:
    name = port.get("name") or ""
    if named_needed and not name:
        yield fields.required(path.child("name"))
    elif name:
        yield from named(path.child("name"), name, names.dns1123_label)
    yield from checks.port_number(path.child("port"), port.get("port") or 0)
    protocol = port.get("protocol") or ""
    if not protocol:
        yield fields.required(path.child("protocol"))
    else:
        yield from checks.one_of(path.child("protocol"), protocol, PROTOCOLS)
    if port.get("appProtocol") is not None:
        yield from named(path.child("appProtocol"), port["appProtocol"], names.qualified_name)


class EndpointSliceStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        for port in document.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def desired_state(self, document: Document) -> object:
        """Labels and annotations count too: who watches slices goes by them."""
        state: dict[str, Any] = {name: value for name, value in document.items() if name != "metadata"}
        return state, document["metadata"].get("labels"), document["metadata"].get("annotations")

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        _drop_topology(document, None)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        _drop_topology(document, old)

    def validate(self, document: Document) -> Errors:
        return self._validate(document, None)

    def _validate(self, document: Document, old: Document | None) -> Errors:
        kind = document.get("addressType") or ""
        if not kind:
            yield fields.required(Path("addressType"))
        else:
            yield from checks.one_of(Path("addressType"), kind, ADDRESS_TYPES)
        yield from _slice_ports(document.get("ports") or ())
        endpoints: Sequence[Part] = document.get("endpoints") or ()
        # What earlier versions took, and nobody changes, is left alone.
        if old is not None and endpoints == (old.get("endpoints") or ()):
            pass
        elif len(endpoints) > _ENDPOINTS:
            yield fields.too_many(Path("endpoints"), len(endpoints), _ENDPOINTS)
        else:
            for position, endpoint in enumerate(endpoints):
                yield from self._endpoint(Path("endpoints").index(position), endpoint, kind)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self._validate(document, old)
        yield from checks.fixed(Path("addressType"), document.get("addressType"), old.get("addressType"))

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        if document.get("addressType") == "FQDN":
            return ("spec.addressType: FQDN endpoints are deprecated",)
        return ()

    def _endpoint(self, path: Path, endpoint: Part, kind: str) -> Errors:
        addresses: Sequence[str] = endpoint.get("addresses") or ()
        here = path.child("addresses")
        if not addresses:
            yield fields.required(here)
        elif len(addresses) > _ADDRESSES:
            yield fields.too_many(here, len(addresses), _ADDRESSES)
        for position, address in enumerate(addresses):
            yield from self._address(here, position, address, kind)
        if endpoint.get("nodeName") is not None:
            yield from named(path.child("nodeName"), endpoint["nodeName"], names.dns1123_subdomain)
        if endpoint.get("hostname") is not None:
            yield from named(path.child("hostname"), endpoint["hostname"], names.dns1123_label)
        yield from checks.labels(path.child("deprecatedTopology"), endpoint.get("deprecatedTopology"))
        yield from _hints(path.child("hints"), endpoint.get("hints") or {})

    def _address(self, path: Path, position: int, address: str, kind: str) -> Errors:
        here = path.index(position)
        if kind == "FQDN":
            yield from named(here, address, names.dns1123_subdomain)
            return
        messages = names.ip_address(address)
        for message in messages:
            yield fields.invalid(here, address, message)
        if messages:
            return
        # Upstream names the list, not the item, where the family is wrong.
        if kind == "IPv4" and ipaddress.ip_address(address).version != 4:
            yield fields.invalid(path, address, "must be an IPv4 address")
        if kind == "IPv6" and ipaddress.ip_address(address).version != 6:
            yield fields.invalid(path, address, "must be an IPv6 address")
        yield from checks.non_special_ip(here, address, self.context)


def _drop_topology(document: MutableDocument, old: Document | None) -> None:
    """Topology is of an earlier version of the kind: it goes when endpoints change, but for the name of a node."""
    endpoints = document.get("endpoints") or ()
    before: Sequence[Part] = (old or {}).get("endpoints") or ()
    if old is not None and endpoints == before:
        return
    known = {(each.get("deprecatedTopology") or {}).get(_HOST_LABEL) for each in before} - {None}
    for endpoint in endpoints:
        node = (endpoint.pop("deprecatedTopology", None) or {}).get(_HOST_LABEL)
        if endpoint.get("nodeName") is None and node in known and not names.dns1123_subdomain(node):
            endpoint["nodeName"] = node


def _hints(path: Path, hints: Part) -> Errors:
    for name, rule in (("forZones", names.label_value), ("forNodes", names.dns1123_subdomain)):
        listed = [each.get("name") or "" for each in hints.get(name) or ()]
        if len(listed) > _HINTS:
            yield fields.too_many(path.child(name), len(listed), _HINTS)
            return
        for position, each in enumerate(listed):
            here = path.child(name).index(position).child("name")
            if each in listed[:position]:
                yield fields.duplicate(here, each)
            yield from named(here, each, rule)


def _slice_ports(listed: Sequence[Part]) -> Errors:
    if len(listed) > _PORTS:
        yield fields.too_many(Path("ports"), len(listed), _PORTS)
        return
    seen: set[str] = set()
    for position, port in enumerate(listed):
        here, name = Path("ports").index(position), port.get("name") or ""
        if name:
            yield from named(here.child("name"), name, names.dns1123_label)
        if name in seen:
            yield fields.duplicate(here.child("name"), name)
        seen.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            yield fields.required(here.child("protocol"))
        else:
            yield from checks.one_of(here.child("protocol"), protocol, PROTOCOLS)
        if port.get("appProtocol") is not None:
            yield from named(here.child("appProtocol"), port["appProtocol"], names.qualified_name)
