"""The streams of a container's main process: into its log, to and from who is attached. Part of the supervisor.

Standard library alone, as `supervisor.py`. Whoever is attached sees all output from then on, and holds the container
back while more than `HIGH_WATER` bytes wait for them; the log has everything, whoever is attached.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import base64
import fcntl
import os
import struct
import termios

if __package__:
    from kube_drivers.runtime.supervised.loop import timestamp
else:
    from loop import timestamp  # type: ignore

HIGH_WATER = 256 * 1024
LINE_BYTES = 16 * 1024


class Pump:
    """Moves what a container writes on one stream into its CRI log file, and to who is attached.

    `owner` is the container: it has `attached`, and is told by `pump_closed`.
    """

    def __init__(self, loop, fd, log, stream, owner):
        self.loop = loop
        self.fd = fd
        self.log = log
        self.stream = stream
        self.owner = owner
        self.rest = b""
        self.paused = False
        os.set_blocking(fd, False)
        loop.read(fd, self.ready)

    def ready(self, _mask):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose last user went away reads as EIO
            data = b""
        if not data:
            self.close()
            return
        for attached in list(self.owner.attached):
            attached.output(self.stream, data)
        self.pause()
        *lines, self.rest = (self.rest + data).split(b"\n")
        out = []
        head = f"{timestamp()} {self.stream} ".encode()
        for line in lines:
            while len(line) > LINE_BYTES:
                out.append(head + b"P " + line[:LINE_BYTES] + b"\n")
                line = line[LINE_BYTES:]  # noqa: PLW2901 (what is left of it)
            out.append(head + b"F " + line + b"\n")
        while len(self.rest) >= LINE_BYTES:
            out.append(head + b"P " + self.rest[:LINE_BYTES] + b"\n")
            self.rest = self.rest[LINE_BYTES:]
        self.write(b"".join(out))

    def pause(self):
        """Read no more, or read again, as those who are attached can take it."""
        full = any(attached.full for attached in self.owner.attached)
        if full != self.paused and self.fd >= 0:
            self.paused = full
            if full:
                self.loop.forget(self.fd)
            else:
                self.loop.read(self.fd, self.ready)

    def reopen(self, log):
        """Write into this file from now on, which is a whole number of lines later."""
        os.close(self.log)
        self.log = os.dup(log)

    def write(self, data):
        try:
            while data:
                data = data[os.write(self.log, data) :]
        except OSError:
            pass  # a full disk loses log lines, not containers

    def close(self):
        if self.fd < 0:
            return
        if self.rest:
            # Not a whole line: whoever reads it is to see no newline that nobody wrote.
            self.write(f"{timestamp()} {self.stream} P ".encode() + self.rest + b"\n")
        self.loop.forget(self.fd)
        os.close(self.fd)
        self.fd = -1
        os.close(self.log)
        self.owner.pump_closed(self)


class Attached:
    """Somebody who is attached to a container's main process, by a connection of their own."""

    def __init__(self, connection, container, stdin):
        self.connection = connection
        self.container = container
        self.stdin = stdin
        container.attached.add(self)
        connection.command = self

    @property
    def full(self):
        return len(self.connection.outgoing) > HIGH_WATER

    def output(self, stream, data):
        self.connection.send({"out": 1 if stream == "stdout" else 2, "data": base64.b64encode(data).decode()})

    def take(self, frame):
        if not self.stdin:
            return
        if "in" in frame:
            self.container.input.write(base64.b64decode(frame["in"]))
        elif frame.get("eof"):
            self.container.input.end()
        elif "resize" in frame:
            self.container.input.resize(*frame["resize"])

    def resume(self):
        for pump in self.container.pumps:
            pump.pause()

    def exited(self, code):
        """The container has."""
        self.container.attached.discard(self)
        self.connection.send({"exit": code})

    def abandon(self):
        """Nobody listens any more."""
        self.container.attached.discard(self)
        self.resume()
        if self.stdin and self.container.spec.get("stdin_once"):
            self.container.input.end()


class Input:
    """What goes to a process's stdin: a pipe, or its terminal. Without either, it goes nowhere."""

    def __init__(self, loop, fd=-1, tty=False):
        self.loop = loop
        self.fd = fd
        self.tty = tty
        self.pending = bytearray()
        self.eof = False
        if fd >= 0:
            os.set_blocking(fd, False)

    def write(self, data):
        if self.fd >= 0 and not self.eof:
            self.pending += data
            self.feed()

    def end(self):
        if self.fd >= 0 and not self.eof:
            if self.tty:
                self.pending += b"\x04"  # end of file, as a terminal says it
            else:
                self.eof = True
            self.feed()

    def resize(self, columns, rows):
        if self.tty and self.fd >= 0:
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def feed(self):
        if self.fd < 0:
            return
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:65536])]
        except BlockingIOError:
            self.loop.later(0.01, self.feed)
            return
        except OSError:
            self.pending.clear()
            self.eof = not self.tty
        if self.eof:
            self.close()

    def close(self):
        self.pending.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
