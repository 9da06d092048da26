"""Hints on endpoints: for which zones and nodes each is meant.

Pure, after the endpoints are packed: takes a plan of slices, and gives one in which every endpoint has the hints that
the Service asks for.

* `trafficDistribution: PreferSameZone` (or `PreferClose`, its old name): a ready endpoint is for its own zone.
  `PreferSameNode`: for its own node, too.
* The annotation `service.kubernetes.io/topology-mode: Auto` ("Topology Aware Routing"): ready endpoints are shared out
  to zones by the CPUs that their nodes have, an endpoint to its own zone as far as that goes. A zone may be overloaded
  by a fifth; where that is not possible, or a node or an endpoint has no zone, there are no hints. It takes precedence.
* Otherwise there are none.

Slices that are right already are not written again. Messages and reasons of events are upstream's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.control.conditions import is_condition_true
from kube_core.meta import quantities
from kube_core.meta.documents import Document, MutableDocument, annotations_of, labels_of, thaw
from kube_plugins.controllers.endpointslice.slices import Plan, without_hints

__all__ = ["Shares", "hinted", "shared_out", "shares_of", "wants_shares", "without"]

_ZONE = "topology.kubernetes.io/zone"
_MODE = "service.kubernetes.io/topology-mode"
_OLD_MODE = "service.kubernetes.io/topology-aware-hints"
_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
#: How much more than its share an endpoint may get.
_OVERLOAD = 0.2
_CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")

Hint = Callable[[Document], MutableDocument | None]
#: What part of the cluster's CPUs each zone has, between 0 and 1; empty where that cannot be said.
Shares = Mapping[str, float]


def wants_shares(service: Document) -> bool:
    """Whether the Service asks for endpoints to be shared out to zones."""
    annotations = annotations_of(service)
    return annotations.get(_OLD_MODE, annotations.get(_MODE)) in ("Auto", "auto")


def hinted(service: Document, plan: Plan) -> Plan:
    """With the hints that `trafficDistribution` asks for, or with none."""
    distribution = service["spec"].get("trafficDistribution")
    if distribution not in _CLOSE:
        return without(plan)

    def near(endpoint: Document) -> MutableDocument | None:
        hint: MutableDocument = {}
        if endpoint.get("zone"):
            hint["forZones"] = [{"name": endpoint["zone"]}]
        if endpoint.get("nodeName") and distribution == "PreferSameNode":
            hint["forNodes"] = [{"name": endpoint["nodeName"]}]
        return hint or None

    return _with_hints(plan, near)


def without(plan: Plan) -> Plan:
    """With no hints at all."""
    return _with_hints(plan, lambda _: None)


def shares_of(nodes: Iterable[Document]) -> Shares:
    """The zones' shares of the CPUs of nodes that are ready; of nodes for workloads only."""
    cpus: dict[str, float] = {}
    for node in nodes:
        labels = labels_of(node)
        if any(label in labels for label in _EXCLUDED) or not is_condition_true(node, "Ready"):
            continue
        cpu = float(quantities.parse(((node.get("status") or {}).get("allocatable") or {}).get("cpu")).milli_value)
        if not labels.get(_ZONE) or not cpu:
            return {}
        cpus[labels[_ZONE]] = cpus.get(labels[_ZONE], 0.0) + cpu
    total = sum(cpus.values())
    return {zone: cpu / total for zone, cpu in sorted(cpus.items())} if len(cpus) > 1 else {}


@attrs.frozen
class _Allocation:
    """How many endpoints a zone is to have."""

    desired: float
    maximum: int


def shared_out(plan: Plan, shares: Shares) -> Plan | str:
    """With endpoints shared out to zones; or why there can be no hints, and then `without` gives the plan."""
    ready = [endpoint for slice_ in _slices(plan) for endpoint in slice_.get("endpoints") or () if _is_ready(endpoint)]
    allocations = _allocations(len(ready), shares)
    if isinstance(allocations, str):
        return allocations
    keep, redo, taken = _kept(plan.keep, allocations)
    create, update = [thaw(each) for each in plan.create], [thaw(each) for each in (*plan.update, *redo)]
    written = [endpoint for slice_ in (*create, *update) for endpoint in slice_["endpoints"]]
    open_ones = [endpoint for endpoint in written if _is_ready(endpoint)]
    for endpoint in written:
        endpoint.pop("hints", None)
    for endpoint in open_ones:
        if not endpoint.get("zone"):
            return "One or more endpoints do not have a zone specified"
        taken[endpoint["zone"]] = taken.get(endpoint["zone"], 0) + 1
        endpoint["hints"] = {"forZones": [{"name": endpoint["zone"]}]}
    _redistribute(open_ones, *_givers_and_takers(allocations, taken))
    if not taken:
        return "No hints allocated for zones"
    return attrs.evolve(plan, create=tuple(create), update=tuple(update), keep=tuple(keep))


def _slices(plan: Plan) -> Iterable[Document]:
    return (*plan.create, *plan.update, *plan.keep)


def _is_ready(endpoint: Document) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready"))


def _with_hints(plan: Plan, hint: Hint) -> Plan:
    keep: list[Document] = []
    update: list[MutableDocument] = [_rewritten(each, hint) for each in plan.update]
    for slice_ in plan.keep:
        new = _rewritten(slice_, hint)
        if new["endpoints"] == list(slice_.get("endpoints") or ()):
            keep.append(slice_)
        else:
            update.append(new)
    create = tuple(_rewritten(each, hint) for each in plan.create)
    return attrs.evolve(plan, create=create, update=tuple(update), keep=tuple(keep))


def _rewritten(slice_: Document, hint: Hint) -> MutableDocument:
    endpoints: list[Document] = []
    for endpoint in slice_.get("endpoints") or ():
        hints = hint(endpoint) if _is_ready(endpoint) else None
        bare = without_hints(endpoint)
        endpoints.append({**bare, "hints": hints} if hints is not None else bare)
    return {**slice_, "endpoints": endpoints}


def _allocations(endpoints: int, shares: Shares) -> Mapping[str, _Allocation] | str:
    if not shares:
        return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    counted = f"({endpoints} endpoints, {len(shares)} zones)"
    if len(shares) > endpoints:
        return f"Insufficient number of endpoints {counted}"
    minima = {zone: math.ceil(share * endpoints / (1 + _OVERLOAD)) for zone, share in shares.items()}
    spare = endpoints - sum(minima.values())
    if spare < 0:
        what = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
        return f"{what} {counted}"
    return {
        zone: _Allocation(max(share * endpoints, float(minima[zone])), minima[zone] + spare)
        for zone, share in shares.items()
    }


def _kept(
    slices: Sequence[Document], allocations: Mapping[str, _Allocation]
) -> tuple[list[Document], list[Document], dict[str, int]]:
    """Slices whose hints may stay, those that need new ones, and how many endpoints the former give to each zone."""
    keep: list[Document] = []
    redo: list[Document] = []
    taken: dict[str, int] = {}
    for slice_ in slices:
        counted = _hints_of(slice_, allocations)
        if counted is None or any(
            taken.get(zone, 0) + number > allocations[zone].maximum for zone, number in counted.items()
        ):
            redo.append(slice_)
            continue
        keep.append(slice_)
        for zone, number in counted.items():
            taken[zone] = taken.get(zone, 0) + number
    return keep, redo, taken


def _hints_of(slice_: Document, allocations: Mapping[str, _Allocation]) -> dict[str, int] | None:
    """Hints by zone; None where one is missing, or is for a zone that needs none."""
    counted: dict[str, int] = {}
    for endpoint in slice_.get("endpoints") or ():
        if not _is_ready(endpoint):
            continue
        zones: Sequence[Any] = (endpoint.get("hints") or {}).get("forZones") or ()
        if not zones or any(zone["name"] not in allocations for zone in zones):
            return None
        for zone in zones:
            counted[zone["name"]] = counted.get(zone["name"], 0) + 1
    return counted


def _givers_and_takers(
    allocations: Mapping[str, _Allocation], taken: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints zones with too many give, and zones with too few take."""
    over = {zone: taken.get(zone, 0) - each.desired for zone, each in allocations.items()}
    giving = {zone: number for zone, number in over.items() if number > 0}
    taking = {zone: -number for zone, number in over.items() if number < 0}
    gives: dict[str, int] = {}
    takes: dict[str, int] = {}
    while giving and taking:
        giver, taker = max(giving, key=giving.__getitem__), max(taking, key=taking.__getitem__)
        much, need = giving[giver], taking[taker]
        if (much < 1 and need < 1) or much < 0.5 or need < 0.5:
            break
        for zone, numbers, rest in ((giver, gives, giving), (taker, takes, taking)):
            numbers[zone] = numbers.get(zone, 0) + 1
            rest[zone] -= 1
    return gives, takes


def _redistribute(endpoints: Iterable[MutableDocument], gives: dict[str, int], takes: dict[str, int]) -> None:
    for endpoint in endpoints:
        taker = next((zone for zone, number in takes.items() if number > 0), None)
        if taker is None:
            return
        if gives.get(endpoint["zone"], 0) > 0:
            endpoint["hints"] = {"forZones": [{"name": taker}]}
            gives[endpoint["zone"]] -= 1
            takes[taker] -= 1
