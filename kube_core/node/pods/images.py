"""Having a container's image present: by its pull policy, with the pod's pull secrets, backing off from what failed.

Events, reasons and messages are those that upstream documents under "Images". What is said of a pull that failed is
kept for as long as the next one has to wait, since the waiting container's message repeats it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from kube_core.abc.runtime import ImageFailure, ImageStatus, RegistryCredentials
from kube_core.meta.documents import Document, name_of, namespace_of, uid_of
from kube_core.node.pods.configuration import Starting
from kube_core.node.pods.credentials import credentials_for
from kube_core.node.pods.host import Host
from kube_core.node.pods.waiting import NotStarted

__all__ = ["ensure_image"]

#: A pull that takes no longer is not waited for by a status of its own.
_QUICK_SECONDS = 0.1

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:\[[0-9a-fA-F:]+\]|{_LABEL}(?:\.{_LABEL})*)(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*(?::[\w][\w.-]{{0,127}})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{{32,}})?"
)


async def ensure_image(host: Host, starting: Starting, container: Document, path: str) -> ImageStatus:
    """Have it present; `path` is what of the pod its events are about. Raises `NotStarted`."""
    pod, sandbox_id = starting.pod, starting.sandbox_id
    image, policy = str(container["image"]), _policy(container)
    key = f"{uid_of(pod)}/{image}"
    events = host.events
    if not _REFERENCE.fullmatch(image):
        message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
        message += "invalid reference format"
        events.warning(pod, "InspectFailed", message, field_path=path)
        events.warning(pod, "Failed", "Error: InvalidImageName", field_path=path)
        raise NotStarted("InvalidImageName", message)
    try:
        present = await host.runtime.image_status(image, sandbox_id=sandbox_id)
    except ImageFailure as error:
        message = f'Failed to inspect image "{image}": {error}'
        events.warning(pod, "InspectFailed", message, field_path=path)
        events.warning(pod, "Failed", "Error: ImageInspectError", field_path=path)
        raise NotStarted("ImageInspectError", message) from None
    if present is not None and policy != "Always":
        message = f'Container image "{image}" already present on machine and can be accessed by the pod'
        events.normal(pod, "Pulled", message, field_path=path)
        return present
    if policy == "Never":
        message = f'Container image "{image}" is not present with pull policy of Never'
        events.warning(pod, "ErrImageNeverPull", message, field_path=path)
        events.warning(pod, "Failed", "Error: ErrImageNeverPull", field_path=path)
        raise NotStarted("ErrImageNeverPull", message)
    _back_off(host, pod, image, key, path)
    async with _told_where_slow(host, starting):
        return await _pull(host, pod, image, sandbox_id, key, path)


def _policy(container: Document) -> str:
    if policy := container.get("imagePullPolicy"):
        return str(policy)
    name = str(container["image"]).rpartition("/")[2]
    return "Always" if "@" not in name and name.partition(":")[2] in ("", "latest") else "IfNotPresent"


@asynccontextmanager
async def _told_where_slow(host: Host, starting: Starting) -> AsyncIterator[None]:
    """Have the pod's status say where it is, where the block takes long; a status costs more than a quick pull."""

    async def tell() -> None:
        try:
            await starting.slow()
        except Exception as error:
            host.log.warning("pod not reported", pod=name_of(starting.pod), error=str(error))

    def is_slow() -> None:
        host.spawn(tell(), f"status of pod {name_of(starting.pod)}")

    timer = host.clock.call_later(_QUICK_SECONDS, is_slow)
    try:
        yield
    finally:
        timer.cancel()


def _back_off(host: Host, pod: Document, image: str, key: str, path: str) -> None:
    """Raises where the last pull failed not long ago."""
    backoffs = host.image_backoffs
    remaining = backoffs.remaining(key, backoffs.updated(key), host.clock.now())
    if remaining <= 0:
        backoffs.notes.pop(key, None)
        return
    message = f'Back-off pulling image "{image}"'
    host.events.normal(pod, "BackOff", message, field_path=path)
    host.events.warning(pod, "Failed", "Error: ImagePullBackOff", field_path=path)
    note = backoffs.notes.get(key)
    raise NotStarted("ImagePullBackOff", f"{message}: {note}" if note else message, retry_after=remaining)


async def _pull(host: Host, pod: Document, image: str, sandbox_id: str, key: str, path: str) -> ImageStatus:
    events = host.events
    began = host.clock.monotonic()
    events.normal(pod, "Pulling", f'Pulling image "{image}"', field_path=path)
    try:
        pulled = await _pull_with(host, image, sandbox_id, await _credentials(host, pod, image))
    except ImageFailure as error:
        reason, message = _told(image, error)
        events.warning(pod, "Failed", f'Failed to pull image "{image}": {error}', field_path=path)
        events.warning(pod, "Failed", f"Error: {reason}", field_path=path)
        host.image_backoffs.next(key, host.clock.now())
        host.image_backoffs.notes[key] = f"{reason}: {message}"
        raise NotStarted(reason, message, retry_after=0.0) from None
    host.image_backoffs.forget(key)
    took = _duration(host.clock.monotonic() - began)
    events.normal(
        pod,
        "Pulled",
        f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {pulled.size} bytes.',
        field_path=path,
    )
    return pulled


async def _credentials(host: Host, pod: Document, image: str) -> list[RegistryCredentials]:
    secrets = []
    for reference in pod["spec"].get("imagePullSecrets") or ():
        name = str(reference.get("name") or "")
        secret = await host.sources.secret(namespace_of(pod), name) if name else None
        if secret is not None:
            secrets.append(secret)
        else:
            host.events.warning(
                pod,
                "FailedToRetrieveImagePullSecret",
                f"Unable to retrieve some image pull secrets ({name}); attempting to pull the image may not succeed.",
            )
    return credentials_for(image, secrets)


async def _pull_with(
    host: Host, image: str, sandbox_id: str, credentials: Sequence[RegistryCredentials]
) -> ImageStatus:
    """With each of the credentials in turn, or with none. Raises what the last one did."""
    for each in credentials[:-1]:
        try:
            return await host.runtime.pull_image(image, sandbox_id=sandbox_id, credentials=each)
        except ImageFailure:
            continue
    last = credentials[-1] if credentials else None
    return await host.runtime.pull_image(image, sandbox_id=sandbox_id, credentials=last)


def _told(image: str, error: ImageFailure) -> tuple[str, str]:
    whys = {
        "RegistryUnavailable": "the registry is unavailable",
        "SignatureValidationFailed": "the signature validation failed",
    }
    if error.reason in whys:
        return error.reason, f"image pull failed for {image} because {whys[error.reason]}: {error}"
    return error.reason or "ErrImagePull", str(error)


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}s" if seconds >= 1 else f"{round(seconds * 1000)}ms"
