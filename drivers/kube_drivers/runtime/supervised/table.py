"""The processes there are: what belongs to a container, what it uses, and killing it. Part of the supervisor.

`Table` looks into Linux's /proc. `PortableTable` asks `ps`, which every Unix has: so it is where there is no /proc
(macOS), and where somebody asks for it. What differs then is what `adopts` says: whether orphans become children of
the supervisor. Where they do not, an orphan is found by its session, or by its environment, which has its container's
mark; one that left both behind is nobody's, for good.

What always holds: a process is only ever signalled if it is the one that was looked at (by its start time, and where
there are pidfds by one), or a child that was not reaped yet. Standard library alone, as `supervisor.py`.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time

MARK = "KUBE_CORE_CONTAINER"
PR_SET_CHILD_SUBREAPER = 36
TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Table:
    """By /proc. A process is (parent, session, start time); zombies are none, but for what they have used."""

    #: Whether orphans of containers become children of this process, once `adopt` was called.
    adopts = True

    def adopt(self):
        """Become who is the parent of orphans."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def all(self):
        """Every process there is, by its id."""
        processes = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                found = self.one(int(name))
                if found is not None:
                    processes[int(name)] = found
        return processes

    def one(self, pid: int) -> tuple[int, int, object] | None:
        """A process, or None."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        if fields[0] in (b"Z", b"X"):
            return None
        return int(fields[1]), int(fields[3]), int(fields[19])

    def marks(self, pids):
        """The containers whose mark these processes have in their environment, by process."""
        found = {}
        for pid in pids:
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    environment = file.read()
            except OSError:
                continue
            for entry in environment.split(b"\0"):
                if entry.startswith(MARK.encode() + b"="):
                    found[pid] = entry.partition(b"=")[2].decode("utf-8", "replace")
                    break
        return found

    def used(self):
        """(nanoseconds of each process and of what it has waited for, every process). Zombies count, too."""
        spent, processes = {}, {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            pid = int(name)
            processes[pid] = int(fields[1]), int(fields[3]), int(fields[19])
            spent[pid] = sum(map(int, fields[11:15])) * TICK
        return spent, processes

    def memory(self, pids):
        """The bytes that these have in memory and nobody else has: pages of files are left out."""
        pages = 0
        for pid in pids:
            try:
                with open(f"/proc/{pid}/statm", "rb") as file:
                    _, resident, shared, *_ = file.read().split()
            except (OSError, ValueError):
                continue
            pages += max(int(resident) - int(shared), 0)
        return pages * PAGE

    def strangers(self, processes):
        """Those of which only their environment may tell whose they are: orphans."""
        me = os.getpid()
        return [pid for pid, (parent, _, _) in processes.items() if parent == me]

    # -- whose they are ------------------------------------------------------------------------------------------

    def owned(self, containers, processes):
        """For each of these containers (by id), the ids of its processes. `containers`: all that run."""
        by_session = {each.pid: each.id for each in containers if each.pid}
        by_session.update({run.pid: each.id for each in containers for run in each.execs if run.pid})
        roots: dict = {each.id: set() for each in containers}
        for pid, (_, session, _) in processes.items():
            owner = by_session.get(session)
            if owner is not None:
                roots[owner].add(pid)
        unknown = [pid for pid in self.strangers(processes) if processes[pid][1] not in by_session]
        for pid, owner in self.marks(unknown).items():
            if owner in roots:
                roots[owner].add(pid)
        children = children_of(processes)
        return {identity: descendants(children, found) & processes.keys() for identity, found in roots.items()}

    # -- killing -------------------------------------------------------------------------------------------------

    def kill_members(self, container, containers):
        """Kill what belongs to a container; whether there was anything. `containers`: all that run."""
        processes = self.all()
        members = self.owned({container, *containers}, processes)[container.id]
        self.kill({pid: processes[pid] for pid in members})
        return bool(members)

    def kill_marked(self, identities):
        """End what another supervisor left behind."""
        if not identities:
            return
        for _ in range(50):
            processes = self.all()
            marks = self.marks([pid for pid in processes if pid != os.getpid()])
            left = {pid: processes[pid] for pid, mark in marks.items() if mark in identities}
            self.kill(left)
            if not left:
                return
            time.sleep(0.02)  # noqa: TID251 (this process has no clock but the machine's)

    def kill_pids(self, pids):
        """Kill these; whether there was any."""
        seen = {pid: found for pid in pids if (found := self.one(pid)) is not None}
        self.kill(seen)
        return bool(seen)

    def kill_session(self, member):
        """Kill every process of the session that this one is in."""
        processes = self.all()
        if member in processes:
            session = processes[member][1]
            self.kill({pid: seen for pid, seen in processes.items() if seen[1] == session})

    def kill_below(self):
        """Kill everything below this process; whether there was anything."""
        processes = self.all()
        mine = descendants(children_of(processes), {os.getpid()}) - {os.getpid()}
        self.kill({pid: processes[pid] for pid in mine if pid in processes})
        return bool(mine)

    def kill(self, seen):
        """SIGKILL, to the very processes that were looked at."""
        for pid, (_, _, started) in seen.items():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except OSError:  # an old kernel
                handle = -1
            try:
                again = self.one(pid)
                if again is None or again[2] != started:
                    continue
                if handle >= 0:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            finally:
                if handle >= 0:
                    os.close(handle)


class PortableTable(Table):
    """By `ps` and the calls that every Unix has."""

    adopts = False

    def adopt(self):
        """Nobody is but the first process."""

    def all(self):
        processes = {}
        for line in ps("-axo", "pid=,ppid=,pgid=,stat=,lstart="):
            pid, parent, group, state, *started = line.split()
            if state[:1] not in (b"Z", b"X"):
                processes[int(pid)] = int(parent), session_of(int(pid), int(group)), b" ".join(started)
        return processes

    def one(self, pid: int) -> tuple[int, int, object] | None:
        found: tuple[int, int, object] | None = self.all().get(pid)
        return found

    def marks(self, pids):
        wanted = set(pids)
        if not wanted:
            return {}
        found = {}
        environment = ("-axwwE", "-o", "pid=,command=") if sys.platform == "darwin" else ("axeww", "-o", "pid=,args=")
        for line in ps(*environment):
            pid, _, said = line.strip().partition(b" ")
            if int(pid) in wanted and (marked := MARKED.search(said)):
                found[int(pid)] = marked[1].decode("ascii", "replace")
        return found

    def used(self):
        spent, processes = {}, {}
        for line in ps("axSo", "pid=,ppid=,pgid=,time=,lstart="):  # S: with the time of children that have ended
            pid, parent, group, time_, *started = line.split()
            processes[int(pid)] = int(parent), session_of(int(pid), int(group)), b" ".join(started)
            spent[int(pid)] = nanoseconds(time_.decode())
        return spent, processes

    def memory(self, pids):
        """What is resident: what others share is not told."""
        lines = (line.split() for line in ps("-axo", "pid=,rss="))
        return sum(int(kilobytes) for pid, kilobytes in lines if int(pid) in pids) * 1024

    def strangers(self, processes):
        mine = descendants(children_of(processes), {os.getpid()})
        return [pid for pid in processes if pid not in mine]

    def kill(self, seen):
        again = self.all() if seen else {}
        for pid, process in seen.items():
            if pid in again and again[pid][2] == process[2]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass


MARKED = re.compile(rb"(?:^|\s)" + MARK.encode() + rb"=([\w-]+)")


def table_of_machine():
    return Table() if os.path.isdir("/proc/self") and hasattr(os, "pidfd_open") else PortableTable()


def children_of(processes):
    children: dict = {}
    for pid, (parent, _, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    return children


def descendants(children, roots):
    """`roots` and everything below them."""
    found, waiting = set(), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def session_of(pid, group):
    try:
        return os.getsid(pid)
    except OSError:
        return group


def nanoseconds(text: str) -> int:
    """`ps` says `[[days-]hours:]minutes:seconds[.hundredths]`."""
    days, _, rest = text.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part)
    return int((int(days or 0) * 86_400 + total) * 1_000_000_000)


def ps(*arguments):
    """The lines that `ps` says."""
    reading, writing = os.pipe()
    try:
        pid = os.posix_spawn(
            "/bin/ps", ("ps", *arguments), {"LC_ALL": "C", "PATH": os.defpath},
            file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
        )  # fmt: skip
    finally:
        os.close(writing)
    said = b""
    while chunk := os.read(reading, 1 << 16):
        said += chunk
    os.close(reading)
    os.waitpid(pid, 0)
    return [line for line in said.splitlines() if line and line.split()[0] != str(pid).encode()]
