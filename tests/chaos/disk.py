"""A disk without power: what can be on it when the power goes, given what a program wrote and synced.

`records` reads what `recorder.c` wrote down; a `Disk` is played the records one by one, and at any moment makes a
directory as it might be found afterwards. The rules are those that a file system owes, and not one more:

* What was written before the last sync of its file is there.
* Of what was written since, any sectors of 512 bytes may be there or not, whatever their order; so may each change of
  the file's length.
* Names (files made, renamed, removed) change in their order, and those before the last sync of the directory are there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import attrs

from kube_core._kit.random import Random

__all__ = ["OPENED", "WRITTEN", "Disk", "Record", "records"]

OPENED, CLOSED, WRITTEN, SYNCED, TRUNCATED, RENAMED, UNLINKED = range(1, 8)
_HEADER = struct.Struct("<IiQQ")
_SECTOR = 512


@attrs.frozen
class Record:
    what: int
    descriptor: int
    offset: int
    data: bytes


def records(log: Path) -> Iterator[Record]:
    """What was recorded, in order."""
    content = log.read_bytes()
    at = 0
    while at < len(content):
        what, descriptor, offset, length = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        yield Record(what, descriptor, offset, content[at : at + length])
        at += length


@attrs.define(eq=False)
class _File:
    synced: bytearray = attrs.field(factory=bytearray)
    #: Written since: (offset, data), or (length, None) for a change of the length.
    since: list[tuple[int, bytes | None]] = attrs.field(factory=list)

    def sync(self) -> None:
        for offset, data in self.since:
            _apply(self.synced, offset, data)
        self.since.clear()

    def after_power_loss(self, random: Random) -> bytes:
        """What may be found. Sometimes all or nothing of what was not synced, mostly some of it."""
        content = bytearray(self.synced)
        fate = random.below(4)
        if fate == 0:
            return bytes(content)
        for offset, data in self.since:
            if data is None:
                if fate == 1 or random.below(2):
                    _apply(content, offset, None)
            elif fate == 1:
                _apply(content, offset, data)
            elif fate == 2:
                if random.below(2):
                    _apply(content, offset, data)
            else:
                for start in range(0, len(data), _SECTOR):
                    if random.below(2):
                        _apply(content, offset + start, data[start : start + _SECTOR])
        return bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(offset - len(content), 0)))
    content[offset : offset + len(data)] = data


class Disk:
    """One directory on a disk that forgets."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._open: dict[int, _File | None] = {}
        self._names: dict[str, _File] = {}
        #: The names as they were at the last sync of the directory, and at each change since.
        self._possible: list[dict[str, _File]] = [{}]

    def play(self, record: Record) -> None:
        """Something happened."""
        file = self._open.get(record.descriptor)
        match record.what:
            case 1:
                self._opened(record.descriptor, record.data.decode(), truncate=bool(record.offset))
            case 2:
                self._open.pop(record.descriptor, None)
            case 3 if file is not None:
                file.since.append((record.offset, record.data))
            case 4 if file is not None:
                file.sync()
            case 4:
                self._possible = [dict(self._names)]
            case 5 if file is not None:
                file.since.append((record.offset, None))
            case 6:
                before, after = record.data.decode().split("\n")
                self._names[after] = self._names.pop(before)
                self._possible.append(dict(self._names))
            case 7:
                del self._names[record.data.decode()]
                self._possible.append(dict(self._names))
            case _:
                raise AssertionError(f"what is {record.what}?")

    def lose_power(self, random: Random, into: Path) -> None:
        """Make a directory as it may be found."""
        into.mkdir()
        for name, file in self._possible[random.below(len(self._possible))].items():
            (into / Path(name).name).write_bytes(file.after_power_loss(random))

    def _opened(self, descriptor: int, name: str, *, truncate: bool) -> None:
        if name == self._root:
            self._open[descriptor] = None
            return
        if name not in self._names:
            self._names[name] = _File()
            self._possible.append(dict(self._names))
        file = self._open[descriptor] = self._names[name]
        if truncate:
            file.since.append((0, None))
