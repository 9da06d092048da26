"""What the documents of both OpenAPI versions have alike: operations by path, outcomes, Kubernetes' extensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import attrs

from kube_core.apiserver.openapi.operations import Operation
from kube_core.apiserver.openapi.parameters import Parameter

__all__ = ["Path", "by_path", "extensions", "outcome"]


@attrs.frozen
class Path:
    """The operations of a path, and the parameters that all of them take (written once, as upstream does)."""

    operations: tuple[Operation, ...]
    parameters: tuple[Parameter, ...]


def by_path(operations: Iterable[Operation]) -> Mapping[str, Path]:
    """Operations grouped by path, in the order of the paths' names."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.path, []).append(operation)
    return {path: Path(tuple(found[path]), _alike(found[path])) for path in sorted(found)}


def outcome(code: str) -> str:
    return HTTPStatus(int(code)).phrase


def extensions(operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if operation.action:
        entry["x-kubernetes-action"] = operation.action
    if (kind := operation.kind) is not None:
        entry["x-kubernetes-group-version-kind"] = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    return entry


def _alike(operations: list[Operation]) -> tuple[Parameter, ...]:
    first, *others = operations
    alike = [each for each in first.parameters if all(each in other.parameters for other in others)]
    return tuple(sorted(alike, key=lambda each: (each.name, each.place)))
