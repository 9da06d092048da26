"""The default roles and bindings: made where they are missing, and put right, once after every start.

What is right is `kube_core.auth.default_policy`, and how much of it is put back `kube_core.auth.reconciliation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from kube_core.api.types import ResourceType
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER, ensure
from kube_core.auth import reconciliation
from kube_core.meta.documents import Document, Key, MutableDocument
from kube_core.meta.status import NotFound, StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Update

__all__ = ["put_right"]

_log = get_logger("kube_core.apiserver")
#: How many objects are on their way to the store at once.
_AT_ONCE = 16


async def put_right(catalogue: Catalogue) -> None:
    from kube_core.auth.default_policy import policy

    default = policy()
    # Roles first: a binding to a role that is not there yet would give nothing.
    for resource, documents in (
        (CLUSTER_ROLES, default.cluster_roles),
        (ROLES, default.roles),
        (CLUSTER_ROLE_BINDINGS, default.cluster_bindings),
        (ROLE_BINDINGS, default.bindings),
    ):
        for batch in _batches(documents):
            await asyncio.gather(*(_put_right(catalogue, resource, document) for document in batch))


def _batches(documents: list[MutableDocument]) -> Iterable[list[MutableDocument]]:
    return (documents[start : start + _AT_ONCE] for start in range(0, len(documents), _AT_ONCE))


async def _put_right(catalogue: Catalogue, resource: ResourceType, wanted: MutableDocument) -> None:
    registry = catalogue.of(resource)
    metadata = wanted["metadata"]
    key = Key(metadata.get("namespace", ""), metadata["name"])
    stored = registry.cache.get(key)
    try:
        if stored is None:
            await ensure(catalogue, Chain(), resource, wanted)
        elif reconciliation.is_protected(stored.document):
            return
        elif reconciliation.is_bound_elsewhere(stored.document, wanted):
            await registry.delete(Context(OWN_USER, Chain()), key, DeleteOptions(uid=stored.metadata["uid"]))
            await ensure(catalogue, Chain(), resource, wanted)
        elif reconciliation.reconciled(stored.document, wanted) is not None:

            async def changed(current: Document | None) -> MutableDocument:
                if current is None:
                    raise NotFound("the object is gone")
                return reconciliation.reconciled(current, wanted) or dict(current)

            await registry.update(Context(OWN_USER, Chain()), key, Update(OWN_OPTIONS), changed)
    except StatusError as error:
        # A namespace that is on its way out takes no more roles; the next start tries again.
        _log.warning("a default role was not put right", resource=resource.plural, name=key.name, error=str(error))
