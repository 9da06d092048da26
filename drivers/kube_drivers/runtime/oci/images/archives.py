"""Images from files: OCI layouts (folders or tars), archives of `docker save`, and root file systems.

Each adds to a store and returns the names that it gave. What is already there is not written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
import orjson

from kube_core.abc.runtime import ImageFailure
from kube_drivers.runtime.oci.images.blobs import digest_of
from kube_drivers.runtime.oci.images.layers import decompressed
from kube_drivers.runtime.oci.images.references import ImageName, parse_name
from kube_drivers.runtime.oci.images.store import Adding, ImageConfig, ImageStore, StoredImage, machine_platform

__all__ = ["Recipe", "build_image", "choose_platform", "load_archive"]

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MOST_NESTED = 4


def load_archive(store: ImageStore, path: Path, *, name: str = "") -> list[str]:
    """Load every image of an archive or layout for this machine; the names that they have now.

    `name`: of the one image in it, instead of those that it says. Raises `ImageFailure`.
    """
    with _opened(path) as files, store.adding() as adding:
        if files.has("oci-layout"):
            found = list(_layout(files, adding, name))
        elif files.has("manifest.json"):
            found = list(_docker(files, adding, name))
        else:
            raise ImageFailure(f"{path} is neither an OCI layout nor an archive of `docker save`")
    if not found:
        raise ImageFailure(f"{path} has no image with a name; give it one")
    return found


@attrs.frozen
class Recipe:
    """An image of a root file system: a folder, or a tar of one. `base`: an image that it stands on."""

    root: Path
    name: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    base: str = ""


def build_image(store: ImageStore, recipe: Recipe) -> str:
    """Its name. Raises `ImageFailure`."""
    name = parse_name(recipe.name)
    base: StoredImage | None = None
    if recipe.base and (base := store.find(recipe.base)) is None:
        raise ImageFailure(f'the image "{recipe.base}" is not in the store')
    with store.adding() as adding:
        diff_ids = base.config.diff_ids if base is not None else ()
        layers: list[Mapping[str, Any]] = list(store.manifest(base)["layers"]) if base is not None else []
        with _as_tar(recipe.root, adding.aside) as archive:
            diff_id, size = _hashed(archive)
            archive.seek(0)
            adding.unpack(archive, (*diff_ids, diff_id))
        layers.append({"mediaType": _LAYER, "digest": diff_id, "size": size})
        system, _, architecture = machine_platform().partition("/")
        inherited = base.config if base is not None else ImageConfig(machine_platform(), ())
        config = {
            "os": system,
            "architecture": architecture,
            "config": {
                "Entrypoint": list(recipe.entrypoint or inherited.entrypoint),
                "Cmd": list(recipe.command if recipe.entrypoint else recipe.command or inherited.command),
                "Env": [*inherited.env, *recipe.env],
                "WorkingDir": recipe.working_dir or inherited.working_dir,
                "User": recipe.user or inherited.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [*diff_ids, diff_id]},
        }
        adding.complete(orjson.dumps(config), layers, [name])
    return str(name)


def choose_platform(manifests: Sequence[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
    """The manifest for this machine of those in an index. Raises `ImageFailure`."""
    wanted = machine_platform()
    offered = []
    for each in manifests:
        there = each.get("platform")
        if there is None:
            return each
        text = f"{there.get('os')}/{there.get('architecture')}"
        if text == wanted:
            return each
        offered.append(text)
    offers = ", ".join(sorted(set(offered) - {"unknown/unknown"})) or "nothing"
    raise ImageFailure(f"no match for platform in manifest: {what} is for {offers}, and this machine is {wanted}")


# -- files by their names --------------------------------------------------------------------------------------------


class _Files(ABC):
    """The files of an archive, or of a folder."""

    @abstractmethod
    def has(self, name: str) -> bool: ...

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Raises `ImageFailure`."""

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def document(self, name: str) -> Any:
        try:
            return orjson.loads(self.read(name))
        except orjson.JSONDecodeError as error:
            raise ImageFailure(f"{name} is damaged: {error}") from None


class _Folder(_Files):
    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        try:
            return open(self._path / name, "rb")
        except OSError as error:
            raise ImageFailure(f"{self._path / name} cannot be read: {error.strerror}") from None


class _Archive(_Files):
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar.getmembers()}

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> IO[bytes]:
        try:
            file = self._tar.extractfile(self._members[name])
        except KeyError:
            file = None
        if file is None:
            raise ImageFailure(f"{name} is missing from the archive: it is damaged")
        return file


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Files]:
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        tar = tarfile.open(path)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ImageFailure(f"{path} cannot be read: {error.strerror or error}") from None
    except tarfile.TarError as error:
        raise ImageFailure(f"{path} is no archive of images: {error}") from None
    with tar:
        try:
            files = _Archive(tar)
        except (tarfile.TarError, EOFError) as error:
            raise ImageFailure(f"{path} is damaged: {error}") from None
        yield files


# -- kinds of archives -----------------------------------------------------------------------------------------------


def _docker(files: _Files, adding: Adding, name: str) -> Iterator[str]:
    """`docker save`: a list of images, each with its configuration and its layers' files."""
    listed = files.document("manifest.json")
    if name and len(listed) != 1:
        raise ImageFailure(f"the archive has {len(listed)} images, which cannot all be {name}")
    for each in listed:
        names = [parse_name(name)] if name else [parse_name(str(tag)) for tag in each.get("RepoTags") or ()]
        if not names:
            continue
        raw = files.read(str(each["Config"]))
        config = _checked(raw, str(names[0]))
        archives = [str(layer) for layer in each["Layers"]]
        _unpack_all(files, adding, config, archives)
        layers = []
        for archive, diff_id in zip(archives, config.diff_ids, strict=True):
            with files.open(archive) as file:
                layers.append({"mediaType": _LAYER, "digest": diff_id, "size": file.seek(0, os.SEEK_END)})
        adding.complete(raw, layers, names)
        yield from map(str, names)


def _layout(files: _Files, adding: Adding, name: str) -> Iterator[str]:
    """An OCI image layout."""
    entries = files.document("index.json").get("manifests") or []
    if name and len(entries) > 1:
        entries = [choose_platform(entries, name)]
    for entry in entries:
        names = [parse_name(name)] if name else list(_names_of(entry))
        if not names:
            continue
        entry = _for_this_machine(files, entry, str(names[0]))  # noqa: PLW2901 (the same, closer)
        raw = _read_blob(files, str(entry["digest"]))
        manifest = orjson.loads(raw)
        config = _checked(_read_blob(files, str(manifest["config"]["digest"])), str(names[0]))
        adding.blobs.add(_read_blob(files, str(manifest["config"]["digest"])))
        _unpack_all(files, adding, config, [_blob_path(str(layer["digest"])) for layer in manifest["layers"]])
        adding.name(adding.blobs.add(raw), names)
        yield from map(str, names)


def _for_this_machine(files: _Files, entry: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    for _ in range(_MOST_NESTED):
        document = orjson.loads(_read_blob(files, str(entry["digest"])))
        if "manifests" not in document:
            return entry
        entry = choose_platform(document["manifests"], what)
    raise ImageFailure(f"{what}: its index leads to an index, and so on")


def _names_of(entry: Mapping[str, Any]) -> Iterator[ImageName]:
    annotations = entry.get("annotations") or {}
    for key in _NAME_ANNOTATIONS:
        # A mere tag is no name: it says nothing of which image it is a tag.
        if (text := annotations.get(key)) and ("/" in text or ":" in text):
            yield parse_name(str(text))
            return


def _checked(raw: bytes, what: str) -> ImageConfig:
    try:
        config = ImageConfig.parse(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise ImageFailure(f"the configuration of {what} is damaged: {error}") from None
    if config.platform != machine_platform():
        raise ImageFailure(
            f"no match for platform in manifest: {what} is for {config.platform}, "
            f"and this machine is {machine_platform()}"
        )
    return config


def _unpack_all(files: _Files, adding: Adding, config: ImageConfig, archives: Sequence[str]) -> None:
    if len(archives) != len(config.diff_ids):
        raise ImageFailure(f"the image has {len(archives)} layers, and names {len(config.diff_ids)}: it is damaged")
    for number, archive in enumerate(archives, start=1):
        diff_ids = config.diff_ids[:number]
        if not adding.has_layer(diff_ids):
            with files.open(archive) as file:
                adding.unpack(file, diff_ids)


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _read_blob(files: _Files, digest: str) -> bytes:
    data = files.read(_blob_path(digest))
    if digest_of(data) != digest:
        raise ImageFailure(f"{digest} is damaged: what is there is {digest_of(data)}")
    return data


# -- root file systems -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _as_tar(root: Path, aside: Path) -> Iterator[IO[bytes]]:
    if not root.is_dir():
        try:
            with tarfile.open(root) as archive, open(root, "rb") as file:
                archive.next()
                yield file
        except OSError as error:
            raise ImageFailure(f"{root} cannot be read: {error.strerror or error}") from None
        except tarfile.TarError as error:
            raise ImageFailure(f"{root} is neither a folder nor a tar: {error}") from None
        return
    with open(aside / "root.tar", "w+b") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            # In order, so that the same folder is the same layer.
            for path in sorted(root.rglob("*")):
                tar.add(path, arcname=str(path.relative_to(root)), recursive=False)
        file.seek(0)
        yield file


def _hashed(archive: IO[bytes]) -> tuple[str, int]:
    """The diff id of a tar, plain or compressed, and its size."""
    digest, size = hashlib.sha256(), 0
    with decompressed(archive) as plain:
        while block := plain.read(1 << 20):
            digest.update(block)
            size += len(block)
    return f"sha256:{digest.hexdigest()}", size
