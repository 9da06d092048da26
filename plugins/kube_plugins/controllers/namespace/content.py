"""Deleting what a namespace holds: every resource that discovery shows, pods before everything else.

One call is one pass; it deletes, looks what is left, and says so in an `Outcome`. It never waits: what is left because
of a finalizer or a pod's grace period is for a later pass. A resource that fails does not keep the others from being
deleted. Pods go first (upstream's OrderedNamespaceDeletion), so that nothing still runs when the policies that
confined it are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.api.resources import PODS
from kube_core.client.client import ApiClient
from kube_core.client.discovery import ServedResource, discover
from kube_core.meta.documents import Document, finalizers_of, is_deleting, name_of, uid_of
from kube_core.meta.status import MethodNotSupported, NotFound, StatusError
from kube_plugins.controllers.namespace.conditions import Outcome

__all__ = ["delete_content"]


async def delete_content(client: ApiClient, namespace: str) -> Outcome:
    """One pass over a namespace. Raises the `StatusError` of a server that answers nothing at all."""
    discovered = await discover(client)
    outcome = Outcome(discovery_failures=dict(discovered.failures))
    served = [resource for resource in discovered.resources if resource.type.namespaced and "delete" in resource.verbs]
    pods = [resource for resource in served if resource.type.group_resource == PODS.group_resource]
    others = [resource for resource in served if resource not in pods]
    for resource in pods:
        await _delete(client, resource, namespace, outcome)
    if outcome.remaining or outcome.deletion_failures:
        return outcome
    for resource in others:
        await _delete(client, resource, namespace, outcome)
    return outcome


async def _delete(client: ApiClient, resource: ServedResource, namespace: str, outcome: Outcome) -> None:
    try:
        items = await _present(client, resource, namespace)
        if any(not is_deleting(item) for item in items):
            await _delete_all(client, resource, namespace, items)
            items = await _present(client, resource, namespace)
    except StatusError as error:
        outcome.deletion_failures.append(error.message)
        return
    if items:
        outcome.remaining[resource.type] = len(items)
    for item in items:
        for finalizer in finalizers_of(item):
            outcome.finalizers[finalizer] = outcome.finalizers.get(finalizer, 0) + 1


async def _present(client: ApiClient, resource: ServedResource, namespace: str) -> Sequence[Document]:
    """What is there; nothing, for a resource that cannot be listed or that stopped being served."""
    if "list" not in resource.verbs:
        return ()
    try:
        return (await client.list(resource.type, namespace, metadata_only=True)).items
    except (NotFound, MethodNotSupported):
        return ()


async def _delete_all(client: ApiClient, resource: ServedResource, namespace: str, items: Sequence[Document]) -> None:
    if "deletecollection" in resource.verbs:
        await client.delete_collection(resource.type, namespace, propagation="Background")
        return
    for item in items:
        try:
            await client.delete(resource.type, name_of(item), namespace, propagation="Background", uid=uid_of(item))
        except NotFound:
            pass
