"""The supervisor: one small process a node that owns its containers' processes and outlives the node agent.

Run by file path (`python -I -S supervisor.py DIRECTORY`); it imports the standard library alone, little of it, and its
neighbours: `loop.py`, `connections.py`, `pumps.py` (streams of containers), `commands.py` (exec), `processes.py`
(starting), `table.py` (what there is, and killing), `launches.py` (starting through an OCI runtime). It is to stay
resident for as long as containers run, beside every node. `portable` as a second word has it do what every Unix can.

What it owns: each container's processes, their exit codes, their terminals, and the pumps that write what they say
into CRI log files. An agent speaks to it over a unix socket, and may come and go; while it is away nothing is lost.

* **Trees.** Every container starts in a session of its own. The supervisor is the subreaper of all of them, so a
  grandchild that makes itself a daemon becomes its child. When a container's main process ends, everything that
  belongs to it is killed, and only then is the container reported as exited: what is in its session, what descends
  from that, and orphans whose environment carries its mark (`KUBE_CORE_CONTAINER`). An orphan that cleaned its
  environment as well is nobody's until `end`, which kills whatever is left. A container whose `spec` has a `cgroup`
  comes into it before its program does, and nothing leaves that.
* **Pids.** It is the parent, so a pid is its own until it has reaped it; other members are signalled through a pidfd
  whose start time was looked at again.
* **Journal.** `journal` gets a line for each thing that happens, before anyone is told. On a full disk nothing new is
  created, what runs goes on, and the journal is written anew once there is room. A supervisor that starts on
  the journal of one that was killed ends what that one left running, and says so in the containers' messages.
* **Runtimes of their own.** A container whose `spec` has an `oci` is started and cleared away by an OCI runtime, and
  its processes are those of its cgroup. The rest is the same.
* **Ending.** It ends when told to (`end`), and by itself once it has had neither a running container nor an agent
  for a minute.

The protocol: frames of four bytes of length (big endian) and JSON. A request `{"id": 1, "op": …}` is answered by
`{"id": 1, "ok": …}` or `{"id": 1, "error": …, "reason": …}`. After `watch`, a connection also gets
`{"container": …}` and `{"removed": …}`. After `exec`, it carries that command's streams: `{"out": 1 or 2, "data": …}`,
`{"exit": code}` to the agent; `{"in": …}`, `{"eof": true}`, `{"resize": [columns, rows]}` from it (data in base64). So
it does after `attach`, with the streams of a container's main process.

It keeps no opinions: what a container's `meta` and the records of `set` mean is the driver's business (`driver.py`).
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics
# (typing is not in the standard library's smallest part: this file starts a process for every node)

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys

if __package__:
    from kube_drivers.runtime.supervised.commands import Command
    from kube_drivers.runtime.supervised.connections import Connection
    from kube_drivers.runtime.supervised.launches import Launch, members, out_of_memory, run
    from kube_drivers.runtime.supervised.loop import Loop, now, wall
    from kube_drivers.runtime.supervised.processes import (
        Refused,
        hold,
        spawn,
    )
    from kube_drivers.runtime.supervised.pumps import Attached, Input, Pump
    from kube_drivers.runtime.supervised.table import PortableTable, table_of_machine
    from kube_drivers.runtime.supervised.usage import Meter
else:  # run by path: the package, and all that it imports, is not for this process
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from commands import Command  # type: ignore
    from connections import Connection  # type: ignore
    from launches import Launch, members, out_of_memory, run  # type: ignore
    from loop import Loop, now, wall  # type: ignore
    from processes import (  # type: ignore
        Refused,
        hold,
        spawn,
    )
    from pumps import Attached, Input, Pump  # type: ignore
    from table import PortableTable, table_of_machine  # type: ignore
    from usage import Meter  # type: ignore

IDLE_SECONDS = 60.0
KILL_AGAIN_SECONDS = 0.02
DRAIN_SECONDS = 5.0
END_SECONDS = 10.0
JOURNAL_AGAIN_SECONDS = 1.0


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
        self.attached = set()
        self.input = None
        self.deadline = None
        #: It is on its way; the grace of a stop that came meanwhile.
        self.launching = False
        self.stop_wanted = None
        self.main_ended = False

    @property
    def oci(self):
        """What its own runtime is to do, where it has one."""
        return self.spec.get("oci")

    @property
    def active(self):
        return self.launching or self.state == "running"

    def pump_closed(self, pump):
        self.pumps.discard(pump)

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


class Supervisor:
    """All of it. `directory` holds the socket, the journal and the lock."""

    def __init__(self, directory, table):
        self.directory = directory
        self.table = table
        self.loop = Loop()
        self.meter = Meter(table)
        self.containers = {}
        self.records = {}
        self.connections = set()
        self.holders = {}
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
        lost = [each for each in self.containers.values() if each.active]
        self.table.kill_marked({each.id for each in lost})
        for container in lost:
            if container.oci:
                self.clear_away(container)
            elif container.spec.get("cgroup"):
                self.table.kill_pids(members(container.spec["cgroup"]["procs"]))
            container.launching = False
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
        if "launching" in entry:
            self.containers[entry["launching"]].launching = True
        elif "set" in entry:
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
            for field in ("meta", "state", "started_at", "finished_at", "exit_code", "reason", "message", "pid"):
                setattr(container, field, known[field])
            container.launching = False

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

    @property
    def busy(self):
        return self.connections or self.holders or any(each.active for each in self.containers.values())

    def look_idle(self):
        if self.busy:
            return
        self.idle_since = now()
        self.loop.later(IDLE_SECONDS, self.end_if_idle)

    def end_if_idle(self):
        if not self.busy and now() - self.idle_since >= IDLE_SECONDS - 0.1:
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
            "holders": {key: holder["pid"] for key, holder in self.holders.items()},
        }

    def do_hold(self, frame, _connection):
        """Have a process that keeps a pid namespace, under a key."""
        key = frame["key"]
        if key not in self.holders:
            pid = hold(frame["place"], frame.get("users", ""))
            self.holders[key] = {"pid": pid}
            self.loop.children[pid] = lambda _code: self.let_go(key)
            self.tell_holders()

    def do_release(self, frame, _connection):
        holder = self.holders.get(frame["key"])
        if holder is not None:
            os.kill(holder["pid"], signal.SIGKILL)

    def let_go(self, key):
        self.holders.pop(key, None)
        self.tell_holders()
        self.look_idle()

    def tell_holders(self):
        self.tell({"holders": {key: holder["pid"] for key, holder in self.holders.items()}})

    def do_amend(self, frame, _connection):
        """Change what is noted of a container."""
        container = self.find(frame)
        container.meta = {**container.meta, **frame["meta"]}
        self.changed(container)

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
        if container.state != "created" or container.launching:
            raise Refused(f"container {container.id} was started already")
        container.started_at = wall()
        try:
            if container.oci:
                return self.launch(container)
            self.start(container)
        except Refused as error:
            self.not_started(container, error)
            raise
        container.state = "running"
        self.changed(container)
        return None

    def do_stop(self, frame, _connection):
        container = self.find(frame)
        grace = float(frame["grace"])
        if container.launching:
            wanted = container.stop_wanted
            container.stop_wanted = grace if wanted is None else min(grace, wanted)
        elif container.state == "created":
            container.finished_at = wall()
            self.exited(container, 137)
        elif container.state == "running":
            self.stop(container, grace)

    def do_remove(self, frame, _connection):
        container = self.containers.get(frame["container"])
        if container is None:
            return
        if container.active:
            raise Refused(f"container {container.id} is running")
        del self.containers[container.id]
        self.note({"remove": container.id})
        self.tell({"removed": container.id})

    def do_exec(self, frame, connection):
        container = self.find(frame)
        if container.state != "running" or container.main_ended:
            raise Refused(f"container {container.id} is not running")
        return Command(self, connection, container, frame).answer

    def do_attach(self, frame, connection):
        container = self.find(frame)
        if not container.active or container.main_ended:
            raise Refused(f"container {container.id} is not running")
        Attached(connection, container, bool(frame.get("stdin")))

    def do_reopen_log(self, frame, _connection):
        container = self.find(frame)
        if container.pumps:
            log = self.open_log(container.spec)
            for pump in container.pumps:
                pump.reopen(log)
            os.close(log)

    def do_usage(self, _frame, _connection):
        return {"at": wall(), **self.meter.look(self.running())}

    def do_end(self, _frame, connection):
        """Everything ends; the connection closes when it has."""
        self.ending = connection
        for container in self.containers.values():
            container.deadline = None
            if container.active:
                container.stop_wanted = 0.0
                if container.state == "running" and not container.main_ended:
                    os.kill(container.pid, signal.SIGKILL)
        self.end_all(now() + END_SECONDS)

    def running(self):
        """The containers whose main process has not ended."""
        return [each for each in self.containers.values() if each.state == "running" and not each.main_ended]

    def find(self, frame):
        container = self.containers.get(frame["container"])
        if container is None:
            raise Refused(f"there is no container {frame['container']}", "NotFound")
        return container

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, container):
        """As a child of this process. Raises `Refused`."""
        spec = container.spec
        if spec.get("tty"):
            master, slave = os.openpty()
            ours, stdio, stdin = [(master, "stdout")], (slave, slave, slave), Input(self.loop, os.dup(master), tty=True)
        else:
            ours, stdio, stdin = self.pipes(spec)
        try:
            self.with_log(container, ours, stdin, lambda: spawn(spec, stdio, tty=bool(spec.get("tty"))))
        finally:
            for fd in set(stdio):
                os.close(fd)
        self.loop.children[container.pid] = lambda code: self.main_ended(container, code)

    def launch(self, container):
        """By its own runtime; the answer comes when that has. Raises `Refused`."""
        spec = container.spec
        launch = Launch(self.loop, container.oci["run"], bool(spec.get("tty")), lambda it: self.launched(container, it))
        self.note({"launching": container.id})
        container.launching = True
        try:
            if spec.get("tty"):
                self.with_log(container, [], Input(self.loop), lambda: launch.begin(None))
            else:
                ours, stdio, stdin = self.pipes(spec)
                try:
                    self.with_log(container, ours, stdin, lambda: launch.begin(stdio))
                finally:
                    for fd in set(stdio):
                        os.close(fd)
        except Refused:
            launch.close()
            container.launching = False
            raise
        return launch.answer

    def launched(self, container, launch):
        container.launching = False
        if launch.failure is not None:
            for pump in list(container.pumps):
                pump.close()
            container.input.close()
            self.clear_away(container)
            self.not_started(container, launch.failure)
            launch.answer.refuse(launch.failure)
            self.look_idle()
            return
        if launch.terminal >= 0:
            stdin = Input(self.loop, os.dup(launch.terminal), tty=True)
            self.with_log(container, [(launch.terminal, "stdout")], stdin, lambda: 0)
        container.pid = launch.pid
        container.state = "running"
        self.changed(container)
        launch.answer.settle()
        self.loop.adopt(container.pid, lambda code: self.main_ended(container, code))
        if container.stop_wanted is not None:
            self.stop(container, container.stop_wanted)

    def pipes(self, spec):
        """Our ends of a container's output, all of its ends, and our end of its input."""
        reading, stdin = os.open(os.devnull, os.O_RDONLY), Input(self.loop)
        if spec.get("stdin"):
            os.close(reading)
            reading, writing = os.pipe()
            stdin = Input(self.loop, writing)
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        return [(out_read, "stdout"), (error_read, "stderr")], (reading, out_write, error_write), stdin

    def with_log(self, container, ours, stdin, start):
        """Start a process whose output goes to the container's log. Raises `Refused`, having closed what is ours."""
        try:
            log = self.open_log(container.spec)
            try:
                container.pid = start()
                for fd, stream in ours:
                    container.pumps.add(Pump(self.loop, fd, os.dup(log), stream, container))
            finally:
                os.close(log)
        except BaseException:
            for fd, _ in ours:
                os.close(fd)
            stdin.close()
            raise
        container.input = stdin

    def open_log(self, spec):
        try:
            os.makedirs(os.path.dirname(spec["log"]), exist_ok=True)
            return os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise Refused(f"cannot write the log {spec['log']}: {error.strerror}") from None

    def not_started(self, container, error):
        container.state = "exited"
        container.exit_code = 128
        container.finished_at = wall()
        container.reason = "StartError"
        container.message = str(error)
        self.changed(container)

    def stop(self, container, grace):
        deadline = now() + grace
        if container.deadline is None:
            if grace > 0 and not container.main_ended:
                # Our child, not reaped: the pid is its own.
                os.kill(container.pid, container.spec.get("stop_signal") or signal.SIGTERM)
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
        left = not container.oci and self.table.kill_members(container, self.running())
        cgroup = container.oci or container.spec.get("cgroup")
        if cgroup:
            left = self.table.kill_pids(members(cgroup["procs"])) or left
        if left and now() < limit:
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.kill_rest(container, limit))
            return
        for pump in list(container.pumps):
            pump.ready(0)
        if container.pumps and now() < limit:
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.kill_rest(container, limit))
            return
        for pump in list(container.pumps):
            pump.close()
        container.input.close()
        out = bool(cgroup) and out_of_memory(cgroup["oom"])
        if not container.oci:
            self.exited(container, container.exit_code, out_of_memory=out)
            return
        self.clear_away(container, lambda: self.exited(container, container.exit_code, out_of_memory=out))

    def clear_away(self, container, done=None):
        """Let its own runtime forget it, with its cgroups. Without `done`, wait for that."""
        null = os.open(os.devnull, os.O_RDWR)
        try:
            pid = run(container.oci["delete"], (null, null, null), {"hide": container.oci.get("hide")})
        except Refused:
            if done is not None:
                done()
            return
        finally:
            os.close(null)
        if done is None:
            os.waitpid(pid, 0)
        else:
            self.loop.children[pid] = lambda _code: done()

    def exited(self, container, code, out_of_memory=False):
        container.state = "exited"
        container.exit_code = code
        container.reason = "Completed" if code == 0 else "OOMKilled" if out_of_memory else "Error"
        self.changed(container)
        for attached in list(container.attached):
            attached.exited(code)
        self.look_idle()

    def end_all(self, limit):
        """Let the containers end, then kill every process there is, again and again, and go when there is none."""
        if any(each.active for each in self.containers.values()) and now() < limit:
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.end_all(limit))
            return
        if self.table.kill_below():
            self.loop.later(KILL_AGAIN_SECONDS, lambda: self.end_all(limit))
            return
        for name in ("journal", "socket"):
            remove(os.path.join(self.directory, name))
        self.done = True


def bind_short(listener, path):
    """Bind to a path of any length: a unix socket's own limit is 107 bytes, or 103."""
    os.chdir(os.path.dirname(path))
    try:
        listener.bind(os.path.basename(path))
    finally:
        os.chdir("/")


def line_of(entry):
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


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
    directory = os.path.abspath(sys.argv[1])
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
        table = PortableTable() if "portable" in sys.argv[2:] else table_of_machine()
        table.adopt()
        supervisor = Supervisor(directory, table)
    except Exception as error:
        os.write(ready, f"{type(error).__name__}: {error}".encode())
        raise
    os.write(ready, b"ready")
    os.close(ready)
    supervisor.run()


if __name__ == "__main__":
    main()
