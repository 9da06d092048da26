"""What accompanies a verb: who asks, with which options, and the admission chain that it must pass.

The chain itself lives above, in `kube_core.admission`; the registry knows only the two calls of `Admission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from kube_core.abc.transport import User
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, MutableDocument

__all__ = ["Admission", "Attributes", "Context", "DeleteOptions", "Operation", "Shapes", "WriteOptions"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Shapes(Protocol):
    """What admission may ask of the resource that is written: its other forms, and what a changed object becomes."""

    @property
    def type(self) -> ResourceType: ...

    def equivalents(self) -> Sequence[ResourceType]:
        """The other versions and groups under which the same objects are served."""

    async def converted(self, document: Document, to: ResourceType) -> MutableDocument:
        """An object in another of its forms; a new document. Raises StatusErrors."""

    def merged(self, document: Document, configuration: Document, to: ResourceType) -> MutableDocument:
        """An object in the form `to` with a configuration put in, as server-side apply does, without an owner.

        Raises `ValueError` for one that does not fit.
        """

    def completed(self, document: Document) -> MutableDocument:
        """A changed object as it would have been read: typed, and with its defaults. Raises `DecodingError`."""


@attrs.define
class Attributes:
    """One write, as admission sees it. `mutate` may change or replace `object`, and nobody may afterwards."""

    operation: Operation
    resource: ResourceType
    subresource: str
    key: Key
    user: User
    object: MutableDocument | None
    old: Document | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    dry_run: bool = False
    warnings: list[str] = attrs.field(factory=list)
    #: What plugins note in the audit log, by `name/key`.
    annotations: dict[str, str] = attrs.field(factory=dict)
    #: The audit log takes what requests contain too, not only that they were.
    detailed: bool = False
    #: The resource that is written; None where it is none (the options of a `CONNECT`).
    shapes: Shapes | None = None
    #: Set by a plugin of `mutate` that changed what earlier ones have seen: all are then called once more.
    reinvoke: bool = False
    #: This is that second time.
    reinvoking: bool = False
    #: What plugins remember from the first time to the second, by their names.
    memory: dict[str, Any] = attrs.field(factory=dict)

    @property
    def namespace(self) -> str:
        """The namespace of the request; for a Namespace it is its own."""
        is_namespace = self.resource.group == "" and self.resource.plural == "namespaces"
        return self.key.name if is_namespace else self.key.namespace


class Admission(Protocol):
    """The chain, in the two passes of upstream's."""

    async def mutate(self, attributes: Attributes) -> None:
        """Change `attributes.object`, or raise the StatusError that refuses the write."""

    async def validate(self, attributes: Attributes) -> None:
        """Raise the StatusError that refuses the write, or return."""


@attrs.frozen
class WriteOptions:
    """`CreateOptions`, `UpdateOptions` and `PatchOptions` in one."""

    dry_run: bool = False
    field_manager: str = "unknown"
    field_validation: Literal["Strict", "Warn", "Ignore"] = "Warn"
    #: Of server-side apply only; None where the request did not say.
    force: bool | None = None
    #: The options as the client sent them, by their names in `CreateOptions` and the others.
    sent: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class DeleteOptions:
    """`metav1.DeleteOptions`. `grace_period` is in seconds."""

    grace_period: int | None = None
    propagation: str | None = None
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False
    #: The options as the client sent them.
    sent: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.define
class Context:
    """One request. Warnings gathered here become Warning headers."""

    user: User
    admission: Admission
    warnings: list[str] = attrs.field(factory=list)
    #: What is noted of it in the audit log, and whether that is to be in detail.
    annotations: dict[str, str] = attrs.field(factory=dict)
    detailed: bool = False

    def warn(self, *texts: str) -> None:
        for text in texts:
            if text not in self.warnings:
                self.warnings.append(text)

    def attributes(
        self,
        operation: Operation,
        resource: ResourceType,
        key: Key,
        document: MutableDocument | None,
        old: Document | None = None,
        *,
        subresource: str = "",
        options: WriteOptions | DeleteOptions,
        shapes: Shapes | None = None,
    ) -> Attributes:
        return Attributes(
            operation,
            resource,
            subresource,
            key,
            self.user,
            document,
            old,
            options.sent,
            options.dry_run,
            self.warnings,
            self.annotations,
            self.detailed,
            shapes,
        )
