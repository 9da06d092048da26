"""What the supervisor's containers use. Part of the supervisor; standard library alone.

A container's CPU time is that of everything that belongs to it, and of what those have waited for. An orphan's is lost
to it when the orphan ends, as its supervisor is who waits for it; so that a container's time never goes back, what was
seen of it last is kept. The node's time is the supervisor's own and that of everything below it, ended or not.

Memory is what is resident and nobody else's: pages of files are left out, which the kernel can have back.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import os

if __package__:
    from kube_drivers.runtime.supervised.table import children_of, descendants
else:
    from table import children_of, descendants  # type: ignore


class Meter:
    """Looks, and remembers what it said."""

    def __init__(self, table):
        self.table = table
        #: By container: what was lost with its orphans, and the sum that was seen last.
        self.seen = {}
        self.of_node = 0

    def look(self, containers):
        """{"node": [nanoseconds, bytes], "containers": {id: [nanoseconds, bytes]}}, of running containers."""
        spent, processes = self.table.used()
        owned = self.table.owned(containers, processes)
        used = {}
        for container in containers:
            members = owned[container.id]
            total = sum(spent.get(pid, 0) for pid in members)
            lost, last = self.seen.get(container.id, (0, 0))
            lost += max(last - total, 0)
            self.seen[container.id] = lost, total
            used[container.id] = [lost + total, self.table.memory(members)]
        self.seen = {identity: each for identity, each in self.seen.items() if identity in used}
        me = os.getpid()
        mine = descendants(children_of(processes), {me}) - {me}
        own = os.times()
        mine_and_ended = own.user + own.system + own.children_user + own.children_system
        time = int(mine_and_ended * 1_000_000_000) + sum(spent.get(pid, 0) for pid in mine)
        self.of_node = max(self.of_node, time)
        return {"node": [self.of_node, self.table.memory({me, *mine})], "containers": used}
