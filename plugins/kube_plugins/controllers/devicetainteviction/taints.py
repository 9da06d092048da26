"""Which taints a device has, and when a pod has to go for them. Pure planning.

Mirrors upstream's device taint eviction ("Device taints and tolerations"): taints stand in a ResourceSlice, beside the
device, or in a DeviceTaintRule that selects it. Of a pool only the slices of its newest generation count. A pod has to
go when one of its claims was given a device with a NoExecute taint that the claim does not tolerate for good: at the
moment at which the taint was added, and as much later as the claim tolerates it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from kube_core.api.pods import node_name_of
from kube_core.api.taints import answers
from kube_core.meta.documents import Document, Key, metadata_of, namespace_of, uid_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.resourceclaim.plan import claim_names

__all__ = ["Devices", "Eviction", "allocated", "eviction_of", "pool_of", "selects"]


@attrs.frozen
class Eviction:
    """When a pod has to go, in seconds since the epoch, and the uids of the rules that are a reason."""

    moment: float
    rules: frozenset[str] = frozenset()


@attrs.frozen
class Devices:
    """What is known of devices. `pool` gives a pool's slices, by the name that `pool_of` has for it."""

    pool: Mapping[str, Sequence[Document]]
    rules: Sequence[Document]

    def taints(self, driver: str, pool: str, device: str) -> Iterator[tuple[Document, float, str]]:
        """Of one device: each NoExecute taint, when it was added, and the rule's uid where it is a rule's."""
        for piece in _newest(self.pool.get(f"{driver}/{pool}", ())):
            for each in piece["spec"].get("devices") or ():
                if each["name"] == device:
                    yield from (
                        (taint, _added(taint, piece), "") for taint in each.get("taints") or () if _evicts(taint)
                    )
        for rule in self.rules:
            if _evicts(rule["spec"]["taint"]) and selects(rule, driver, pool, device):
                yield rule["spec"]["taint"], _added(rule["spec"]["taint"], rule), uid_of(rule)


def allocated(claim: Document) -> Sequence[Document]:
    """The devices that a claim was given."""
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return (allocation.get("devices") or {}).get("results") or ()


def pool_of(thing: Document) -> str:
    """What a pool is called here: of a device that was given, or of a slice's spec."""
    pool = thing["pool"]
    return f"{thing['driver']}/{pool['name'] if isinstance(pool, Mapping) else pool}"


def selects(rule: Document, driver: str, pool: str, device: str) -> bool:
    """Whether a rule is about a device. One that selects nothing is about none."""
    selector = rule["spec"].get("deviceSelector")
    if selector is None:
        return False
    wanted = ((selector.get("driver"), driver), (selector.get("pool"), pool), (selector.get("device"), device))
    return all(asked is None or asked == found for asked, found in wanted)


def eviction_of(pod: Document, claims: Mapping[Key, Document], devices: Devices) -> Eviction | None:
    """When a pod has to go, and why; None where it may stay, or runs nowhere yet."""
    if not node_name_of(pod):
        return None
    found: list[Eviction] = []
    for name in claim_names(pod):
        claim = claims.get(Key(namespace_of(pod), name))
        if claim is not None and _is_reserved(claim, pod):
            found += _evictions(claim, devices)
    if not found:
        return None
    return Eviction(min(each.moment for each in found), frozenset().union(*(each.rules for each in found)))


def _evictions(claim: Document, devices: Devices) -> Iterator[Eviction]:
    for given in allocated(claim):
        tolerations: Sequence[Document] = given.get("tolerations") or ()
        for taint, added, rule in devices.taints(str(given["driver"]), str(given["pool"]), str(given["device"])):
            fitting = [each for each in tolerations if each.get("effect") == "NoExecute" and answers(each, taint)]
            if any(each.get("tolerationSeconds") is None for each in fitting):
                continue
            seconds = min((max(float(each["tolerationSeconds"]), 0.0) for each in fitting), default=0.0)
            yield Eviction(added + seconds, frozenset((rule,)) if rule else frozenset())


def _is_reserved(claim: Document, pod: Document) -> bool:
    users: Iterable[Document] = (claim.get("status") or {}).get("reservedFor") or ()
    return any(each.get("resource") == "pods" and each.get("uid") == uid_of(pod) for each in users)


def _newest(slices: Sequence[Document]) -> Iterator[Document]:
    generation = max((int(each["spec"]["pool"].get("generation") or 0) for each in slices), default=0)
    return (each for each in slices if int(each["spec"]["pool"].get("generation") or 0) == generation)


def _evicts(taint: Document) -> bool:
    return taint.get("effect") == "NoExecute"


def _added(taint: Document, owner: Document) -> float:
    return parse_time(str(taint.get("timeAdded") or metadata_of(owner)["creationTimestamp"]))
