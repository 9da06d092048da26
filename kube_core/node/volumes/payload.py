"""What is in a volume that is made of API objects: configMap, secret, downwardAPI, projected.

Values are gathered anew each time; only tokens are kept, until four fifths of their time, or a day, is over, as
upstream's kubelet does, and certificates (`podcertificates.py`). Keys, paths, modes and the words for what is missing
are upstream's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import attrs

from kube_core._kit.clock import Clock
from kube_core.meta import selectors
from kube_core.meta.documents import Document, labels_of, namespace_of, uid_of
from kube_core.node.fieldrefs import FieldRefError, field_value, resource_value
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.directory import File
from kube_core.node.volumes.podcertificates import CertificateError, PodCertificates

__all__ = ["KINDS", "Payloads", "VolumeFailure"]

#: The volume sources that are gathered here.
KINDS = ("configMap", "secret", "downwardAPI", "projected")

_DEFAULT_MODE = 0o644
_PRIVATE_MODE = 0o600
_TOKEN_SECONDS = 3600
_TOKEN_LONGEST = 86_400.0

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class VolumeFailure(Exception):
    """Why a volume is not there yet: one line, for an event."""


@attrs.define
class _Token:
    text: str
    renew_at: float


class Payloads:
    """Gathers the files of volumes."""

    def __init__(self, sources: ApiSources, clock: Clock, node: Any, certificates: PodCertificates) -> None:
        """`node`: a callable that gives the Node, for `resourceFieldRef`."""
        self._sources = sources
        self._clock = clock
        self._node = node
        self._certificates = certificates
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    async def files(self, pod: Document, volume: Document, *, write: bool) -> dict[str, File]:
        """The files of a volume by path. Raises `VolumeFailure`. Not `write`: tokens are left out."""
        for kind in KINDS:
            source = volume.get(kind)
            if source is None:
                continue
            mode = _mode(source.get("defaultMode"), _DEFAULT_MODE)
            if kind != "projected":
                return await self._part(pod, kind, source, mode)
            files: dict[str, File] = {}
            for index, part in enumerate(source.get("sources") or ()):
                for name, inner in part.items():
                    if name == "serviceAccountToken":
                        if write:
                            token = await self._token(pod, str(volume["name"]), inner)
                            files[str(inner["path"])] = _private(pod, token.encode(), mode)
                    elif name == "clusterTrustBundle":
                        files[str(inner["path"])] = _private(pod, await self._trust(inner), mode)
                    elif name == "podCertificate":
                        for path, content in (await self._certificate(pod, str(volume["name"]), index, inner)).items():
                            files[path] = _private(pod, content, mode)
                    else:
                        files.update(await self._part(pod, name, inner, mode))
            return files
        raise VolumeFailure(f"volume {volume['name']} has no source that this node knows")

    def forget(self, uid: str) -> None:
        self._certificates.forget(uid)
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
                files[str(item["path"])] = File(data[item["key"]], _mode(item.get("mode"), mode))
            elif not source.get("optional"):
                what = "config" if kind == "configMap" else "secret"
                raise VolumeFailure(f"references non-existent {what} key: {item['key']}")
        return files

    def _downward(self, pod: Document, source: Document, mode: int) -> dict[str, File]:
        files = {}
        for item in source.get("items") or ():
            try:
                if item.get("fieldRef"):
                    text = field_value(pod, str(item["fieldRef"]["fieldPath"]))
                else:
                    text = resource_value(pod, item["resourceFieldRef"], self._node())
            except FieldRefError as error:
                raise VolumeFailure(str(error)) from None
            files[str(item["path"])] = File(text.encode(), _mode(item.get("mode"), mode))
        return files

    async def _trust(self, source: Document) -> bytes:
        """The certificates of a bundle, or of all bundles of a signer, each once."""
        optional, name = bool(source.get("optional")), source.get("name")
        if name:
            bundle = await self._sources.trust_bundle(str(name))
            if bundle is None and not optional:
                raise VolumeFailure(f'clustertrustbundle.certificates.k8s.io "{name}" not found')
            found = [bundle] if bundle is not None else []
        else:
            selector = source.get("labelSelector")
            found = [
                each
                for each in (await self._sources.trust_bundles() if selector is not None else ())
                if each["spec"].get("signerName") == source.get("signerName")
                and selectors.from_document(selector).matches(labels_of(each))
            ]
            if not found and not optional:
                raise VolumeFailure("combination of signerName and labelSelector matched zero ClusterTrustBundles")
        blocks = {block for each in found for block in _CERTIFICATE.findall(each["spec"]["trustBundle"])}
        return "".join(block + "\n" for block in sorted(blocks)).encode()

    async def _certificate(self, pod: Document, volume: str, index: int, source: Document) -> dict[str, bytes]:
        """A key and its certificates, together and apart, by path."""
        try:
            given = await self._certificates.credential(pod, volume, index, source)
        except CertificateError as error:
            raise VolumeFailure(str(error)) from None
        contents = {
            "credentialBundlePath": given.key + given.chain,
            "keyPath": given.key,
            "certificateChainPath": given.chain,
        }
        return {str(source[field]): content for field, content in contents.items() if source.get(field)}

    async def _token(self, pod: Document, volume: str, source: Document) -> str:
        key = (uid_of(pod), volume, str(source["path"]))
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return known.text
        seconds = int(source.get("expirationSeconds") or _TOKEN_SECONDS)
        answer = await self._sources.token(pod, audience=str(source.get("audience") or ""), seconds=seconds)
        given = int(answer["spec"].get("expirationSeconds") or seconds)
        token = _Token(str(answer["status"]["token"]), now + min(given * 0.8, _TOKEN_LONGEST))
        self._tokens[key] = token
        return token.text


def _mode(asked: int | None, otherwise: int) -> int:
    return otherwise if asked is None else int(asked)


def _private(pod: Document, content: bytes, mode: int) -> File:
    """What only the pod's own user reads, where all its containers have one and the same, or a group of theirs."""
    of_pod = pod["spec"].get("securityContext") or {}
    containers = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    users = {(each.get("securityContext") or {}).get("runAsUser", of_pod.get("runAsUser")) for each in containers}
    user = next(iter(users)) if len(users) == 1 else None
    private = user is not None or of_pod.get("fsGroup") is not None
    return File(content, _PRIVATE_MODE if private else mode, user)


def _content(document: Document) -> Mapping[str, bytes]:
    data: Mapping[str, str] = document.get("data") or {}
    if document.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary: Mapping[str, str] = document.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }
