"""A cluster's whole state at one moment, and what takes it.

    snapshot = await cluster.snapshot()
    async with snapshot.fork() as other: ...        # any number of them, at once too
    await cluster.restore(snapshot)

A snapshot is store, clock, chance, and what each driver's `snapshot` capability gives; what has not got it is named
and refused. It never changes, belongs to no event loop and no running cluster, and costs little: the store copies on
write, and objects, frozen as they are, are shared by everything that was forked from them. Keys and certificates are
shared as well, so clients go on trusting a fork.

Controllers are not in it. In a fork they start again, level-based, as after a restart; so it holds no more than what a
cluster that was started again on the same disk, and nodes, would find.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock, FakeClock, StillClock
from kube_core.abc.network import NetworkRanges
from kube_core.abc.snapshots import SnapshotRefused, Snapshots
from kube_core.abc.store import Store
from kube_core.apiserver.image import ServerImage
from kube_core.auth.certificates import Authority, KeyPair
from kube_core.client.informer import InformersImage
from kube_core.config import ClusterConfig
from kube_core.plugins import PluginHost

if TYPE_CHECKING:
    from kube_core.cluster.cluster import Cluster

__all__ = ["Snapshot", "SnapshotRefused", "take"]


@attrs.frozen
class Snapshot:
    """What a cluster was."""

    config: ClusterConfig
    plugins: PluginHost = attrs.field(repr=False)
    #: The time of a cluster on a `FakeClock`; None for one on the machine's own.
    moment: float | None
    chance: object = attrs.field(repr=False)
    ranges: NetworkRanges
    #: Open, and never written to: forks of it are.
    store: Store = attrs.field(repr=False)
    server: ServerImage = attrs.field(repr=False)
    informers: InformersImage = attrs.field(repr=False)
    #: By what they are in the cluster: `runtime of node-1`, `volume`, …
    drivers: Mapping[str, Any] = attrs.field(repr=False)
    authority: Authority = attrs.field(repr=False)
    admin: KeyPair = attrs.field(repr=False)

    def fork(self, **options: Any) -> Cluster:
        """A cluster that begins here, to be entered: `async with snapshot.fork() as cluster`.

        `options` are those of `ClusterConfig` that say nothing about state: `listen`, `port`, `controllers`, `seed`,
        … Raises `ConfigError`.
        """
        from kube_core.cluster.cluster import Cluster  # which takes snapshots

        return Cluster.from_snapshot(self, **options)

    def make_clock(self) -> Clock | None:
        """The clock of a fork; None: the machine's."""
        return FakeClock(self.moment) if self.moment is not None else None

    def hand_over(self, part: str, driver: Snapshots) -> None:
        """Give a new driver its predecessor's state."""
        if part in self.drivers:
            driver.restore(self.drivers[part])


async def take(cluster: Cluster, drivers: Mapping[str, Any]) -> Snapshot:
    """The state of a cluster and its `drivers`, all of one moment. Raises `SnapshotRefused`, which names who does."""
    server, clock = cluster.server, cluster.clock
    refusing = [f"{part} ({type(driver).__name__})" for part, driver in drivers.items() if not _capable(driver)]
    if not _capable(server.store):
        refusing.insert(0, f"the store ({type(server.store).__name__})")
    if refusing:
        raise SnapshotRefused(f"this cluster cannot be snapshot, for its state is elsewhere too: {', '.join(refusing)}")
    while True:
        await server.cache.caught_up()
        store = await server.store.fork(clock=StillClock(clock.now()))
        # From here on there is no await.
        if server.cache.revision == store.revision:
            break
        await store.close()
    try:
        states = {part: driver.snapshot() for part, driver in drivers.items()}
    except SnapshotRefused:
        await store.close()
        raise
    return Snapshot(
        attrs.evolve(
            cluster.config,
            pod_cidr=cluster.ranges.pod_cidr,
            service_cidr=cluster.ranges.service_cidr,
            state_directory=None,
            port=0,
        ),
        cluster.plugins,
        clock.now() if isinstance(clock, FakeClock) else None,
        cluster.random.state,
        cluster.ranges,
        store,
        server.image(),
        cluster.informers.image(),
        states,
        cluster.authority,
        cluster.admin,
    )


def _capable(driver: Any) -> bool:
    return bool(driver.capabilities.snapshot)
