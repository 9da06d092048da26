"""The generic registry: what every verb means, for any resource.

One `Registry` serves one resource in one version. What is particular to a kind comes from its `Strategy`; what
patches, managed fields and tables do is in the packages beside this module. The order of a write is upstream's:

    decode → default → managed fields → mutating admission → metadata and strategy `prepare_…` → validation →
    validating admission → store

Every verb answers with `Stored` objects, whose JSON is made at most once, also for dry runs (which end before the
store). Failures are `StatusError`s. Documents passed in belong to the registry.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api.schemas import Schema
from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.bus.changes import Stored, encode
from kube_core.meta import fields as field
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.gvk import GroupKind, GroupResource, GroupVersionKind
from kube_core.meta.status import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    MethodNotSupported,
    already_exists,
    conflict,
    invalid,
    not_found,
)
from kube_core.meta.times import format_time
from kube_core.registry import decoding, deletion
from kube_core.registry.context import Attributes, Context, DeleteOptions, Shapes, WriteOptions
from kube_core.registry.decoding import FieldValidation
from kube_core.registry.kinds.metadata import drop_duplicate_owners, validate_metadata, validate_metadata_update
from kube_core.registry.strategy import Strategy
from kube_core.storage.objects import ObjectStore, Superseded

__all__ = ["Allocator", "FieldOwners", "Registry", "Update"]

#: Makes the new object from the one there is: None where there is none. Called again after a lost race.
Transform = Callable[[Document | None], Awaitable[MutableDocument]]
STALE = "the object has been modified; please apply your changes to the latest version and try again"
_GENERATE_TRIES = 8
#: Upstream makes names that are labels too, of 63 characters with the suffix, and cuts what is longer.
_LONGEST_PREFIX = 63 - 5
_LOST_RACES = 100


class FieldOwners(Protocol):
    """Managed fields: who wrote what (`kube_core.registry.apply`)."""

    def update(
        self, live: Document | None, new: MutableDocument, *, manager: str, subresource: str, now: float
    ) -> None: ...

    def apply(
        self, live: Document | None, patch: Document, *, manager: str, force: bool, subresource: str, now: float
    ) -> MutableDocument: ...

    def merge(self, live: Document, configuration: Document, api_version: str) -> MutableDocument: ...


class Allocator(Protocol):
    """What a kind takes from a shared range before it is written (a Service's addresses and ports)."""

    def allocate(self, document: MutableDocument, old: Document | None, *, dry_run: bool) -> Callable[[], None]:
        """Fill in what is missing; returns what gives it back, if the write fails. Raises `Invalid`."""
        ...

    def release(self, document: Document) -> None:
        """The object is gone."""
        ...


@attrs.frozen
class Update:
    """One update of an object: through which subresource, by which means."""

    options: WriteOptions
    subresource: str = ""
    #: The field manager's part is done by `transform` (server-side apply).
    applies: bool = False
    #: A lost race is the caller's conflict rather than a reason to try again (PUT with a resourceVersion).
    once: bool = False
    #: The uid that the object must have ("": any); another one is a conflict.
    uid: str = ""
    #: An object that does not exist is created (server-side apply; PUT where the kind allows it).
    may_create: bool = False
    #: Admission sees it. A subresource that is created (a Binding) is admitted as what it is, not as what it does.
    admitted: bool = True
    #: What admission sees of the object, where a subresource shows another one (a Scale).
    seen: Callable[[Document], MutableDocument] | None = None
    #: What that may become, and how the object is changed by it: `put(object, seen)` changes the object in place.
    shapes: Shapes | None = None
    put: Callable[[MutableDocument, Document], None] | None = None


#: The built-in kinds that clients are to leave, and what every request for them is told.
_DEPRECATIONS = {
    GroupVersionKind("", "v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
    GroupVersionKind("", "v1", "Endpoints"): (
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    ),
}


#: Where upstream stores what it does not store under the resource's name.
_OWN_FOLDERS = ("apiextensions.k8s.io", "apiregistration.k8s.io")
_FOLDERS = {
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
}


class Registry:
    """One resource."""

    def __init__(
        self,
        descriptor: ResourceDescriptor,
        make_strategy: Callable[[], Strategy],
        objects: ObjectStore,
        *,
        schema: Schema | None,
        owners: FieldOwners,
        clock: Clock,
        random: Random,
        allocator: Allocator | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.type = descriptor.type
        self._make_strategy = make_strategy
        self.objects = objects
        self.schema = schema
        self.owners = owners
        self.clock = clock
        self.random = random
        self.allocator = allocator
        #: Items of lists carry their kind (custom resources), or not (built-in kinds).
        self.is_custom = False
        #: `shown` may give another object than the one that is stored.
        self.converts = False
        #: Showing an object may take the answer of a webhook: then only `present` and `present_all` show it.
        self.asks = False
        #: Seconds after its last write when an object goes by itself (Events); 0: never.
        self.lifetime = 0.0
        #: The text of the warning that every request gets, "" for none.
        self.deprecation = _DEPRECATIONS.get(descriptor.type.gvk, "")
        self.resource = descriptor.type.group_resource
        #: The resource under whose name the objects are stored: another one for a kind in its second form.
        self.stored_as = self.resource
        if descriptor.storage_group is not None:
            self.stored_as = GroupResource(descriptor.storage_group, descriptor.type.plural)
        self.cache = objects.cache.resource(self.stored_as)

    @functools.cached_property
    def strategy(self) -> Strategy:
        """What is particular to the kind; made when it first matters, as most kinds of a server are only listed."""
        return self._make_strategy()

    # -- forms -------------------------------------------------------------------------------------------------------

    def read(
        self, document: Document, mode: FieldValidation = "Ignore", *, duplicates: Sequence[str] = ()
    ) -> tuple[MutableDocument, Sequence[str]]:
        """A new document of the right shape from what a client sent, and warnings. Raises `DecodingError`."""
        if self.schema is None:
            return thaw(document), ()
        return decoding.read(document, self.schema, mode, duplicates=duplicates)

    def shown(self, stored: Stored) -> Stored:
        """An object as this version shows it; nearly always as it is stored."""
        return stored

    async def present(self, stored: Stored) -> Stored:
        """An object as this version shows it, where that may take a webhook's answer. Raises StatusErrors."""
        return self.shown(stored)

    async def present_all(self, items: Sequence[Stored]) -> Sequence[Stored]:
        """The same for many at once."""
        return [self.shown(stored) for stored in items] if self.converts else items

    async def stored_form(self, document: MutableDocument) -> MutableDocument:
        """An object of this version as it is to be stored. It may be the same document."""
        return document

    def equivalents(self) -> Sequence[ResourceType]:
        """The other versions and groups under which the same objects are served."""
        return ()

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        """An object in another of its forms; a new document. Raises StatusErrors."""
        raise NotImplementedError

    def merged(self, document: Document, configuration: Document, to: ResourceType) -> MutableDocument:
        """An object in the form `to` with a configuration put in, as server-side apply does, without an owner."""
        return self.owners.merge(document, configuration, to.api_version)

    def completed(self, document: Document) -> MutableDocument:
        """A changed object as it would have been read: typed, and with its defaults. Raises `DecodingError`."""
        completed = self.read(document)[0]
        self.strategy.default(completed)
        return completed

    # -- reads -------------------------------------------------------------------------------------------------------

    async def find(self, key: Key) -> Stored:
        """The object as it is now. Raises `NotFound`."""
        await self.objects.cache.caught_up()
        stored = self.cache.get(key)
        if stored is None:
            raise not_found(self.resource, key.name)
        return await self.present(stored)

    # -- create ------------------------------------------------------------------------------------------------------

    async def create(
        self, context: Context, key: Key, document: MutableDocument, options: WriteOptions, *, owned: bool = False
    ) -> Stored:
        """Create the object that `document` (decoded, with its schema checked) describes. `key.name` may be "".

        `owned`: managed fields are already set (an object that server-side apply creates).
        """
        self._check_scope(document, key)
        metadata = document["metadata"]
        self.strategy.default(document)
        if not owned:
            self.owners.update(None, document, manager=options.field_manager, subresource="", now=self.clock.now())
        attributes = context.attributes(
            "CREATE",
            self.type,
            Key(key.namespace, metadata.get("name") or ""),
            document,
            options=options,
            shapes=self,
        )
        await context.admission.mutate(attributes)
        if attributes.object is not None and attributes.object is not document:
            document = attributes.object
            self._check_scope(document, key)
            metadata = document["metadata"]
        generate = "" if metadata.get("name") else metadata.get("generateName") or ""
        for attempt in range(_GENERATE_TRIES):
            if generate:
                metadata["name"] = generate[:_LONGEST_PREFIX] + self.random.suffix(5)
            try:
                return await self._create(context, key.namespace, document, options)
            except AlreadyExists:
                if not generate or attempt == _GENERATE_TRIES - 1:
                    raise
        raise AssertionError("the loop returns or raises")

    async def _create(
        self, context: Context, namespace: str, document: MutableDocument, options: WriteOptions
    ) -> Stored:
        metadata = document["metadata"]
        metadata["uid"] = self.random.uid()
        metadata["creationTimestamp"] = format_time(self.clock.now())
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
            metadata.pop(name, None)
        context.warn(*drop_duplicate_owners(document))
        self.strategy.prepare_for_create(document)
        self.strategy.record_requester(document, context.user)
        key = Key(namespace, metadata.get("name") or "")
        release = self._allocate(document, None, options)
        try:
            errors = [*validate_metadata(document, self.descriptor, self.strategy), *self.strategy.validate(document)]
            if errors:
                raise invalid(self.strategy.group_kind, key.name, errors, once=self.strategy.says_once)
            context.warn(*self.strategy.warnings(document))
            await context.admission.validate(
                context.attributes("CREATE", self.type, key, document, options=options, shapes=self)
            )
            return await self._insert(key, document, options)
        except BaseException:
            release()
            raise

    async def _insert(self, key: Key, document: MutableDocument, options: WriteOptions) -> Stored:
        if options.dry_run:
            await self.objects.cache.caught_up()
            current = self.cache.get(key)
            if current is not None:
                raise self._exists(current)
            return Stored(key, 0, encode(document), document)
        try:
            return await self.present(await self._store(key, document))
        except Superseded as race:
            if race.current is None:
                raise conflict(self.resource, key.name, STALE) from None
            raise self._exists(race.current) from None

    async def _store(self, key: Key, document: MutableDocument) -> Stored:
        stored = await self.stored_form(document)
        return await self.objects.create(self.stored_as, key, stored, lifetime=self.lifetime)

    async def _store_over(self, current: Stored, document: MutableDocument) -> Stored:
        """`document` is in its stored form."""
        return await self.objects.replace(
            self.stored_as, current.key, document, current.revision, lifetime=self.lifetime
        )

    def _exists(self, current: Stored) -> AlreadyExists:
        error = already_exists(self.resource, current.key.name)
        if "deletionTimestamp" in current.metadata:
            return AlreadyExists(f"object is being deleted: {error.message}", details=error.details)
        return error

    def _check_scope(self, document: MutableDocument, key: Key) -> None:
        """The name and namespace of the URL hold; the document may repeat them, not contradict them."""
        metadata = document.get("metadata")
        if not isinstance(metadata, dict):
            metadata = document["metadata"] = {}
        if self.type.namespaced:
            if metadata.get("namespace") and metadata["namespace"] != key.namespace:
                raise BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = key.namespace
        else:
            metadata.pop("namespace", None)
        if key.name and metadata.get("name") and metadata["name"] != key.name:
            raise BadRequest(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({key.name})"
            )
        if key.name and not metadata.get("name"):
            metadata["name"] = key.name

    # -- update ------------------------------------------------------------------------------------------------------

    async def update(self, context: Context, key: Key, update: Update, transform: Transform) -> tuple[Stored, bool]:
        """Write what `transform` makes of the present object; tells also whether it was created.

        Raises `NotFound`, `Conflict`, `Invalid` and whatever `transform` raises.
        """
        await self.objects.cache.caught_up()
        current = self.cache.get(key)
        for _ in range(_LOST_RACES):
            if current is None and not update.may_create:
                raise not_found(self.resource, key.name)
            document = await transform((await self.present(current)).document if current is not None else None)
            if current is None:
                if update.uid:
                    raise conflict(self.resource, key.name, self._uid_mismatch(key, update.uid, ""))
                created = await self.create(context, key, document, update.options, owned=update.applies)
                return created, True
            try:
                return await self._replace(context, current, document, update), False
            except Superseded as race:
                if update.once:
                    raise conflict(self.resource, key.name, STALE) from None
                current = race.current
        raise conflict(self.resource, key.name, STALE)

    async def _replace(self, context: Context, current: Stored, document: MutableDocument, update: Update) -> Stored:
        old, key, options = (await self.present(current)).document, current.key, update.options
        self._check_scope(document, key)
        metadata, old_metadata = document["metadata"], old["metadata"]
        if update.uid and update.uid != old_metadata["uid"]:
            raise conflict(self.resource, key.name, self._uid_mismatch(key, update.uid, old_metadata["uid"]))
        self._check_revision(metadata.get("resourceVersion") or "", current)
        self._keep_system_metadata(metadata, old_metadata)
        self.strategy.default(document)
        if not update.applies:
            self.owners.update(
                old,
                document,
                manager=options.field_manager,
                subresource=update.subresource,
                now=self.clock.now(),
            )
        attributes = context.attributes(
            "UPDATE",
            self.type,
            key,
            document if update.seen is None else update.seen(document),
            old if update.seen is None else update.seen(old),
            subresource=update.subresource,
            options=options,
            shapes=self if update.seen is None else update.shapes,
        )
        admission = context.admission if update.admitted else _NOBODY
        await admission.mutate(attributes)
        if update.seen is not None:
            if update.put is not None and attributes.object is not None:
                update.put(document, attributes.object)
        elif attributes.object is not None and attributes.object is not document:
            document = attributes.object
            self._check_scope(document, key)
            self._keep_system_metadata(document["metadata"], old_metadata)
        context.warn(*drop_duplicate_owners(document))
        self._prepare(document, old, update.subresource)
        release = _nothing if update.subresource else self._allocate(document, old, options)
        try:
            errors = [
                *validate_metadata_update(document, old, self.descriptor, self.strategy),
                *self._validate(document, old, update.subresource),
            ]
            if errors:
                raise invalid(self.strategy.group_kind, key.name, errors, once=self.strategy.says_once)
            if not update.subresource:
                context.warn(*self.strategy.warnings(document, old))
            await admission.validate(attributes)
            return await self._write(current, document, options)
        except BaseException:
            release()
            raise

    def _prepare(self, document: MutableDocument, old: Document, subresource: str) -> None:
        if subresource == "status":
            self.strategy.prepare_for_status_update(document, old)
        elif subresource:
            self.strategy.prepare_for_subresource_update(subresource, document, old)
        else:
            self.strategy.prepare_for_update(document, old)

    def _validate(self, document: Document, old: Document, subresource: str) -> Sequence[FieldError]:
        if subresource == "status":
            return list(self.strategy.validate_status_update(document, old))
        if subresource:
            return list(self.strategy.validate_subresource_update(subresource, document, old))
        return list(self.strategy.validate_update(document, old))

    async def _write(self, current: Stored, document: MutableDocument, options: WriteOptions) -> Stored:
        """Store it, unless nothing changed; remove it, if this took the last thing that held it."""
        document["metadata"].pop("resourceVersion", None)
        if deletion.is_gone(document, self.strategy):
            if not options.dry_run:
                revision = await self.objects.delete(self.stored_as, current.key, current.revision)
                self._released(current.document)
                return Stored(current.key, revision, encode(document), document)
            return Stored(current.key, current.revision, encode(document), document)
        document = await self.stored_form(document)
        stale = self.objects.is_stale(self.stored_as, current.key)
        if unchanged(document, current.document) and not stale:
            return await self.present(current)
        if options.dry_run:
            return await self.present(Stored(current.key, current.revision, encode(document), document))
        return await self.present(await self._store_over(current, document))

    def _check_revision(self, text: str, current: Stored) -> None:
        if not text or text == "0":
            if text == "" and not self.strategy.allows_unconditional_update:
                path = Path("metadata").child("resourceVersion")
                # Upstream names the resource here, not the kind.
                raise invalid(
                    GroupKind(self.type.group, self.type.plural),
                    current.key.name,
                    [field.invalid(path, 0, "must be specified for an update")],
                )
            return
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            path = Path("metadata").child("resourceVersion")
            raise invalid(
                self.type.group_kind, current.key.name, [field.invalid(path, text, "must be an unsigned number")]
            )
        if int(text) != current.revision:
            raise conflict(self.resource, current.key.name, STALE)

    def _keep_system_metadata(self, metadata: dict[str, Any], old: Document) -> None:
        # Another uid, which a patch may have brought in, is an error of its own.
        metadata.setdefault("uid", old["uid"])
        for name in ("creationTimestamp", "generation"):
            if name in old:
                metadata[name] = old[name]
            else:
                metadata.pop(name, None)
        # These may be left out, and are an error where they are another.
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            if name in old and metadata.get(name) is None:
                metadata[name] = old[name]
        metadata.pop("selfLink", None)

    def _uid_mismatch(self, key: Key, wanted: str, actual: str) -> str:
        """In upstream's words, which name the place in its store."""
        group, plural = self.resource.group, self.resource.resource
        folder = f"{group}/{plural}" if self.is_custom or group in _OWN_FOLDERS else _FOLDERS.get(plural, plural)
        place = "/".join(each for each in ("/registry", folder, key.namespace, key.name) if each)
        return (
            f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"
        )

    # -- delete ------------------------------------------------------------------------------------------------------

    async def delete(self, context: Context, key: Key, options: DeleteOptions) -> tuple[Stored, bool]:
        """Delete an object, or mark it; tells whether it is gone. Raises `NotFound`, `Conflict`."""
        await self.objects.cache.caught_up()
        current = self.cache.get(key)
        for _ in range(_LOST_RACES):
            if current is None:
                raise not_found(self.resource, key.name)
            self._check_preconditions(current, options)
            old = (await self.present(current)).document
            attributes = context.attributes("DELETE", self.type, key, None, old, options=options, shapes=self)
            await context.admission.mutate(attributes)
            await context.admission.validate(attributes)
            policy_given = options.propagation is not None or options.orphan_dependents is not None
            context.warn(*self.strategy.deletion_warnings(policy_given=policy_given))
            plan = deletion.plan(old, options, self.strategy, self.clock.now())
            try:
                return await self._carry_out(current, plan, options), plan.remove
            except Superseded as race:
                current = race.current
        raise conflict(self.resource, key.name, STALE)

    async def _carry_out(self, current: Stored, plan: deletion.Plan, options: DeleteOptions) -> Stored:
        plan.document["metadata"].pop("resourceVersion", None)
        if options.dry_run or not (plan.remove or plan.changed):
            if not plan.changed:
                return await self.present(current)
            return Stored(current.key, current.revision, encode(plan.document), plan.document)
        if plan.remove:
            revision = await self.objects.delete(self.stored_as, current.key, current.revision)
            self._released(current.document)
            return Stored(current.key, revision, encode(plan.document), plan.document)
        document = await self.stored_form(plan.document)
        return await self.present(await self._store_over(current, document))

    def _check_preconditions(self, current: Stored, options: DeleteOptions) -> None:
        uid = current.metadata["uid"]
        if options.uid is not None and options.uid != uid:
            raise Conflict(
                f'Operation cannot be fulfilled on {self.type.kind} "{current.key.name}": the UID in the precondition '
                f"({options.uid}) does not match the UID in record ({uid}). The object might have been deleted and "
                "then recreated",
                details={"name": current.key.name, "group": self.type.group, "kind": self.type.kind},
            )
        if options.resource_version is not None and options.resource_version != str(current.revision):
            raise Conflict(
                f'Operation cannot be fulfilled on {self.type.kind} "{current.key.name}": the ResourceVersion in the '
                f"precondition ({options.resource_version}) does not match the ResourceVersion in record "
                f"({current.revision}). The object might have been modified",
                details={"name": current.key.name, "group": self.type.group, "kind": self.type.kind},
            )

    # -- allocation --------------------------------------------------------------------------------------------------

    def _allocate(self, document: MutableDocument, old: Document | None, options: WriteOptions) -> Callable[[], None]:
        if self.allocator is None:
            return _nothing
        return self.allocator.allocate(document, old, dry_run=options.dry_run)

    def _released(self, document: Document) -> None:
        if self.allocator is not None:
            self.allocator.release(document)

    def not_allowed(self) -> MethodNotSupported:
        return MethodNotSupported("the server does not allow this method on the requested resource", details={})

    def refuse(self, name: str, why: str) -> Forbidden:
        return Forbidden(f'{self.resource} "{name}" is forbidden: {why}', details={"name": name})


class _Nobody:
    """The admission of what was admitted before."""

    async def mutate(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...


_NOBODY = _Nobody()


def _nothing() -> None:
    """There was nothing to give back."""


def unchanged(document: Document, old: Document) -> bool:
    """Whether a write would change nothing that counts: times in managedFields alone do not."""
    for name, value in document.items():
        if name != "metadata" and old.get(name) != value:
            return False
    if any(name not in document for name in old):
        return False
    ignored = ("resourceVersion", "managedFields")
    metadata = {name: value for name, value in document["metadata"].items() if name not in ignored}
    old_metadata = {name: value for name, value in old["metadata"].items() if name not in ignored}
    return metadata == old_metadata and _untimed(document["metadata"]) == _untimed(old["metadata"])


def _untimed(metadata: Document) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in metadata.get("managedFields") or ()
    ]
