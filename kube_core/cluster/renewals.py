"""Which renewals of the nodes' leases are left out while virtual time is moved on.

A healthy node renews its Lease every ten seconds: 8,640 writes a day and node, each of which changes nothing but
`renewTime`. Of those, three in four are left out where nobody can tell. A renewal may wait for the next one while

* time is being moved (`Cluster.advance`), and goes on past that next one before anybody outside of the cluster, who may
  have set a timer on its clock, does anything;
* the Lease still holds by then, and is in the server as its node left it, with nothing that keeps the node from it;
* nobody keeps a record of requests, no rule of `Faults` is about these, and nobody but the cluster's own informer
  follows Leases.

So what is left out could only have been superseded: whenever a move ends, and whenever a timer from outside is due on
the way, every Lease says what it would have said. State and events are the same as with every renewal written, but for
resource versions, of which fewer are used up: `tests/cluster/test_fast_forward.py` compares the two. Who reacts to a
change in the middle of a move may find a `renewTime` up to thirty seconds older than it would have been; a cluster
with the option `every_heartbeat` writes them all.

Neither is a renewal tried of which it is certain that it fails, as the one before did: a rule cuts the node off, which
was not told how often, or how likely, and which counts the try as one that it met.

On the machine's own time nothing is ever left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kube_core._kit.clock import Clock, FakeClock
from kube_core.api.resources import LEASES
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.server import ApiServer
from kube_core.client.informer import Informers
from kube_core.cluster.identities import node_user
from kube_core.meta.documents import Document, Key, key_of, resource_version_of

if TYPE_CHECKING:
    from kube_core.cluster.faults import Faults

__all__ = ["Renewals"]

_LEASES: Final = LEASES.group_resource


class Renewals:
    """For the nodes of one cluster. `faults` gives the rules, where there are any."""

    def __init__(
        self, clock: Clock, server: ApiServer, informers: Informers, faults: Callable[[], Faults | None]
    ) -> None:
        self._clock = clock
        self._server = server
        self._informers = informers
        self._faults = faults

    def may_wait(self, lease: Document, until: float, *, failing: bool) -> bool:
        """Whether the renewal of a node's lease, which it last wrote as `lease`, may wait for the next, at `until`."""
        clock = self._clock
        if not isinstance(clock, FakeClock) or self._is_recorded():
            return False
        if failing:
            return self._is_in_vain(lease)
        return until < clock.undisturbed_until and self._would_be_written(lease)

    def _is_recorded(self) -> bool:
        pipeline = self._server.pipeline
        return pipeline.recorder is not None or pipeline.auditor is not None

    def _is_in_vain(self, lease: Document) -> bool:
        faults = self._faults()
        return faults is not None and faults.surely_drops(*_renewal(key_of(lease)))

    def _would_be_written(self, lease: Document) -> bool:
        server, key = self._server, key_of(lease)
        stored = server.cache.resource(_LEASES).get(key)
        if stored is None or str(stored.revision) != resource_version_of(lease) or key.name in server.unreachable:
            return False
        if len(server.bus.topic(_LEASES)) > self._informers.following(LEASES):
            return False
        faults = self._faults()
        return faults is None or not faults.may_meet(*_renewal(key))


def _renewal(key: Key) -> tuple[RequestInfo, str]:
    """What a node asks for when it renews its lease, and as whom."""
    info = RequestInfo("", "update", _LEASES.group, LEASES.version, _LEASES.resource, key.namespace, key.name)
    return info, node_user(key.name).name
