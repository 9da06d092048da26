"""Packing endpoints into slices with as few writes as possible.

Pure. Slices hold at most 100 endpoints. Each group of endpoints (one list of ports) is packed by itself: first the
slices there are drop what is no longer wanted and refresh what changed; slices that are rewritten anyway are filled
up; what is left over goes whole into the fullest untouched slice with room for all of it, or else into new slices.
Slices are never re-balanced, for a write to one is sent to every node (upstream: "EndpointSlices", "Distribution of
EndpointSlices"). A Service without endpoints has one empty slice, so that it is seen to have none. Slices that belong
to another Service of this name, one that is gone, are never built on: they go with it.

Hints are not looked at here: `hints.py` gives them to what this plan writes, and to what it leaves as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kube_core.meta.documents import (
    Document,
    MutableDocument,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_references_of,
    thaw,
)
from kube_plugins.controllers import services
from kube_plugins.controllers.endpointslice.endpoints import AddressType, Group, PortMark, port_mark

__all__ = ["MANAGED_BY", "MANAGED_BY_LABEL", "MAX_ENDPOINTS", "SERVICE_LABEL", "Plan", "plan_slices", "without_hints"]

MAX_ENDPOINTS = 100

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"


@attrs.frozen
class Plan:
    """The writes that make the slices right. `update` are whole documents, on the version they were read at."""

    create: tuple[MutableDocument, ...] = ()
    update: tuple[MutableDocument, ...] = ()
    delete: tuple[Document, ...] = ()
    keep: tuple[Document, ...] = attrs.field(default=(), eq=False)
    """Those that are right as they are."""


@attrs.define
class _Slice:
    """A slice while it is packed: what it was, if it was, and what it will hold."""

    document: Document | None
    ports: Sequence[MutableDocument]
    endpoints: list[MutableDocument]
    changed: bool


def plan_slices(
    service: Document,
    address_type: AddressType,
    groups: Mapping[PortMark, Group],
    present: Iterable[Document],
    owner_reference: dict[str, object],
) -> Plan:
    """From the slices of one address family that there are to those that `groups` need."""
    labels = _labels(service)
    by_ports: dict[PortMark, list[Document]] = {}
    foreign: list[Document] = []
    for document in present:
        if not any(owner.get("uid") == owner_reference["uid"] for owner in owner_references_of(document)):
            foreign.append(document)
        elif not is_deleting(document):
            by_ports.setdefault(port_mark(document.get("ports") or ()), []).append(document)
    packed: list[_Slice] = []
    surplus: list[Document] = []
    for mark, documents in by_ports.items():
        if mark not in groups:
            surplus += documents
    for mark, group in groups.items():
        kept, emptied = _pack(group, by_ports.get(mark, ()), labels)
        packed += kept
        surplus += emptied
    if not packed:
        packed, surplus = _placeholder(surplus, labels)
    plan = _writes(service, address_type, packed, surplus, labels, owner_reference)
    return attrs.evolve(plan, delete=(*plan.delete, *foreign))


def _pack(group: Group, documents: Sequence[Document], labels: dict[str, str]) -> tuple[list[_Slice], list[Document]]:
    missing = {_identity(endpoint): endpoint for endpoint in group.endpoints}
    kept: list[_Slice] = []
    emptied: list[Document] = []
    for document in documents:
        before = list(document.get("endpoints") or ())
        after = [missing.pop(_identity(endpoint)) for endpoint in before if _identity(endpoint) in missing]
        if not after:
            emptied.append(document)
        else:
            same = after == [without_hints(endpoint) for endpoint in before]
            kept.append(_Slice(document, group.ports, after, not same or dict(labels_of(document)) != labels))
    _fill_rewritten(kept, missing)
    _place_remaining(group, kept, missing)
    return kept, emptied


def _fill_rewritten(slices: Sequence[_Slice], missing: dict[tuple[str, ...], MutableDocument]) -> None:
    """Slices that are written anyway take what they can, the fullest first."""
    for each in sorted((each for each in slices if each.changed), key=lambda each: -len(each.endpoints)):
        while missing and len(each.endpoints) < MAX_ENDPOINTS:
            each.endpoints.append(missing.pop(next(iter(missing))))


def _place_remaining(group: Group, slices: list[_Slice], missing: dict[tuple[str, ...], MutableDocument]) -> None:
    while missing:
        room = [
            each
            for each in slices
            if each.document is not None and not each.changed and len(each.endpoints) + len(missing) <= MAX_ENDPOINTS
        ]
        if room and len(missing) < MAX_ENDPOINTS:
            target = max(room, key=lambda each: len(each.endpoints))
            target.changed = True
        else:
            target = _Slice(None, group.ports, [], True)
            slices.append(target)
        while missing and len(target.endpoints) < MAX_ENDPOINTS:
            target.endpoints.append(missing.pop(next(iter(missing))))


def _placeholder(surplus: Sequence[Document], labels: dict[str, str]) -> tuple[list[_Slice], list[Document]]:
    """One empty slice without ports: an existing one that is just that, where there is one."""
    for document in surplus:
        if not document.get("endpoints") and not document.get("ports"):
            rest = [each for each in surplus if each is not document]
            return [_Slice(document, (), [], dict(labels_of(document)) != labels)], rest
    return [_Slice(None, (), [], True)], list(surplus)


def _writes(
    service: Document,
    address_type: AddressType,
    packed: Sequence[_Slice],
    surplus: Sequence[Document],
    labels: dict[str, str],
    owner_reference: dict[str, object],
) -> Plan:
    create: list[MutableDocument] = []
    update: list[MutableDocument] = []
    keep: list[Document] = []
    spare = list(surplus)
    for each in packed:
        if not each.changed:
            assert each.document is not None
            keep.append(each.document)
            continue
        content: MutableDocument = {"endpoints": each.endpoints, "ports": list(each.ports)}
        # A slice that would be deleted is written anew instead: one write, and its name stays.
        document = each.document if each.document is not None else (spare.pop(0) if spare else None)
        if document is not None:
            changed = {**document, **content, "metadata": {**thaw(document["metadata"]), "labels": labels}}
            update.append(changed)
            continue
        metadata = {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [owner_reference],
        }
        create.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata,
                "addressType": address_type,
                **content,
            }
        )
    return Plan(tuple(create), tuple(update), tuple(spare), tuple(keep))


def _labels(service: Document) -> dict[str, str]:
    labels = {**labels_of(service), SERVICE_LABEL: name_of(service), MANAGED_BY_LABEL: MANAGED_BY}
    labels.pop(services.HEADLESS_LABEL, None)
    if services.is_headless(service):
        labels[services.HEADLESS_LABEL] = ""
    return labels


def without_hints(endpoint: Document) -> Document:
    """The endpoint as its pod makes it."""
    return {key: value for key, value in endpoint.items() if key != "hints"} if "hints" in endpoint else endpoint


def _identity(endpoint: Document) -> tuple[str, ...]:
    """What makes it the same endpoint, whatever its conditions are: its pod and its addresses."""
    reference = endpoint.get("targetRef") or {}
    return (str(reference.get("uid") or ""), *endpoint.get("addresses", ()))
