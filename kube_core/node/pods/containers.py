"""Bringing one container up (its image, its configuration, creation, start, postStart hook), and down again.

What can go wrong is told by `NotStarted`, with the reason that the container's `waiting` state shows. Events are
upstream's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from kube_core.abc.runtime import ContainerStatus, RuntimeFailure
from kube_core.meta.documents import Document
from kube_core.node.environment import ConfigurationError
from kube_core.node.pods.configuration import Starting, configuration
from kube_core.node.pods.hooks import HookFailed, run_hook
from kube_core.node.pods.host import Host
from kube_core.node.pods.images import ensure_image
from kube_core.node.pods.restarts import find_container
from kube_core.node.pods.waiting import NotStarted

__all__ = ["Stopping", "field_path_of", "start_container", "stop_container"]

#: Upstream gives a container at least this long, whatever its preStop hook used up.
_LEAST_GRACE = 2.0


@attrs.frozen
class Stopping:
    """How a container is to end. `why`: what its event says ("": the usual). `turn` waits for all that go before."""

    grace: float
    why: str = ""
    hook: bool = True
    turn: Callable[[], Awaitable[None]] | None = None


def field_path_of(pod: Document, name: str) -> str:
    """The part of a pod that an event is about."""
    for field in ("initContainers", "ephemeralContainers"):
        if any(each["name"] == name for each in pod["spec"].get(field) or ()):
            return f"spec.{field}{{{name}}}"
    return f"spec.containers{{{name}}}"


async def start_container(host: Host, starting: Starting) -> str:
    """Its id. Raises `NotStarted`."""
    pod, container = starting.pod, starting.container
    path = field_path_of(pod, container["name"])
    image = await ensure_image(host, starting, container, path)
    try:
        for volume in _image_volumes(pod, container):
            await ensure_image(host, starting, volume, path)
        config = await configuration(host, starting, image)
    except ConfigurationError as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("CreateContainerConfigError", str(error)) from None
    if (container.get("lifecycle") or {}).get("postStart"):
        await starting.slow()  # it counts as started when its hook is over
    try:
        identity = await host.runtime.create_container(starting.sandbox_id, config)
    except RuntimeFailure as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("CreateContainerError", str(error)) from None
    host.events.normal(pod, "Created", "Container created", field_path=path)
    try:
        await host.runtime.start_container(identity)
    except RuntimeFailure as error:
        host.events.warning(pod, "Failed", f"Error: {error}", field_path=path)
        raise NotStarted("RunContainerError", str(error), retry_after=0.0) from None
    host.events.normal(pod, "Started", "Container started", field_path=path)
    await _after_start(host, starting, identity, path)
    return identity


async def stop_container(host: Host, pod: Document, run: ContainerStatus, stopping: Stopping) -> None:
    """End a container: event, preStop hook, its turn, signal, and force when its grace is over."""
    name, grace = run.config.name, stopping.grace
    path = field_path_of(pod, name)
    host.events.normal(pod, "Killing", stopping.why or f"Stopping container {name}", field_path=path)
    container = find_container(pod, name)
    began = host.clock.monotonic()
    handler = ((container or {}).get("lifecycle") or {}).get("preStop")
    if container is not None and handler and stopping.hook and grace > 0:
        try:
            async with host.clock.timeout(grace):
                await run_hook(host, pod, container, run.id, handler)
        except HookFailed as error:
            host.log.warning("preStop hook failed", container=name, error=str(error))
            host.events.warning(pod, "FailedPreStopHook", "PreStopHook failed", field_path=path)
        except TimeoutError:
            pass  # it has had its grace
        grace -= host.clock.monotonic() - began
    if stopping.turn is not None and grace > 0:
        began = host.clock.monotonic()
        try:
            async with host.clock.timeout(grace):
                await stopping.turn()
        except TimeoutError:
            pass
        grace -= host.clock.monotonic() - began
    await host.runtime.stop_container(run.id, stopping.grace if grace == stopping.grace else max(grace, _LEAST_GRACE))


async def _after_start(host: Host, starting: Starting, identity: str, path: str) -> None:
    """The postStart hook; a container whose hook failed is ended."""
    pod, container = starting.pod, starting.container
    hook = (container.get("lifecycle") or {}).get("postStart")
    if not hook:
        return
    try:
        await run_hook(host, pod, container, identity, hook)
    except HookFailed as error:
        host.log.warning("postStart hook failed", container=container["name"], error=str(error))
        host.events.warning(pod, "FailedPostStartHook", "PostStartHook failed", field_path=path)
        run = next((each for each in host.runtime.list_containers(starting.state.uid) if each.id == identity), None)
        if run is not None and run.state == "running":
            grace = float(pod["spec"].get("terminationGracePeriodSeconds") or 30)
            await stop_container(host, pod, run, Stopping(grace, "FailedPostStartHook"))
        raise NotStarted("PostStartHookError", str(error), retry_after=0.0) from None


def _image_volumes(pod: Document, container: Document) -> list[Document]:
    """The images that a container mounts, as if each were a container's."""
    mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    return [
        {
            "name": container["name"],
            "image": volume["image"]["reference"],
            "imagePullPolicy": volume["image"].get("pullPolicy"),
        }
        for volume in pod["spec"].get("volumes") or ()
        if volume["name"] in mounted and (volume.get("image") or {}).get("reference")
    ]
