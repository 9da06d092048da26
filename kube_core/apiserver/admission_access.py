"""What admission may do in a server: read from its cache, write in its own name, ask its authorizers.

These are the server's halves of the interfaces in `kube_core.admission.chain`, which knows no server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from kube_core.abc.transport import User
from kube_core.admission.chain import Chain, Permissions, Reader, Writer
from kube_core.api.types import ResourceType
from kube_core.apiserver import bootstrap
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.authorization import Authorizer
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Document, Key, MutableDocument
from kube_core.meta.gvk import GroupVersionKind
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context
from kube_core.registry.generic import Update
from kube_core.storage.cache import ResourceCache

if TYPE_CHECKING:
    from kube_core.cel.authorizer import Answer, Question

__all__ = ["CacheReader", "OwnPermissions", "OwnWriter"]


class OwnWriter(Writer):
    """Writes of admission, in the server's own name."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def update(
        self,
        resource: ResourceType,
        key: Key,
        change: Callable[[Document | None], Awaitable[MutableDocument]],
        *,
        subresource: str = "",
    ) -> None:
        update = Update(bootstrap.OWN_OPTIONS, subresource)
        await self._catalogue.of(resource).update(Context(bootstrap.OWN_USER, Chain()), key, update, change)


class OwnPermissions(Permissions):
    """Questions of admission to the authorizers."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def allowed(self, user: User, verb: str, resource: ResourceType, name: str) -> bool:
        asked = AccessAttributes(user, verb, resource.group, resource.version, resource.plural, name=name)
        return (await self._authorizer.authorize(asked)).allowed

    async def answer(self, user: User, question: Question) -> Answer:
        from kube_core.cel.authorizer import Answer  # only where somebody has a question

        if question.service_account:
            namespace, name = question.service_account.split("/", 1)
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
            user = User(f"system:serviceaccount:{namespace}:{name}", groups)
        if question.path:
            asked = AccessAttributes(user, question.verb, path=question.path)
        else:
            asked = AccessAttributes(
                user,
                question.verb,
                question.group,
                "*",
                question.resource,
                question.subresource,
                question.namespace,
                question.name,
                field_selector=question.field_selector,
                label_selector=question.label_selector,
            )
        decision = await self._authorizer.authorize(asked)
        return Answer(decision.allowed, decision.reason, decision.error)


class CacheReader(Reader):
    """Reads for admission, from the watch cache."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._caches: dict[ResourceType, ResourceCache] = {}

    def get(self, resource: ResourceType, key: Key) -> Document | None:
        stored: Stored | None = self._cache(resource).get(key)
        return stored.document if stored is not None else None

    def list(self, resource: ResourceType, namespace: str = "") -> Iterable[Document]:
        return [stored.document for stored in self._cache(resource).list(namespace)]

    def follow(self, resource: ResourceType, changed: Callable[[], None]) -> None:
        self._cache(resource).followers.append(lambda _: changed())

    def resource(self, kind: GroupVersionKind) -> ResourceType | None:
        return next((each.type for each in self._catalogue if each.type.gvk == kind), None)

    def _cache(self, resource: ResourceType) -> ResourceCache:
        found = self._caches.get(resource)
        if found is None:
            found = self._caches[resource] = self._catalogue.of(resource).cache
        return found
