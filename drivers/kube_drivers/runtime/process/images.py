"""What an image's name means where containers are host processes: the host itself, or a folder of programs.

A map from names to places. A name is looked up as it is, then without its tag or digest, then by patterns (`*`) in
the map's order. A place is:

* `host`: the command runs from the host's PATH as it is. The image has no entrypoint of its own, so the container has
  to name a command. The default map is `{"*": "host"}`.
* a directory with `image.json` (or `image.yaml`): an object with any of `entrypoint` and `cmd` (lists of words), `env`
  (an object) and `workdir`. A program or working directory that starts with `./` is inside that directory.
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

__all__ = ["HOST", "Image", "Images"]

HOST = "host"


@attrs.frozen
class Image:
    """A resolved image. `directory` is "" for the host."""

    reference: str
    directory: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    working_dir: str = ""

    @property
    def status(self) -> ImageStatus:
        place = self.directory or HOST
        return ImageStatus(f"{place}@{self.reference}", (self.reference,), 0, self.entrypoint, self.command)

    def argv(self, command: tuple[str, ...], args: tuple[str, ...]) -> list[str]:
        """The words to run: `command` replaces the entrypoint and drops the image's cmd, `args` replaces the cmd."""
        words = [*command, *args] if command else [*self.entrypoint, *(args or self.command)]
        return [self.inside(words[0]), *words[1:]] if words else []

    def inside(self, path: str) -> str:
        return os.path.join(self.directory, path) if self.directory and path.startswith("./") else path


@attrs.frozen
class Images:
    """The map, name or pattern → `host` or a directory."""

    places: Mapping[str, str] = attrs.field(factory=lambda: {"*": HOST})

    @classmethod
    def from_folders(cls, folders: Iterable[Path]) -> Images:
        """Every image below some folders; what is not there means the host.

        `NAME/image.json` is the image NAME in every version, `NAME/TAG/image.json` is NAME:TAG.
        """
        places: dict[str, str] = {}
        for folder in folders:
            for file in sorted(folder.absolute().glob("**/image.*")):
                place = file.parent.relative_to(folder.absolute()).as_posix()
                name, _, tag = place.rpartition("/")
                places[f"{name}:{tag}" if name else tag] = str(file.parent)
        return cls({**places, "*": HOST})

    def resolve(self, reference: str) -> Image:
        """Raises `ImageFailure` where the map has no place for it, or the place is no image."""
        place = self._place(reference)
        if place is None:
            raise ImageFailure(f'image "{reference}" is not in this node\'s image map')
        if place == HOST:
            return Image(reference)
        directory = Path(place).absolute()
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

    def _place(self, reference: str) -> str | None:
        bare = reference.partition("@")[0]
        head, colon, tail = bare.rpartition(":")
        if colon and "/" not in tail:
            bare = head
        for name in (reference, bare):
            if name in self.places:
                return self.places[name]
        return next((place for name, place in self.places.items() if fnmatch.fnmatchcase(reference, name)), None)


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
