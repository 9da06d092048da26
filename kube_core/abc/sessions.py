"""A command that runs in a container, as whoever asked for it sees it: what it writes, what it is sent, how it ended.

The runtime gives such sessions (`kube_core.abc.runtime`), a node hands them on (`kube_core.abc.node`), and the API
server carries them to the client. They are apart from the contract of runtimes, which a server without nodes does not
need.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator
from typing import Literal

import attrs

__all__ = ["ExecRequest", "ExecSession", "Stream"]

Stream = Literal["stdout", "stderr"]


@attrs.frozen
class ExecRequest:
    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class ExecSession(abc.ABC):
    """A command in a container. An async iterator of its output, which ends when the command has.

    Output that nobody reads holds the command back. `close` ends the command where it still runs.
    """

    @abc.abstractmethod
    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """What it writes, as it comes. With a terminal, all of it is stdout."""

    @abc.abstractmethod
    async def write(self, data: bytes) -> None:
        """Send to its stdin. Does nothing once the command is over."""

    @abc.abstractmethod
    async def close_stdin(self) -> None: ...

    @abc.abstractmethod
    async def resize(self, width: int, height: int) -> None:
        """Tell its terminal the size, in characters."""

    @abc.abstractmethod
    async def exit_code(self) -> int:
        """Wait for the end. Call it after `output` is used up."""

    @abc.abstractmethod
    async def close(self) -> None: ...
