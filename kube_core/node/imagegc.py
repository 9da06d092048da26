"""Removing images that nobody uses: when their disk fills up, and when they were not used for long.

As upstream documents under "Garbage collection of unused containers and images": from the high threshold down to the
low one, the least recently used first, none that was found less than two minutes ago. An image is in use as long as a
container of it is there. Where images take no place that could be freed, nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ImageFailure, ImageStatus, Runtime, RuntimeFailure
from kube_core.api.kubelet import KubeletSettings

__all__ = ["ImageCollection"]


@attrs.define
class _Seen:
    first: float
    last_used: float


class ImageCollection:
    """Of one node. `event` records a warning about the node: reason, message."""

    def __init__(
        self, runtime: Runtime, clock: Clock, settings: KubeletSettings, event: Callable[[str, str], None]
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._settings = settings
        self._event = event
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._settings.image_gc_period)
            try:
                await self.collect()
            except RuntimeFailure as error:
                self._event("ImageGCFailed", str(error))

    async def collect(self) -> None:
        """Remove what is too old, and what it takes to come below the low threshold."""
        settings = self._settings
        unused = await self._unused()
        if settings.image_maximum_gc_age:
            old = [each for each in unused if self._age(each) > settings.image_maximum_gc_age]
            await self._remove(old)
            unused = [each for each in unused if each not in old]
        usage = await self._runtime.image_usage()
        if usage is None or usage.capacity <= 0:
            return
        percent = 100 - usage.available * 100 // usage.capacity
        if percent < settings.image_gc_high_threshold_percent:
            return
        wanted = usage.capacity * (100 - settings.image_gc_low_threshold_percent) // 100 - usage.available
        freed = await self._remove(self._aged(unused), enough=wanted)
        if freed < wanted:
            self._event(
                "FreeDiskSpaceFailed",
                "Insufficient free disk space on the node's image filesystem "
                f"({percent}% of {_size(usage.capacity)} used). "
                f"Failed to free sufficient space by deleting unused images (freed {freed} bytes). "
                "Investigate disk usage, as it could be used by active images, logs, volumes, or other data.",
            )

    async def free_all(self) -> None:
        """Remove every image that nobody uses, as the node is short of disk."""
        await self._remove(await self._unused())

    async def _unused(self) -> list[ImageStatus]:
        """The least recently used first."""
        now = self._clock.now()
        images = await self._runtime.list_images()
        used = {each.image_id for each in self._runtime.list_containers()}
        named = {each.config.image for each in self._runtime.list_containers()}
        self._seen = {each.id: self._seen.get(each.id, _Seen(now, 0.0)) for each in images}
        unused = []
        for image in images:
            if not {image.id, *image.references}.isdisjoint(used | named):
                self._seen[image.id].last_used = now
            elif not image.pinned:
                unused.append(image)
        return sorted(unused, key=lambda each: (self._seen[each.id].last_used, self._seen[each.id].first))

    def _aged(self, images: Sequence[ImageStatus]) -> list[ImageStatus]:
        least = self._settings.image_minimum_gc_age
        return [each for each in images if self._clock.now() - self._seen[each.id].first >= least]

    def _age(self, image: ImageStatus) -> float:
        seen = self._seen[image.id]
        return self._clock.now() - (seen.last_used or seen.first)

    async def _remove(self, images: Sequence[ImageStatus], enough: int | None = None) -> int:
        """Remove one after the other, until `enough` bytes are free; how many are."""
        freed = 0
        for image in images:
            if enough is not None and freed >= enough:
                break
            try:
                await self._runtime.remove_image(image.id)
            except ImageFailure:
                continue  # somebody began to use it
            self._seen.pop(image.id, None)
            freed += image.size
        return freed


def _size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.1f} {unit}"
