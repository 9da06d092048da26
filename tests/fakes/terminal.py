"""A program on a terminal of its own: keys go in, and what the screen shows can be waited for.

The terminal is a real one (a pseudo-terminal that the program controls), its screen is drawn by pyte.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyte

__all__ = ["Terminal", "on_terminal"]

_COLUMNS, _ROWS = 160, 45


class Terminal:
    """The screen of a program, and its keyboard."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """What dragging the window's corner is: the program is told."""
        with self._changed:
            self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, text: str, *, timeout: float = 20.0) -> str:
        """Wait until a line of the screen holds `text`; that line."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._line_with(text), timeout)
            line = self._line_with(text)
            assert line, self._failure(f"{text!r} was there")
        return line

    def hides(self, text: str, *, timeout: float = 20.0) -> None:
        """Wait until no line of the screen holds `text`."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or not self._line_with(text), timeout)
            if self._over or self._line_with(text):
                raise AssertionError(self._failure(f"{text!r} was gone"))

    def join(self) -> None:
        self._reader.join(timeout=10)

    def _line_with(self, text: str) -> str:
        return next((line for line in self._lines() if text in line), "")

    def _failure(self, wanted: str) -> str:
        ended = "the program ended" if self._over else "time passed"
        return "\n".join([f"{ended} before {wanted}:", *filter(None, self._lines())])

    def _lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    def _read(self) -> None:
        # Reading fails when the last process that had the terminal is gone.
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                with self._changed:
                    self._stream.feed(data)
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


@contextlib.contextmanager
def on_terminal(command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A program with a terminal of its own, until the block is left."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    # `setsid --ctty`: a session whose controlling terminal is this one, for programs that open /dev/tty.
    process = subprocess.Popen(
        ["setsid", "--ctty", *map(str, command)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(slave)
    terminal = Terminal(master)
    try:
        yield terminal
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            terminal.join()
            os.close(master)
