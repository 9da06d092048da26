"""Unpacking a layer into a directory that overlayfs takes as a lower one.

By the OCI image specification's "Image Layer Filesystem Changeset". What always holds:

* Nothing is written outside of the directory, whatever the archive says: no component of a path is followed as a
  symbolic link by the kernel; links are resolved here, within the image's root.
* What a layer leaves out it inherits: a directory that only lower layers describe is made with their owner and mode.
  So a layer is unpacked on those below it, and is named by the whole chain.
* A whiteout becomes overlayfs' own (a device 0/0), an opaque directory its attribute; the archive cannot set overlayfs'
  attributes itself.
* What is unpacked is exactly the archive that the image's configuration names (its diff id).

Needs root for owners and devices; without it owners are left out, and a layer with whiteouts is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from kube_core.abc.runtime import ImageFailure

__all__ = ["decompressed", "unpack_layer"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_XATTR = "SCHILY.xattr."
_BLOCK = 1 << 20
_MOST_LINKS = 40

Parts = tuple[str, ...]


def unpack_layer(archive: IO[bytes], diff_id: str, root: Path, lowers: Sequence[Path]) -> int:
    """Unpack into the empty directory `root`; the bytes that its files take.

    `archive` is a tar, plain or compressed, that can be rewound. `lowers`: the layers below, the uppermost first.
    Raises `ImageFailure`, and `OSError` of the disk that is written to.
    """
    try:
        with decompressed(archive) as plain:
            stream = _Hashed(plain)
            # Not closed: it would read on in the stream.
            tar = tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", encoding="utf-8")  # noqa: SIM115
            unpacking = _Unpacking(root, lowers)
            for member in tar:
                unpacking.take(tar, member)
            unpacking.finish()
            while stream.read(_BLOCK):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageFailure(f"the layer {diff_id} is damaged: {error}") from None
    if stream.digest != diff_id:
        raise ImageFailure(f"the layer {diff_id} is damaged: what was unpacked is {stream.digest}")
    _sync_file_system(root)
    return unpacking.size


@contextlib.contextmanager
def decompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """What a file says that may be compressed, whatever its name. Raises `ImageFailure` where that cannot be read."""
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        with gzip.open(file, "rb") as plain:
            yield cast("IO[bytes]", plain)
    elif magic == b"\x28\xb5\x2f\xfd":
        try:
            import zstandard  # type: ignore[import-not-found] # lazily: few images need it
        except ImportError:
            raise ImageFailure("the layer is compressed with zstd, for which zstandard has to be installed") from None
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain:
            yield plain
    else:
        yield file


class _Hashed:
    """A stream whose content is hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data


class _Unpacking:
    """One layer on its way."""

    def __init__(self, root: Path, lowers: Sequence[Path]) -> None:
        self.size = 0
        self._root = str(root)
        self._lowers = [str(lower) for lower in lowers]
        self._owned = os.geteuid() == 0
        self._directories: dict[Parts, Parts] = {(): ()}
        self._whiteouts: set[Parts] = set()
        self._times: dict[Parts, float] = {}
        self._inherit_root()

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                self._describe(self._path(()), member)
                self._times[()] = member.mtime
            return
        parent = self._directory(parts[:-1])
        name = parts[-1]
        if name == _OPAQUE:
            self._make_opaque(parent)
        elif name.startswith(_WHITEOUT):
            self._white_out((*parent, name.removeprefix(_WHITEOUT)))
        else:
            self._make(tar, member, (*parent, name))

    def finish(self) -> None:
        """Directories get their times last, as what is put into them changes these."""
        for parts, time in self._times.items():
            with contextlib.suppress(OSError):
                os.utime(self._path(parts), (time, time), follow_symlinks=False)

    # -- entries -------------------------------------------------------------------------------------------------

    def _make(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: Parts) -> None:
        path = self._path(parts)
        there = _lstat(path)
        if there is not None and not (member.isdir() and stat.S_ISDIR(there.st_mode)):
            self._remove(parts, there)
            there = None
        if member.isdir():
            if there is None:
                os.mkdir(path, 0o755)
            self._describe(path, member)
            self._times[parts] = member.mtime
            if parts in self._whiteouts:
                self._make_opaque(parts)
            return
        if member.islnk():
            self._link(member, path)
            return
        if member.issym():
            os.symlink(member.linkname, path)
        elif member.isreg():
            self._write(tar, member, path)
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            if not self._owned:
                return  # as unprivileged programs do without devices
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            if member.ischr() and not (member.devmajor or member.devminor):
                raise ImageFailure(f'"{member.name}" is a device that overlayfs would take for a whiteout')
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        else:
            raise ImageFailure(f'"{member.name}" is of an unknown kind')
        self._describe(path, member)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        source = tar.extractfile(member)
        assert source is not None
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
        self.size += member.size

    def _link(self, member: tarfile.TarInfo, path: str) -> None:
        target = _parts(member.linkname)
        if not target:
            raise ImageFailure(f'"{member.name}" is a link to the root')
        target = (*self._directory(target[:-1]), target[-1])
        source = self._path(target)
        if _lstat(source) is None:
            lower = self._in_lower(target)
            if lower is None or not os.path.isfile(lower):
                raise ImageFailure(f'"{member.name}" is a link to "{member.linkname}", which is not there')
            shutil.copyfile(lower, source, follow_symlinks=False)
            self._copy_description(lower, source)
        os.link(source, path, follow_symlinks=False)

    def _white_out(self, parts: Parts) -> None:
        if not parts[-1] or parts[-1] in (".", ".."):
            raise ImageFailure(f'a whiteout of "{"/".join(parts)}" means nothing')
        self._whiteouts.add(parts)
        path = self._path(parts)
        there = _lstat(path)
        if there is None:
            if not self._owned:
                raise ImageFailure("a layer that removes files of another needs root to be unpacked")
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        elif stat.S_ISDIR(there.st_mode):
            self._make_opaque(parts)  # it only hides what is below

    def _make_opaque(self, parts: Parts) -> None:
        if not self._owned:
            raise ImageFailure("a layer that removes files of another needs root to be unpacked")
        os.setxattr(self._path(parts), _OPAQUE_ATTRIBUTE, b"y", follow_symlinks=False)

    def _remove(self, parts: Parts, there: os.stat_result) -> None:
        path = self._path(parts)
        if stat.S_ISDIR(there.st_mode):
            shutil.rmtree(path)
            self._directories = {
                asked: found for asked, found in self._directories.items() if found[: len(parts)] != parts
            }
            self._times = {known: time for known, time in self._times.items() if known[: len(parts)] != parts}
        else:
            os.unlink(path)

    def _describe(self, path: str, member: tarfile.TarInfo) -> None:
        if self._owned:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            os.chmod(path, member.mode & 0o7777)
        for name, value in member.pax_headers.items():
            if not name.startswith(_XATTR):
                continue
            attribute = name.removeprefix(_XATTR)
            if attribute.startswith(("trusted.overlay.", "user.overlay.")):
                continue
            with contextlib.suppress(OSError):  # a file system may have no such attributes
                os.setxattr(path, attribute, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)

    # -- where things are ----------------------------------------------------------------------------------------

    def _path(self, parts: Parts) -> str:
        return "/".join((self._root, *parts))

    def _directory(self, parts: Parts) -> Parts:
        """Where this directory really is in the image; it is made in this layer. Links are resolved within the root."""
        if (known := self._directories.get(parts)) is not None:
            return known
        current: Parts = ()
        waiting = list(parts)
        followed = 0
        while waiting:
            name = waiting.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                current = current[:-1]
                continue
            here = (*current, name)
            link = self._enter(here)
            if link is None:
                current = here
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise ImageFailure(f'"{"/".join(parts)}" goes round in circles')
            if link.startswith("/"):
                current = ()
            waiting[:0] = link.split("/")
        self._directories[parts] = current
        return current

    def _enter(self, parts: Parts) -> str | None:
        """Make sure that a directory is in this layer; where it is a link, what that says."""
        path = self._path(parts)
        there = _lstat(path)
        if there is not None and stat.S_ISLNK(there.st_mode):
            return os.readlink(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            return None
        if there is not None:
            self._remove(parts, there)
        lower = self._in_lower(parts) if there is None else None
        if lower is not None and os.path.islink(lower):
            return os.readlink(lower)
        os.mkdir(path)
        os.chmod(path, 0o755)  # whatever the umask is
        if parts in self._whiteouts:
            self._make_opaque(parts)
        elif lower is not None and os.path.isdir(lower):
            self._copy_description(lower, path)
        return None

    def _inherit_root(self) -> None:
        """The root is as the layers below have it."""
        os.chmod(self._root, 0o755)
        if (lower := self._in_lower(())) is not None:
            self._copy_description(lower, self._root)

    def _in_lower(self, parts: Parts) -> str | None:
        """A path as the layers below show it together, if they do."""
        for lower in self._lowers:
            path, hidden = lower, False
            for position, name in enumerate(parts):
                hidden = hidden or _is_opaque(path)
                path = f"{path}/{name}"
                there = _lstat(path)
                if there is None:
                    break
                if _is_whiteout(there) or (position < len(parts) - 1 and not stat.S_ISDIR(there.st_mode)):
                    return None
            else:
                return path
            if hidden:
                return None
        return None

    def _copy_description(self, source: str, target: str) -> None:
        there = os.lstat(source)
        if self._owned:
            os.chown(target, there.st_uid, there.st_gid, follow_symlinks=False)
        os.chmod(target, stat.S_IMODE(there.st_mode))
        for attribute in os.listxattr(source, follow_symlinks=False):
            if not attribute.startswith(("trusted.overlay.", "user.overlay.")):
                with contextlib.suppress(OSError):
                    value = os.getxattr(source, attribute, follow_symlinks=False)
                    os.setxattr(target, attribute, value, follow_symlinks=False)


def _parts(name: str) -> Parts:
    """Raises `ImageFailure` for a name that leads out of the root."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ImageFailure(f'the layer\'s entry "{name}" leads out of it')
    return parts


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None


def _is_whiteout(there: os.stat_result) -> bool:
    return stat.S_ISCHR(there.st_mode) and there.st_rdev == 0


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _sync_file_system(directory: Path) -> None:
    """One call instead of one for each file."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(handle)
