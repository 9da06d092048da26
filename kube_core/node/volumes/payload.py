"""What is in a volume that is made of API objects: configMap, secret, downwardAPI, projected.

Values are gathered anew each time; only tokens are kept, until four fifths of their time is over.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from kube_core._kit.clock import Clock
from kube_core.meta.documents import Document, namespace_of, uid_of
from kube_core.node.fieldrefs import field_value, resource_value
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.directory import File

__all__ = ["KINDS", "Payloads", "VolumeFailure"]

#: The volume sources that are gathered here.
KINDS = ("configMap", "secret", "downwardAPI", "projected")

_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600


class VolumeFailure(Exception):
    """Why a volume is not there yet: one line, for an event."""


@attrs.define
class _Token:
    text: str
    renew_at: float


class Payloads:
    """Gathers the files of volumes."""

    def __init__(self, sources: ApiSources, clock: Clock, node: Any) -> None:
        """`node`: a callable that gives the Node, for `resourceFieldRef`."""
        self._sources = sources
        self._clock = clock
        self._node = node
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    async def files(self, pod: Document, volume: Document, *, write: bool) -> dict[str, File]:
        """The files of a volume by path. Raises `VolumeFailure`. Not `write`: tokens are left out."""
        for kind in KINDS:
            source = volume.get(kind)
            if source is None:
                continue
            mode = int(source.get("defaultMode") or _DEFAULT_MODE)
            if kind != "projected":
                return await self._part(pod, kind, source, mode)
            files: dict[str, File] = {}
            for part in source.get("sources") or ():
                for name, inner in part.items():
                    if name == "serviceAccountToken":
                        if write:
                            token = await self._token(pod, str(volume["name"]), inner)
                            files[str(inner["path"])] = File(token.encode(), mode)
                    else:
                        files.update(await self._part(pod, name, inner, mode))
            return files
        raise VolumeFailure(f"volume {volume['name']} has no source that this node knows")

    def forget(self, uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]

    async def _part(self, pod: Document, kind: str, source: Document, mode: int) -> dict[str, File]:
        if kind == "downwardAPI":
            return self._downward(pod, source, mode)
        if kind not in ("configMap", "secret"):
            raise VolumeFailure(f"this node does not know volumes from {kind}")
        name = str(source.get("name") or source.get("secretName") or "")
        read = self._sources.config_map if kind == "configMap" else self._sources.secret
        document = await read(namespace_of(pod), name)
        if document is None:
            if source.get("optional"):
                return {}
            raise VolumeFailure(f'{kind.lower()} "{name}" not found')
        data = _content(document)
        items = source.get("items")
        if items is None:
            return {key: File(content, mode) for key, content in data.items()}
        files = {}
        for item in items:
            if item["key"] in data:
                files[str(item["path"])] = File(data[item["key"]], int(item.get("mode") or mode))
            elif not source.get("optional"):
                what = "config" if kind == "configMap" else "secret"
                raise VolumeFailure(f"references non-existent {what} key: {item['key']}")
        return files

    def _downward(self, pod: Document, source: Document, mode: int) -> dict[str, File]:
        files = {}
        for item in source.get("items") or ():
            if item.get("fieldRef"):
                text = field_value(pod, str(item["fieldRef"]["fieldPath"]))
            else:
                text = resource_value(pod, item["resourceFieldRef"], self._node())
            files[str(item["path"])] = File(text.encode(), int(item.get("mode") or mode))
        return files

    async def _token(self, pod: Document, volume: str, source: Document) -> str:
        key = (uid_of(pod), volume, str(source["path"]))
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return known.text
        seconds = int(source.get("expirationSeconds") or _TOKEN_SECONDS)
        answer = await self._sources.token(pod, audience=str(source.get("audience") or ""), seconds=seconds)
        token = _Token(str(answer["status"]["token"]), now + seconds * 0.8)
        self._tokens[key] = token
        return token.text


def _content(document: Document) -> Mapping[str, bytes]:
    data: Mapping[str, str] = document.get("data") or {}
    if document.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary: Mapping[str, str] = document.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }
