"""What is configured, in the order in which webhooks are asked: configurations by name, their webhooks as written.

Read from the server's cache when something has changed, at the next write, so a configuration counts from the moment in
which its creation is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kube_core.admission.chain import Reader
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document
from kube_core.meta.selectors import LabelSelector, from_document

__all__ = ["Configurations", "Hook"]


@attrs.frozen(eq=False)
class Hook:
    """One webhook of a configuration."""

    configuration: str
    #: Its place in the configuration, by which the audit log names it.
    index: int
    #: Tells it from any other, also of the same name.
    uid: str
    document: Document
    namespaces: LabelSelector
    objects: LabelSelector

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def timeout(self) -> int:
        return int(self.document.get("timeoutSeconds") or 10)

    @property
    def fails_open(self) -> bool:
        return self.document.get("failurePolicy") == "Ignore"

    @property
    def equivalent(self) -> bool:
        return self.document.get("matchPolicy") != "Exact"

    @property
    def reinvocable(self) -> bool:
        return self.document.get("reinvocationPolicy") == "IfNeeded"


class Configurations:
    """All webhooks of one resource of configurations."""

    def __init__(self, reader: Reader, resource: ResourceType) -> None:
        self._reader = reader
        self._resource = resource
        self._hooks: Sequence[Hook] = ()
        self._stale = True
        reader.follow(resource, self._changed)

    def hooks(self) -> Sequence[Hook]:
        if self._stale:
            self._hooks = [hook for document in self._reader.list(self._resource) for hook in _hooks(document)]
            self._stale = False
        return self._hooks

    def _changed(self) -> None:
        self._stale = True


def _hooks(document: Document) -> list[Hook]:
    name = document["metadata"]["name"]
    return [
        Hook(
            name,
            index,
            f"{document['metadata']['uid']}/{each['name']}/{index}",
            each,
            from_document(each.get("namespaceSelector") or {}),
            from_document(each.get("objectSelector") or {}),
        )
        for index, each in enumerate(document.get("webhooks") or ())
    ]
