"""What plugins that change objects by somebody's instruction (webhooks, policies) have in common.

`replace` puts a changed object in the place of the one that is written: brought back into the form of the request,
typed and defaulted, as if it had been sent. `Memory` remembers which of them were asked, and which are to be asked once
more because something changed after them (reinvocation policy `IfNeeded`): then `Attributes.reinvoke` is set, and the
chain calls all plugins that mutate a second time.
"""

from __future__ import annotations

from typing import Any

import attrs

from kube_core.api.types import ResourceType
from kube_core.meta.documents import MutableDocument, thaw
from kube_core.registry.context import Attributes

__all__ = ["Memory", "replace"]


@attrs.define
class Memory:
    """What one plugin's second time has to know of its first."""

    #: Those who were asked and want to be asked again.
    reinvocable: set[str] = attrs.field(factory=set)
    #: Those of them after whom something changed.
    due: set[str] = attrs.field(factory=set)
    #: The object as the last of them left it.
    left: MutableDocument | None = None

    @classmethod
    def of(cls, attributes: Attributes, plugin: str) -> Memory:
        """The memory of a plugin; at its second time, everybody is due if others have changed the object since."""
        memory: Memory = attributes.memory.setdefault(plugin, cls())
        if attributes.reinvoking and attributes.object != memory.left:
            memory.due |= memory.reinvocable
        return memory

    def skips(self, attributes: Attributes, who: str) -> bool:
        """Whether somebody is not to be asked this time."""
        return attributes.reinvoking and who not in self.due

    def note(self, attributes: Attributes, who: str, *, changed: bool, reinvocable: bool) -> None:
        """Somebody was asked."""
        if changed:
            self.due |= self.reinvocable
            if not attributes.reinvoking:
                attributes.reinvoke = True
        if reinvocable:
            self.reinvocable.add(who)

    def leave(self, attributes: Attributes) -> None:
        """All have been asked."""
        self.left = thaw(attributes.object) if attributes.object is not None else None


async def replace(attributes: Attributes, changed: Any, shown_as: ResourceType) -> bool:
    """Whether that changes anything. `changed` is in the form of `shown_as`.

    Raises `DecodingError` where it is no object of its kind, and StatusErrors.
    """
    before, shapes = attributes.object, attributes.shapes
    if before is None or shapes is None:
        raise ValueError("there is no object to change")
    if shown_as != attributes.resource:
        changed = await shapes.converted(changed, attributes.resource)
    completed = shapes.completed(changed)
    completed["kind"], completed["apiVersion"] = before["kind"], before["apiVersion"]
    if completed == before:
        return False
    attributes.object = completed
    return True
