"""Carrying out claims: the writes that adopt what an owner's selector matches, and release what it no longer does.

The plan is `kube_core.control.claims`'s. Before anything is adopted the owner is read from the server: a cache may
still show one that is gone or going, whose new children would be collected at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.control.claims import adoption_patch, claim, release_patch
from kube_core.meta import selectors
from kube_core.meta.documents import Document, is_deleting, name_of, namespace_of, uid_of
from kube_core.meta.status import Conflict, Invalid, NotFound

__all__ = ["ORPHAN_INDEX", "claim_objects", "orphan_namespaces"]

#: The index that finds what has no controller, by namespace.
ORPHAN_INDEX = "orphan"


def orphan_namespaces(document: Document) -> Iterable[str]:
    """The index function of `ORPHAN_INDEX`."""
    references: Iterable[Document] = (document.get("metadata") or {}).get("ownerReferences") or ()
    if not any(reference.get("controller") for reference in references):
        yield namespace_of(document)


async def claim_objects(
    client: ApiClient,
    owner: Document,
    owner_resource: ResourceType,
    resource: ResourceType,
    candidates: Iterable[Document],
) -> list[Document]:
    """The objects that are the owner's, after adopting and releasing. What vanishes meanwhile is left out."""
    claims = claim(owner, candidates, selectors.from_document(owner["spec"].get("selector")).matches)
    owned = list(claims.owned)
    if claims.adopt and await _still_there(client, owner, owner_resource):
        for document in claims.adopt:
            adopted = await _patch(client, resource, document, adoption_patch(owner, document))
            if adopted is not None:
                owned.append(adopted)
    for document in claims.release:
        await _patch(client, resource, document, release_patch(owner, document))
    return owned


async def _still_there(client: ApiClient, owner: Document, resource: ResourceType) -> bool:
    try:
        present = await client.get(resource, name_of(owner), namespace_of(owner))
    except NotFound:
        return False
    return uid_of(present) == uid_of(owner) and not is_deleting(present)


async def _patch(
    client: ApiClient, resource: ResourceType, document: Document, patch: dict[str, object]
) -> Document | None:
    try:
        return await client.patch(resource, name_of(document), patch, namespace_of(document), patch_type="strategic")
    except (NotFound, Conflict, Invalid):  # gone, or by now another object of that name
        return None
