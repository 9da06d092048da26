"""The supervisor: one small process a node that owns its containers' processes and outlives the node agent.

Run by file path (`python -I -S supervisor.py DIRECTORY`); it imports the standard library alone, little of it, and its
neighbours `processes.py` (starting and killing) and `commands.py` (exec). It is
to stay resident for as long as containers run, beside every node.

What it owns: each container's processes, their exit codes, their terminals, and the pumps that write what they say
into CRI log files. An agent speaks to it over a unix socket, and may come and go; while it is away nothing is lost.

* **Trees.** Every container starts in a session of its own. The supervisor is the subreaper of all of them, so a
  grandchild that makes itself a daemon becomes its child. When a container's main process ends, everything that
  belongs to it is killed, and only then is the container reported as exited: what is in its session, what descends
  from that, and orphans whose environment carries its mark (`KUBE_CORE_CONTAINER`). An orphan that cleaned its
  environment as well is nobody's until `end`, which kills whatever is left.
* **Pids.** It is the parent, so a pid is its own until it has reaped it; other members are signalled through a pidfd
  whose start time was looked at again.
* **Journal.** `journal` gets a line for each thing that happens, before anyone is told. On a full disk nothing new is
  created, what runs goes on, and the journal is written anew once there is room. A supervisor that starts on
  the journal of one that was killed ends what that one left running, and says so in the containers' messages.
* **Ending.** It ends when told to (`end`), and by itself once it has had neither a running container nor an agent
  for a minute.

The protocol: frames of four bytes of length (big endian) and JSON. A request `{"id": 1, "op": …}` is answered by
`{"id": 1, "ok": …}` or `{"id": 1, "error": …, "reason": …}`. After `watch`, a connection also gets
`{"container": …}` and `{"removed": …}`. After `exec`, it carries that command's streams: `{"out": 1 or 2, "data": …}`,
`{"exit": code}` to the agent; `{"in": …}`, `{"eof": true}`, `{"resize": [columns, rows]}` from it (data in base64).

It keeps no opinions: what a container's `meta` and the records of `set` mean is the driver's business (`driver.py`).
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics
# (typing is not in the standard library's smallest part: this file starts a process for every node)

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time

if __package__:
    from kube_drivers.runtime.supervised.commands import HIGH_WATER, Command
    from kube_drivers.runtime.supervised.processes import (
        Refused,
        descendants,
        exit_code,
        kill_marked,
        kill_members,
        kill_pid,
        read_processes,
        spawn,
    )
else:  # run by path: the package, and all that it imports, is not for this process
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from commands import HIGH_WATER, Command  # type: ignore
    from processes import Refused, descendants, exit_code, kill_marked, kill_members, kill_pid, read_processes, spawn  # type: ignore

IDLE_SECONDS = 60.0
KILL_AGAIN_SECONDS = 0.02
DRAIN_SECONDS = 5.0
JOURNAL_AGAIN_SECONDS = 1.0
LINE_BYTES = 16 * 1024
FRAME_LIMIT = 64 * 1024 * 1024
PR_SET_CHILD_SUBREAPER = 36


class Loop:
    """Readiness, timers and the end of child processes."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.timers = []
        self.order = 0
        self.children = {}
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

    def read(self, fd, call):
        self.selector.register(fd, selectors.EVENT_READ, call)

    def forget(self, fd):
        try:
            self.selector.unregister(fd)
        except KeyError:
            pass


class Container:
    """A container, from `create` to `remove`."""

    def __init__(self, identity, spec, meta, created_at):
        self.id = identity
        self.spec = spec
        self.meta = meta
        self.state = "created"
        self.created_at = created_at
        self.started_at = 0.0
        self.finished_at = 0.0
        self.exit_code = 0
        self.reason = ""
        self.message = ""
        self.pid = 0
        self.pumps = set()
        self.execs = set()
        self.deadline = None
        self.main_ended = False
        self.waiting = []

    def public(self):
        return {
            "id": self.id,
            "state": self.state,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "message": self.message,
            "pid": self.pid,
            "meta": self.meta,
        }


class Pump:
    """Moves what a container writes on one stream into its CRI log file."""

    def __init__(self, loop, fd, log, stream, closed):
        self.loop = loop
        self.fd = fd
        self.log = log
        self.stream = stream
        self.closed = closed
        self.rest = b""
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
            self.write(f"{timestamp()} {self.stream} F ".encode() + self.rest + b"\n")
        self.loop.forget(self.fd)
        os.close(self.fd)
        self.fd = -1
        os.close(self.log)
        self.closed(self)


class Connection:
    """An agent's connection, or that of one command in a container."""

    def __init__(self, supervisor, sock):
        self.supervisor = supervisor
        self.loop = supervisor.loop
        self.sock = sock
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.watching = False
        self.command = None
        self.open = True
        sock.setblocking(False)
        self.loop.read(sock, self.ready)

    def ready(self, mask):
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if not self.open or not mask & selectors.EVENT_READ:
            return
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.incoming += data
        while self.open and len(self.incoming) >= 4:
            (length,) = struct.unpack(">I", self.incoming[:4])
            if length > FRAME_LIMIT:
                self.close()
                return
            if len(self.incoming) < 4 + length:
                return
            frame = json.loads(self.incoming[4 : 4 + length])
            del self.incoming[: 4 + length]
            self.take(frame)

    def take(self, frame):
        if self.command is not None:
            self.command.take(frame)
            return
        identity = frame.get("id")
        try:
            answer = self.supervisor.perform(frame, self)
        except Refused as error:
            self.send({"id": identity, "error": str(error), "reason": error.reason})
        except Exception as error:
            self.send({"id": identity, "error": f"{type(error).__name__}: {error}", "reason": ""})
        else:
            self.send({"id": identity, "ok": answer})

    def send(self, frame):
        if not self.open:
            return
        body = json.dumps(frame, separators=(",", ":")).encode()
        self.outgoing += struct.pack(">I", len(body)) + body
        self.flush()

    def flush(self):
        try:
            while self.outgoing:
                sent = self.sock.send(self.outgoing)
                del self.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outgoing else 0)
        self.loop.selector.modify(self.sock, events, self.ready)
        if self.command is not None and len(self.outgoing) < HIGH_WATER:
            self.command.resume()

    def close(self):
        if not self.open:
            return
        self.open = False
        self.loop.forget(self.sock)
        self.sock.close()
        self.supervisor.connections.discard(self)
        if self.command is not None:
            self.command.abandon()
        self.supervisor.look_idle()


class Supervisor:
    """All of it. `directory` holds the socket, the journal and the lock."""

    def __init__(self, directory):
        self.directory = directory
        self.loop = Loop()
        self.containers = {}
        self.records = {}
        self.connections = set()
        self.ending = None
        self.done = False
        self.idle_since = now()
        self.behind = False
        self.journal = self.load_journal()
        self.listener = self.listen()

    def run(self):
        self.look_idle()
        while not self.done:
            self.loop.turn()
        for connection in list(self.connections):
            connection.close()
        self.listener.close()
        remove(os.path.join(self.directory, "socket"))

    # -- state ---------------------------------------------------------------------------------------------------

    def load_journal(self):
        path = os.path.join(self.directory, "journal")
        try:
            with open(path, "rb") as file:
                for line in file:
                    try:
                        self.replay(json.loads(line))
                    except (ValueError, KeyError, TypeError):
                        continue  # the last line of a crash
        except FileNotFoundError:
            pass
        lost = [each for each in self.containers.values() if each.state == "running"]
        kill_marked({each.id for each in lost})
        for container in lost:
            container.state = "exited"
            container.exit_code = 137
            container.finished_at = wall()
            container.reason = "ContainerStatusUnknown"
            container.message = "The container could not be located when its supervisor was started again"
        return self.write_journal()

    def write_journal(self):
        """What there is now, as a journal to go on with."""
        path = os.path.join(self.directory, "journal")
        fresh = path + ".new"
        with open(fresh, "wb") as file:
            for key, value in self.records.items():
                file.write(line_of({"set": key, "value": value}))
            for container in self.containers.values():
                file.write(line_of({"container": container.public(), "spec": container.spec}))
        os.replace(fresh, path)
        return open(path, "ab", buffering=0)

    def replay(self, entry):
        if "set" in entry:
            self.keep_record(entry["set"], entry["value"])
        elif "remove" in entry:
            self.containers.pop(entry["remove"], None)
        elif "container" in entry:
            known = entry["container"]
            spec = entry.get("spec")
            container = self.containers.get(known["id"])
            if container is None:
                container = Container(known["id"], spec, known["meta"], known["created_at"])
                self.containers[container.id] = container
            for field in ("state", "started_at", "finished_at", "exit_code", "reason", "message", "pid"):
                setattr(container, field, known[field])

    def keep_record(self, key, value):
        if value is None:
            self.records.pop(key, None)
        else:
            self.records[key] = value

    def note(self, entry):
        if self.behind:
            return
        line = line_of(entry)
        try:
            if self.journal.write(line) == len(line):
                return
        except OSError:
            pass
        self.behind = True
        self.loop.later(JOURNAL_AGAIN_SECONDS, self.catch_up)

    def catch_up(self):
        """The disk took no more of the journal: write it anew, once there is room."""
        try:
            journal = self.write_journal()
        except OSError:
            self.loop.later(JOURNAL_AGAIN_SECONDS, self.catch_up)
            return
        self.journal.close()
        self.journal = journal
        self.behind = False

    def changed(self, container):
        public = container.public()
        self.note({"container": public})
        self.tell({"container": public})

    def tell(self, frame):
        for connection in list(self.connections):
            if connection.watching:
                connection.send(frame)

    # -- connections ---------------------------------------------------------------------------------------------

    def listen(self):
        path = os.path.join(self.directory, "socket")
        remove(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bind_short(listener, path)
        os.chmod(path, 0o600)
        listener.listen(64)
        listener.setblocking(False)
        self.loop.read(listener, self.accept)
        return listener

    def accept(self, _mask):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        self.connections.add(Connection(self, sock))

    def look_idle(self):
        if self.connections or any(each.state == "running" for each in self.containers.values()):
            return
        self.idle_since = now()
        self.loop.later(IDLE_SECONDS, self.end_if_idle)

    def end_if_idle(self):
        busy = self.connections or any(each.state == "running" for each in self.containers.values())
        if not busy and now() - self.idle_since >= IDLE_SECONDS - 0.1:
            self.done = True

    # -- requests ------------------------------------------------------------------------------------------------

    def perform(self, frame, connection):
        operation = frame.get("op")
        perform = getattr(self, f"do_{operation}", None)
        if perform is None:
            raise Refused(f"unknown operation {operation!r}")
        return perform(frame, connection)

    def do_watch(self, _frame, connection):
        connection.watching = True
        return {
            "pid": os.getpid(),
            "containers": [each.public() for each in self.containers.values()],
            "records": self.records,
        }

    def do_set(self, frame, _connection):
        self.note({"set": frame["key"], "value": frame["value"]})
        self.keep_record(frame["key"], frame["value"])

    def do_create(self, frame, _connection):
        if frame["container"] in self.containers:
            raise Refused(f"container {frame['container']} exists")
        container = Container(frame["container"], frame["spec"], frame["meta"], wall())
        self.note({"container": container.public(), "spec": container.spec})
        if self.behind:
            raise Refused("the container's record cannot be written: the disk may be full")
        self.containers[container.id] = container
        self.tell({"container": container.public()})

    def do_start(self, frame, _connection):
        container = self.find(frame)
        if container.state != "created":
            raise Refused(f"container {container.id} was started already")
        container.started_at = wall()
        try:
            self.start(container)
        except Refused as error:
            container.state = "exited"
            container.exit_code = 128
            container.finished_at = wall()
            container.reason = "StartError"
            container.message = str(error)
            self.changed(container)
            raise
        container.state = "running"
        self.changed(container)

    def do_stop(self, frame, _connection):
        container = self.find(frame)
        if container.state == "created":
            container.finished_at = wall()
            self.exited(container, 137)
        elif container.state == "running":
            self.stop(container, float(frame["grace"]))

    def do_remove(self, frame, _connection):
        container = self.containers.get(frame["container"])
        if container is None:
            return
        if container.state == "running":
            raise Refused(f"container {container.id} is running")
        del self.containers[container.id]
        self.note({"remove": container.id})
        self.tell({"removed": container.id})

    def do_exec(self, frame, connection):
        container = self.find(frame)
        if container.state != "running" or container.main_ended:
            raise Refused(f"container {container.id} is not running")
        Command(self, connection, container, frame)

    def do_end(self, _frame, connection):
        """Everything ends; the connection closes when it has."""
        self.ending = connection
        for container in self.containers.values():
            container.deadline = None
        self.end_all()

    def find(self, frame):
        container = self.containers.get(frame["container"])
        if container is None:
            raise Refused(f"there is no container {frame['container']}", "NotFound")
        return container

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, container):
        spec = container.spec
        try:
            os.makedirs(os.path.dirname(spec["log"]), exist_ok=True)
            log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise Refused(f"cannot write the log {spec['log']}: {error.strerror}") from None
        null = os.open(os.devnull, os.O_RDONLY)
        ours, theirs = [], [null, log]
        try:
            if spec.get("tty"):
                master, slave = os.openpty()
                ours, theirs = [(master, "stdout")], [*theirs, slave]
                stdio = (slave, slave, slave)
            else:
                out_read, out_write = os.pipe()
                error_read, error_write = os.pipe()
                ours, theirs = [(out_read, "stdout"), (error_read, "stderr")], [*theirs, out_write, error_write]
                stdio = (null, out_write, error_write)
            container.pid = spawn(spec, stdio, tty=bool(spec.get("tty")))
        except BaseException:
            for fd, _ in ours:
                os.close(fd)
            raise
        else:
            for fd, stream in ours:
                pump = Pump(self.loop, fd, os.dup(log), stream, lambda pump: self.pump_closed(container, pump))
                container.pumps.add(pump)
        finally:
            for fd in theirs:
                os.close(fd)
        self.loop.children[container.pid] = lambda code: self.main_ended(container, code)

    def stop(self, container, grace):
        deadline = now() + grace
        if container.deadline is None:
            if grace > 0 and not container.main_ended:
                os.kill(container.pid, signal.SIGTERM)  # our child, not reaped: the pid is its own
        elif deadline >= container.deadline:
            return
        container.deadline = deadline
        self.loop.later(max(grace, 0.0), lambda: self.out_of_time(container, deadline))

    def out_of_time(self, container, deadline):
        if container.state == "running" and container.deadline == deadline and not container.main_ended:
            os.kill(container.pid, signal.SIGKILL)

    def main_ended(self, container, code):
        container.main_ended = True
        container.exit_code = code
        container.finished_at = wall()
        self.kill_rest(container, now() + DRAIN_SECONDS)

    def kill_rest(self, container, limit):
        """Kill what is left of a container until nothing is."""
        if kill_members(container) and now() < limit:
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.kill_rest(container, limit))
            return
        for pump in list(container.pumps):
            pump.ready(0)
        if container.pumps and now() < limit:
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.kill_rest(container, limit))
            return
        for pump in list(container.pumps):
            pump.close()
        self.exited(container, container.exit_code)

    def pump_closed(self, container, pump):
        container.pumps.discard(pump)

    def exited(self, container, code):
        container.state = "exited"
        container.exit_code = code
        container.reason = "Completed" if code == 0 else "Error"
        self.changed(container)
        self.look_idle()

    def end_all(self):
        """Kill every process there is, again and again, and go when there is none."""
        processes = read_processes()
        mine = descendants(processes, {os.getpid()}) - {os.getpid()}
        for pid in mine:
            kill_pid(pid, processes[pid])
        if mine:
            self.loop.later(KILL_AGAIN_SECONDS, self.end_all)
            return
        for name in ("journal", "socket"):
            remove(os.path.join(self.directory, name))
        self.done = True


def bind_short(listener, path):
    """Bind to a path of any length: a unix socket's own limit is 107 bytes."""
    if len(os.fsencode(path)) <= 100:
        listener.bind(path)
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def line_of(entry):
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def timestamp():
    nanoseconds = time.time_ns()
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def now():
    return time.monotonic()  # noqa: TID251 (this process has no clock but the machine's)


def wall():
    return time.time()  # noqa: TID251 (this process has no clock but the machine's)


def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def detach(directory):
    """Go on as a process that belongs to nobody; the first process waits until it is ready, and ends."""
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        verdict = b""
        while chunk := os.read(reading, 4096):
            verdict += chunk
        if verdict != b"ready":
            sys.stderr.write(verdict.decode("utf-8", "replace") or "the supervisor ended at once")
        os._exit(0 if verdict == b"ready" else 1)
    os.close(reading)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(os.path.join(directory, "supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
    return writing


def main():
    directory = sys.argv[1]
    os.closerange(3, 1 << 16)  # what the agent's program left open is no business of ours, nor of the containers
    os.umask(0o077)  # the journal has the containers' environments, and with them their secrets
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.stderr.write("another supervisor owns this directory")
        sys.exit(3)
    ready = detach(directory)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        supervisor = Supervisor(directory)
    except Exception as error:
        os.write(ready, f"{type(error).__name__}: {error}".encode())
        raise
    os.write(ready, b"ready")
    os.close(ready)
    supervisor.run()


if __name__ == "__main__":
    main()
