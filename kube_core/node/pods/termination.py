"""What a container said of its end: the file at `terminationMessagePath`, or the end of its log where it says to.

The file is made on the host, mounted into the container, and read once the container has ended: at most 4096 bytes of
it; of a log 80 lines and 2048 bytes, where `terminationMessagePolicy` is `FallbackToLogsOnError`, the container failed,
and its file is empty. Numbers and words are upstream's.
"""

from __future__ import annotations

import os

import anyio.to_thread

from kube_core.abc.runtime import ContainerStatus, LogOptions, Mount, Runtime, RuntimeFailure
from kube_core.meta.documents import Document

__all__ = ["MESSAGE_VOLUME", "message_mount", "termination_message"]

#: The name of the mount, by which the file is found again.
MESSAGE_VOLUME = "k8s-managed-termination-log"

_FILE_BYTES = 4096
_LOG_LINES = 80
_LOG_BYTES = 2048


async def message_mount(pod_directory: str, container: Document, attempt: int) -> Mount | None:
    """A new file for one run of a container, and where it is mounted. None where it has no such path."""
    path = container.get("terminationMessagePath")
    if not path:
        return None
    folder = os.path.join(pod_directory, "containers", str(container["name"]))
    place = os.path.join(folder, str(attempt))
    await anyio.to_thread.run_sync(_make, folder, place)
    return Mount(MESSAGE_VOLUME, os.path.join("/", str(path)), place)


async def termination_message(runtime: Runtime, container: Document | None, run: ContainerStatus) -> str:
    """The message of a container that has ended: the runtime's, then the container's own."""
    own, empty = "", True
    for mount in run.config.mounts:
        if mount.name == MESSAGE_VOLUME:
            own, empty = await anyio.to_thread.run_sync(_read, mount.host_path)
    policy = (container or {}).get("terminationMessagePolicy")
    if empty and policy == "FallbackToLogsOnError" and run.exit_code != 0:
        own = await _end_of_log(runtime, run)
    return ": ".join(each for each in (run.message, own) if each)


def _make(folder: str, place: str) -> None:
    os.makedirs(folder, exist_ok=True)
    with open(place, "wb"):
        pass
    os.chmod(place, 0o666)  # a container may run as any user


def _read(path: str) -> tuple[str, bool]:
    """The file's end, and whether it is empty."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _FILE_BYTES, 0))
            content = file.read(_FILE_BYTES)
    except FileNotFoundError:
        return "", True
    except OSError as error:
        return f"Error on reading termination log {path}: {error.strerror}", False
    return content.decode("utf-8", "replace"), not content


async def _end_of_log(runtime: Runtime, run: ContainerStatus) -> str:
    content = b""
    try:
        async for line in runtime.logs(run.id, LogOptions(tail_lines=_LOG_LINES)):
            content = (content + line.content + (b"" if line.partial else b"\n"))[-_LOG_BYTES:]
    except RuntimeFailure as error:
        return f"Error on reading termination message from logs: {error}"
    return content.decode("utf-8", "replace")
