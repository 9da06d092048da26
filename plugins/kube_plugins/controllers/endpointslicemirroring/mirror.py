"""The slices that say what an Endpoints object says. Pure.

One slice for each address family of each list of ports, with at most a thousand addresses of a subset, ready ones
first; subsets that are the same in all but order are one. Labels and annotations are those of the Endpoints, but for
the ones that tell how it was written. Mirrors upstream's mirroring controller ("EndpointSlice mirroring").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    thaw,
)
from kube_plugins.controllers.endpointslice.endpoints import AddressType, PortMark, port_mark
from kube_plugins.controllers.endpointslice.slices import MANAGED_BY_LABEL, SERVICE_LABEL, Plan
from kube_plugins.controllers.triggertimes import TRIGGER_TIME

__all__ = ["CAPACITY", "MANAGED_BY", "Mirrored", "is_mirrored", "plan_mirror"]

#: How many addresses of a subset are mirrored.
CAPACITY = 1000
MANAGED_BY = "endpointslicemirroring-controller.k8s.io"

_SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
_LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
_NOT_MIRRORED = (TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")

_Mark = tuple[AddressType, PortMark]


@attrs.frozen
class Mirrored:
    """The writes, and how many addresses are not in them: of no valid form, and over the capacity (with the former)."""

    plan: Plan
    invalid: int = 0
    skipped: int = 0


@attrs.define
class _Wanted:
    ports: Sequence[MutableDocument]
    endpoints: list[MutableDocument] = attrs.field(factory=list)


def is_mirrored(endpoints: Document | None, service: Document | None) -> bool:
    """Whether there should be slices: not where the Service has a selector, or somebody said no."""
    if endpoints is None or service is None or service["spec"].get("selector") is not None:
        return False
    return labels_of(endpoints).get(_SKIP_LABEL) != "true" and _LEADER_ANNOTATION not in annotations_of(endpoints)


def plan_mirror(endpoints: Document, present: Iterable[Document]) -> Mirrored:
    """From the mirrored slices that there are to those that `endpoints` needs."""
    wanted, invalid, skipped = _wanted(endpoints)
    by_mark: dict[_Mark, list[Document]] = {}
    for document in present:
        mark = str(document.get("addressType")), port_mark(document.get("ports") or ())
        by_mark.setdefault(mark, []).append(document)
    create: list[MutableDocument] = []
    update: list[MutableDocument] = []
    surplus: list[Document] = []
    for mark, documents in by_mark.items():
        surplus += documents[1:] if mark in wanted else documents
    for mark, each in wanted.items():
        new = _slice(endpoints, mark[0], each)
        first = next(iter(by_mark.get(mark, ())), None)
        if first is None:
            create.append(new)
        elif not _says(first, new):
            update.append(_over(first, new))
    # A slice that would be deleted is written anew instead, where its family is the same: that cannot change.
    for new in list(create):
        spare = next((each for each in surplus if each.get("addressType") == new["addressType"]), None)
        if spare is not None:
            surplus.remove(spare)
            create.remove(new)
            update.append(_over(spare, new))
    made = () if is_deleting(endpoints) else tuple(create)
    return Mirrored(Plan(made, tuple(update), tuple(surplus)), invalid, skipped)


def _wanted(endpoints: Document) -> tuple[dict[_Mark, _Wanted], int, int]:
    wanted: dict[_Mark, _Wanted] = {}
    invalid = skipped = 0
    for ports, entries in _subsets(endpoints):
        added = 0
        for address, ready in entries:
            if added >= CAPACITY:
                break
            made = _endpoint(address, ready)
            if made is None:
                invalid += 1
                continue
            family: AddressType = "IPv6" if ":" in made["addresses"][0] else "IPv4"
            wanted.setdefault((family, port_mark(ports)), _Wanted(ports)).endpoints.append(made)
            added += 1
        skipped += len(entries) - added
    return wanted, invalid, skipped


def _subsets(endpoints: Document) -> Iterable[tuple[list[MutableDocument], list[tuple[Document, bool]]]]:
    """Ports with their addresses, each once, ready ones first: subsets with the same ports are one."""
    merged: dict[PortMark, tuple[list[MutableDocument], dict[tuple[str, str], tuple[Document, bool]]]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = [_port(port) for port in subset.get("ports") or ()]
        _, addresses = merged.setdefault(port_mark(ports), (ports, {}))
        # An address that is in both is one that is not ready.
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                addresses[address.get("ip") or "", (address.get("targetRef") or {}).get("uid") or ""] = address, ready
    for ports, addresses in merged.values():
        yield ports, sorted(addresses.values(), key=lambda entry: not entry[1])


def _port(port: Document) -> MutableDocument:
    made: MutableDocument = {
        "name": port.get("name") or "",
        "port": port["port"],
        "protocol": port.get("protocol") or "TCP",
    }
    if port.get("appProtocol") is not None:
        made["appProtocol"] = port["appProtocol"]
    return made


def _endpoint(address: Document, ready: bool) -> MutableDocument | None:
    try:
        ip = str(ipaddress.ip_address(address.get("ip") or ""))
    except ValueError:
        return None
    endpoint: MutableDocument = {"addresses": [ip], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = thaw(address[field])
    return endpoint


def _slice(endpoints: Document, family: AddressType, wanted: _Wanted) -> MutableDocument:
    name = name_of(endpoints)
    annotations = {key: value for key, value in annotations_of(endpoints).items() if key not in _NOT_MIRRORED}
    metadata: MutableDocument = {
        "generateName": f"{name}-",
        "namespace": namespace_of(endpoints),
        "labels": {**labels_of(endpoints), SERVICE_LABEL: name, MANAGED_BY_LABEL: MANAGED_BY},
        "annotations": annotations,
        "ownerReferences": [controller_reference(endpoints)],
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": family,
        "endpoints": wanted.endpoints,
        "ports": list(wanted.ports),
    }


def _says(present: Document, new: Document) -> bool:
    """Whether a slice says what it should, in whatever order."""
    return (
        dict(labels_of(present)) == new["metadata"]["labels"]
        and dict(annotations_of(present)) == new["metadata"]["annotations"]
        and list(present["metadata"].get("ownerReferences") or ()) == new["metadata"]["ownerReferences"]
        and _told(present) == _told(new)
    )


def _told(slice_: Document) -> list[Any]:
    told = (thaw(each) for each in slice_.get("endpoints") or ())
    return sorted(told, key=lambda each: sorted(map(str, each.items())))


def _over(present: Document, new: MutableDocument) -> MutableDocument:
    """`new` in the place of `present`."""
    metadata: MutableDocument = {**thaw(present["metadata"]), **new["metadata"]}
    metadata.pop("generateName", None)
    return {**new, "metadata": metadata}
