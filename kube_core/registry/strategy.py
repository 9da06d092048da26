"""The contract of a strategy: what is particular to one kind, in small pure functions on documents.

The generic registry calls them in this order; all get mutable documents that they own, none does I/O:

create   decode → `default` → `prepare_for_create` → `validate` → admission … → store
update   decode → `default` → `prepare_for_update` → `validate_update` → store
status   like update, with `prepare_for_status_update` and `validate_status_update`

The base class does what upstream does for every kind without a strategy of its own: generation bumped when the spec
changes, status reset on create and kept on update where there is a status subresource. Built-in strategies live in
`kube_core/registry/kinds/`, one short module a kind or family, and are listed in its `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kube_core.abc.transport import User
from kube_core.api.types import ResourceDescriptor
from kube_core.meta import names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError
from kube_core.meta.gvk import GroupKind

__all__ = ["Strategy"]


class Strategy:
    """What every kind does unless its own strategy says otherwise."""

    #: A `PUT` of an object that does not exist creates it.
    allows_create_on_update = False
    #: An update without a resourceVersion is taken as it is.
    allows_unconditional_update = True
    #: Deletion first sets deletionTimestamp, and a node or controller completes it (pods).
    graceful = False
    #: What deletion does with dependents where nobody says so: `Background`, `Orphan` or `Foreground`.
    default_propagation = "Background"
    #: Finalizers need a domain and a path (`example.org/hold`), but for the standard ones.
    qualifies_finalizers = True
    #: What is wrong with an object twice over is one cause of its refusal.
    says_once = False
    #: Deletion answers the deleted object rather than a Status.
    returns_deleted = False
    #: Where only the status is written, `default` may get the rest as it is stored: complete, and frozen.
    takes_stored_parts = False

    def __init__(self, descriptor: ResourceDescriptor) -> None:
        self.descriptor = descriptor
        self.has_status = descriptor.subresource("status") is not None
        #: Whether `metadata.generation` is kept for this kind.
        self.has_generation = self.has_status

    @property
    def group_kind(self) -> GroupKind:
        """What errors about an object name it as."""
        return self.descriptor.type.group_kind

    def name_problems(self, name: str, *, prefix: bool = False) -> Sequence[str]:
        """What is wrong with an object's name; `prefix`: with the beginning of a name to be generated."""
        return names.dns1123_subdomain_prefix(name) if prefix else names.dns1123_subdomain(name)

    def default(self, document: MutableDocument) -> None:
        """Fill in defaults, in place, as upstream does for an object that a client sent or that is read back."""

    def prepare_for_create(self, document: MutableDocument) -> None:
        """Reset what a client may not set on creation."""
        if self.has_status:
            document.pop("status", None)
        if self.has_generation:
            document["metadata"]["generation"] = 1

    def record_requester(self, document: MutableDocument, user: User) -> None:
        """Write down who creates the object, for the kinds that keep it."""

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        """Keep what a client may not change through the main resource."""
        if self.has_status:
            if "status" in old:
                document["status"] = old["status"]
            else:
                document.pop("status", None)
        if self.has_generation:
            self.bump_generation(document, old)

    def prepare_for_status_update(self, document: MutableDocument, old: Document) -> None:
        """Keep everything but the status (and the metadata that upstream lets through)."""
        for field in list(document):
            if field not in ("apiVersion", "kind", "metadata", "status"):
                del document[field]
        for field, value in old.items():
            if field not in ("metadata", "status"):
                document[field] = value

    def grace_period(self, document: Document, asked: int | None) -> int:
        """For a graceful kind: how many seconds a deletion gives, when `asked` for so many (None: not said)."""
        return asked or 0

    def holds(self, document: Document) -> bool:
        """Whether an object that is being deleted must stay for a reason other than its metadata's finalizers."""
        return False

    def prepare_for_deletion(self, document: MutableDocument) -> None:
        """Called when an object is marked for deletion (a namespace's phase changes)."""

    def prepare_for_subresource_update(self, subresource: str, document: MutableDocument, old: Document) -> None:
        """Keep what the subresource (`resize`, `ephemeralcontainers`, `approval`, …) may not change."""
        if subresource == "scale":
            self.prepare_for_update(document, old)

    def validate_subresource_update(self, subresource: str, document: Document, old: Document) -> Iterable[FieldError]:
        """What is wrong with a change made through a subresource other than status."""
        return self.validate_update(document, old) if subresource == "scale" else ()

    def bump_generation(self, document: MutableDocument, old: Document) -> None:
        generation = old["metadata"].get("generation", 0)
        document["metadata"]["generation"] = generation + (self.desired_state(document) != self.desired_state(old))

    def desired_state(self, document: Document) -> object:
        """The part of which a change raises the generation."""
        return {field: value for field, value in document.items() if field not in ("metadata", "status")}

    def validate(self, document: Document) -> Iterable[FieldError]:
        """What is wrong with a new object (its metadata is checked by the registry)."""
        return ()

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        """What is wrong with a changed object, the rules for new ones included."""
        return self.validate(document)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        """What is wrong with a changed status."""
        return ()

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        """Texts for the Warning header."""
        return ()

    def deletion_warnings(self, *, policy_given: bool) -> Sequence[str]:
        """Texts for the Warning header of a deletion; `policy_given`: it says what becomes of dependents."""
        return ()

    def field_labels(self) -> Sequence[str]:
        """Field selectors that this kind takes besides `metadata.name` and `metadata.namespace`."""
        return ()

    def fields(self, document: Document) -> Mapping[str, str]:
        """The values of `field_labels` for an object."""
        return {}

    def index_fields(self) -> Sequence[str]:
        """Those of `field_labels` by which watches are indexed (many watchers, each of one value)."""
        return ()
