"""The images of an endpoint, by its ImageService: pulled with credentials, listed, removed, measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import anyio.to_thread
import attrs
import orjson

from kube_core.abc.runtime import ImageFailure, ImageStatus, ImageUsage, RegistryCredentials, RuntimeFailure
from kube_drivers.runtime.cri.endpoint import Endpoint
from kube_drivers.runtime.cri.requests import Fields, auth_fields
from kube_drivers.runtime.cri.statuses import image_status

__all__ = ["Images"]

#: Reasons by which upstream knows what went wrong: an endpoint's message begins with them.
_REASONS = ("RegistryUnavailable", "SignatureValidationFailed")


class Images:
    """Of one endpoint. Images are named by CRI's `ImageSpec`, as `requests.image_fields` makes it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        #: The image of sandboxes, where the endpoint does not mark it itself.
        self._sandboxes = ""

    async def learn(self) -> None:
        """Which image it makes sandboxes of. containerd says it among what it tells for debugging alone."""
        answer = await self._endpoint.call("Status", verbose=True)
        try:
            told = orjson.loads(answer.info.get("config", "{}"))
        except orjson.JSONDecodeError:
            return
        self._sandboxes = str(told.get("sandboxImage") or "") if isinstance(told, dict) else ""

    async def pull(self, image: Fields, credentials: RegistryCredentials | None, sandbox: Fields | None) -> ImageStatus:
        """`sandbox`: the `PodSandboxConfig` of the pod that it is for. Raises `ImageFailure`."""
        fields = {"image": image, "auth": auth_fields(credentials), "sandbox_config": sandbox}
        # How long an image takes to come nobody can say; who gives up cancels the call.
        pulled = await self._call("PullImage", deadline=None, **fields)
        found = await self.status({**image, "image": pulled.image_ref or image["image"]})
        if found is None:
            raise ImageFailure(f'the image "{image["image"]}" was removed while it was pulled')
        return found

    async def status(self, image: Fields) -> ImageStatus | None:
        """Raises `ImageFailure`."""
        answer = await self._call("ImageStatus", image=image)
        return image_status(answer.image) if answer.HasField("image") else None

    async def list(self) -> Sequence[ImageStatus]:
        """Raises `RuntimeFailure`."""
        found = [image_status(each) for each in (await self._endpoint.call("ListImages")).images]
        return [attrs.evolve(each, pinned=each.pinned or self._sandboxes in each.references) for each in found]

    async def remove(self, image_id: str) -> None:
        """Raises `ImageFailure`."""
        await self._call("RemoveImage", image={"image": image_id})

    async def usage(self) -> ImageUsage | None:
        """Of the first of its file systems; None where that is nowhere that can be looked at from here."""
        systems = (await self._endpoint.call("ImageFsInfo")).image_filesystems
        if not systems:
            return None
        place = systems[0].fs_id.mountpoint
        try:
            whole = await anyio.to_thread.run_sync(os.statvfs, place)
        except OSError:
            return None
        return ImageUsage(
            place,
            used=systems[0].used_bytes.value,
            capacity=whole.f_blocks * whole.f_frsize,
            available=whole.f_bavail * whole.f_frsize,
            inodes_used=systems[0].inodes_used.value,
        )

    async def _call(self, name: str, **fields: Any) -> Any:
        try:
            return await self._endpoint.call(name, **fields)
        except RuntimeFailure as error:
            text = str(error)
            reason = next((each for each in _REASONS if text.startswith(each)), "")
            raise ImageFailure(text, reason=reason) from None
