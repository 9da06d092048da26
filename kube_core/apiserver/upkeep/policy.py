"""The default roles and bindings: made where they are missing, and put right, once after every start.

What is right is `kube_core.auth.default_policy`, and how much of it is put back `kube_core.auth.reconciliation`.

A new store gets all of them at once, as whole as the registry would make them one by one: that takes a fiftieth of the
time, and who starts a cluster waits for it. In a store that has some of them, each is looked at by itself, afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from kube_core.api.types import ResourceType
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER, ensure
from kube_core.auth import reconciliation
from kube_core.meta.documents import Document, Key, MutableDocument, name_of, namespace_of, thaw
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import NotFound, StatusError
from kube_core.meta.times import format_time
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Registry, Update

__all__ = ["put_right", "write_at_once"]

_log = get_logger("kube_core.apiserver")
#: How many objects are on their way to the store at once, one by one.
_AT_ONCE = 16
#: An object of the policy without what tells it from others like it: managed fields are the same for all of these.
_Shape = tuple[object, ...]


async def write_at_once(catalogue: Catalogue, stored: Callable[[], None]) -> bool:
    """Write the whole policy to a store that has nothing of it; False where there is any, or comes any meanwhile.

    `stored` is called when it is in the store: controllers have much to do with it, which nobody else need wait for.
    """
    policy = {catalogue.of(resource): wanted for resource, wanted in _policy().items()}
    if any(registry.cache.get(_key(each)) for registry, wanted in policy.items() for each in wanted):
        return False
    made = {registry.resource: list(_made(registry, wanted)) for registry, wanted in policy.items()}
    # Last, and all together: as soon as it sees any of them, a controller begins to join them.
    cluster_roles = made.pop(CLUSTER_ROLES.group_resource)
    others = [each for objects in made.values() for each in objects]
    return await catalogue.of(CLUSTER_ROLES).objects.create_all([others, cluster_roles], stored)


async def put_right(catalogue: Catalogue) -> None:
    for resource, documents in _policy().items():
        for batch in _batches(documents):
            await asyncio.gather(*(_put_right(catalogue, resource, document) for document in batch))


def _policy() -> Mapping[ResourceType, Sequence[Document]]:
    from kube_core.auth.default_policy import policy

    default = policy()
    # Roles first: a binding to a role that is not there yet would give nothing.
    return {
        CLUSTER_ROLES: default.cluster_roles,
        ROLES: default.roles,
        CLUSTER_ROLE_BINDINGS: default.cluster_bindings,
        ROLE_BINDINGS: default.bindings,
    }


def _made(registry: Registry, documents: Sequence[Document]) -> Iterator[tuple[GroupResource, Key, MutableDocument]]:
    """The objects as the registry would create them. Rules and subjects are owned as wholes, so that who owns what
    depends on the fields alone, and is worked out once for all that have the same."""
    owned: dict[_Shape, Any] = {}
    now = registry.clock.now()
    created = format_time(now)
    typed = {"kind": registry.type.kind, "apiVersion": registry.type.api_version}
    for wanted in documents:
        metadata = wanted["metadata"]
        shape = (*wanted, *metadata["labels"], *metadata["annotations"])
        if shape not in owned:
            example: MutableDocument = {**typed, **thaw(wanted)}
            registry.owners.update(None, example, manager=OWN_OPTIONS.field_manager, subresource="", now=now)
            owned[shape] = example["metadata"]["managedFields"]
        document: MutableDocument = {**typed, **wanted}
        document["metadata"] = {
            **metadata,
            "uid": registry.random.uid(),
            "creationTimestamp": created,
            "managedFields": owned[shape],
        }
        yield registry.resource, _key(wanted), document


def _batches(documents: Sequence[Document]) -> Iterable[Sequence[Document]]:
    return (documents[start : start + _AT_ONCE] for start in range(0, len(documents), _AT_ONCE))


async def _put_right(catalogue: Catalogue, resource: ResourceType, wanted: Document) -> None:
    registry = catalogue.of(resource)
    key = _key(wanted)
    stored = registry.cache.get(key)
    try:
        if stored is None:
            await ensure(catalogue, Chain(), resource, thaw(wanted))
        elif reconciliation.is_protected(stored.document):
            return
        elif reconciliation.is_bound_elsewhere(stored.document, wanted):
            await registry.delete(Context(OWN_USER, Chain()), key, DeleteOptions(uid=stored.metadata["uid"]))
            await ensure(catalogue, Chain(), resource, thaw(wanted))
        elif reconciliation.reconciled(stored.document, wanted) is not None:

            async def changed(current: Document | None) -> MutableDocument:
                if current is None:
                    raise NotFound("the object is gone")
                return reconciliation.reconciled(current, wanted) or dict(current)

            await registry.update(Context(OWN_USER, Chain()), key, Update(OWN_OPTIONS), changed)
    except StatusError as error:
        # A namespace that is on its way out takes no more roles; the next start tries again.
        _log.warning("a default role was not put right", resource=resource.plural, name=key.name, error=str(error))


def _key(document: Document) -> Key:
    return Key(namespace_of(document), name_of(document))
