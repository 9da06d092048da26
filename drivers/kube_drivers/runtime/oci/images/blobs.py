"""Content by digest on disk: written aside, verified while it is written, synced, and only then given its name.

What always holds: a file under `blobs/sha256/` has the content that its name says, also after the power went out in the
middle of writing it. So a name that is there needs no second look.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from kube_core.abc.runtime import ImageFailure

__all__ = ["BlobWriter", "Blobs", "digest_of", "explained", "sync_directory", "write_whole"]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Blobs:
    """The blobs of one store. `staging` is on the same file system."""

    def __init__(self, directory: Path, staging: Path) -> None:
        self.directory = directory
        self._staging = staging

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. Raises `ImageFailure` for what is no digest."""
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise ImageFailure(f'"{digest}" is not a digest that is supported')
        return self.directory / value

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    def document(self, digest: str) -> dict[str, object]:
        """A blob that is JSON. Raises `ImageFailure`."""
        try:
            document = orjson.loads(self.read(digest))
        except FileNotFoundError:
            raise ImageFailure(f"{digest} is missing from the image store") from None
        except orjson.JSONDecodeError as error:
            raise ImageFailure(f"{digest} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise ImageFailure(f"{digest} is not an object")
        return document

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[str]:
        for path in self.directory.iterdir():
            yield f"sha256:{path.name}"

    def add(self, data: bytes) -> str:
        """Keep these bytes; their digest."""
        digest = digest_of(data)
        with self.writing(digest) as writer:
            writer.write(data)
        return digest

    @contextmanager
    def writing(self, digest: str = "", size: int = -1) -> Iterator[BlobWriter]:
        """Write a blob; it is there once the block has ended without an exception.

        `digest` and `size`: what is expected. Raises `ImageFailure` for other content, and for a full disk.
        """
        if digest:
            self.path(digest)
        aside = self._staging / f"blob-{os.urandom(8).hex()}"
        with explained():
            try:
                with open(aside, "xb") as file:
                    writer = BlobWriter(file)
                    yield writer
                    if 0 <= size != writer.size:
                        raise ImageFailure(f"{digest} has {writer.size} bytes instead of {size}: it is damaged")
                    if digest and digest != writer.digest:
                        raise ImageFailure(f"{digest} is damaged: what arrived is {writer.digest}")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, self.path(writer.digest))
                sync_directory(self.directory)
            finally:
                aside.unlink(missing_ok=True)


class BlobWriter:
    """A blob that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)
        self.size += len(data)


@contextmanager
def explained() -> Iterator[None]:
    """Errors of the disk as `ImageFailure`, in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ImageFailure("the disk of the image store is full") from None
        where = f"{error.filename}: " if error.filename else ""
        raise ImageFailure(f"the image store cannot be written: {where}{error.strerror or error}") from None


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, durably: a reader, and a crash, sees the old content or the new."""
    aside = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        with open(aside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
