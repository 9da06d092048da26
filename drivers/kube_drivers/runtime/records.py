"""Configurations as JSON and back, for runtimes that keep what they run beyond the agent's life.

A record has only what differs from the defaults, so that a record of an older version is read as what it meant, and a
container without wishes is a few bytes. Fields of a later version are refused by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kube_core.abc.runtime import ContainerConfig, Device, DnsConfig, Mount, PortMapping, Resources, SandboxConfig
from kube_core.abc.security import IdMapping, SeccompProfile, SecurityContext

__all__ = ["container_config", "record_of", "sandbox_config"]


def record_of(config: ContainerConfig | SandboxConfig) -> dict[str, Any]:
    """Plain JSON values."""
    return attrs.asdict(config, filter=_differs)


def container_config(record: Mapping[str, Any]) -> ContainerConfig:
    return ContainerConfig(**_shaped(record))


def sandbox_config(record: Mapping[str, Any]) -> SandboxConfig:
    return SandboxConfig(**_shaped(record))


def _differs(field: attrs.Attribute[Any], value: Any) -> bool:
    made: Any = field.default
    return bool(value != (made.factory() if isinstance(made, attrs.Factory) else made))  # type: ignore[arg-type]


def _shaped(record: Mapping[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in record.items()}
    for name, make in _NESTED.items():
        if shaped.get(name) is not None:
            shaped[name] = make(shaped[name])
    return shaped


def _security(record: Mapping[str, Any]) -> SecurityContext:
    return SecurityContext(**_shaped(record))


#: Fields that are things of their own, by their names, which mean the same in every class.
_NESTED: Mapping[str, Callable[[Any], Any]] = {
    "mounts": lambda records: tuple(Mount(**each) for each in records),
    "devices": lambda records: tuple(Device(**each) for each in records),
    "security": _security,
    "seccomp": lambda record: SeccompProfile(**record),
    "resources": lambda record: Resources(**record),
    "dns": lambda record: DnsConfig(**_shaped(record)),
    "ports": lambda records: tuple(PortMapping(**each) for each in records),
    "user_namespace": lambda record: IdMapping(**record),
}
