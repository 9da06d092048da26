"""What a client means by an id: the whole of it, or a beginning that only one has (crictl shows thirteen digits)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from kube_core.abc.runtime import ContainerStatus, Runtime, SandboxStatus
from kube_drivers.runtime.criserver.refusals import not_found

__all__ = ["container_of", "find_container", "find_sandbox", "matches", "sandbox_of", "selected"]


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Identified)


def find_sandbox(runtime: Runtime, identity: str) -> SandboxStatus | None:
    return _find(runtime.list_sandboxes(), identity)


def find_container(runtime: Runtime, identity: str) -> ContainerStatus | None:
    return _find(runtime.list_containers(), identity)


def sandbox_of(runtime: Runtime, identity: str) -> SandboxStatus:
    """Raises `Refusal`."""
    found = find_sandbox(runtime, identity)
    if found is None:
        raise not_found(f'an error occurred when try to find sandbox "{identity}": not found')
    return found


def container_of(runtime: Runtime, identity: str) -> ContainerStatus:
    """Raises `Refusal`."""
    found = find_container(runtime, identity)
    if found is None:
        raise not_found(f'an error occurred when try to find container "{identity}": not found')
    return found


def matches(identity: str, wanted: str) -> bool:
    """Whether a filter's id, or a beginning of one, means this; "" means all."""
    return identity.startswith(wanted)


def selected(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def _find(all_: Iterable[T], identity: str) -> T | None:
    matching = [each for each in all_ if identity and each.id.startswith(identity)]
    whole = [each for each in matching if each.id == identity]
    return (whole or matching)[0] if whole or len(matching) == 1 else None
