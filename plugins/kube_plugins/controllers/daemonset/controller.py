"""The DaemonSet controller: the outline. Which nodes get a daemon, and which daemons go, is decided in `plan.py`.

One reconciliation finds the revision of the template, brings a daemon to each node, then goes on with an update, and
writes the status. While writes are not yet seen only the status is written. A daemon that failed is made again at
once, then after one second, doubled at each failure on the same node, up to fifteen minutes.

Mirrors upstream's daemon set controller ("DaemonSet" in the concepts), with its events.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core._kit.backoff import Backoff
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    is_deleting,
    key_of,
    labels_of,
    name_of,
)
from kube_core.meta.status import StatusError
from kube_plugins.controllers.adoption import Dependents, selects_everything
from kube_plugins.controllers.daemonset.daemons import HASH_LABEL, hash_of, make_daemon, target_node
from kube_plugins.controllers.daemonset.plan import Plan, Scene, observe, plan_nodes, plan_update
from kube_plugins.controllers.daemonset.status import calculate_status, seconds_until_available
from kube_plugins.controllers.history import Found, clean_up, ensure_revision
from kube_plugins.controllers.podwrites import PodWrites
from kube_plugins.controllers.written import LastWritten

__all__ = ["DaemonSetController"]

#: How many pods one reconciliation makes or deletes at most.
_BURST = 250
_FIRST_RETRY, _LAST_RETRY = 1.0, 900.0


class DaemonSetController(Controller):
    """Keeps one daemon on every node that a daemon set is for."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        informers = context.informers
        self._sets = informers.informer(resources.DAEMON_SETS).lister
        self._nodes = informers.informer(resources.NODES).lister
        self._pods = Dependents(context, resources.DAEMON_SETS, resources.PODS)
        self._revisions = Dependents(context, resources.DAEMON_SETS, resources.CONTROLLER_REVISIONS)
        self._writes = PodWrites(resources.DAEMON_SETS, self.client, context.events, self.clock)
        # Before the runtime's own handler, so that a key is never reconciled ahead of what it waited for.
        self._pods.informer.add_handler(self._writes.observe)
        self._written = LastWritten()
        self._backoff: Backoff[tuple[Key, str]] = Backoff(_FIRST_RETRY, _LAST_RETRY)
        self._not_before: dict[tuple[Key, str], float] = {}

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.DAEMON_SETS, to_itself),
            Watch(resources.PODS, self._pods.owner_keys),
            Watch(resources.NODES, self._every_set, predicate=_concerns_daemons),
        )

    def reads(self) -> Iterable[ResourceType]:
        return (resources.CONTROLLER_REVISIONS,)

    async def reconcile(self, key: Key) -> Action:
        cached = self._sets.get(key)
        if cached is None:
            self._forget(key)
            return await_change()
        daemon_set = self._written.newest(cached)
        if selects_everything(daemon_set):
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._events.warning(daemon_set, "SelectingAll", message)
            return await_change()
        if is_deleting(daemon_set):
            return await_change()
        history = await ensure_revision(self.client, daemon_set, await self._revisions.claim(daemon_set), HASH_LABEL)
        found = await self._pods.claim(daemon_set)
        scene = observe(daemon_set, found, self._nodes.list(), hash_of(history.update), self.clock.now())
        settled = self._writes.settled(key)
        error = await self._act(key, scene) if settled else None
        await self._write_status(scene, history, settled=settled)
        live = {name_of(each) for each in history.revisions if hash_of(each) in set(map(hash_of, found))}
        await clean_up(self.client, daemon_set, history.revisions, {name_of(history.update), *live})
        if error is not None:
            raise error
        waits = [wait for wait in (seconds_until_available(scene), self._until_retry(key)) if wait is not None]
        return requeue(min(waits)) if waits else await_change()

    async def _act(self, key: Key, scene: Scene) -> StatusError | None:
        plan = plan_nodes(scene, self._held(key))
        self._report_ended(key, scene, plan)
        if not plan.is_empty:
            # An update goes on when this is seen.
            return await self._carry_out(scene, plan)
        return await self._carry_out(scene, plan_update(scene))

    async def _carry_out(self, scene: Scene, plan: Plan) -> StatusError | None:
        daemon_set = scene.daemon_set
        nodes = plan.create[:_BURST]
        created = await self._writes.create(
            daemon_set, len(nodes), lambda number: make_daemon(daemon_set, nodes[number], scene.template_hash)
        )
        deleted = await self._writes.delete(daemon_set, plan.delete[:_BURST]) if plan.delete else None
        return created.error or deleted

    def _report_ended(self, key: Key, scene: Scene, plan: Plan) -> None:
        now = self.clock.monotonic()
        for pod in plan.failed:
            where = (key, target_node(pod))
            self._not_before[where] = now + self._backoff.next(where)
            message = f"Found failed daemon pod {key_of(pod)} on node {target_node(pod)}, will try to kill it"
            self._events.warning(scene.daemon_set, "FailedDaemonPod", message)
        for pod in plan.succeeded:
            message = f"Found succeeded daemon pod {key_of(pod)} on node {target_node(pod)}, will try to delete it"
            self._events.normal(scene.daemon_set, "SucceededDaemonPod", message)

    def _held(self, key: Key) -> frozenset[str]:
        now = self.clock.monotonic()
        for where, moment in [*self._not_before.items()]:
            # A node that has been well for long enough starts anew.
            if now > moment + 2 * _LAST_RETRY:
                del self._not_before[where]
                self._backoff.reset(where)
        return frozenset(node for (owner, node), moment in self._not_before.items() if owner == key and moment > now)

    def _until_retry(self, key: Key) -> float | None:
        now = self.clock.monotonic()
        waits = [moment - now for (owner, _), moment in self._not_before.items() if owner == key and moment > now]
        return min(waits, default=None)

    async def _write_status(self, scene: Scene, history: Found, *, settled: bool) -> None:
        daemon_set = scene.daemon_set
        status = calculate_status(scene, history.collisions, settled=settled)
        before = daemon_set.get("status") or {}
        if before.get("conditions"):
            status["conditions"] = before["conditions"]
        if status != before:
            changed = {**daemon_set, "status": status}
            self._written.note(await self.client.update_status(resources.DAEMON_SETS, changed))

    def _forget(self, key: Key) -> None:
        self._writes.forget(key)
        self._written.forget(key)
        for where in [where for where in self._not_before if where[0] == key]:
            del self._not_before[where]
            self._backoff.reset(where)

    # From changes to keys.

    def _every_set(self, node: Document) -> Iterable[Key]:
        return map(key_of, self._sets.list())


def _concerns_daemons(before: Document | None, after: Document | None) -> bool:
    """Heartbeats change nothing about who may run on a node."""
    if before is None or after is None:
        return True
    taints = [(each.get("spec") or {}).get("taints") or [] for each in (before, after)]
    return labels_of(before) != labels_of(after) or taints[0] != taints[1]
