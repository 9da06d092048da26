"""What an image's name means where containers are host processes: the host itself, a folder of programs, or a layout.

A map from names to places. A name is looked up as it is, then without its tag or digest, then by patterns (`*`) in
the map's order. A place is:

* `host`: the command runs from the host's PATH as it is. The image has no entrypoint of its own, so the container has
  to name a command. The default map is `{"*": "host"}`.
* a directory with `image.json` (or `image.yaml`): an object with any of `entrypoint` and `cmd` (lists of words), `env`
  (an object) and `workdir`. A program or working directory that starts with `./` is inside that directory.
* an OCI layout of one image (a directory with `oci-layout`): its configuration says the same, and its programs are run
  from where it is unpacked (`layouts.py`): an absolute path that the image has means the file there, and what is in
  the image's PATH is found before the host's.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.runtime import ImageFailure, ImageStatus
from kube_drivers.runtime.process.layouts import Layout, is_layout, names_in, read_layout

__all__ = ["HOST", "Image", "Images"]

HOST = "host"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@attrs.frozen
class Image:
    """A resolved image. `directory` is "" for the host. `layout`: it is unpacked to `directory` before it is used."""

    reference: str
    directory: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    working_dir: str = ""
    stop_signal: str = ""
    layout: Layout | None = None

    @property
    def status(self) -> ImageStatus:
        place = self.layout.id if self.layout is not None else f"{self.directory or HOST}@{self.reference}"
        return ImageStatus(place, (self.reference,), 0, self.entrypoint, self.command)

    @property
    def ready(self) -> bool:
        """A container can be made of it; a layout is to be unpacked first."""
        return self.layout is None or os.path.isdir(self.directory)

    def argv(self, command: tuple[str, ...], args: tuple[str, ...]) -> list[str]:
        """The words to run: `command` replaces the entrypoint and drops the image's cmd, `args` replaces the cmd."""
        words = [*command, *args] if command else [*self.entrypoint, *(args or self.command)]
        return [self.inside(words[0]), *words[1:]] if words else []

    def inside(self, path: str) -> str:
        if self.layout is not None:
            there = os.path.join(self.directory, path.lstrip("/"))
            return there if path.startswith("/") and os.path.exists(there) else path
        return os.path.join(self.directory, path) if self.directory and path.startswith("./") else path


@attrs.frozen
class Images:
    """The map, name or pattern → `host` or a directory. `unpacked`: where layouts are unpacked."""

    places: Mapping[str, str] = attrs.field(factory=lambda: {"*": HOST})
    unpacked: Path = attrs.field(default=Path())

    @classmethod
    def from_folders(cls, folders: Iterable[Path], unpacked: Path = Path()) -> Images:
        """Every image below some folders; what is not there means the host.

        `NAME/image.json` is the image NAME in every version, `NAME/TAG/image.json` is NAME:TAG; so it is with
        `oci-layout`. A folder that is itself a layout is the image that it says it is.
        """
        places: dict[str, str] = {}
        for folder in folders:
            top = folder.absolute()
            if is_layout(top):
                places.update(dict.fromkeys(_short_names(names_in(top)), str(top)))
                continue
            for file in sorted([*top.glob("**/image.*"), *top.glob("**/oci-layout")]):
                place = file.parent.relative_to(top).as_posix()
                name, _, tag = place.rpartition("/")
                places[f"{name}:{tag}" if name else tag] = str(file.parent)
        return cls({**places, "*": HOST}, unpacked)

    def resolve(self, reference: str) -> Image:
        """Raises `ImageFailure` where the map has no place for it, or the place is no image."""
        place = self._place(reference)
        if place is None:
            raise ImageFailure(f'image "{reference}" is not in this node\'s image map')
        if place == HOST:
            return Image(reference)
        directory = Path(place).absolute()
        if is_layout(directory):
            return self._of_layout(reference, read_layout(directory))
        described = _read(directory, reference)
        working_dir = str(described.get("workdir") or "")
        if working_dir:
            working_dir = os.path.normpath(directory / working_dir)
        return Image(
            reference,
            str(directory),
            entrypoint=tuple(map(str, described.get("entrypoint") or ())),
            command=tuple(map(str, described.get("cmd") or ())),
            env={str(name): str(value) for name, value in (described.get("env") or {}).items()},
            working_dir=working_dir or str(directory),
        )

    def _of_layout(self, reference: str, layout: Layout) -> Image:
        root = str(self.unpacked / layout.id.rpartition(":")[2])
        inner = (os.path.join(root, part.lstrip("/")) for part in layout.env.get("PATH", _PATH).split(":") if part)
        env = {**layout.env, "PATH": ":".join([*inner, os.environ.get("PATH", _PATH)])}
        working_dir = os.path.join(root, layout.working_dir.lstrip("/")) if layout.working_dir else ""
        return Image(reference, root, layout.entrypoint, layout.command, env, working_dir, layout.stop_signal, layout)

    def _place(self, reference: str) -> str | None:
        bare = reference.partition("@")[0]
        head, colon, tail = bare.rpartition(":")
        if colon and "/" not in tail:
            bare = head
        for name in (reference, bare):
            if name in self.places:
                return self.places[name]
        return next((place for name, place in self.places.items() if fnmatch.fnmatchcase(reference, name)), None)


def _short_names(names: Iterable[str]) -> Iterable[str]:
    """Names as pods say them: without the registry and the folder that are meant where none is named."""
    for name in names:
        yield name
        yield name.removeprefix("docker.io/").removeprefix("library/")


def _read(directory: Path, reference: str) -> Mapping[str, Any]:
    try:
        file = directory / "image.json"
        if file.exists():
            described = json.loads(file.read_bytes())
        elif (file := directory / "image.yaml").exists():
            from ruamel.yaml import YAML  # lazily: most nodes have no such file

            described = YAML(typ="safe", pure=True).load(file.read_text())
        else:
            raise ImageFailure(f'image "{reference}": {directory} has neither image.json nor image.yaml')
    except (OSError, ValueError) as error:
        raise ImageFailure(f'image "{reference}": {directory} cannot be read: {error}') from None
    if not isinstance(described, dict):
        raise ImageFailure(f'image "{reference}": {file} is not an object')
    return described
