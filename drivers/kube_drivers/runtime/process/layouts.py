"""An image of the process runtime that is an OCI layout: its layers, unpacked into one folder of programs.

Nothing isolates a process, so the image's root is not the process's: programs of the image are run from where they are
unpacked, with the machine's loader and libraries. Static programs and scripts work; a program that was linked against
what only its image has does not. Absolute links of the image are made relative, so that none leads out of the folder.

A folder that is there is whole: it is unpacked under another name first. The store of `kube_drivers.runtime.oci.images`
keeps layers apart, for overlayfs; a process sees no overlay, so its image has to be one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.runtime import ImageFailure

__all__ = ["Layout", "is_layout", "names_in", "read_layout", "unpack"]

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@attrs.frozen
class Layout:
    """The one image of a layout. `id` is the digest of its configuration; `layers` are files, the lowest first."""

    id: str
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    working_dir: str = ""
    stop_signal: str = ""


def is_layout(directory: Path) -> bool:
    return (directory / "oci-layout").exists()


def names_in(directory: Path) -> list[str]:
    """What a layout says its image is called. Raises `ImageFailure`."""
    annotations = _image_of(directory).get("annotations") or {}
    return [str(annotations[key]) for key in _NAMES if key in annotations]


def read_layout(directory: Path) -> Layout:
    """Raises `ImageFailure`."""
    from kube_drivers.runtime.oci.images.archives import choose_platform  # lazily: most nodes have no layout
    from kube_drivers.runtime.oci.images.store import ImageConfig

    manifest = _document(_blob(directory, _image_of(directory)))
    while "manifests" in manifest:
        manifest = _document(_blob(directory, choose_platform(manifest["manifests"], str(directory))))
    try:
        config = ImageConfig.parse(_document(_blob(directory, manifest["config"])))
        return Layout(
            str(manifest["config"]["digest"]),
            tuple(_blob(directory, layer) for layer in manifest["layers"]),
            config.entrypoint,
            config.command,
            dict(entry.split("=", 1) for entry in config.env if "=" in entry),
            config.working_dir,
            config.stop_signal,
        )
    except (KeyError, TypeError) as error:
        raise ImageFailure(f"{directory} has a manifest that cannot be read: {error!r}") from None


def unpack(layout: Layout, target: Path) -> None:
    """Unpack an image to where nothing is. Blocks on the disk. Raises `ImageFailure`."""
    aside = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True, mode=0o755)
        for layer in layout.layers:
            _apply(layer, aside)
        aside.rename(target)
    except (OSError, tarfile.TarError, EOFError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise ImageFailure(f"the image {layout.id} cannot be unpacked: {error}") from None


def _apply(layer: Path, root: Path) -> None:
    from kube_drivers.runtime.oci.images.layers import decompressed

    made: set[str] = set()
    with layer.open("rb") as packed:
        if hashlib.file_digest(packed, "sha256").hexdigest() != layer.name:
            raise ImageFailure(f"the layer {layer.name} is damaged")
        packed.seek(0)
        with decompressed(packed) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                directory, name = os.path.split(os.path.normpath("/" + member.name).lstrip("/"))
                if name == _OPAQUE:
                    _empty(root, directory, made)
                elif name.startswith(_WHITEOUT):
                    _remove(root, os.path.join(directory, name.removeprefix(_WHITEOUT)))
                elif name and not (member.isdev() and not member.isfifo()):
                    path = os.path.join(directory, name)
                    made.add(path)
                    _put(archive, member, root, path)


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, path: str) -> None:
    if member.issym() and member.linkname.startswith("/"):
        member.linkname = os.path.relpath(member.linkname, os.path.join("/", os.path.dirname(path)))
    there = root / path
    if os.path.lexists(there) and not (member.isdir() and there.is_dir() and not there.is_symlink()):
        _remove(root, path)
    # The filter refuses a member that would land outside, through a link of the image as well.
    archive.extract(member, root, filter="tar", numeric_owner=True)


def _empty(root: Path, directory: str, made: set[str]) -> None:
    """Remove what lower layers have in a directory."""
    place = _within(root, directory)
    for each in os.listdir(place) if place.is_dir() else []:
        path = os.path.join(directory, each)
        if path not in made and not any(other.startswith(f"{path}/") for other in made):
            _remove(root, path)


def _remove(root: Path, path: str) -> None:
    place = _within(root, os.path.dirname(path)) / os.path.basename(path)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _within(root: Path, directory: str) -> Path:
    """A directory of an image, by whatever links. Raises `ImageFailure` for one that is elsewhere."""
    real, top = os.path.realpath(root / directory), os.path.realpath(root)
    if real != top and not real.startswith(top + os.sep):
        raise ImageFailure(f"a layer leads out of its image: {directory}")
    return Path(real)


def _image_of(directory: Path) -> Mapping[str, Any]:
    manifests: list[Mapping[str, Any]] = _document(directory / "index.json").get("manifests") or []
    if len(manifests) != 1:
        raise ImageFailure(f"{directory} has {len(manifests)} images; a layout for processes has one")
    return manifests[0]


def _blob(directory: Path, entry: Mapping[str, Any]) -> Path:
    algorithm, _, digest = str(entry.get("digest")).partition(":")
    if not (algorithm.isalnum() and digest.isalnum()):
        raise ImageFailure(f"{directory} names content by {entry.get('digest')!r}, which is no digest")
    return directory / "blobs" / algorithm / digest


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ImageFailure(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ImageFailure(f"{path} is not an object")
    return found
