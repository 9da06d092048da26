"""Attaches CSI volumes to the nodes whose pods need them, and detaches them. The outline; `plan.py` decides.

Keys are nodes. Attaching itself is the CSI driver's, who is asked by a VolumeAttachment and answers in its status; what
is attached is written into the node's `status.volumesAttached`, where its kubelet looks before it mounts. Volumes of
the cluster's own driver need no attaching. Mirrors upstream's persistentvolume-attach-detach-controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube_core.api import pods, resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, name_of, namespace_of, uid_of
from kube_core.meta.status import AlreadyExists, NotFound
from kube_plugins.controllers.attachdetach.plan import (
    NodePlan,
    WantedVolume,
    attachment,
    is_managed,
    may_detach,
    plan_node,
    wanted_volumes,
)
from kube_plugins.controllers.persistentvolume.pods import BY_CLAIM, claims_of_pod

__all__ = ["AttachDetachController"]

_BY_NODE = "node"
_BY_VOLUME = "volume"
#: Seconds after which a node that still uses what nobody needs is looked at again.
_LOOK_AGAIN = 30.0


class AttachDetachController(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        informers = context.informers
        on_nodes = informers.informer(resources.PODS)
        on_nodes.add_index(_BY_NODE, _node_of_pod)
        on_nodes.add_index(BY_CLAIM, claims_of_pod)
        attachments = informers.informer(resources.VOLUME_ATTACHMENTS)
        attachments.add_index(_BY_NODE, lambda each: [str(each["spec"].get("nodeName"))])
        attachments.add_index(_BY_VOLUME, _volume_of_attachment)
        self._pods = on_nodes.lister
        self._attachments = attachments.lister
        self._nodes = informers.lister(resources.NODES)
        self._claims = informers.lister(resources.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = informers.lister(resources.PERSISTENT_VOLUMES)
        self._drivers = informers.lister(resources.CSI_DRIVERS)
        self._unattached = getattr(context.drivers.get("volume"), "provisioner", "")
        #: Since when nobody needs a volume on a node, by attachment.
        self._idle: dict[str, float] = {}
        #: What pods were told is attached, by attachment.
        self._told: set[tuple[str, str]] = set()

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.PODS, _key_of_node, predicate=_uses_changed),
            Watch(resources.NODES, predicate=_node_changed),
            Watch(resources.VOLUME_ATTACHMENTS, self._nodes_of_attachment),
            Watch(resources.PERSISTENT_VOLUME_CLAIMS, self._nodes_of_claim, predicate=_binding_changed),
        )

    def reads(self) -> Iterable[ResourceType]:
        return (resources.PERSISTENT_VOLUMES, resources.CSI_DRIVERS)

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        own = self._attachments.by_index(_BY_NODE, key.name)
        on_node = self._pods.by_index(_BY_NODE, key.name)
        if node is None:
            # Whatever a node that is gone had is nobody's.
            await self._detach(own)
            return await_change()
        drivers = {name_of(driver): driver for driver in self._drivers.list()}
        wanted = wanted_volumes(on_node, self._volumes_of, drivers, unattached=self._unattached)
        if not is_managed(node) or not (wanted or own or (node.get("status") or {}).get("volumesAttached")):
            return await_change()
        plan = plan_node(
            node,
            wanted,
            own,
            lambda name: self._attachments.by_index(_BY_VOLUME, name),
            {name_of(volume): volume for volume in self._volumes.list()},
            may_detach=lambda volume: self._may_detach(node, volume),
        )
        await self._carry_out(node, plan)
        return requeue(_LOOK_AGAIN) if plan.waiting else await_change()

    async def _carry_out(self, node: Document, plan: NodePlan) -> None:
        name = name_of(node)
        for each in (*plan.attached, *plan.attach):
            self._idle.pop(f"{name}/{name_of(each.volume)}", None)
        await self._report(node, plan)
        await self._detach(plan.detach)
        for wanted in plan.attach:
            try:
                await self.client.create(resources.VOLUME_ATTACHMENTS, attachment(wanted.volume, name))
            except AlreadyExists:
                pass  # the cache has yet to show it
        for wanted, holders in plan.blocked:
            self._tell_blocked(wanted, holders)
        for wanted, why in plan.failed:
            message = f'AttachVolume.Attach failed for volume "{name_of(wanted.volume)}" : {why}'
            for pod in wanted.pods:
                self.context.events.warning(pod, "FailedAttachVolume", message)
        for wanted in plan.attached:
            self._tell_attached(wanted)

    async def _report(self, node: Document, plan: NodePlan) -> None:
        """Write what is attached: first of all, so that nothing is mounted while it is being detached."""
        reported = list(plan.reported)
        if [dict(each) for each in (node.get("status") or {}).get("volumesAttached") or ()] != reported:
            await self.client.patch_status(resources.NODES, name_of(node), {"status": {"volumesAttached": reported}})

    async def _detach(self, surplus: Iterable[Document]) -> None:
        for each in surplus:
            node, volume = str(each["spec"].get("nodeName")), next(iter(_volume_of_attachment(each)), "")
            self._idle.pop(f"{node}/{volume}", None)
            self._told = {told for told in self._told if told[1] != name_of(each)}
            try:
                await self.client.delete(resources.VOLUME_ATTACHMENTS, name_of(each), uid=uid_of(each))
            except NotFound:
                pass

    def _may_detach(self, node: Document, volume: Document) -> bool:
        now = self.clock.now()
        since = self._idle.setdefault(f"{name_of(node)}/{name_of(volume)}", now)
        return may_detach(node, volume, waited=now - since)

    def _tell_attached(self, wanted: WantedVolume) -> None:
        for pod in wanted.pods:
            told = uid_of(pod), name_of(attachment(wanted.volume, pods.node_name_of(pod)))
            if told not in self._told:
                self._told.add(told)
                message = f'AttachVolume.Attach succeeded for volume "{name_of(wanted.volume)}" '
                self.context.events.normal(pod, "SuccessfulAttachVolume", message)

    def _tell_blocked(self, wanted: WantedVolume, holders: tuple[str, ...]) -> None:
        volume = name_of(wanted.volume)
        for pod in wanted.pods:
            users = sorted(
                name_of(other)
                for claim in claims_of_pod(pod)
                for other in self._pods.by_index(BY_CLAIM, claim)
                if pods.node_name_of(other) in holders and volume in map(name_of, self._volumes_of(other))
            )
            if users:
                why = f"Volume is already used by pod(s) {', '.join(users)}"
            else:
                why = "Volume is already exclusively attached to one node and can't be attached to another"
            message = f'Multi-Attach error for volume "{volume}" {why}'
            self.context.events.warning(pod, "FailedAttachVolume", message)

    def _volumes_of(self, pod: Document) -> Iterator[Document]:
        for text in claims_of_pod(pod):
            namespace, _, name = text.partition("/")
            claim = self._claims.get(Key(namespace, name))
            if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
                continue
            volume = self._volumes.get(Key("", str(claim["spec"].get("volumeName"))))
            if volume is not None and (volume["spec"].get("claimRef") or {}).get("uid") == uid_of(claim):
                yield volume

    def _nodes_of_claim(self, claim: Document) -> Iterable[Key]:
        index = f"{namespace_of(claim)}/{name_of(claim)}"
        return [key for pod in self._pods.by_index(BY_CLAIM, index) for key in _key_of_node(pod)]

    def _nodes_of_attachment(self, each: Document) -> Iterable[Key]:
        """Its own node, and those that wait for the volume."""
        keys = {Key("", str(each["spec"].get("nodeName")))}
        for name in _volume_of_attachment(each):
            volume = self._volumes.get(Key("", name))
            reference = (volume or {}).get("spec", {}).get("claimRef") or {}
            for pod in self._pods.by_index(BY_CLAIM, f"{reference.get('namespace')}/{reference.get('name')}"):
                keys.update(_key_of_node(pod))
        return keys


def _node_of_pod(pod: Document) -> Iterable[str]:
    if name := pods.node_name_of(pod):
        yield name


def _key_of_node(pod: Document) -> Iterable[Key]:
    return [Key("", name) for name in _node_of_pod(pod)]


def _volume_of_attachment(each: Document) -> Iterable[str]:
    if name := (each["spec"].get("source") or {}).get("persistentVolumeName"):
        yield str(name)


def _uses_changed(before: Document | None, after: Document | None) -> bool:
    """Whether a pod with claims came to a node, left it, or ended."""

    def uses(pod: Document | None) -> object:
        if pod is None or not pods.node_name_of(pod) or pods.is_terminal(pod):
            return None
        return tuple(claims_of_pod(pod)) or None

    return uses(before) != uses(after)


def _node_changed(before: Document | None, after: Document | None) -> bool:
    def told(node: Document | None) -> object:
        if node is None:
            return None
        status = node.get("status") or {}
        taints = [taint.get("key") for taint in (node.get("spec") or {}).get("taints") or ()]
        return status.get("volumesInUse"), status.get("volumesAttached"), taints, is_managed(node)

    return told(before) != told(after)


def _binding_changed(before: Document | None, after: Document | None) -> bool:
    def bound(claim: Document | None) -> object:
        return claim is not None and (claim.get("status") or {}).get("phase"), (claim or {}).get("spec", {}).get(
            "volumeName"
        )

    return bound(before) != bound(after)
