"""Says of a new node what the cloud knows of it: its provider id, kind, zone and addresses.

A kubelet that leaves this to the cloud registers its node with the taint
`node.cloudprovider.kubernetes.io/uninitialized`; once everything is said, that is taken off. Addresses and the labels
of zone and region are looked at again every five minutes. `described` is pure. Mirrors upstream's
cloud-node-controller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

from kube_core.abc.cloud import CloudDriver, CloudError, Instance
from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, annotations_of, labels_of, name_of, thaw
from kube_plugins.controllers.cloudnodes.taints import UNINITIALIZED, has_taint, without_taint

__all__ = ["CloudNodes", "addresses_of", "described", "labels_wanted"]

_LOOK_AGAIN: Final = 300.0
_NODE_IP: Final = "alpha.kubernetes.io/provided-node-ip"
_OWN_LABELS: Final = re.compile(r"(^|\.)(kubernetes|k8s)\.io/")


def labels_wanted(node: Document, instance: Instance) -> dict[str, str]:
    """The labels that a node has of its machine; what others the cloud wishes for are given where they are free."""
    known = {
        "beta.kubernetes.io/instance-type": instance.kind,
        "node.kubernetes.io/instance-type": instance.kind,
        "failure-domain.beta.kubernetes.io/zone": instance.zone,
        "topology.kubernetes.io/zone": instance.zone,
        "failure-domain.beta.kubernetes.io/region": instance.region,
        "topology.kubernetes.io/region": instance.region,
    }
    wanted = {key: value for key, value in known.items() if value}
    present = labels_of(node)
    for key, value in instance.labels.items():
        if not _OWN_LABELS.search(key) and key not in present:
            wanted[key] = value
    return wanted


def addresses_of(node: Document, instance: Instance) -> list[dict[str, Any]]:
    """`status.addresses`. The one that the kubelet named goes first, and has to be the cloud's: else `CloudError`."""
    listed = [{"type": kind, "address": address} for kind, address in instance.addresses]
    named = annotations_of(node).get(_NODE_IP, "")
    if named:
        own = [each for each in listed if each["address"] == named]
        if not own:
            why = f"the cloud does not know {named}"
            raise CloudError(f'provided node ip for node "{name_of(node)}" is not valid: {why}')
        kinds = {each["type"] for each in own}
        listed = own + [each for each in listed if each["type"] not in kinds]
    hostname = [dict(each) for each in (node.get("status") or {}).get("addresses") or () if each["type"] == "Hostname"]
    if hostname and not any(each["type"] == "Hostname" for each in listed):
        listed += hostname
    return listed


def described(node: Document, instance: Instance) -> MutableDocument:
    """The node with everything that its machine says, and without the taint."""
    changed: MutableDocument = thaw(node)
    changed["metadata"].setdefault("labels", {}).update(labels_wanted(node, instance))
    spec = changed.setdefault("spec", {})
    if not spec.get("providerID"):
        spec["providerID"] = instance.provider_id
    spec["taints"] = without_taint(node, UNINITIALIZED)
    return changed


class CloudNodes(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._cloud = cast(CloudDriver, context.drivers["cloud.instances"])
        self._nodes = context.informers.lister(resources.NODES)

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.NODES, predicate=_concerns_cloud)

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        if node is None:
            return await_change()
        fresh = has_taint(node, UNINITIALIZED)
        provider_id = str((node.get("spec") or {}).get("providerID") or "")
        if not fresh and not provider_id.startswith(f"{self._cloud.name}://"):
            return await_change()
        instance = await self._cloud.instance(key.name, provider_id)
        if instance is None:
            if fresh:
                raise CloudError(f"instance of node {key.name} not found")
            return await_change()
        # A cloud that knows of no addresses leaves them to the kubelet.
        addresses = addresses_of(node, instance) if instance.addresses else []
        if fresh:
            node = await self.client.update(resources.NODES, described(node, instance))
        elif missing := _differing(node, instance):
            node = await self.client.patch(resources.NODES, key.name, {"metadata": {"labels": missing}})
        if addresses and [dict(each) for each in (node.get("status") or {}).get("addresses") or ()] != addresses:
            await self.client.patch_status(resources.NODES, key.name, {"status": {"addresses": addresses}})
        if fresh:
            self.context.events.normal(node, "Synced", "Node synced successfully")
        return requeue(_LOOK_AGAIN)


def _differing(node: Document, instance: Instance) -> dict[str, str]:
    present = labels_of(node)
    return {key: value for key, value in labels_wanted(node, instance).items() if present.get(key) != value}


def _concerns_cloud(before: Document | None, after: Document | None) -> bool:
    """Whether a node is new to us; what else it says of itself is not the cloud's."""
    if after is None:
        return False
    return before is None or has_taint(after, UNINITIALIZED)
