"""Bringing one container up (its image, environment and mounts, creation, start, postStart hook), and down again.

What can go wrong is told by `NotStarted`, with the reason that the container's `waiting` state shows. Events are
upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kube_core.abc.runtime import ContainerConfig, ContainerStatus, ImageFailure, Resources, RuntimeFailure
from kube_core.abc.security import SecurityContext
from kube_core.meta import quantities
from kube_core.meta.documents import Document, name_of, namespace_of, uid_of
from kube_core.node.environment import ConfigurationError, container_environment, expand
from kube_core.node.pods.backoff import duration_text
from kube_core.node.pods.host import Host
from kube_core.node.volumes.mounting import container_mounts

__all__ = ["NotStarted", "Starting", "field_path_of", "pod_text", "start_container", "stop_container"]

#: Upstream gives a container at least this long after its preStop hook used its grace up.
_LEAST_GRACE = 2.0


class NotStarted(Exception):
    """Why a container waits. `retry_after` in seconds."""

    def __init__(self, reason: str, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


@attrs.frozen
class Starting:
    """What starting a container takes. `pod` carries its addresses in its status."""

    pod: Document
    container: Document
    sandbox_id: str
    attempt: int
    places: Mapping[str, str]
    """Volumes by name."""


def field_path_of(pod: Document, name: str) -> str:
    """The part of a pod that an event is about."""
    inits = pod["spec"].get("initContainers") or ()
    field = "initContainers" if any(each["name"] == name for each in inits) else "containers"
    return f"spec.{field}{{{name}}}"


async def start_container(host: Host, starting: Starting) -> str:
    """Its id. Raises `NotStarted`."""
    pod, container = starting.pod, starting.container
    path = field_path_of(pod, container["name"])
    await _ensure_image(host, starting, path)
    try:
        config = await _configuration(host, starting)
    except ConfigurationError as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("CreateContainerConfigError", str(error), retry_after=10.0) from None
    try:
        identity = await host.runtime.create_container(starting.sandbox_id, config)
    except RuntimeFailure as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("CreateContainerError", str(error), retry_after=10.0) from None
    host.events.normal(pod, "Created", "Container created", field_path=path)
    try:
        await host.runtime.start_container(identity)
    except RuntimeFailure as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("RunContainerError", str(error), retry_after=0.0) from None
    host.events.normal(pod, "Started", "Container started", field_path=path)
    hook = (container.get("lifecycle") or {}).get("postStart")
    if hook:
        try:
            await _run_hook(host, pod, identity, hook)
        except (RuntimeFailure, TimeoutError, OSError) as error:
            host.events.warning(pod, "FailedPostStartHook", f"PostStartHook failed: {error}", field_path=path)
            await host.runtime.stop_container(identity, _LEAST_GRACE)
    return identity


async def stop_container(
    host: Host, pod: Document, container: Document | None, run: ContainerStatus, *, grace: float, why: str, hook: bool
) -> None:
    """End a container: event, preStop hook, signal, and force when its grace is over."""
    path = field_path_of(pod, run.config.name)
    host.events.normal(pod, "Killing", why or f"Stopping container {run.config.name}", field_path=path)
    began = host.clock.monotonic()
    handler = ((container or {}).get("lifecycle") or {}).get("preStop")
    if handler and hook and grace > 0:
        try:
            async with host.clock.timeout(grace):
                await _run_hook(host, pod, run.id, handler)
        except (RuntimeFailure, TimeoutError, OSError) as error:
            said = str(error) or f"it took longer than {grace:g}s"
            host.events.warning(pod, "FailedPreStopHook", f"PreStopHook failed: {said}", field_path=path)
        grace = max(grace - (host.clock.monotonic() - began), _LEAST_GRACE)
    await host.runtime.stop_container(run.id, grace)


async def _ensure_image(host: Host, starting: Starting, path: str) -> None:
    pod, container, sandbox = starting.pod, starting.container, starting.sandbox_id
    image, policy = str(container["image"]), container.get("imagePullPolicy")
    key = f"{uid_of(pod)}/{image}"
    try:
        present = await host.runtime.image_status(image, sandbox_id=sandbox)
        if present is not None and policy != "Always":
            message = f'Container image "{image}" already present on machine and can be accessed by the pod'
            host.events.normal(pod, "Pulled", message, field_path=path)
            return
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            host.events.warning(pod, "ErrImageNeverPull", message, field_path=path)
            host.events.warning(pod, "Failed", "Error: ErrImageNeverPull", field_path=path)
            raise NotStarted("ErrImageNeverPull", message, retry_after=10.0)
        began = host.clock.monotonic()
        host.events.normal(pod, "Pulling", f'Pulling image "{image}"', field_path=path)
        pulled = await host.runtime.pull_image(image, sandbox_id=sandbox)
    except ImageFailure as error:
        host.events.warning(pod, "Failed", f'Failed to pull image "{image}": {error}', field_path=path)
        host.events.warning(pod, "Failed", "Error: ErrImagePull", field_path=path)
        host.image_backoffs.next(key, host.clock.now())
        raise NotStarted("ErrImagePull", str(error), retry_after=0.0) from None
    host.image_backoffs.forget(key)
    took = _duration(host.clock.monotonic() - began)
    message = (
        f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {pulled.size} bytes.'
    )
    host.events.normal(pod, "Pulled", message, field_path=path)


async def _configuration(host: Host, starting: Starting) -> ContainerConfig:
    pod, container = starting.pod, starting.container
    links = pod["spec"].get("enableServiceLinks", True)
    services = host.services(namespace_of(pod), links is not False)
    env = await container_environment(pod, container, host.sources, services=services, node=host.node())
    mounts = container_mounts(container, starting.places, env)
    await host.volumes.make_sub_paths(mounts)
    limits: Mapping[str, str] = (container.get("resources") or {}).get("limits") or {}
    security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
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
        security=SecurityContext(user=security.get("runAsUser"), group=security.get("runAsGroup")),
        resources=Resources(
            cpu_quota=quantities.parse(limits["cpu"]).milli_value * 100 if "cpu" in limits else 0,
            memory_bytes=quantities.parse(limits["memory"]).value if "memory" in limits else 0,
        ),
    )


async def _run_hook(host: Host, pod: Document, container_id: str, handler: Document) -> None:
    """Raises `RuntimeFailure` or OSError where it fails."""
    if handler.get("exec"):
        command = [str(word) for word in handler["exec"].get("command") or ()]
        result = await host.runtime.exec_sync(container_id, command)
        if result.exit_code != 0:
            raise RuntimeFailure(f"command '{' '.join(command)}' exited with {result.exit_code}")
    elif handler.get("sleep"):
        await host.clock.sleep(float(handler["sleep"]["seconds"]))
    elif handler.get("httpGet") and host.runtime.reachable(container_id):
        await _http_hook(host, pod, handler["httpGet"])


async def _http_hook(host: Host, pod: Document, http: Document) -> None:
    import aiohttp  # lazily: few pods have such a hook

    address = str(http.get("host") or (pod.get("status") or {}).get("podIP") or "127.0.0.1")
    url = f"{str(http.get('scheme') or 'HTTP').lower()}://{address}:{http['port']}{http.get('path') or '/'}"
    try:
        with host.clock.hold("node: hook"):
            connector = aiohttp.TCPConnector(ssl=False)
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(connector=connector) as session, session.get(url, timeout=timeout):
                pass
    except (TimeoutError, aiohttp.ClientError) as error:
        raise RuntimeFailure(f'Get "{url}": {error}') from None


def _duration(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms" if seconds < 1 else f"{seconds:.3f}s" if seconds < 60 else duration_text(seconds)


def pod_text(pod: Document) -> str:
    """`name_namespace(uid)`, as upstream's messages name a pod."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"
