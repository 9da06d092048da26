"""What the objects of one kind own of another, or may adopt: found by index, claimed by selector and reference.

Every workload controller has `Dependents` of its pods, its replica sets or its revisions: the index of those that have
no controller, the claims of one owner (the plan is `kube_core.control.claims`'s; the writes that adopt and release are
made here), and whose key a change of a dependent concerns. Before anything is adopted the owner is read from the
server: a cache may still show one that is gone or going, whose new children would be collected at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.informer import OWNER_INDEX
from kube_core.control.claims import adoption_patch, claim, release_patch
from kube_core.control.controller import ControllerContext
from kube_core.meta import selectors
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    is_deleting,
    key_of,
    kind_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import Conflict, Invalid, NotFound

__all__ = ["Dependents", "owner_key", "selects", "selects_everything"]

#: The index that finds what has no controller, by namespace.
_ORPHAN_INDEX = "orphan"


def owner_key(dependent: Document, owners: ResourceType) -> Key | None:
    """The key of the dependent's controller, where that is one of `owners`."""
    reference = controller_of(dependent)
    if reference is None or reference.get("kind") != owners.kind:
        return None
    if str(reference.get("apiVersion")).rpartition("/")[0] != owners.group:
        return None  # somebody else's kind of the same name
    return Key(namespace_of(dependent), str(reference["name"]))


def selects(owner: Document) -> Callable[[Mapping[str, str]], bool]:
    """The owner's selector, on labels. A ReplicationController's is a plain map."""
    selector = owner["spec"].get("selector")
    if kind_of(owner) == "ReplicationController":
        return selectors.from_labels(selector or {}).matches
    return selectors.from_document(selector).matches


def selects_everything(owner: Document) -> bool:
    """Whether the selector is empty, which no controller follows."""
    selector = owner["spec"].get("selector") or {}
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


class Dependents:
    """The `resource` objects that `owners` own or may adopt. Made by a controller when it is built."""

    def __init__(
        self, context: ControllerContext, owners: ResourceType, resource: ResourceType, *, finalizer: str = ""
    ) -> None:
        """`finalizer`: what the owner keeps on its own, and takes along when it lets go of them."""
        self.informer = context.informers.informer(resource)
        self.informer.add_index(_ORPHAN_INDEX, _orphan_namespaces)
        self.lister = self.informer.lister
        self._client = context.client
        self._owners = context.informers.informer(owners).lister
        self._owner_resource = owners
        self._resource = resource
        self._finalizer = finalizer

    def owned(self, owner: Document) -> Sequence[Document]:
        """What names the owner in its references, as the cache has it."""
        return self.lister.by_index(OWNER_INDEX, uid_of(owner))

    def orphans(self, owner: Document) -> Sequence[Document]:
        """What has no controller, in the owner's namespace."""
        return self.lister.by_index(_ORPHAN_INDEX, namespace_of(owner))

    def adoptable(self, owner: Document, counts: Callable[[Document], bool] = lambda candidate: True) -> bool:
        """Whether there is anything that `claim` would adopt."""
        orphans = [each for each in self.orphans(owner) if counts(each)]
        return bool(orphans and claim(owner, orphans, selects(owner)).adopt)

    async def claim(
        self, owner: Document, counts: Callable[[Document], bool] = lambda candidate: True
    ) -> list[Document]:
        """What is the owner's, after adopting and releasing. What does not count is neither looked at nor returned.

        What vanishes meanwhile is left out.
        """
        candidates = [each for each in (*self.owned(owner), *self.orphans(owner)) if counts(each)]
        claims = claim(owner, candidates, selects(owner))
        owned = list(claims.owned)
        if claims.adopt and await _still_there(self._client, owner, self._owner_resource):
            for document in claims.adopt:
                adopted = await _patch(self._client, self._resource, document, adoption_patch(owner, document))
                if adopted is not None:
                    owned.append(adopted)
        for document in claims.release:
            await _patch(self._client, self._resource, document, release_patch(owner, document, self._finalizer))
        return owned

    def owner_keys(self, dependent: Document) -> Iterable[Key]:
        """The key of a dependent's controller; of an orphan those of all that may want to adopt it. For a `Watch`."""
        if controller_of(dependent) is not None:
            key = owner_key(dependent, self._owner_resource)
            return () if key is None else (key,)
        labels = labels_of(dependent)
        return [key_of(owner) for owner in self._owners.list(namespace_of(dependent)) if selects(owner)(labels)]


def _orphan_namespaces(document: Document) -> Iterable[str]:
    """The index function."""
    if controller_of(document) is None:
        yield namespace_of(document)


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
