"""What an endpoint says, as the contract has it: sandboxes, containers, images, figures. Pure.

CRI's times are nanoseconds. A container whose state the endpoint does not know counts as running: it is ended before
anything takes its place (`picture.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    ContainerUser,
    ImageStatus,
    Resources,
    SandboxStatus,
)
from kube_core.abc.usage import Usage
from kube_drivers.runtime.cri.requests import POD_UID, RECORD, foreign
from kube_drivers.runtime.records import container_config, sandbox_config

__all__ = ["UNKNOWN", "container_status", "image_status", "sandbox_status", "state_of", "usage_of"]

#: CRI's number for a container of which the endpoint does not know how it is.
UNKNOWN = 3
_STATES: tuple[ContainerState, ...] = ("created", "running", "exited", "running")
_READY = 0
_NANOSECONDS = 1e9


def state_of(number: int) -> ContainerState:
    """A container's state by CRI's number."""
    return _STATES[number] if 0 <= number < len(_STATES) else "running"


def sandbox_status(message: Any) -> SandboxStatus:
    """Of a `PodSandboxStatus` of ours."""
    record = orjson.loads(message.annotations[RECORD])
    config = attrs.evolve(
        sandbox_config(record), annotations=foreign(message.annotations), labels=foreign(message.labels)
    )
    network = message.network
    ips = (network.ip, *(each.ip for each in network.additional_ips)) if network.ip else ()
    return SandboxStatus(message.id, config, message.state == _READY, message.created_at / _NANOSECONDS, ips)


def container_status(message: Any, sandbox_id: str, resources: Resources | None) -> ContainerStatus:
    """Of a `ContainerStatus` of ours. `resources`: what it was given last, where the endpoint does not say."""
    state = state_of(message.state)
    user = message.user.linux if message.HasField("user") and message.user.HasField("linux") else None
    config = _container_config(message)
    return ContainerStatus(
        id=message.id,
        sandbox_id=sandbox_id,
        pod_uid=message.labels[POD_UID],
        config=config,
        state=state,
        created_at=message.created_at / _NANOSECONDS,
        started_at=message.started_at / _NANOSECONDS,
        finished_at=message.finished_at / _NANOSECONDS if state == "exited" else 0.0,
        exit_code=message.exit_code if state == "exited" else 0,
        reason=_reason(message) if state == "exited" else "",
        message=message.message if state == "exited" else "",
        image_id=message.image_ref or message.image_id,
        log_path=message.log_path,
        user=ContainerUser(user.uid, user.gid, tuple(user.supplemental_groups)) if user is not None else None,
        stop_signal=_signal(message),
        resources=_resources(message, config) or resources,
    )


def image_status(message: Any) -> ImageStatus:
    """Of an `Image`."""
    user = str(message.uid.value) if message.HasField("uid") else message.username
    return ImageStatus(
        id=message.id,
        references=(*message.repo_tags, *message.repo_digests),
        size=message.size,
        user=user,
        pinned=message.pinned,
    )


def usage_of(message: Any, now: float) -> Usage | None:
    """Of a `ContainerStats`; None where it says nothing of processor and memory."""
    cpu, memory = message.cpu, message.memory
    if not cpu.HasField("usage_core_nano_seconds") or not memory.HasField("working_set_bytes"):
        return None
    return Usage(
        cpu.timestamp / _NANOSECONDS if cpu.timestamp else now,
        cpu.usage_core_nano_seconds.value,
        memory.working_set_bytes.value,
        nanocores=cpu.usage_nano_cores.value if cpu.HasField("usage_nano_cores") else None,
    )


def _container_config(message: Any) -> ContainerConfig:
    record: Mapping[str, Any] = orjson.loads(message.annotations[RECORD])
    return attrs.evolve(
        container_config(record), annotations=foreign(message.annotations), labels=foreign(message.labels)
    )


def _reason(message: Any) -> str:
    return message.reason or ("Completed" if message.exit_code == 0 else "Error")


def _signal(message: Any) -> str:
    """`SIGTERM`; "" where the endpoint says nothing of it."""
    if not message.stop_signal:
        return ""
    values = message.DESCRIPTOR.fields_by_name["stop_signal"].enum_type.values_by_number
    return str(values[message.stop_signal].name).removeprefix("SIGNAL_") if message.stop_signal in values else ""


def _resources(message: Any, config: ContainerConfig) -> Resources | None:
    """What it is limited to, of that which can be changed; None where the endpoint does not say."""
    if not message.HasField("resources") or not message.resources.HasField("linux"):
        return None
    linux = message.resources.linux
    return attrs.evolve(
        config.resources,
        cpu_shares=linux.cpu_shares,
        cpu_quota=max(linux.cpu_quota, 0),
        cpu_period=linux.cpu_period or config.resources.cpu_period,
        memory_bytes=linux.memory_limit_in_bytes,
    )
