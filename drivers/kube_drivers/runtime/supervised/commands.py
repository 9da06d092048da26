"""A command in a container (`exec`): its streams, its terminal, its end. Part of the supervisor.

Standard library alone, as `supervisor.py`, which is run by its path and imports this as its neighbour. Output waits
while its connection has more than `HIGH_WATER` bytes to send; a command whose connection goes away is killed.

Where containers have a runtime of their own (`launches.py`), that is asked to start the command, and the answer comes
when it has.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import base64
import os

if __package__:
    from kube_drivers.runtime.supervised.launches import Launch
    from kube_drivers.runtime.supervised.processes import Refused, spawn
    from kube_drivers.runtime.supervised.pumps import HIGH_WATER, Input
else:
    from launches import Launch  # type: ignore
    from processes import Refused, spawn  # type: ignore
    from pumps import HIGH_WATER, Input  # type: ignore


class Command:
    """A command that runs in a container for somebody who is connected. `answer` is a `Later`, or None."""

    def __init__(self, supervisor, connection, container, frame):
        self.loop = supervisor.loop
        self.connection = connection
        self.container = container
        self.code = None
        self.pid = 0
        self.outputs = {}
        self.paused = set()
        self.input = Input(self.loop)
        self.tty = bool(frame.get("tty"))
        self.abandoned = False
        self.table = supervisor.table
        self.answer = None
        self.waiting: tuple = ({}, Input(self.loop))
        if "launch" in frame:
            self.launch(frame)
        else:
            self.spawn({**container.spec, "argv": frame["argv"]})
        container.execs.add(self)
        connection.command = self

    def spawn(self, spec):
        """As a child of this process."""
        if self.tty:
            master, slave = os.openpty()
            try:
                self.pid = spawn(spec, (slave, slave, slave), tty=True)
            except Refused:
                os.close(master)
                raise
            finally:
                os.close(slave)
            self.begin({master: 1}, Input(self.loop, master, tty=True))
        else:
            self.piped(lambda stdio: spawn(spec, stdio, tty=False))
        self.loop.children[self.pid] = self.ended

    def launch(self, frame):
        """Through the container's runtime, which may take its time."""
        launch = Launch(self.loop, frame["launch"], console=self.tty, done=self.launched)
        if self.tty:
            launch.begin(None)
        else:
            self.piped(launch.begin, begin=False)
        self.answer = launch.answer

    def launched(self, launch):
        outputs, stdin = self.waiting
        if launch.failure is not None:
            for fd in outputs:
                os.close(fd)
            stdin.close()
            self.container.execs.discard(self)
            self.connection.command = None
            launch.answer.refuse(launch.failure)
            return
        self.pid = launch.pid
        if launch.terminal >= 0:
            outputs, stdin = {launch.terminal: 1}, Input(self.loop, launch.terminal, tty=True)
        launch.answer.settle()
        self.begin(outputs, stdin)
        self.loop.adopt(self.pid, self.ended)
        if self.abandoned:
            self.abandon()

    def piped(self, start, begin=True):
        """Start it with pipes; what goes wrong leaves none."""
        reading, writing = os.pipe()
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        try:
            self.pid = start((reading, out_write, error_write))
        except Refused:
            for fd in (writing, out_read, error_read):
                os.close(fd)
            raise
        finally:
            for fd in (reading, out_write, error_write):
                os.close(fd)
        outputs, stdin = {out_read: 1, error_read: 2}, Input(self.loop, writing)
        if begin:
            self.begin(outputs, stdin)
        else:
            self.waiting = (outputs, stdin)

    def begin(self, outputs, stdin):
        self.outputs, self.input = outputs, stdin
        for fd in outputs:
            os.set_blocking(fd, False)
            self.loop.read(fd, lambda mask, fd=fd: self.ready(fd))

    def ready(self, fd):
        if fd not in self.outputs:
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
            self.loop.read(fd, lambda mask, fd=fd: self.ready(fd))
        self.paused.clear()

    def take(self, frame):
        if "in" in frame:
            self.input.write(base64.b64decode(frame["in"]))
        elif frame.get("eof"):
            self.input.end()
        elif "resize" in frame:
            self.input.resize(*frame["resize"])

    def finish_output(self, fd):
        self.loop.forget(fd)
        self.paused.discard(fd)
        if self.outputs.pop(fd, None) is None:
            return
        if fd == self.input.fd:
            self.input.fd = -1
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
        self.input.close()
        self.container.execs.discard(self)
        self.connection.send({"exit": self.code})

    def abandon(self):
        """Nobody listens any more."""
        self.abandoned = True
        if not self.pid:
            return  # it is being launched, and ended then
        self.paused.clear()
        if self.code is None:
            self.table.kill_session(self.pid)
        for fd in list(self.outputs):
            self.finish_output(fd)
