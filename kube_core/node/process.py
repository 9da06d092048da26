"""A node as a program of its own, against any cluster: what `kube-core node` does.

    options = NodeOptions("node-1", state=Path("/var/lib/kube-core/node-1"))
    await serve(options, connection, stop=stop, wind_down=wind_down)

In this order: the Node is looked up, or made, for its range of pod addresses; runtime and network are made; the server
listens, so that what the node says of its port is true; then the agent runs until `stop` is set. What runs goes on
where the runtime is persistent, and a program that starts again with the same state finds it: the same processes, the
same addresses. `end` ends it all, without a cluster.

The node is the user of the kubeconfig, `system:node:NAME`. Called by the command line; drivers come by entry points.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.network import Network
from kube_core.abc.runtime import Runtime
from kube_core.abc.transport import Request, Response
from kube_core.api import resources
from kube_core.api.kubelet import DEFAULT_SETTINGS, KubeletSettings
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.client.transport import Transport
from kube_core.control.events import EventWriter
from kube_core.drivers import load_driver, make_node_drivers
from kube_core.meta.documents import Document
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_core.node.agent import NodeAgent
from kube_core.node.credentials import keep_renewed, with_renewed
from kube_core.node.ending import end_node
from kube_core.node.registration import NodeConfig, fresh_node
from kube_core.node.serving.endpoints import NodeEndpoints
from kube_core.node.serving.permission import Permission
from kube_core.node.serving.server import NodeServer
from kube_core.node.shutdown import ends_pods
from kube_core.node.stats import NodeStatistics
from kube_core.node.streams import PodStreams

if TYPE_CHECKING:
    from kube_core.client.connection import Connection

__all__ = ["NodeError", "NodeOptions", "end", "serve"]

_log = get_logger("kube_core.node")
#: Seconds between tries to reach a server that is not there yet, and those in which a node is to be given its range.
_AGAIN, _PATIENCE = 1.0, 60.0
#: Seconds in which the last statuses of pods have to be written.
_LAST_WORDS = 5.0
_RANGE_FILE, _CERTIFICATE = "pod-cidr", "client.pem"

_T = TypeVar("_T")


class NodeError(Exception):
    """A node that cannot run so; the message is one line for a person."""


@attrs.frozen(kw_only=True)
class NodeOptions:
    """One node. `network` and `volume` are drivers, as `runtime` is.

    * `state`: where it keeps volumes, logs, and what it needs to find its containers again.
    * `pod_cidr`: the range of its pods' addresses; "": the one that the cluster gives it.
    * `address`: by which the API server reaches it, and where it listens; "": what its network says, or
      loopback where that is not real.
    * `port`: of its server; 0 takes a free one. `client_authorities`: PEM, who may vouch for callers; empty: the
      cluster's own authority.
    * `certified`: ask the cluster for the server's certificate, besides making one.
    """

    name: str
    runtime: str
    network: str
    volume: str
    state: Path
    pod_cidr: str = ""
    address: str = ""
    port: int = 10250
    labels: Mapping[str, str] = attrs.field(factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    images: Sequence[Path] = ()
    client_authorities: bytes = b""
    certified: bool = False
    kubelet: KubeletSettings = DEFAULT_SETTINGS


async def serve(
    options: NodeOptions,
    connection: Connection,
    *,
    stop: asyncio.Event,
    wind_down: asyncio.Event,
    tell: Callable[[str], None] = lambda line: None,
    clock: Clock | None = None,
    random: Random | None = None,
) -> None:
    """Be the node until `stop` is set; what runs goes on. `tell` is given a line when the node is Ready.

    `wind_down` is what the machine's end is to a kubelet: pods end first, within the periods that the settings have
    for that, and then the node stops. Without periods it stops at once.

    Raises `NodeError`, `DriverError`, `DriverFailure`, and OSError where it cannot listen.
    """
    clock, random = clock or SystemClock(), random or Random()
    async with contextlib.AsyncExitStack() as stack:
        kept = options.state / _CERTIFICATE
        connection = await asyncio.to_thread(with_renewed, connection, options.name, kept, clock.now())
        transport = _transport(connection, clock, random)
        stack.push_async_callback(transport.close)
        client = ApiClient(transport, field_manager="kubelet", clock=clock, random=random)
        config = NodeConfig(
            options.name,
            pod_cidr=options.pod_cidr,
            labels=options.labels,
            taints=[dict(each) for each in options.taints],
            state_directory=str(options.state),
            kubelet=options.kubelet,
        )
        looking = asyncio.create_task(_pod_range(client, config, clock), name="range of pod addresses")
        pod_cidr = await _unless(stop, looking)
        if pod_cidr is None:
            return
        await asyncio.to_thread((options.state / _RANGE_FILE).write_text, pod_cidr)
        runtime, network = _drivers(options, pod_cidr, clock)
        # The agent starts its network again, which does nothing then; but its address is needed for the server.
        await network.start()
        stack.push_async_callback(network.stop)
        address = options.address or await _address(network)
        answering = _Answering()
        authorities = options.client_authorities or connection.certificate_authority
        server = NodeServer(answering, Permission(options.name, client, authorities, clock), authorities, clock=clock)
        port = await server.listen(address, options.port, node=options.name)
        stack.push_async_callback(server.stop)
        informers = await stack.enter_async_context(Informers(client, clock=clock, random=random))
        events = await stack.enter_async_context(EventWriter(client, clock=clock, random=random))
        volume = load_driver("volume", options.volume)(clock=clock, state_directory=str(options.state))
        agent = NodeAgent(
            attrs.evolve(config, pod_cidr=pod_cidr, kubelet_port=port, addresses=(address,)),
            client=client,
            informers=informers,
            events=events,
            runtime=runtime,
            network=network,
            volumes=[volume],
            clock=clock,
            random=random,
        )
        statistics = NodeStatistics(options.name, runtime, lambda: agent.pods, clock)
        answering.endpoints = NodeEndpoints(agent, PodStreams(agent), statistics)
        if options.certified:
            certifying = server.keep_certified(client, options.name, address, random)
            await stack.enter_async_context(_beside(certifying, "serving certificate"))
        renewing = keep_renewed(client, options.name, options.state / _CERTIFICATE, clock=clock, random=random)
        await stack.enter_async_context(_beside(renewing, "client certificate"))
        shown = f"[{address}]" if ":" in address else address
        running = agent.run(ready=lambda: tell(f"node {options.name!r} is ready at https://{shown}:{port}"))
        async with _beside(_wind_down(agent, wind_down, stop), "shutdown"):
            await _unless(stop, asyncio.create_task(running, name="node agent"))


async def end(options: NodeOptions, *, clock: Clock | None = None) -> None:
    """End what a node has left running, and remove it: containers, addresses, mounts. It does not run now."""
    clock = clock or SystemClock()
    kept = options.state / _RANGE_FILE
    pod_cidr = options.pod_cidr or (await asyncio.to_thread(kept.read_text) if kept.exists() else "")
    if not pod_cidr:
        raise NodeError(f"{options.state} is not where a node kept anything")
    runtime, network = _drivers(options, pod_cidr, clock)
    await network.start()
    try:
        await end_node(runtime, network, str(options.state))
    finally:
        await network.stop()


async def _wind_down(agent: NodeAgent, begin: asyncio.Event, stop: asyncio.Event) -> None:
    """Once told to, end the pods for whose end the settings have a period, and stop."""
    await begin.wait()
    if ends_pods(agent.config.kubelet):
        await agent.shut_down()
        with contextlib.suppress(TimeoutError):
            async with agent.clock.timeout(_LAST_WORDS):
                while not agent.idle:  # what became of the pods is still to be written
                    await agent.clock.sleep(0.05)
    stop.set()


class _Answering:
    """The server's handler: it listens before there is an agent to ask."""

    endpoints: NodeEndpoints | None = None

    async def __call__(self, request: Request) -> Response:
        if self.endpoints is None:
            return Response(503, content_type="text/plain; charset=utf-8", body=b"the node is starting")
        return await self.endpoints(request)


def _transport(connection: Connection, clock: Clock, random: Random) -> Transport:
    from kube_core.client.http import HttpTransport  # aiohttp takes a while to import

    return HttpTransport(connection, clock=clock, random=random)


def _drivers(options: NodeOptions, pod_cidr: str, clock: Clock) -> tuple[Runtime, Network]:
    return make_node_drivers(
        options.runtime,
        options.network,
        clock=clock,
        node_name=options.name,
        state=options.state,
        pod_cidr=pod_cidr,
        images=options.images,
    )


async def _address(network: Network) -> str:
    """Where the node is reached: on its network, or on loopback where that is not real."""
    if not network.capabilities.reachable:
        return "127.0.0.1"
    return (await network.node_addresses())[0]


async def _pod_range(client: ApiClient, config: NodeConfig, clock: Clock) -> str:
    """The node's range of pod addresses: the one that it was told, or that of the Node, which is made if need be.

    Raises `NodeError`.
    """
    told = False
    while True:
        try:
            node = await _node(client, config)
            break
        except StatusError as error:
            if error.code in (401, 403):
                raise NodeError(f"the cluster does not take this for node {config.name!r}: {error.message}") from None
            if not told:
                _log.warning("the cluster cannot be reached yet", error=error.message)
                told = True
            await clock.sleep(_AGAIN)
    given = _range_of(node)
    if config.pod_cidr:
        if given and ipaddress.ip_network(given) != ipaddress.ip_network(config.pod_cidr):
            raise NodeError(f"node {config.name!r} has the pod range {given} already, not {config.pod_cidr}")
        return config.pod_cidr
    try:
        async with clock.timeout(_PATIENCE):
            async for event in client.watch(resources.NODES, field_selector=f"metadata.name={config.name}"):
                if given := _range_of(event.object):
                    return given
    except TimeoutError:
        pass
    raise NodeError(f"the cluster gives node {config.name!r} no range of pod addresses; name one with --pod-cidr")


async def _node(client: ApiClient, config: NodeConfig) -> Document:
    """The Node, as somebody made it by hand, or as it is made now."""
    try:
        return await client.get(resources.NODES, config.name)
    except NotFound:
        pass
    try:
        return await client.create(resources.NODES, fresh_node(config))
    except AlreadyExists:
        return await client.get(resources.NODES, config.name)


def _range_of(node: Document) -> str:
    return str((node.get("spec") or {}).get("podCIDR") or "")


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Have something done while the block runs."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _unless(stop: asyncio.Event, working: asyncio.Task[_T]) -> _T | None:
    """Its outcome; None where `stop` was set before, which cancels it."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
