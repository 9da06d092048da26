"""Publishes by which authority the API server is known: a ClusterTrustBundle of `kubernetes.io/kube-apiserver-serving`.

The bundle's name has a hash of its content; a bundle of another authority for the same signer is removed once the right
one is there. The authority is the driver `cluster_ca` (PEM) that the program gives. Mirrors upstream's
kube-apiserver-serving-clustertrustbundle-publisher-controller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from kube_core.api.resources import CLUSTER_TRUST_BUNDLES
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, name_of, thaw
from kube_core.meta.status import NotFound

__all__ = ["Plan", "TrustBundlePublisher", "plan"]

SIGNER = "kubernetes.io/kube-apiserver-serving"
_THE_KEY = Key("", SIGNER)


@attrs.frozen
class Plan:
    """What is to be written; `delete` are names."""

    create: MutableDocument | None = None
    update: MutableDocument | None = None
    delete: tuple[str, ...] = ()


def plan(authority: str, bundles: Iterable[Document]) -> Plan:
    """`bundles`: those of the signer."""
    name = f"{SIGNER.replace('/', ':')}:{hashlib.sha256(authority.encode()).hexdigest()[:24]}"
    by_name = {name_of(each): each for each in bundles}
    present = by_name.pop(name, None)
    others = tuple(sorted(by_name))
    if present is None:
        metadata = {"name": name}
        return Plan(
            create={"metadata": metadata, "spec": {"signerName": SIGNER, "trustBundle": authority}}, delete=others
        )
    if present["spec"].get("trustBundle") != authority:
        changed = thaw(present)
        changed["spec"]["trustBundle"] = authority
        return Plan(update=changed, delete=others)
    return Plan(delete=others)


class TrustBundlePublisher(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        given = context.drivers["cluster_ca"]
        self._authority = given.decode() if isinstance(given, bytes) else str(given)

    def watches(self) -> Iterable[Watch]:
        yield Watch(CLUSTER_TRUST_BUNDLES, lambda bundle: [_THE_KEY] if _is_of_signer(bundle) else [])

    async def start(self) -> None:
        self.context.enqueue(_THE_KEY)

    async def reconcile(self, key: Key) -> Action:
        bundles = filter(_is_of_signer, self.context.informers.lister(CLUSTER_TRUST_BUNDLES).list())
        writes = plan(self._authority, bundles)
        if writes.create is not None:
            await self.client.create(CLUSTER_TRUST_BUNDLES, writes.create)
        if writes.update is not None:
            await self.client.update(CLUSTER_TRUST_BUNDLES, writes.update)
        for name in writes.delete:
            try:
                await self.client.delete(CLUSTER_TRUST_BUNDLES, name)
            except NotFound:
                pass
        return await_change()


def _is_of_signer(bundle: Document) -> bool:
    return bool((bundle.get("spec") or {}).get("signerName") == SIGNER)
