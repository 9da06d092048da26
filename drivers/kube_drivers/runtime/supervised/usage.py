"""What the supervisor's containers use, from /proc. Part of the supervisor; standard library alone.

A container's CPU time is that of everything that belongs to it, and of what those have waited for. An orphan's is lost
to it when the orphan ends, as its supervisor is who waits for it; so that a container's time never goes back, what was
seen of it last is kept. The node's time is the supervisor's own and that of everything below it, ended or not.

Memory is what is resident and nobody else's: pages of files are left out, which the kernel can have back.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import os

if __package__:
    from kube_drivers.runtime.supervised.processes import belonging, descendants
else:
    from processes import belonging, descendants  # type: ignore

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Meter:
    """Looks, and remembers what it said."""

    def __init__(self):
        #: By container: what was lost with its orphans, and the sum that was seen last.
        self.seen = {}

    def look(self, containers):
        """{"node": [nanoseconds, bytes], "containers": {id: [nanoseconds, bytes]}}, of running containers."""
        ticks, processes = read_all()
        used = {}
        for container in containers:
            members = belonging(container, processes)
            total = sum(ticks.get(pid, 0) for pid in members)
            lost, last = self.seen.get(container.id, (0, 0))
            lost += max(last - total, 0)
            self.seen[container.id] = lost, total
            used[container.id] = [(lost + total) * TICK, memory(members)]
        self.seen = {identity: each for identity, each in self.seen.items() if identity in used}
        me = os.getpid()
        mine = descendants(processes, {me}) - {me}
        own = os.times()
        spent = own.user + own.system + own.children_user + own.children_system
        time = int(spent * 1_000_000_000) + sum(ticks.get(pid, 0) for pid in mine) * TICK
        return {"node": [time, memory({me, *mine})], "containers": used}


def read_all():
    """(pid → ticks of it and of what it has waited for, pid → (parent, session, start time)). Zombies count, too."""
    ticks, processes = {}, {}
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
        ticks[pid] = sum(map(int, fields[11:15]))
    return ticks, processes


def memory(pids):
    pages = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                _, resident, shared, *_ = file.read().split()
        except (OSError, ValueError):
            continue
        pages += max(int(resident) - int(shared), 0)
    return pages * PAGE
