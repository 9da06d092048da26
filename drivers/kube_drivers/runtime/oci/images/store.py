"""The images of a machine: content-addressed, shared by its nodes, whole after every crash.

    <directory>/
      index.json           names → digests of manifests; replaced whole
      blobs/sha256/        manifests and configurations (archives of layers only until they are unpacked)
      layers/<chain>/      a layer, unpacked: a lower directory of overlayfs      <chain>.json  what it is
      holds/<owner>        the images that a container uses, and where that container is
      staging/<pid>-…/     what is being written; swept away once nobody writes
      lock, index.lock

What always holds: a name in the index means an image that is here whole. Content is written before names, and both
durably, so that a crash at any moment leaves at most what nothing refers to, which `collect` removes, or the next pull
uses. Layers are unpacked once, whoever needs them; a directory under `layers/` is complete as soon as it is there.

Everything here blocks on the disk: callers that have an event loop use a thread. Several processes may use one store:
whoever adds holds the lock together with others, whoever collects holds it alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
import orjson

from kube_core.abc.runtime import ImageFailure, ImageStatus, ImageUsage
from kube_drivers.runtime.oci.images.blobs import Blobs, explained, sync_directory, write_whole
from kube_drivers.runtime.oci.images.layers import unpack_layer
from kube_drivers.runtime.oci.images.references import ImageName, parse_name

__all__ = ["MANIFEST", "Adding", "ImageConfig", "ImageStore", "StoredImage", "machine_platform", "store_directory"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
#: Digits of a layer's directory. Short, as overlayfs takes all of them in one page.
_CHAIN_DIGITS = 24

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}


def machine_platform() -> str:
    """`linux/amd64`."""
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def store_directory() -> Path:
    """The store of this machine's user: `KUBE_CORE_IMAGES`, or the place for data by the XDG specification."""
    if chosen := os.environ.get("KUBE_CORE_IMAGES"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "kube-core" / "images"


@attrs.frozen
class ImageConfig:
    """What an image says of the containers that are made of it."""

    platform: str
    diff_ids: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> ImageConfig:
        """From the JSON of an image's configuration. Raises `ImageFailure`."""
        try:
            config = document.get("config") or {}
            return cls(
                platform=f"{document.get('os') or 'linux'}/{document.get('architecture') or ''}",
                diff_ids=tuple(map(str, document["rootfs"]["diff_ids"])),
                entrypoint=tuple(map(str, config.get("Entrypoint") or ())),
                command=tuple(map(str, config.get("Cmd") or ())),
                env=tuple(map(str, config.get("Env") or ())),
                working_dir=str(config.get("WorkingDir") or ""),
                user=str(config.get("User") or ""),
                stop_signal=str(config.get("StopSignal") or ""),
                volumes=tuple(sorted(config.get("Volumes") or ())),
                labels={str(key): str(value) for key, value in (config.get("Labels") or {}).items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ImageFailure(f"the image's configuration cannot be read: {error!r}") from None


@attrs.frozen
class StoredImage:
    """`id` is the digest of its configuration. `names` are normal ones (`docker.io/library/busybox:latest`)."""

    id: str
    manifest: str
    names: tuple[str, ...]
    config: ImageConfig
    size: int

    @property
    def status(self) -> ImageStatus:
        config = self.config
        return ImageStatus(self.id, self.names, self.size, config.entrypoint, config.command, config.user)


class ImageStore:
    """The images in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._layers = directory / "layers"
        self._holds = directory / "holds"
        self._staging = directory / "staging"
        self._opened = False
        #: The index as it was read last, and what told that file from others.
        self._known: tuple[tuple[int, int, int], dict[str, str]] | None = None
        self._images: dict[str, StoredImage] = {}

    def open(self) -> None:
        """Make the directories; sweep what dead processes left. Raises `ImageFailure`."""
        if self._opened:
            return
        with explained():
            for each in (self._blobs.directory, self._layers, self._holds, self._staging):
                each.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._sweep()
        self._opened = True

    # -- what there is -------------------------------------------------------------------------------------------

    def images(self) -> list[StoredImage]:
        """Every image, by its first name."""
        names: dict[str, list[str]] = {}
        for name, manifest in self._index().items():
            names.setdefault(manifest, []).append(name)
        found: dict[str, StoredImage] = {}
        for manifest, each in names.items():
            image = self._image(manifest, each)
            known = found.get(image.id)
            merged = sorted({*image.names, *(known.names if known else ())}, key=lambda name: ("@" in name, name))
            found[image.id] = attrs.evolve(image, names=tuple(merged))
        return sorted(found.values(), key=lambda image: image.names)

    def find(self, reference: str) -> StoredImage | None:
        """By name, or by the id of its configuration (or an unambiguous part of it). Raises `ImageFailure`."""
        images = self.images()
        bare = reference.removeprefix("sha256:")
        if len(bare) >= 12 and set(bare) <= set("0123456789abcdef"):
            matching = [image for image in images if image.id.removeprefix("sha256:").startswith(bare)]
            if len(matching) == 1:
                return matching[0]
        name = str(parse_name(reference))
        return next((image for image in images if name in image.names), None)

    def lowers(self, image: StoredImage) -> list[str]:
        """The layers' directories below `layers`, the uppermost first: overlayfs' lowerdir."""
        return [_short(chain) for chain in reversed(_chains(image.config.diff_ids))]

    @property
    def layers_directory(self) -> Path:
        return self._layers

    def usage(self) -> ImageUsage:
        disk = os.statvfs(self.directory)
        used = sum(path.stat().st_size for path in self._blobs.directory.iterdir())
        for described in self._layers.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                used += int(orjson.loads(described.read_bytes())["size"])
        capacity, available = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        return ImageUsage(str(self.directory), used, capacity, available, disk.f_files - disk.f_ffree)

    def manifest(self, image: StoredImage) -> dict[str, Any]:
        return self._blobs.document(image.manifest)

    # -- adding --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def adding(self) -> Iterator[Adding]:
        """Add an image; nothing is collected meanwhile, and what was begun and not named is nobody's."""
        self.open()
        with explained(), open(self.directory / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            aside = self._staging / f"{os.getpid()}-{os.urandom(6).hex()}"
            aside.mkdir()
            try:
                yield Adding(self, aside, Blobs(self._blobs.directory, aside), self._layers)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def name(self, manifest: str, names: Iterable[str]) -> None:
        """Let these names mean an image that is here whole."""

        def change(index: dict[str, str]) -> None:
            index.update(dict.fromkeys(names, manifest))

        self._change(change)

    # -- removing ------------------------------------------------------------------------------------------------

    def remove(self, image: StoredImage, names: Iterable[str] = ()) -> None:
        """Take names from an image, or all, and what is then nobody's. Raises `ImageFailure` for one in use."""
        taken = set(names) or set(image.names)
        if taken >= set(image.names) and image.manifest in self._held():
            raise ImageFailure(f"the image {image.names[0]} is in use by a container")

        def change(index: dict[str, str]) -> None:
            for name in taken:
                index.pop(name, None)

        self._change(change)
        self.collect()

    def hold(self, owner: Path, images: Iterable[StoredImage]) -> None:
        """A container whose files are at `owner` uses these images, for as long as that is there."""
        held = {"manifests": [image.manifest for image in images], "owner": str(owner)}
        with explained(), open(self.directory / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # whoever collects sees it, or is done
            (self._holds / owner.name).write_bytes(orjson.dumps(held))

    def release(self, owner: Path) -> None:
        (self._holds / owner.name).unlink(missing_ok=True)

    def collect(self) -> bool:
        """Remove what nothing refers to; False where somebody is adding just now."""
        self.open()
        with explained(), open(self.directory / "lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            manifests = {*self._index().values(), *self._held()}
            blobs, layers = set(manifests), set()
            for manifest in manifests:
                document = self._blobs.document(manifest)
                config = _digest_of_config(document)
                blobs.add(config)
                layers |= {_short(chain) for chain in _chains(ImageConfig.parse(self._blobs.document(config)).diff_ids)}
            for digest in list(self._blobs.all()):
                if digest not in blobs:
                    self._blobs.remove(digest)
            for path in list(self._layers.iterdir()):
                if path.name.partition(".")[0] not in layers:
                    _discard(path, self._staging)
            self._images.clear()
        return True

    # -- below ---------------------------------------------------------------------------------------------------

    @property
    def _blobs(self) -> Blobs:
        return Blobs(self.directory / "blobs" / "sha256", self._staging)

    def _index(self) -> dict[str, str]:
        path = self.directory / "index.json"
        try:
            there = path.stat()
            mark = (there.st_ino, there.st_mtime_ns, there.st_size)
            if self._known is None or self._known[0] != mark:
                index = orjson.loads(path.read_bytes())["names"]
                self._known = (mark, {str(name): str(manifest) for name, manifest in index.items()})
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageFailure(f"{path} cannot be read: {error}") from None
        return dict(self._known[1])

    def _change(self, change: Callable[[dict[str, str]], None]) -> None:
        self.open()
        with explained(), open(self.directory / "index.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            index = self._index()
            change(index)
            content = orjson.dumps({"names": index}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
            write_whole(self.directory / "index.json", content)

    def _image(self, manifest: str, names: Sequence[str]) -> StoredImage:
        known = self._images.get(manifest)
        if known is None:
            document = self._blobs.document(manifest)
            config = _digest_of_config(document)
            size = sum(int(each.get("size") or 0) for each in (document["config"], *document["layers"]))  # type: ignore[misc]
            parsed = ImageConfig.parse(self._blobs.document(config))
            known = self._images[manifest] = StoredImage(config, manifest, (), parsed, size)
        return attrs.evolve(known, names=tuple(names))

    def _held(self) -> set[str]:
        """The manifests that containers use; what one that is gone held is let go."""
        held: set[str] = set()
        for path in self._holds.iterdir():
            try:
                document = orjson.loads(path.read_bytes())
                manifests, owner = list(map(str, document["manifests"])), str(document["owner"])
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError):
                manifests, owner = [], ""
            if not os.path.exists(owner):
                path.unlink(missing_ok=True)
                continue
            held.update(manifests)
        return held

    def _sweep(self) -> None:
        """Remove what was being written by programs that are gone: by all, where nobody adds just now."""
        with explained(), open(self.directory / "lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for path in self._staging.iterdir():
                shutil.rmtree(path, ignore_errors=True)


class Adding:
    """An image on its way into a store: blobs, then layers from the lowest up, then its names."""

    def __init__(self, store: ImageStore, aside: Path, blobs: Blobs, layers: Path) -> None:
        self.blobs = blobs
        self.aside = aside
        self._store = store
        self._layers = layers

    def has_layer(self, diff_ids: Sequence[str]) -> bool:
        """Whether the uppermost of these, on the others, is unpacked."""
        return (self._layers / _short(_chains(diff_ids)[-1])).is_dir()

    def unpack(self, archive: IO[bytes], diff_ids: Sequence[str]) -> None:
        """Unpack the uppermost of these layers on the others, which are unpacked. Raises `ImageFailure`."""
        chains = _chains(diff_ids)
        target = self._layers / _short(chains[-1])
        if target.is_dir():
            return
        lowers = [self._layers / _short(chain) for chain in reversed(chains[:-1])]
        aside = self.aside / target.name
        shutil.rmtree(aside, ignore_errors=True)
        with explained():
            aside.mkdir(mode=0o755)
            size = unpack_layer(archive, diff_ids[-1], aside, lowers)
            about = {"chain": chains[-1], "diff_id": diff_ids[-1], "size": size}
            write_whole(self._layers / f"{target.name}.json", orjson.dumps(about))
            try:
                os.rename(aside, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                return  # another process was faster
            sync_directory(self._layers)

    def complete(self, config: bytes, layers: Sequence[Mapping[str, Any]], names: Iterable[ImageName | str]) -> str:
        """Make the manifest of an image whose layers are unpacked, and name it; its digest."""
        digest = self.blobs.add(config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)},
            "layers": list(layers),
        }
        made = self.blobs.add(orjson.dumps(manifest))
        self._store.name(made, [str(name) for name in names])
        return made

    def name(self, manifest: str, names: Iterable[ImageName | str]) -> None:
        self._store.name(manifest, [str(name) for name in names])


def _chains(diff_ids: Sequence[str]) -> list[str]:
    """The OCI specification's chain ids: what each layer is on those below it."""
    chains: list[str] = []
    for diff_id in diff_ids:
        below = chains[-1] if chains else ""
        chains.append(f"sha256:{hashlib.sha256(f'{below} {diff_id}'.encode()).hexdigest()}" if below else diff_id)
    return chains


def _short(chain: str) -> str:
    return chain.partition(":")[2][:_CHAIN_DIGITS]


def _digest_of_config(manifest: Mapping[str, Any]) -> str:
    try:
        return str(manifest["config"]["digest"])
    except (KeyError, TypeError):
        raise ImageFailure("the image's manifest names no configuration") from None


def _discard(path: Path, staging: Path) -> None:
    """Out of sight in one step: half a layer must never look like one."""
    if path.is_dir():
        aside = staging / f"gone-{os.urandom(6).hex()}"
        os.rename(path, aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
