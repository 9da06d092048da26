"""Starting processes of containers through an OCI runtime (crun, runc). Part of the supervisor; standard library alone.

The runtime is run with `--detach`: it makes the process, writes its id, and ends; the process stays, and becomes the
supervisor's child, as that is the subreaper. So its exit code is the supervisor's to collect, and no program stands
between. A terminal is handed over through a socket (`--console-socket`).

What to run is a `launch`: `argv` (in which `--console-socket {console}` stands for the socket, where there is to be
one), `pid_file`, `log` (the runtime's own, JSON lines), `remove`, further files that are of no use once it is over,
`hide`, paths that it is not to see, and `show`, those that it is to see elsewhere. The first is for crun, which refuses
machines whose cgroups are mixed; in a mount namespace of its own, where those of v2 are not mounted, it finds v1 alone.
The other is for pods with users of their own, who could not pass the directories above.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import array
import json
import os
import socket

if __package__:
    from kube_drivers.runtime.supervised.connections import Later
    from kube_drivers.runtime.supervised.processes import Refused, spawn
else:
    from connections import Later  # type: ignore
    from processes import Refused, spawn  # type: ignore


class Launch:
    """One process on its way. `done` is called with it once it runs (`pid`, `terminal`), or does not (`failure`)."""

    count = 0

    def __init__(self, loop, spec, console, done):
        self.loop = loop
        self.spec = spec
        self.done = done
        self.answer = Later()
        self.failure = None
        self.pid = 0
        self.terminal = -1
        self.listener = None
        self.directory = -1
        if console:
            self.listen()

    def begin(self, stdio):
        """Start the runtime. Answers 0: the id of the process is not known yet. Raises `Refused`."""
        null = os.open(os.devnull, os.O_RDWR)
        argv = list(self.spec["argv"])
        if "{console}" in argv:
            at = argv.index("{console}")
            argv[at - 1 : at + 1] = [argv[at - 1], self.console()] if self.listener is not None else []
        try:
            pid = run(argv, stdio or (null, null, null), self.spec)
        except Refused:
            self.close()
            raise
        finally:
            os.close(null)
        self.loop.launching += 1
        self.loop.children[pid] = self.launched
        return 0

    def launched(self, code):
        try:
            if code == 0:
                with open(self.spec["pid_file"], "rb") as file:
                    self.pid = int(file.read())
                if self.listener is not None:
                    self.terminal = self.receive()
            else:
                self.failure = Refused(last_words(self.spec["log"]) or f"it ended with code {code}", "StartError")
        except (OSError, ValueError) as error:
            self.failure = Refused(f"the container's runtime did not say what it started: {error}", "StartError")
        finally:
            self.close()
        try:
            self.done(self)
        finally:
            self.loop.launched()

    def listen(self):
        # By the directory's descriptor, as a socket's path has 107 bytes at most.
        Launch.count += 1
        place = os.path.dirname(self.spec["pid_file"])
        self.directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        self.name = f"console-{os.getpid()}-{Launch.count}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.console())
        self.listener.listen(1)
        self.listener.settimeout(5)

    def console(self):
        return f"/proc/{os.getpid()}/fd/{self.directory}/{self.name}" if self.directory >= 0 else ""

    def receive(self):
        """The terminal, which the runtime has sent before it ended."""
        assert self.listener is not None
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(5)
            room = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(room.itemsize))
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    room.frombytes(data[: room.itemsize])
        if not room:
            raise OSError("no terminal came")
        os.set_inheritable(room[0], False)
        return room[0]

    def close(self):
        if self.listener is not None:
            self.listener.close()
            try:
                os.unlink(self.name, dir_fd=self.directory)
            except OSError:
                pass
            os.close(self.directory)
            self.listener, self.directory = None, -1
        for path in (self.spec["pid_file"], self.spec["log"], *self.spec.get("remove", ())):
            try:
                os.unlink(path)
            except OSError:
                pass


def run(argv, stdio, launch):
    """Start a program of the container's runtime; its id. Raises `Refused`."""
    spec = {"argv": argv, "cwd": "/", "env": {"PATH": os.environ.get("PATH", os.defpath)}}
    return spawn({**spec, "hide": launch.get("hide"), "show": launch.get("show")}, stdio, tty=False)


def last_words(log):
    """The last error in a runtime's log; "" for none."""
    words = ""
    try:
        with open(log, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and entry.get("level") == "error":
                    words = str(entry.get("msg") or "")
    except OSError:
        pass
    return words


def members(paths):
    """The processes in these cgroups (files `cgroup.procs`)."""
    found: set = set()
    for path in paths:
        try:
            with open(path, "rb") as file:
                found.update(int(line) for line in file)
        except OSError:
            continue
    return found


def out_of_memory(path):
    """Whether the kernel has killed something in this cgroup (`memory.events`, or v1's `memory.oom_control`)."""
    try:
        with open(path, "rb") as file:
            return any(line.startswith(b"oom_kill ") and int(line.split()[1]) > 0 for line in file)
    except (OSError, ValueError, IndexError):
        return False
