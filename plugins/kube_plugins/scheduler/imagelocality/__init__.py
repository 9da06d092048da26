"""ImageLocality: a node that has a pod's images already is better, the more so the larger they are.

An image counts with its size, and the less the fewer nodes have it, so that not all pods go where one image happens to
be. What is smaller than 23 MB does not matter, nor what is larger than 1000 MB for each container (upstream's plugin of
that name, with its numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kube_core.scheduler.framework import MAX_SCORE, SKIP, CycleState, PreScore, SchedulerHandle, Score, Skip
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["ImageLocality"]

_MEGABYTE = 1024 * 1024
_LEAST = 23 * _MEGABYTE
_MOST_PER_CONTAINER = 1000 * _MEGABYTE


class ImageLocality(PreScore, Score):
    name = "ImageLocality"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._nodes = handle.nodes

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        images = tuple(_images_of(pod))
        held = [node.images for node in self._nodes]
        # What each image counts for on a node that has it: the share of nodes that do.
        spread = {image: sum(1 for sizes in held if image in sizes) / len(held) for image in set(images)}
        if not any(spread.values()):
            return SKIP
        state[self.name] = images, spread
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        images, spread = state[self.name]
        sizes = node.images
        total = sum(int(sizes[image] * spread[image]) for image in images if image in sizes)
        most = _MOST_PER_CONTAINER * len(images)
        return MAX_SCORE * (min(max(total, _LEAST), most) - _LEAST) // (most - _LEAST)


def _images_of(pod: PodInfo) -> Iterator[str]:
    for field in ("initContainers", "containers"):
        for container in pod.spec.get(field) or ():
            yield _with_tag(str(container.get("image") or ""))


def _with_tag(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"
