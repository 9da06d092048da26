"""Makes the claims that pods ask for by generic ephemeral volumes.

A claim is named after pod and volume, is as the pod's template says, and belongs to the pod, with which it goes. One of
that name that is not the pod's is left alone, and the pod told: it must not get somebody else's data. A claim that
somebody deletes while its pod is there is made again. Mirrors upstream's ephemeral-volume-controller ("Generic
ephemeral volumes").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    controller_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import StatusError
from kube_plugins.controllers.persistentvolume.pods import BY_CLAIM, claims_of_pod

__all__ = ["EphemeralVolumeController", "Missing", "NotOurs", "plan_claims"]


@attrs.frozen
class Missing:
    """A claim to make for a volume of the pod."""

    volume: str
    claim: MutableDocument


@attrs.frozen
class NotOurs:
    """A volume whose claim's name is taken."""

    volume: str
    claim: str


def plan_claims(pod: Document, claims: Iterable[Document]) -> Iterator[Missing | NotOurs]:
    """What a pod's ephemeral volumes lack. `claims`: those of its namespace."""
    by_name = {name_of(claim): claim for claim in claims}
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if "ephemeral" not in volume or is_deleting(pod):
            continue
        name = f"{name_of(pod)}-{volume['name']}"
        present = by_name.get(name)
        if present is None:
            yield Missing(volume["name"], _claim(pod, name, volume["ephemeral"]["volumeClaimTemplate"]))
        elif (controller_of(present) or {}).get("uid") != uid_of(pod):
            yield NotOurs(volume["name"], name)


def _claim(pod: Document, name: str, template: Document) -> MutableDocument:
    metadata: MutableDocument = {
        "name": name,
        "namespace": namespace_of(pod),
        "ownerReferences": [controller_reference(pod)],
    }
    for field in ("labels", "annotations"):
        if given := (template.get("metadata") or {}).get(field):
            metadata[field] = dict(given)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": thaw(template["spec"])}


class EphemeralVolumeController(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        informer = context.informers.informer(resources.PODS)
        informer.add_index(BY_CLAIM, claims_of_pod)
        self._pods = informer.lister
        self._claims = context.informers.lister(resources.PERSISTENT_VOLUME_CLAIMS)

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.PODS, predicate=lambda before, after: before is None and _has_any(after)),
            Watch(resources.PERSISTENT_VOLUME_CLAIMS, self._pods_of_claim, lambda _, after: after is None),
        )

    async def reconcile(self, key: Key) -> Action:
        pod = self._pods.get(key)
        if pod is None:
            return await_change()
        for each in plan_claims(pod, self._claims.list(key.namespace)):
            try:
                if isinstance(each, NotOurs):
                    why = f"PVC {key.namespace}/{each.claim} was not created for pod {key} (pod is not owner)"
                    self._tell(pod, each.volume, why)
                    raise RuntimeError(f"ephemeral volume {each.volume}: {why}")
                await self.client.create(resources.PERSISTENT_VOLUME_CLAIMS, each.claim)
            except StatusError as error:
                self._tell(pod, each.volume, f"create PVC {name_of(pod)}-{each.volume}: {error.message}")
                raise
        return await_change()

    def _tell(self, pod: Document, volume: str, why: str) -> None:
        self.context.events.warning(pod, "FailedBinding", f"ephemeral volume {volume}: {why}")

    def _pods_of_claim(self, claim: Document) -> Iterable[Key]:
        return [key_of(pod) for pod in self._pods.by_index(BY_CLAIM, str(key_of(claim))) if _has_any(pod)]


def _has_any(pod: Document | None) -> bool:
    return pod is not None and any("ephemeral" in each for each in (pod.get("spec") or {}).get("volumes") or ())
