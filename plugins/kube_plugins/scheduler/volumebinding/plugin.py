"""The plugin VolumeBinding; what it decides by is in `claims.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.meta.documents import Document, Key, annotations_of, name_of
from kube_core.scheduler.framework import (
    SKIP,
    ChangeKind,
    CycleState,
    Filter,
    Interest,
    PreBind,
    PreFilter,
    Rejection,
    SchedulerHandle,
    Skip,
)
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo
from kube_plugins.scheduler.volumebinding.claims import (
    SELECTED_NODE,
    Claims,
    claim_names,
    fits_volume,
    provisionable_on,
    refuse_claims,
    sort_claims,
)

__all__ = ["VolumeBinding"]

#: Seconds that a chosen pod waits for its claims to be bound.
BIND_TIMEOUT: Final = 600.0


class VolumeBinding(PreFilter, Filter, PreBind):
    name = "VolumeBinding"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._client = handle.client
        self._clock = handle.clock
        self._claims_informer = handle.informers.informer(resources.PERSISTENT_VOLUME_CLAIMS)
        self._claims: Lister = self._claims_informer.lister
        self._volumes: Lister = handle.informers.informer(resources.PERSISTENT_VOLUMES).lister
        self._classes: Lister = handle.informers.informer(resources.STORAGE_CLASSES).lister

    def interests(self) -> Iterable[Interest]:
        come_or_change: frozenset[ChangeKind] = frozenset(("add", "update"))
        return (
            Interest(resources.PERSISTENT_VOLUME_CLAIMS, come_or_change, _is_own_claim),
            Interest(resources.PERSISTENT_VOLUMES, come_or_change),
            Interest(resources.STORAGE_CLASSES, come_or_change),
            Interest(resources.NODES, come_or_change),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Rejection | Skip | None:
        names = claim_names(pod.document)
        if not names:
            return SKIP
        found = {name: self._claims.get(Key(pod.key.namespace, name)) for name in names}
        refusal = refuse_claims(pod.document, found)
        if refusal:
            return Rejection(self.name, (refusal,), resolvable=False)
        sorted_claims = sort_claims([claim for claim in found.values() if claim is not None], self._class_of)
        if sorted_claims.unbound_immediate:
            return Rejection(self.name, ("pod has unbound immediate PersistentVolumeClaims",), resolvable=False)
        state[self.name] = sorted_claims
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        claims: Claims = state[self.name]
        for claim in claims.bound:
            volume = self._volumes.get(Key("", str(claim["spec"]["volumeName"])))
            if volume is None:
                return _UNKNOWN_VOLUME
            if not fits_volume(volume, node.labels, node.name):
                return _OUT_OF_REACH
        for claim in claims.delayed:
            chosen = annotations_of(claim).get(SELECTED_NODE)
            if chosen and chosen != node.name:
                return _BINDING_ELSEWHERE
            storage_class = self._class_of(claim)
            if storage_class is None or not provisionable_on(storage_class, node.labels):
                return _NOTHING_TO_BIND
        return None

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Rejection | None:
        claims: Claims | None = state.get(self.name)
        if claims is None or not claims.delayed:
            return None
        for claim in claims.delayed:
            if annotations_of(claim).get(SELECTED_NODE) != node:
                patch = {"metadata": {"annotations": {SELECTED_NODE: node}}}
                await self._client.patch(resources.PERSISTENT_VOLUME_CLAIMS, name_of(claim), patch, pod.key.namespace)
        keys = [Key(pod.key.namespace, name_of(claim)) for claim in claims.delayed]
        return await self._wait_until_bound(keys, node)

    async def _wait_until_bound(self, keys: list[Key], node: str) -> Rejection | None:
        changed = asyncio.Event()

        def handler(_before: Document | None, _after: Document | None) -> None:
            changed.set()

        self._claims_informer.add_handler(handler)
        told: set[Key] = set()
        try:
            async with self._clock.timeout(BIND_TIMEOUT):
                while True:
                    changed.clear()
                    waiting = [key for key in keys if not self._is_bound(key)]
                    if not waiting:
                        return None
                    for key in waiting:
                        claim = self._claims.get(key)
                        if claim is None:
                            return _CLAIM_GONE
                        if annotations_of(claim).get(SELECTED_NODE) == node:
                            told.add(key)
                        elif key in told:  # its provisioner can make nothing there, and took the node's name away
                            return _PROVISIONING_FAILED
                    await changed.wait()
        except TimeoutError:
            return _TIMED_OUT
        finally:
            self._claims_informer.remove_handler(handler)

    def _is_bound(self, key: Key) -> bool:
        claim = self._claims.get(key)
        return claim is not None and bool(sort_claims([claim], self._class_of).bound)

    def _class_of(self, claim: Document) -> Document | None:
        name = claim["spec"].get("storageClassName")
        return self._classes.get(Key("", str(name))) if name else None


_UNKNOWN_VOLUME = Rejection(
    "VolumeBinding", ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",), resolvable=False
)
_OUT_OF_REACH = Rejection("VolumeBinding", ("node(s) didn't match PersistentVolume's node affinity",), resolvable=False)
_BINDING_ELSEWHERE = Rejection("VolumeBinding", ("node(s) didn't find available persistent volumes to bind",), False)
_NOTHING_TO_BIND = _BINDING_ELSEWHERE
_CLAIM_GONE = Rejection("VolumeBinding", ("pod has a claim that is gone",), resolvable=False)
_PROVISIONING_FAILED = Rejection("VolumeBinding", ("provisioning failed on the selected node",), resolvable=False)
_TIMED_OUT = Rejection("VolumeBinding", ("timed out waiting for the volumes to be bound",), resolvable=False)


def _is_own_claim(pod: PodInfo, _before: Document | None, after: Document | None) -> bool:
    if after is None:
        return False
    metadata = after["metadata"]
    return metadata.get("namespace") == pod.key.namespace and metadata.get("name") in claim_names(pod.document)
