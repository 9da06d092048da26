"""What the runtime is told of a container: its spec, with everything that the node has to work out.

The environment, the mounts with the hosts file and the file for its last words, the security context, the limits. What
is wrong with it is a `ConfigurationError`, which keeps the container waiting (`CreateContainerConfigError`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import anyio.to_thread
import attrs

from kube_core.abc.runtime import ContainerConfig, ImageStatus, Mount
from kube_core.meta.documents import Document, namespace_of, uid_of
from kube_core.node.environment import ConfigurationError, Environment, expand
from kube_core.node.naming import hosts_file
from kube_core.node.pods.host import Host
from kube_core.node.pods.limits import container_resources
from kube_core.node.pods.plan import History
from kube_core.node.pods.security import container_security
from kube_core.node.pods.state import PodState
from kube_core.node.pods.termination import message_mount
from kube_core.node.volumes.mounts import container_mounts

__all__ = ["Starting", "configuration"]

_HOSTS = "/etc/hosts"


@attrs.frozen
class Starting:
    """One container that is about to be started. `pod` carries its addresses in its status."""

    state: PodState
    pod: Document
    container: Document
    sandbox_id: str
    attempt: int
    runs: History
    slow: Callable[[], Awaitable[None]]
    """Called before something that may take long, so that the pod's status says where it is."""


async def configuration(host: Host, starting: Starting, image: ImageStatus) -> ContainerConfig:
    """Raises `ConfigurationError`."""
    pod, container, places = starting.pod, starting.container, starting.state.places or {}
    capabilities = host.runtime.capabilities
    links = pod["spec"].get("enableServiceLinks", True)
    environment = Environment(
        pod,
        host.sources,
        dict(host.services(namespace_of(pod), links is not False)),
        host.node(),
        _reader(starting) if capabilities.processes else None,
    )
    env = await environment.of(container)
    directory = host.volumes.directory(uid_of(pod)) if host.volumes.writes else ""
    mounts = await container_mounts(container, places, env, capabilities, directory=directory)
    if capabilities.processes and host.volumes.writes:
        mounts += await _own_mounts(host, starting, mounts)
    return ContainerConfig(
        name=str(container["name"]),
        image=str(container["image"]),
        attempt=starting.attempt,
        command=tuple(expand(str(word), env) for word in container.get("command") or ()),
        args=tuple(expand(str(word), env) for word in container.get("args") or ()),
        working_dir=str(container.get("workingDir") or ""),
        env=env,
        mounts=mounts,
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        security=container_security(pod, container, image_user=image.user, seccomp_root=host.seccomp_root),
        resources=container_resources(pod, container, memory_capacity=host.memory_capacity),
        stop_signal=str((container.get("lifecycle") or {}).get("stopSignal") or ""),
        target_id=_target(starting),
    )


def _target(starting: Starting) -> str:
    """The container whose processes an ephemeral one is to see."""
    name = starting.container.get("targetContainerName")
    if not name:
        return ""
    runs = starting.runs.get(str(name))
    if not runs:
        raise ConfigurationError(f'unable to find target container "{name}"')
    return runs[-1].id


async def _own_mounts(host: Host, starting: Starting, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The file for its last words, and the hosts file, unless the container mounts something there itself."""
    pod, container = starting.pod, starting.container
    directory = host.volumes.directory(uid_of(pod))
    taken = {mount.container_path for mount in mounts}
    own = []
    message = await message_mount(directory, container, starting.attempt)
    if message is not None and message.container_path not in taken:
        own.append(message)
    addressed = starting.state.ips or pod["spec"].get("hostNetwork")
    if host.runtime.capabilities.own_root and addressed and _HOSTS not in taken:
        place = os.path.join(directory, "etc-hosts")
        await anyio.to_thread.run_sync(_write_hosts, place, pod, starting.state.ips, host.settings.cluster_domain)
        own.append(Mount("k8s-managed-etc-hosts", _HOSTS, place))
    return tuple(own)


def _write_hosts(place: str, pod: Document, ips: tuple[str, ...], cluster_domain: str) -> None:
    content = ""
    if pod["spec"].get("hostNetwork"):
        with open(_HOSTS, encoding="utf-8", errors="replace") as file:
            content = file.read()
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "w", encoding="utf-8") as file:
        file.write(hosts_file(pod, ips, cluster_domain, content))
    os.chmod(place, 0o644)


def _reader(starting: Starting) -> Callable[[str, str], Awaitable[str | None]]:
    places = starting.state.places or {}

    async def read(volume: str, path: str) -> str | None:
        place = places.get(volume)
        if place is None:
            raise ConfigurationError(f'cannot find the volume "{volume}" referenced by FileKeyRef')
        return await anyio.to_thread.run_sync(_read_inside, place.path, path)

    return read


def _read_inside(root: str, path: str) -> str | None:
    """A file of a volume; None where there is none, or where it leads out of the volume."""
    whole = os.path.realpath(os.path.join(root, path.lstrip("/")))
    if not whole.startswith(os.path.realpath(root).rstrip("/") + "/"):
        return None
    try:
        with open(whole, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
