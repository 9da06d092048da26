"""CRI's image service, by the runtime's images.

An image is known by the id of its configuration, whichever names it has: that is what a pull answers with, and what
kubelets make containers of.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ImageFailure, ImageStatus, RegistryCredentials, Runtime
from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.criserver import statuses
from kube_drivers.runtime.criserver.refusals import Refusal, invalid

__all__ = ["Images"]


class Images:
    """A part of the server; see the package."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def list_images(self, request: Any) -> Any:
        wanted = request.filter.image.image
        if wanted:
            found = await self._status(wanted)
            known = [found] if found is not None else []
        else:
            known = list(await self._runtime.list_images())
        return message("ListImagesResponse")(images=[statuses.image(each) for each in known])

    async def image_status(self, request: Any) -> Any:
        found = await self._status(_named(request.image))
        if found is None:
            return message("ImageStatusResponse")()
        info = {"info": orjson.dumps(_info(found)).decode()} if request.verbose else {}
        return message("ImageStatusResponse")(image=statuses.image(found), info=info)

    async def pull_image(self, request: Any) -> Any:
        name = _named(request.image)
        credentials = _credentials(request.auth) if request.HasField("auth") else None
        pulled = await self._runtime.pull_image(name, credentials=credentials)
        return message("PullImageResponse")(image_ref=pulled.id)

    async def remove_image(self, request: Any) -> Any:
        found = await self._status(_named(request.image))
        if found is not None:
            try:
                await self._runtime.remove_image(found.id)
            except ImageFailure as error:
                raise Refusal("FAILED_PRECONDITION", str(error)) from None
        return message("RemoveImageResponse")()

    async def image_fs_info(self, request: Any) -> Any:
        """Images and containers take the same file system; what containers write is not told apart."""
        usage = await self._runtime.image_usage()
        if usage is None:
            return message("ImageFsInfoResponse")()
        told = {
            "timestamp": statuses.nanoseconds(self._clock.now()),
            "fs_id": {"mountpoint": usage.mountpoint},
            "used_bytes": {"value": usage.used},
            "inodes_used": {"value": usage.inodes_used},
        }
        return message("ImageFsInfoResponse")(image_filesystems=[told], container_filesystems=[told])

    async def _status(self, name: str) -> ImageStatus | None:
        return await self._runtime.image_status(name)


def _named(spec: Any) -> str:
    if not spec.image:
        raise invalid("an image has to be named")
    return str(spec.image)


def _credentials(auth: Any) -> RegistryCredentials:
    """Raises `Refusal` for an `auth` that is no base64 of `user:password`."""
    username, password = auth.username, auth.password
    if auth.auth and not username:
        try:
            username, _, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise invalid("auth is no base64 of a user and a password") from None
    return RegistryCredentials(username, password.rstrip("\0"), auth.identity_token, auth.registry_token)


def _info(image: ImageStatus) -> dict[str, Any]:
    config = {"User": image.user or "", "Entrypoint": list(image.entrypoint), "Cmd": list(image.command)}
    return {"imageSpec": {"config": config}}
