"""The supervisor's loop: readiness, timers, the end of children, and what time it is. Standard library alone."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import heapq
import os
import selectors
import signal
import time

if __package__:
    from kube_drivers.runtime.supervised.processes import exit_code
else:
    from processes import exit_code  # type: ignore


class Loop:
    """Readiness, timers and the end of child processes."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.timers = []
        self.order = 0
        self.children = {}
        #: Exit codes of children that nobody knew yet, kept while something is being launched.
        self.strays = {}
        self.launching = 0
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(reading, selectors.EVENT_READ, lambda _mask: os.read(reading, 4096))

    def later(self, delay, call):
        self.order += 1
        heapq.heappush(self.timers, (now() + delay, self.order, call))

    def turn(self):
        wait = max(0.0, self.timers[0][0] - now()) if self.timers else None
        for key, mask in self.selector.select(wait):
            key.data(mask)
        self.reap()
        while self.timers and self.timers[0][0] <= now():
            heapq.heappop(self.timers)[2]()

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self.children.pop(pid, None)
            if ended is not None:
                ended(exit_code(status))
            elif self.launching:
                self.strays[pid] = exit_code(status)

    def launched(self):
        """What was being launched is, or failed to be."""
        self.launching -= 1
        if not self.launching:
            self.strays.clear()

    def adopt(self, pid, ended):
        """Be told of the end of a child that another program started; it may be over already."""
        code = self.strays.pop(pid, None)
        if code is None:
            self.children[pid] = ended
        else:
            self.later(0.0, lambda: ended(code))

    def read(self, fd, call):
        self.selector.register(fd, selectors.EVENT_READ, call)

    def forget(self, fd):
        try:
            self.selector.unregister(fd)
        except KeyError:
            pass


def timestamp():
    nanoseconds = time.time_ns()
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def now():
    return time.monotonic()  # noqa: TID251 (this process has no clock but the machine's)


def wall():
    return time.time()  # noqa: TID251 (this process has no clock but the machine's)
