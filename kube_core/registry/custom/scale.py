"""The `scale` of a custom resource: found and set by the paths in its definition.

A path is a simple one: names joined by dots, nothing else. `autoscaling/v1` Scale is what clients see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kube_core.meta.documents import Document, MutableDocument, metadata_of
from kube_core.meta.status import InternalError
from kube_core.registry.custom.descriptors import ScalePaths

__all__ = ["SimplePath", "scale_of", "set_replicas"]

_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


@attrs.frozen
class SimplePath:
    """Names that lead from an object to one of its fields."""

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> SimplePath:
        return cls(tuple(text.removeprefix(".").split(".")))

    def find(self, document: Document) -> Any:
        """The value there, None where there is none."""
        found: Any = document
        for name in self.names:
            if not isinstance(found, Mapping):
                return None
            found = found.get(name)
        return found

    def set(self, document: MutableDocument, value: Any) -> None:
        for name in self.names[:-1]:
            below = document.get(name)
            if not isinstance(below, dict):
                below = document[name] = {}
            document = below
        document[self.names[-1]] = value


def scale_of(document: Document, paths: ScalePaths) -> dict[str, Any]:
    """The Scale. Raises `InternalError` where the object has no number of replicas."""
    replicas = SimplePath.parse(paths.replicas).find(document)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        why = f'the spec replicas field "{paths.replicas}" does not exist'
        raise InternalError(f"Internal error occurred: {why}", details={"causes": [{"message": why}]})
    present = SimplePath.parse(paths.status_replicas).find(document)
    status: dict[str, Any] = {"replicas": present if isinstance(present, int) else 0}
    selector = SimplePath.parse(paths.selector).find(document) if paths.selector else None
    if isinstance(selector, str) and selector:
        status["selector"] = selector
    metadata = metadata_of(document)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in _KEPT if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def set_replicas(document: MutableDocument, paths: ScalePaths, replicas: int) -> None:
    SimplePath.parse(paths.replicas).set(document, replicas)
