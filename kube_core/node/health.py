"""How a node is, beyond being there: what presses it, whether it is ending, which images it has.

The agent changes it; the node's status is made of it (`registration.py`), and admission asks it. Reasons and messages
of the conditions are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kube_core.abc.runtime import Runtime, RuntimeFailure
from kube_core.meta.documents import Document

__all__ = ["NodeHealth"]

#: Condition: reason and message where all is well, and where it is not.
_PRESSURES = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}
_MOST_IMAGES = 50
_MOST_NAMES = 5


@attrs.define(eq=False)
class NodeHealth:
    """Of one node. `pressures`: the conditions of pressure that hold."""

    runtime: Runtime
    pressures: tuple[str, ...] = ()
    shutting_down: bool = False

    def conditions(self) -> Iterator[tuple[str, str, str, str]]:
        """Type, status, reason and message of each condition."""
        for kind, (well, pressed) in _PRESSURES.items():
            held = kind in self.pressures
            yield kind, "True" if held else "False", *(pressed if held else well)
        wrong = [*self.runtime.problems(), *(["node is shutting down"] if self.shutting_down else [])]
        if wrong:
            yield "Ready", "False", "KubeletNotReady", wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
        else:
            yield "Ready", "True", "KubeletReady", "kubelet is posting ready status"

    async def images(self) -> list[Document]:
        """The largest images, as the node's status lists them."""
        if not self.runtime.capabilities.images:
            return []
        try:
            found = await self.runtime.list_images()
        except RuntimeFailure:
            return []  # it is away: what was said of them before has to do
        images = sorted(found, key=lambda each: -each.size)[:_MOST_IMAGES]
        return [{"names": list(each.references[:_MOST_NAMES]), "sizeBytes": each.size} for each in images]

    def features(self) -> Document:
        """What the status says of the runtime."""
        if not self.runtime.capabilities.own_root:
            return {}
        features = {"supplementalGroupsPolicy": True} if self.runtime.capabilities.supplemental_groups_policy else {}
        handlers = [
            {
                "name": each.name,
                "features": {
                    "recursiveReadOnlyMounts": each.recursive_read_only_mounts,
                    "userNamespaces": each.user_namespaces,
                },
            }
            for each in self.runtime.handlers()
        ]
        return {"features": features, "runtimeHandlers": handlers}
