"""Which nodes get a daemon, and which daemons go.

Pure; upstream's rules ("DaemonSet", "Perform a Rolling Update on a DaemonSet"). `plan_nodes` brings one daemon to each
node that should have one: what ended is deleted, and made again when it is gone; of several the oldest stays.
`plan_update` then replaces daemons of an old template, as many at a time as may be unavailable; with a surge the new
daemon comes first, and the old one goes when that is available. With `OnDelete` nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, is_deleting, metadata_of, name_of
from kube_plugins.controllers.daemonset.daemons import Eligibility, eligibility, hash_of, target_node
from kube_plugins.controllers.shares import percent_or_number

__all__ = ["Limits", "Plan", "Scene", "limits", "observe", "oldest_first", "plan_nodes", "plan_update"]


@attrs.frozen
class Plan:
    """`create`: names of nodes. `failed` and `succeeded` are those of `delete` that ended by themselves."""

    create: tuple[str, ...] = ()
    delete: tuple[Document, ...] = ()
    failed: tuple[Document, ...] = ()
    succeeded: tuple[Document, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.create and not self.delete


@attrs.frozen
class Limits:
    """How far an update may go: daemons too many, and daemons unavailable."""

    surge: int
    unavailable: int


@attrs.frozen
class Scene:
    """A daemon set, its daemons by node, what each node that there is asks for, and the moment."""

    daemon_set: Document
    daemons: Mapping[str, Sequence[Document]]
    nodes: Mapping[str, Eligibility]
    template_hash: str
    now: float

    def is_available(self, pod: Document) -> bool:
        return pods.is_available(pod, int(self.daemon_set["spec"].get("minReadySeconds") or 0), self.now)

    def runs_on(self, node: str) -> bool:
        return node in self.nodes and self.nodes[node].runs

    def is_updated(self, pod: Document) -> bool:
        return hash_of(pod) == self.template_hash


def observe(
    daemon_set: Document, found: Sequence[Document], nodes: Sequence[Document], template_hash: str, now: float
) -> Scene:
    """Group the pods by the node that they are for."""
    daemons: dict[str, list[Document]] = {}
    for pod in found:
        daemons.setdefault(target_node(pod), []).append(pod)
    wishes = {name_of(node): eligibility(daemon_set, node) for node in nodes}
    return Scene(daemon_set, daemons, wishes, template_hash, now)


def limits(scene: Scene) -> Limits:
    """Numbers, or percentages of the nodes that should have a daemon, rounded up."""
    strategy = scene.daemon_set["spec"].get("updateStrategy") or {}
    rolling: Mapping[str, Any] = strategy.get("rollingUpdate") or {}
    desired = sum(1 for wish in scene.nodes.values() if wish.runs)
    surge = percent_or_number(rolling.get("maxSurge", 0), desired, round_up=True)
    unavailable = percent_or_number(rolling.get("maxUnavailable", 1), desired, round_up=True)
    return Limits(surge, unavailable if surge or unavailable else 1)


def oldest_first(found: Sequence[Document]) -> list[Document]:
    """Those on a node before those that are not yet, then by age."""
    return sorted(
        found,
        key=lambda pod: (not pods.node_name_of(pod), metadata_of(pod).get("creationTimestamp") or "", name_of(pod)),
    )


def plan_nodes(scene: Scene, held: Collection[str] = ()) -> Plan:
    """One daemon for each node. `held`: nodes whose daemon failed a short while ago, and is not made again yet."""
    create: list[str] = []
    delete: list[Document] = []
    failed: list[Document] = []
    succeeded: list[Document] = []
    surges = limits(scene).surge > 0
    for node, wish in scene.nodes.items():
        daemons = scene.daemons.get(node, ())
        if not wish.stays:
            delete += [pod for pod in daemons if not is_deleting(pod)]
            continue
        if not daemons:
            if wish.runs:
                create.append(node)
            continue
        running: list[Document] = []
        for pod in daemons:
            if is_deleting(pod):
                continue
            match pods.phase_of(pod):
                case "Failed":
                    failed += [pod] if node not in held else []
                case "Succeeded":
                    succeeded.append(pod)
                case _:
                    running.append(pod)
        if surges and wish.runs and all(map(is_deleting, daemons)):
            create.append(node)
        delete += _too_many(scene, running, surges=surges)
    for node, daemons in scene.daemons.items():
        # What was meant for a node that is gone; one that was on it is the pod garbage collector's.
        if node not in scene.nodes:
            delete += [pod for pod in daemons if not pods.node_name_of(pod) and not is_deleting(pod)]
    return Plan(tuple(create), (*delete, *failed, *succeeded), tuple(failed), tuple(succeeded))


def plan_update(scene: Scene) -> Plan:
    """The next daemons to replace."""
    if (scene.daemon_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return Plan()
    bounds = limits(scene)
    return _surge(scene, bounds.surge) if bounds.surge else _replace(scene, bounds.unavailable)


def _too_many(scene: Scene, running: Sequence[Document], *, surges: bool) -> list[Document]:
    """All but one daemon of a node; in a surge, all but the oldest of each template."""
    if len(running) < 2:
        return []
    ordered = oldest_first(running)
    if not surges:
        return ordered[1:]
    new = next((pod for pod in ordered if scene.is_updated(pod)), None)
    old = next((pod for pod in ordered if not scene.is_updated(pod)), None)
    extra = [pod for pod in ordered if pod is not new and pod is not old]
    if new is not None and old is not None and (not pods.is_ready(old) or scene.is_available(new)):
        extra.append(old)
    return extra


def _replace(scene: Scene, unavailable: int) -> Plan:
    broken: list[Document] = []
    candidates: list[Document] = []
    missing = 0
    for node in _update_targets(scene):
        new, old, clear = _sides(scene, scene.daemons.get(node, ()))
        if not clear or (new is None) == (old is None):
            missing += 1  # It will be seen to; until then it counts as unavailable.
        elif old is None:
            assert new is not None
            missing += not scene.is_available(new)
        elif not scene.is_available(old):
            # Nothing is lost by replacing it.
            broken.append(old)
            missing += 1
        else:
            candidates.append(old)
    return Plan(delete=(*broken, *candidates[: max(unavailable - missing, 0)]))


def _surge(scene: Scene, surge: int) -> Plan:
    broken: list[str] = []
    candidates: list[str] = []
    delete: list[Document] = []
    unwanted: list[Document] = []
    surged = available = 0
    for node in _update_targets(scene):
        new, old, clear = _sides(scene, scene.daemons.get(node, ()))
        if not clear:
            surged += 1
            continue
        serving = old if old is not None else new
        available += serving is not None and scene.is_available(serving)
        if old is None:
            continue
        if new is not None:
            if scene.is_available(new):
                delete.append(old)
            else:
                surged += 1
        elif scene.runs_on(node):
            (candidates if scene.is_available(old) else broken).append(node)
        else:
            # No new one comes to a node that should have none; the old one goes when it is not needed.
            (unwanted if scene.is_available(old) else delete).append(old)
    spare = max(available - sum(1 for wish in scene.nodes.values() if wish.runs), 0)
    return Plan((*broken, *candidates[: max(surge - surged, 0)]), (*delete, *unwanted[:spare]))


def _update_targets(scene: Scene) -> list[str]:
    """The nodes that have daemons, and those that should have one, in order."""
    wanted = [node for node, wish in scene.nodes.items() if wish.runs or node in scene.daemons]
    return [*wanted, *(node for node in scene.daemons if node not in scene.nodes)]


def _sides(scene: Scene, daemons: Sequence[Document]) -> tuple[Document | None, Document | None, bool]:
    """The daemon of the new template and that of an old one; False where there are several of one."""
    staying = [pod for pod in daemons if not is_deleting(pod)]
    new = [pod for pod in staying if scene.is_updated(pod)]
    old = [pod for pod in staying if not scene.is_updated(pod)]
    if len(new) > 1 or len(old) > 1:
        return None, None, False
    return (new[0] if new else None), (old[0] if old else None), True
