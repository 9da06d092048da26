"""What accompanies a verb: who asks, with which options, and the admission chain that it must pass.

The chain itself lives above, in `kube_core.admission`; the registry knows only the two calls of `Admission`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import attrs

from kube_core.abc.transport import User
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, MutableDocument

__all__ = ["Admission", "Attributes", "Context", "DeleteOptions", "Operation", "WriteOptions"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@attrs.define
class Attributes:
    """One write, as admission sees it. `object` may be changed by `mutate`, and by nobody afterwards."""

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


@attrs.frozen
class DeleteOptions:
    """`metav1.DeleteOptions`. `grace_period` is in seconds."""

    grace_period: int | None = None
    propagation: str | None = None
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


@attrs.define
class Context:
    """One request. Warnings gathered here become Warning headers."""

    user: User
    admission: Admission
    warnings: list[str] = attrs.field(factory=list)
    #: What is noted of it in the audit log.
    annotations: dict[str, str] = attrs.field(factory=dict)

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
        dry_run: bool = False,
    ) -> Attributes:
        return Attributes(
            operation,
            resource,
            subresource,
            key,
            self.user,
            document,
            old,
            {},
            dry_run,
            self.warnings,
            self.annotations,
        )
