"""The outline: a pod's key → nothing, an eviction to come, or the eviction; a rule's key → what it does, as its status.

When a pod has to go is computed anew each time (`taints.py`), so a taint that is taken back, or a claim that is given
something else, changes or calls off what was planned. A rule's status is written at most every ten seconds, and for a
rule without effect only once, as upstream does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.conditions import condition_of
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    is_deleting,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time, parse_time
from kube_plugins.controllers.devicetainteviction.rules import Effects, told
from kube_plugins.controllers.devicetainteviction.taints import (
    Devices,
    Eviction,
    allocated,
    eviction_of,
    pool_of,
    selects,
)
from kube_plugins.controllers.podsofnodes import disruption, status_patch

__all__ = ["DeviceTaintEviction"]

_REASON = "DeletionByDeviceTaintManager"
_MESSAGE = "Device Taint manager: deleting due to NoExecute taint"
_BY_POOL = "device pool"
#: Seconds between two writes of a rule's status.
_STATUS_PERIOD = 10.0


class DeviceTaintEviction(Controller):
    """Watches pods with claims, claims, slices and rules."""

    workers = 4

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        claims = context.informers.informer(resources.RESOURCE_CLAIMS)
        slices = context.informers.informer(resources.RESOURCE_SLICES)
        claims.add_index(_BY_POOL, lambda claim: {pool_of(each) for each in allocated(claim)})
        slices.add_index(_BY_POOL, lambda piece: (pool_of(piece["spec"]),))
        self._claims, self._slices = claims.lister, slices.lister
        self._rules = context.informers.lister(resources.DEVICE_TAINT_RULES)
        self._pods = context.informers.lister(resources.PODS)
        #: Pods that are to go, and those that were sent, by their uids.
        self._planned: dict[Key, str] = {}
        self._sent: dict[Key, str] = {}
        #: By the rule's uid, how many pods went for it.
        self._evicted: dict[str, int] = {}

    def watches(self) -> Iterable[Watch]:
        return [
            Watch(resources.PODS, predicate=_pod_changed),
            Watch(resources.RESOURCE_CLAIMS, _users),
            Watch(resources.RESOURCE_SLICES, self._users_of_pool),
            Watch(resources.DEVICE_TAINT_RULES, self._concerned, predicate=_spec_changed),
        ]

    async def reconcile(self, key: Key) -> Action:
        return await (self._look_at_pod(key) if key.namespace else self._look_at_rule(key))

    # -- pods --------------------------------------------------------------------------------------------------------

    async def _look_at_pod(self, key: Key) -> Action:
        pod = self._pods.get(key)
        uid = uid_of(pod) if pod is not None else ""
        if self._sent.get(key) == uid:
            return await_change()
        self._sent.pop(key, None)
        eviction = self._eviction(pod, self._rules.list()) if pod is not None else None
        if eviction is None:
            if self._planned.pop(key, None) is not None and pod is not None:
                self._tell(pod, "Cancelling deletion")
            return await_change()
        self._planned[key] = uid
        for rule in self._rules.list():
            if uid_of(rule) in eviction.rules:
                self.context.enqueue(key_of(rule))
        if (wait := eviction.moment - self.clock.now()) > 0:
            return requeue(wait)
        await self._evict(key, uid, eviction)
        return await_change()

    async def _evict(self, key: Key, uid: str, eviction: Eviction) -> None:
        try:
            pod = await self.client.get(resources.PODS, key.name, key.namespace)
            if uid_of(pod) == uid and not is_deleting(pod):
                self._tell(pod, "Marking for deletion")
                condition = disruption(pod, _REASON, _MESSAGE, self.clock.now())
                if condition is not None:
                    await self.client.patch(
                        resources.PODS,
                        key.name,
                        status_patch(pod, {"conditions": [condition]}),
                        key.namespace,
                        patch_type="strategic",
                        subresource="status",
                    )
                await self.client.delete(resources.PODS, key.name, key.namespace, uid=uid)
                for rule in eviction.rules:
                    self._evicted[rule] = self._evicted.get(rule, 0) + 1
        except NotFound:
            pass
        self._planned.pop(key, None)
        self._sent[key] = uid

    def _tell(self, pod: Document, message: str) -> None:
        self.context.events.normal(pod, "DeviceTaintManagerEviction", message)

    def _eviction(self, pod: Document, rules: Sequence[Document]) -> Eviction | None:
        pools = {pool_of(each) for claim in self._claims_of(pod).values() for each in allocated(claim)}
        devices = Devices({pool: self._slices.by_index(_BY_POOL, pool) for pool in pools}, rules)
        return eviction_of(pod, self._claims_of(pod), devices)

    def _claims_of(self, pod: Document) -> Mapping[Key, Document]:
        if not (pod.get("spec") or {}).get("resourceClaims"):
            return {}
        return {key_of(claim): claim for claim in self._claims.list(namespace_of(pod))}

    # -- rules -------------------------------------------------------------------------------------------------------

    async def _look_at_rule(self, key: Key) -> Action:
        rule = self._rules.get(key)
        if rule is None:
            return await_change()
        now, generation = self.clock.now(), metadata_of(rule).get("generation")
        before = condition_of(rule, "EvictionInProgress") or {}
        if before and before.get("observedGeneration") == generation:
            since = now - parse_time(str(before["lastTransitionTime"]))
            if since < _STATUS_PERIOD:
                return requeue(_STATUS_PERIOD - since)
        effect = str(rule["spec"]["taint"]["effect"])
        if effect == "None" and before.get("observedGeneration") == generation:
            return await_change()
        effects = self._effects(rule)
        status, reason, message = told(effect, effects)
        wanted = {"type": "EvictionInProgress", "status": status, "reason": reason, "message": message}
        if generation:
            wanted["observedGeneration"] = generation
        if any(before.get(field) != value for field, value in wanted.items()):
            document = {
                "apiVersion": resources.DEVICE_TAINT_RULES.api_version,
                "kind": "DeviceTaintRule",
                "metadata": {"name": key.name, "uid": uid_of(rule)},
                "status": {"conditions": [{**wanted, "lastTransitionTime": format_time(now)}]},
            }
            await self.client.apply_status(resources.DEVICE_TAINT_RULES, document, force=True)
        return requeue(_STATUS_PERIOD) if effects.pending and effect == "NoExecute" else await_change()

    def _effects(self, rule: Document) -> Effects:
        effect, uid = rule["spec"]["taint"]["effect"], uid_of(rule)
        evicted = self._evicted.get(uid, 0)
        if effect not in ("NoExecute", "None"):
            return Effects(evicted=evicted)
        # A rule without effect is looked at as if it had one.
        acting = thaw(rule)
        acting["spec"]["taint"]["effect"] = "NoExecute"
        rules = [acting if uid_of(each) == uid else each for each in self._rules.list()]
        pending = [
            pod
            for pod in self._pods.list()
            if not is_deleting(pod) and (found := self._eviction(pod, rules)) is not None and uid in found.rules
        ]
        published = sum(
            selects(rule, piece["spec"]["driver"], piece["spec"]["pool"]["name"], each["name"])
            for piece in self._slices.list()
            for each in piece["spec"].get("devices") or ()
        )
        given = sum(
            selects(rule, each["driver"], each["pool"], each["device"])
            for claim in self._claims.list()
            for each in allocated(claim)
        )
        namespaces = {namespace_of(pod) for pod in pending}
        return Effects(published, given, len(pending), len(namespaces), evicted)

    # -- who is concerned --------------------------------------------------------------------------------------------

    def _users_of_pool(self, piece: Document) -> Iterable[Key]:
        for claim in self._claims.by_index(_BY_POOL, pool_of(piece["spec"])):
            yield from _users(claim)

    def _concerned(self, rule: Document) -> Iterable[Key]:
        yield Key("", name_of(rule))
        for claim in self._claims.list():
            if any(selects(rule, each["driver"], each["pool"], each["device"]) for each in allocated(claim)):
                yield from _users(claim)


def _users(claim: Document) -> Iterable[Key]:
    """The pods that a claim is reserved for."""
    for each in (claim.get("status") or {}).get("reservedFor") or ():
        if not each.get("apiGroup") and each.get("resource") == "pods":
            yield Key(namespace_of(claim), str(each["name"]))


def _pod_changed(before: Document | None, after: Document | None) -> bool:
    """Something about its claims, or where it runs; pods without claims are nobody's business here."""
    pod = after or before
    if pod is None or not (pod.get("spec") or {}).get("resourceClaims"):
        return False
    return before is None or after is None or _of_interest(before) != _of_interest(after)


def _of_interest(pod: Document) -> tuple[object, object]:
    return pod["spec"].get("nodeName"), (pod.get("status") or {}).get("resourceClaimStatuses")


def _spec_changed(before: Document | None, after: Document | None) -> bool:
    return before is None or after is None or before["spec"] != after["spec"]
