"""A command in a container (`exec`): its streams, its terminal, its end. Part of the supervisor.

Standard library alone, as `supervisor.py`, which is run by its path and imports this as its neighbour. Output waits
while its connection has more than `HIGH_WATER` bytes to send; a command whose connection goes away is killed.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import base64
import fcntl
import os
import selectors
import struct
import termios

if __package__:
    from kube_drivers.runtime.supervised.processes import Refused, kill_session, spawn
else:
    from processes import Refused, kill_session, spawn  # type: ignore

HIGH_WATER = 256 * 1024


class Command:
    """A command that runs in a container for somebody who is connected."""

    def __init__(self, supervisor, connection, container, frame):
        self.loop = supervisor.loop
        self.connection = connection
        self.container = container
        self.code = None
        self.outputs = {}
        self.paused = set()
        self.input = -1
        self.pending = bytearray()
        self.eof = False
        self.tty = bool(frame.get("tty"))
        spec = {**container.spec, "argv": frame["argv"]}
        if self.tty:
            master, slave = os.openpty()
            self.pid = spawn(spec, (slave, slave, slave), tty=True)
            os.close(slave)
            self.outputs = {master: 1}
            self.input = master
        else:
            reading, self.input = os.pipe()
            out_read, out_write = os.pipe()
            error_read, error_write = os.pipe()
            try:
                self.pid = spawn(spec, (reading, out_write, error_write), tty=False)
            except Refused:
                for fd in (self.input, out_read, error_read):
                    os.close(fd)
                raise
            finally:
                for fd in (reading, out_write, error_write):
                    os.close(fd)
            self.outputs = {out_read: 1, error_read: 2}
        os.set_blocking(self.input, False)
        for fd in self.outputs:
            os.set_blocking(fd, False)
            self.loop.read(fd, lambda mask, fd=fd: self.ready(fd, mask))
        self.loop.children[self.pid] = self.ended
        container.execs.add(self)
        connection.command = self

    def ready(self, fd, mask):
        if mask & selectors.EVENT_WRITE:
            self.feed()
        if fd not in self.outputs or not mask & selectors.EVENT_READ:
            return
        try:
            data = os.read(fd, 32768)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.finish_output(fd)
            return
        self.connection.send({"out": self.outputs[fd], "data": base64.b64encode(data).decode()})
        if len(self.connection.outgoing) > HIGH_WATER and fd in self.outputs:
            self.loop.forget(fd)
            self.paused.add(fd)

    def resume(self):
        for fd in self.paused:
            self.loop.read(fd, lambda mask, fd=fd: self.ready(fd, mask))
        self.paused.clear()

    def take(self, frame):
        if "in" in frame:
            self.pending += base64.b64decode(frame["in"])
        elif frame.get("eof"):
            self.eof = True
        elif "resize" in frame and self.tty and self.input >= 0:
            columns, rows = frame["resize"]
            fcntl.ioctl(self.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.feed()

    def feed(self):
        if self.input < 0:
            self.pending.clear()
            return
        try:
            while self.pending:
                del self.pending[: os.write(self.input, self.pending[:65536])]
        except BlockingIOError:
            self.loop.later(0.01, self.feed)
            return
        except OSError:
            self.pending.clear()
            self.eof = True
        if self.eof:
            if self.tty:
                self.pending += b"\x04"  # end of file, as a terminal says it
                self.eof = False
                self.feed()
            else:
                os.close(self.input)
                self.input = -1

    def finish_output(self, fd):
        self.loop.forget(fd)
        self.paused.discard(fd)
        if self.outputs.pop(fd, None) is None:
            return
        if fd == self.input:
            self.input = -1
        os.close(fd)
        self.report()

    def ended(self, code):
        self.code = code
        # Something that it left behind may hold its output open; the command itself is over.
        self.loop.later(0.5, self.abandon_output)
        self.report()

    def abandon_output(self):
        if not self.paused:
            for fd in list(self.outputs):
                self.finish_output(fd)

    def report(self):
        if self.code is None or self.outputs:
            return
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
        self.container.execs.discard(self)
        self.connection.send({"exit": self.code})

    def abandon(self):
        """Nobody listens any more."""
        self.paused.clear()
        if self.code is None:
            kill_session(self.pid)
        for fd in list(self.outputs):
            self.finish_output(fd)
