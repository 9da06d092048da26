"""Static pods: those in files of this node, which run whatever the API says, and are shown there by mirrors.

    pods = StaticPods(...)
    await pods.run()        # looks into the folder again and again, until cancelled

As upstream documents under "Create static Pods": every file of the folder (none that begins with a dot) holds a pod;
its name gets the node's behind it, its uid is made of its content. Its mirror in the API carries its status, belongs to
the Node, and changes nothing: who deletes it sees it come back. A file that is gone ends its pod; one that changed ends
it and then starts the new one. A file that holds no pod is told in the log, and is as one that is gone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import anyio.to_thread
import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.api.kubelet import KubeletSettings
from kube_core.client.client import ApiClient
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    is_deleting,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_core.meta.times import format_time
from kube_core.node.pods.admission import MIRROR, STATIC_SOURCE

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["PodsOfNode", "StaticPods", "read_static_pod"]

_HASH = "kubernetes.io/config.hash"
_SEEN = "kubernetes.io/config.seen"
_OUTLIVES = {"operator": "Exists", "effect": "NoExecute"}


class PodsOfNode(Protocol):
    """What is done with pods: by the agent."""

    def start_pod(self, pod: Document) -> None:
        """Have it run."""

    def stop_pod(self, pod: Document) -> None:
        """End it, within its grace."""

    def look_again(self, uid: str) -> None:
        """Report its status anew."""


@attrs.define
class _Known:
    """A static pod, with its mirror as last seen."""

    pod: Document
    mirror: Document | None = None
    ending: bool = False


def read_static_pod(content: bytes, path: str, node_name: str) -> MutableDocument:
    """A pod as it is to run, from a file in YAML or JSON. Raises `ValueError` for what is no pod."""
    from kube_core.api.yaml import YamlError, load  # lazily: few nodes have files

    try:
        read = load(content)
    except YamlError as error:
        raise ValueError(str(error)) from None
    if not isinstance(read, dict) or read.get("kind") != "Pod" or not isinstance(read.get("spec"), dict):
        raise ValueError("it holds no Pod")
    metadata = dict(read.get("metadata") or {})
    if not metadata.get("name") or not read["spec"].get("containers"):
        raise ValueError("it has no name, or no containers")
    told = orjson.dumps(read, option=orjson.OPT_SORT_KEYS) + f"host:{node_name}file:{path}".encode()
    uid = str(metadata.get("uid") or hashlib.sha256(told).hexdigest()[:32])
    metadata |= {
        "name": f"{metadata['name']}-{node_name.lower()}",
        "namespace": metadata.get("namespace") or "default",
        "uid": uid,
        "annotations": {**(metadata.get("annotations") or {}), _HASH: uid, STATIC_SOURCE: "file"},
    }
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, **read["spec"], "nodeName": node_name}
    spec["tolerations"] = [*(each for each in spec.get("tolerations") or () if each != _OUTLIVES), _OUTLIVES]
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [{"terminationMessagePath": "/dev/termination-log", **each} for each in spec[field]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


class StaticPods:
    """Of one node. The agent tells of mirrors (`mirror_changed`) and of pods that have ended (`ended`)."""

    def __init__(
        self,
        client: ApiClient,
        *,
        node_name: str,
        node_uid: Callable[[], str],
        settings: KubeletSettings,
        clock: Clock,
        log: FilteringBoundLogger,
        pods: PodsOfNode,
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._node_uid = node_uid
        self._settings = settings
        self._clock = clock
        self._log = log
        self._pods = pods
        self._known: dict[str, _Known] = {}
        self._next: dict[tuple[str, str], Document] = {}
        self._mirrors: dict[tuple[str, str], Document] = {}
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._settings.file_check_frequency)
            await self.look()

    async def look(self) -> None:
        """Look into the folder, and at the mirrors."""
        wanted = {uid_of(pod): pod for pod in await self._read()}
        for uid, known in self._known.items():
            if uid not in wanted and not known.ending:
                known.ending = True
                self._pods.stop_pod(known.pod)
        for uid, pod in wanted.items():
            if uid not in self._known:
                self._begin(pod)
        for uid in list(self._known):
            await self._keep_mirror(uid)
        shown = {(namespace_of(each.pod), name_of(each.pod)) for each in self._known.values()}
        for place in [each for each in self._mirrors if each not in shown]:
            await self._remove_mirror(place)  # its file went while nobody looked

    def mirror_of(self, uid: str) -> Document | None:
        """The mirror of a static pod, to which its status is written."""
        known = self._known.get(uid)
        return known.mirror if known is not None else None

    def owns(self, uid: str) -> bool:
        return uid in self._known

    def mirror_changed(self, before: Document | None, after: Document | None) -> None:
        """A mirror was seen, changed, or is gone."""
        document = after or before or {}
        place = namespace_of(document), name_of(document)
        if after is None:
            self._mirrors.pop(place, None)
        else:
            self._mirrors[place] = after
        for uid, known in self._known.items():
            if (namespace_of(known.pod), name_of(known.pod)) == place:
                known.mirror = _fitting(after, uid)
                self._pods.look_again(uid)

    async def ended(self, uid: str) -> None:
        """Nothing of a static pod is left: its mirror goes, and the next pod of its name begins."""
        known = self._known.pop(uid, None)
        if known is None:
            return
        place = namespace_of(known.pod), name_of(known.pod)
        await self._remove_mirror(place)
        if (following := self._next.pop(place, None)) is not None:
            self._begin(following)

    def _begin(self, pod: Document) -> None:
        place = namespace_of(pod), name_of(pod)
        if any((namespace_of(each.pod), name_of(each.pod)) == place for each in self._known.values()):
            self._next[place] = pod
            return
        annotations = {**annotations_of(pod), _SEEN: format_time(self._clock.now())}
        pod = {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}
        self._known[uid_of(pod)] = _Known(pod, _fitting(self._mirrors.get(place), uid_of(pod)))
        self._pods.start_pod(pod)

    async def _keep_mirror(self, uid: str) -> None:
        """Have a mirror that fits; one that is being deleted, or shows another pod, goes first."""
        known = self._known.get(uid)
        if known is None or known.ending or known.mirror is not None:
            return
        place = namespace_of(known.pod), name_of(known.pod)
        present = self._mirrors.get(place)
        if present is not None:
            await self._remove_mirror(place)
        node = {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": self._node_uid()}
        metadata: dict[str, Any] = {key: value for key, value in known.pod["metadata"].items() if key != "uid"}
        metadata |= {
            "annotations": {**metadata["annotations"], MIRROR: uid},
            "ownerReferences": [{**node, "controller": True}],
        }
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": known.pod["spec"]}
        try:
            known.mirror = await self._client.create(resources.PODS, document, place[0])
            self._pods.look_again(uid)
        except AlreadyExists:
            pass  # it is about to be seen
        except StatusError as error:
            self._tell(uid, "a static pod has no mirror yet", pod=place[1], error=error.message)

    async def _remove_mirror(self, place: tuple[str, str]) -> None:
        present = self._mirrors.get(place)
        if present is None:
            return
        try:
            await self._client.delete(resources.PODS, place[1], place[0], grace_period=0, uid=uid_of(present))
        except NotFound:
            pass
        except StatusError as error:
            self._log.warning("a mirror pod cannot be removed", pod=place[1], error=error.message)

    def _tell(self, key: str, what: str, **more: str) -> None:
        """Once, for as long as it is the same that is wrong."""
        if self._told.get(key) != more["error"]:
            self._log.warning(what, **more)
        self._told[key] = more["error"]

    async def _read(self) -> list[Document]:
        contents = await anyio.to_thread.run_sync(_files, str(self._settings.static_pod_path))
        pods: list[Document] = []
        for path, content in contents.items():
            try:
                pods.append(read_static_pod(content, path, self._node_name))
                self._told.pop(path, None)
            except ValueError as error:
                self._tell(path, "a file of a static pod cannot be used", path=path, error=str(error))
        return pods


def _fitting(mirror: Document | None, uid: str) -> Document | None:
    """The mirror, if it shows this very pod and stays."""
    fits = mirror is not None and annotations_of(mirror).get(MIRROR) == uid and not is_deleting(mirror)
    return mirror if fits else None


def _files(place: str) -> Mapping[str, bytes]:
    """The contents of a file, or of all files of a folder, by their paths."""
    paths = [place]
    if os.path.isdir(place):
        paths = [os.path.join(place, name) for name in sorted(os.listdir(place)) if not name.startswith(".")]
    contents = {}
    for path in paths:
        try:
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    contents[path] = file.read()
        except OSError:
            continue
    return contents
