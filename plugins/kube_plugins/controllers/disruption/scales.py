"""How many pods the controllers of some pods want together: the whole that a budget's percentages are of.

The built-in controllers are read from the caches; a replica set of a Deployment counts as the Deployment, so that a
rollout, with two replica sets, is not counted twice. Every other controller is asked for its scale, as custom resources
that are scaled have one (upstream: "Arbitrary workloads and arbitrary selectors").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.controller import ControllerContext
from kube_core.meta.documents import Document, Key, controller_of, name_of, namespace_of, uid_of
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.adoption import owner_key

__all__ = ["READS", "ScaleError", "Scales", "Total"]

#: The controllers that are read from caches.
READS: Sequence[ResourceType] = (
    resources.REPLICATION_CONTROLLERS,
    resources.REPLICA_SETS,
    resources.DEPLOYMENTS,
    resources.STATEFUL_SETS,
)


class ScaleError(Exception):
    """The scale of a pod's controller cannot be known, and why."""


@attrs.frozen
class Total:
    """The scales together, and the pods that nobody controls."""

    scale: int
    unmanaged: tuple[Document, ...] = ()


class Scales:
    """Finds the scales of pods' controllers."""

    def __init__(self, context: ControllerContext) -> None:
        self._client = context.client
        self._listers = {resource: context.informers.informer(resource).lister for resource in READS}

    async def total(self, matching: Iterable[Document]) -> Total:
        """Of all the controllers of these pods, each once. Raises `ScaleError`."""
        found: dict[str, int] = {}
        asked: set[str] = set()
        unmanaged: list[Document] = []
        for pod in matching:
            reference = controller_of(pod)
            if reference is None:
                unmanaged.append(pod)
                continue
            uid = str(reference.get("uid"))
            if uid in asked:
                continue
            asked.add(uid)
            scale = self._known(pod) or await self._asked(pod, reference)
            if scale is None:
                raise ScaleError(f'found no controllers for pod "{name_of(pod)}"')
            found[scale[0]] = scale[1]
        return Total(sum(found.values()), tuple(unmanaged))

    def _known(self, pod: Document) -> tuple[str, int] | None:
        """The uid and the scale of the controller, where a cache has it."""
        owner = self._owner(pod)
        above = self._owner(owner) if owner is not None else None
        counted = above if above is not None else owner
        return (uid_of(counted), _replicas(counted)) if counted is not None else None

    def _owner(self, dependent: Document) -> Document | None:
        reference = controller_of(dependent) or {}
        for resource, lister in self._listers.items():
            key = owner_key(dependent, resource)
            if key is not None:
                owner = lister.get(key)
                return owner if owner is not None and uid_of(owner) == reference.get("uid") else None
        return None

    async def _asked(self, pod: Document, reference: Mapping[str, object]) -> tuple[str, int] | None:
        """The same by the scale subresource. None where there is no such controller any more."""
        api_version, kind = str(reference.get("apiVersion")), str(reference.get("kind"))
        key = Key(namespace_of(pod), str(reference.get("name")))
        try:
            resource = await self._client.resource(kind, api_version)
        except NotFound:
            raise ScaleError(f'no matches for kind "{kind}" in version "{api_version}"') from None
        try:
            scale = await self._client.get(resource, key.name, key.namespace, subresource="scale")
        except NotFound:
            if not await self._is_scaled(resource):
                what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
                raise ScaleError(f"{what} does not implement the scale subresource") from None
            return None
        except StatusError as error:
            raise ScaleError(error.message) from None
        if uid_of(scale) != reference.get("uid"):
            return None
        return uid_of(scale), int((scale.get("spec") or {}).get("replicas") or 0)

    async def _is_scaled(self, resource: ResourceType) -> bool:
        root = "/apis" if resource.group else "/api"
        served = await self._client.get_path(f"{root}/{resource.api_version}")
        return any(each.get("name") == f"{resource.plural}/scale" for each in served.get("resources") or ())


def _replicas(owner: Document) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)
