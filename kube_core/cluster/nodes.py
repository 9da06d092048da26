"""The nodes of a cluster: a runtime and an agent for each, all on this machine.

Runtimes start first, since some have a process of their own that takes its time; the agents follow when there is a
server to talk to. A cluster that stops in good order takes its pods along; one that is killed finds them again.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.network import Network
from kube_core.abc.node import NodeStreams
from kube_core.abc.transport import Handler, Request, Response, User
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.cluster.background import Background, first
from kube_core.cluster.identities import node_user
from kube_core.config import ClusterConfig, ConfigError
from kube_core.drivers import load_driver

if TYPE_CHECKING:
    from kube_core.abc.runtime import Runtime, RuntimeCapabilities
    from kube_core.abc.usage import FiguresSource
    from kube_core.abc.volume import VolumeDriver
    from kube_core.control.events import EventWriter
    from kube_core.node.agent import NodeAgent
    from kube_core.node.registration import MayWait
    from kube_core.node.stats import NodeStatistics

__all__ = ["Nodes", "Surroundings"]

#: What a kubelet puts on its node that leaves that to a cloud.
_UNINITIALIZED = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}


@attrs.frozen
class Surroundings:
    """What the agents of a cluster's nodes share."""

    client_for: Callable[[User], ApiClient]
    informers: Informers
    events: EventWriter
    volumes: VolumeDriver
    random: Random
    background: Background
    #: Where the server looks for a node's streams, by the node's name.
    streams: MutableMapping[str, NodeStreams]
    #: And for what answers for a node's server.
    endpoints: MutableMapping[str, Handler]
    #: Where the metrics server looks for what a node uses, by the node's name.
    figures: MutableMapping[str, FiguresSource]
    #: The nodes are those of a snapshot.
    goes_on: bool = False
    #: A cloud is to say what each node's machine is; until it has, nothing is scheduled there.
    cloud: bool = False
    #: Which renewals of leases may be left out, if any.
    may_wait: MayWait | None = None


class Nodes:
    """The nodes by number: `node-1` and so on."""

    def __init__(
        self, config: ClusterConfig, clock: Clock, network: type[Network], cidrs: Sequence[str], state: Path | None
    ) -> None:
        """`cidrs`: the pod addresses of each node. `state`: where nodes keep what they keep, if anywhere."""
        self.agents: dict[str, NodeAgent] = {}
        self._clock = clock
        self._state = state
        self._kubelet = config.kubelet
        self._cidrs = {f"node-{number}": cidr for number, cidr in enumerate(cidrs, start=1)}
        driver = load_driver("runtime", config.runtime) if cidrs else None
        options = _options(config, driver.capabilities) if driver is not None else {}
        self._runtimes: dict[str, Runtime] = {
            name: driver(clock=clock, node_name=name, state_directory=self._directory(name), **options)
            for name in self._cidrs
            if driver is not None
        }
        self._networks: dict[str, Network] = {
            name: network(clock=clock, node_name=name, pod_cidr=cidr, state_directory=self._directory(name))
            for name, cidr in self._cidrs.items()
        }
        self._starting: asyncio.Future[list[None]] | None = None

    def drivers(self) -> Iterator[tuple[str, Runtime | Network]]:
        """Every node's, by what they are."""
        yield from ((f"runtime of {name}", runtime) for name, runtime in self._runtimes.items())
        yield from ((f"network of {name}", network) for name, network in self._networks.items())

    def start_runtimes(self) -> None:
        """Begin to start the runtimes; `start` waits for them."""
        self._starting = asyncio.gather(*(runtime.start() for runtime in self._runtimes.values()))

    async def start(self, around: Surroundings) -> None:
        """Start every node's agent; return when all are Ready, as those that go on are already."""
        if self._starting is not None:
            await self._starting
        starting = [self._start(name, around) for name in self._cidrs]
        if not around.goes_on:
            await asyncio.gather(*(first(ready, running) for ready, running in starting))

    async def end(self) -> None:
        """End what runs on the nodes. The agents have stopped."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        from kube_core.node.ending import end_node  # only where there are nodes

        await asyncio.gather(
            *(end_node(self._runtimes[name], self._networks[name], self._directory(name)) for name in self._cidrs)
        )

    def _start(self, name: str, around: Surroundings) -> tuple[asyncio.Event, asyncio.Task[None]]:
        from kube_core.node.agent import NodeAgent, NodeConfig  # only where there are nodes
        from kube_core.node.stats import NodeStatistics
        from kube_core.node.streams import PodStreams

        state, cidr = self._directory(name), self._cidrs[name]
        agent = NodeAgent(
            # Its streams are called directly, so nothing listens on the kubelet's port.
            NodeConfig(
                name,
                pod_cidr=cidr,
                state_directory=state,
                kubelet_port=0,
                kubelet=self._kubelet,
                goes_on=around.goes_on,
                taints=[_UNINITIALIZED] if around.cloud else (),
            ),
            client=around.client_for(node_user(name)),
            informers=around.informers,
            events=around.events,
            runtime=self._runtimes[name],
            network=self._networks[name],
            volumes=[around.volumes],
            clock=self._clock,
            random=around.random,
            may_wait=around.may_wait,
        )
        self.agents[name] = agent
        streams = around.streams[name] = PodStreams(agent)
        statistics = NodeStatistics(name, self._runtimes[name], lambda: agent.pods, self._clock)
        around.figures[name] = statistics
        around.endpoints[name] = _endpoints(agent, streams, statistics)
        ready = asyncio.Event()
        running = around.background.start(f"node {name}", agent.run(ready=ready.set), ready)
        return ready, running

    def _directory(self, name: str) -> str:
        """Where a node keeps what it keeps; "" for a cluster without state."""
        if self._state is None:
            return ""
        directory = self._state / "nodes" / name
        directory.mkdir(parents=True, exist_ok=True)
        return str(directory)


def _endpoints(agent: NodeAgent, streams: NodeStreams, statistics: NodeStatistics) -> Handler:
    """What answers for the node's server, made when somebody asks for the first time."""

    @functools.cache
    def made() -> Handler:
        from kube_core.node.serving.endpoints import NodeEndpoints

        return NodeEndpoints(agent, streams, statistics)

    async def answer(request: Request) -> Response:
        return await made()(request)

    return answer


def _options(config: ClusterConfig, capabilities: RuntimeCapabilities) -> dict[str, Any]:
    """What a runtime is given besides what every one is. Raises `ConfigError`."""
    options: dict[str, Any] = {}
    if ":" in config.runtime:
        options["url"] = config.runtime
    if config.images:
        options["image_folders"] = config.images
    if config.behaviours:
        if not capabilities.behaviours:
            raise ConfigError(f"behaviours: containers of the runtime {config.runtime!r} are not told what to do")
        options["behaviours"] = config.behaviours
    return options
