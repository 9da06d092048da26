"""Images made for tests: layers, archives of `docker save`, OCI layouts, and a registry on loopback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

from kube_drivers.runtime.oci.images.store import machine_platform

__all__ = ["BUSYBOX", "FakeRegistry", "MadeImage", "busybox_layer", "entry", "make_image", "make_layer", "serving"]

BUSYBOX = Path("/bin/busybox")
_APPLETS = (
    "sh", "cat", "echo", "sleep", "ls", "head", "tail", "tr", "wc", "stty", "true", "false", "id", "hostname",
    "mount", "ip", "ps", "kill", "env", "mkdir", "rm", "touch", "seq", "nc", "wget", "httpd", "setsid", "stat",
    "chmod", "chown", "ln", "find", "grep", "awk", "dd", "sync", "umount", "date", "test", "expr", "tar", "mkfifo",
    "cp", "mv", "nslookup", "nproc", "printf", "yes", "tee", "readlink", "cut", "sort", "uniq",
)  # fmt: skip


def entry(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One of a layer's entries: a file with content, otherwise a folder, or what `fields` (of `TarInfo`) say."""
    info = tarfile.TarInfo(name)
    if content is None and "type" not in fields:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    info.size = len(content or b"")
    return info, content or b""


def make_layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def busybox_layer() -> bytes:
    """A root with Debian's static busybox, under the names of its tools."""
    return make_layer(
        *(entry(name) for name in ("bin", "etc", "proc", "sys", "dev", "home", "root", "var", "var/run")),
        entry("tmp", mode=0o1777),
        entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
        *(entry(f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox", mode=0o777) for name in _APPLETS),
        entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home:/bin/sh\n"),
        entry("etc/group", b"root:x:0:\nweb:x:1001:\nstaff:x:50:web\n"),
    )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@attrs.frozen
class MadeImage:
    """An image in parts. `layers` as they are sent (compressed), `plain` as they are unpacked."""

    config: bytes
    plain: tuple[bytes, ...]
    layers: tuple[bytes, ...]

    @property
    def manifest(self) -> bytes:
        layers = [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _digest(each), "size": len(each)}
            for each in self.layers
        ]
        config = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": _digest(self.config),
            "size": len(self.config),
        }
        document = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        return json.dumps(document).encode()

    def blobs(self) -> dict[str, bytes]:
        return {_digest(each): each for each in (self.config, *self.layers)}

    def save_docker(self, path: Path, *names: str) -> Path:
        """As `docker save` writes it."""
        files = {"config.json": self.config}
        listed = {"Config": "config.json", "RepoTags": list(names), "Layers": []}
        for number, layer in enumerate(self.plain):
            files[f"{number}/layer.tar"] = layer
            listed["Layers"].append(f"{number}/layer.tar")  # type: ignore[attr-defined]
        files["manifest.json"] = json.dumps([listed]).encode()
        path.write_bytes(make_layer(*(entry(name, content) for name, content in files.items())))
        return path

    def save_layout(self, folder: Path, name: str) -> Path:
        """As an OCI layout."""
        (folder / "blobs/sha256").mkdir(parents=True)
        for digest, content in {**self.blobs(), _digest(self.manifest): self.manifest}.items():
            (folder / "blobs/sha256" / digest.partition(":")[2]).write_bytes(content)
        listed = {
            "mediaType": _MANIFEST,
            "digest": _digest(self.manifest),
            "size": len(self.manifest),
            "annotations": {"io.containerd.image.name": name},
        }
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return folder


_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


def make_image(*layers: bytes, platform: str = "", **config: Any) -> MadeImage:
    """`config`: as in an image's configuration (`Entrypoint`, `Cmd`, `Env`, …)."""
    system, _, architecture = (platform or machine_platform()).partition("/")
    document = {
        "os": system,
        "architecture": architecture,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
    }
    compressed = tuple(gzip.compress(layer, mtime=0) for layer in layers)
    return MadeImage(json.dumps(document).encode(), layers, compressed)


@attrs.define
class FakeRegistry:
    """What a registry has, and what it was asked. `username`: only who says it, and the password, gets anything."""

    url: str = ""
    manifests: dict[str, tuple[str, bytes]] = attrs.field(factory=dict)
    blobs: dict[str, bytes] = attrs.field(factory=dict)
    username: str = ""
    password: str = ""
    bearer: bool = False
    asked: list[str] = attrs.field(factory=list)
    #: Blobs whose connection breaks after so many bytes.
    broken: dict[str, int] = attrs.field(factory=dict)

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def put(self, repository: str, tag: str, image: MadeImage) -> str:
        """Its manifest's digest."""
        return self._put(repository, tag, _MANIFEST, image.manifest, image.blobs())

    def put_index(self, repository: str, tag: str, images: Mapping[str, MadeImage]) -> str:
        """An index of images by platform; its digest."""
        listed = []
        for platform, image in images.items():
            system, _, architecture = platform.partition("/")
            digest = self.put(repository, f"{tag}-{architecture}", image)
            about = {"os": system, "architecture": architecture}
            listed.append({"mediaType": _MANIFEST, "digest": digest, "size": len(image.manifest), "platform": about})
        document = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed}).encode()
        return self._put(repository, tag, _INDEX, document, {})

    def _put(self, repository: str, tag: str, media_type: str, raw: bytes, blobs: Mapping[str, bytes]) -> str:
        digest = _digest(raw)
        self.manifests[f"{repository}:{tag}"] = self.manifests[f"{repository}:{digest}"] = (media_type, raw)
        self.blobs.update(blobs)
        return digest

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if path == "/token":
            if request.headers.get("Authorization") != self._basic():
                return web.Response(status=401)
            return web.json_response({"token": f"for {request.query['scope']}"})
        repository, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
        if self.username:
            wanted = f"Bearer for repository:{repository}:pull" if self.bearer else self._basic()
            if request.headers.get("Authorization") != wanted:
                challenge = (
                    f'Bearer realm="{self.url}/token",service="test",scope="repository:{repository}:pull"'
                    if self.bearer
                    else 'Basic realm="test"'
                )
                return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if kind == "manifests":
            found = self.manifests.get(f"{repository}:{reference}")
            return web.Response(body=found[1], content_type=found[0]) if found else web.Response(status=404)
        blob = self.blobs.get(reference)
        if blob is None:
            return web.Response(status=404)
        response = web.StreamResponse(headers={"Content-Length": str(len(blob))})
        await response.prepare(request)
        limit = self.broken.get(reference)
        await response.write(blob[:limit])
        if limit is not None and request.transport is not None:
            request.transport.abort()
        return response

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[FakeRegistry]:
    """A registry on a free port of loopback."""
    registry = FakeRegistry(**fields)
    app = web.Application()
    app.router.add_get("/{path:.*}", registry.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        registry.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield registry
    finally:
        await runner.cleanup()
