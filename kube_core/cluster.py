"""The composition root: the only place where server, components and drivers meet.

    async with Cluster(nodes=3) as cluster:
        await cluster.client.create(resources.NAMESPACES, {"metadata": {"name": "demo"}})

Entering starts everything in dependence order and returns when the cluster is ready: requests are served, informers
are synced, nodes are Ready. Leaving stops it in reverse and leaves nothing behind: no task, no socket, no process and,
unless a state directory was given, no file. Many clusters may live in one program.

Components get a client, never the server. What each part does is elsewhere; here is only who is given what.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import ipaddress
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
import orjson

from kube_core._kit.clock import Clock, SystemClock, turn
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.ingress import IngressDriver
from kube_core.abc.network import Network, NetworkRanges
from kube_core.abc.proxy import ProxyDriver
from kube_core.abc.runtime import Runtime, RuntimeFailure
from kube_core.abc.store import Store
from kube_core.abc.transport import User
from kube_core.abc.volume import VolumeDriver
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.apiserver.server import ApiServer, ServerConfig
from kube_core.auth.authentication import AUTHENTICATED, MASTERS
from kube_core.auth.certificates import Authority, KeyPair, load_or_create, write_file
from kube_core.bus.bus import Bus
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.client.local import LocalTransport
from kube_core.config import ClusterConfig, ConfigError
from kube_core.control.events import EventWriter
from kube_core.control.runtime import ControllerRuntime
from kube_core.drivers import load_driver
from kube_core.meta.status import AlreadyExists
from kube_core.node.agent import NodeAgent, NodeConfig
from kube_core.node.streams import PodStreams
from kube_core.plugins import PluginHost
from kube_core.proxy.agent import IngressAgent, ServiceProxyAgent
from kube_core.proxy.ingresses import ingress_class
from kube_core.scheduler.scheduler import Scheduler
from kube_core.settling import Settling

__all__ = ["Cluster", "ClusterConfig"]

_T = TypeVar("_T")

_log = get_logger("kube_core.cluster")
_ADMIN = User("kubernetes-admin", (MASTERS, AUTHENTICATED))
#: How many of a network driver's ranges are tried before a clash is the user's to settle.
_RANGE_TRIES = 16
#: Seconds that containers get to end by themselves when their cluster stops.
STOP_GRACE = 3.0
#: Turns of the loop in which the server's first writes are on their way to the disk.
_HEAD_START = 8
_SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


class Cluster:
    """A whole cluster in this program. Options are those of `ClusterConfig`."""

    def __init__(
        self,
        config: ClusterConfig | None = None,
        *,
        clock: Clock | None = None,
        plugins: Iterable[object] = (),
        host: PluginHost | None = None,
        **options: Any,
    ) -> None:
        """`plugins`: more of them, besides those that are installed (or those of `host`, where it is given).

        Raises `ConfigError` for options that cannot be.
        """
        try:
            self.config = attrs.evolve(config, **options) if config is not None else ClusterConfig(**options)
        except TypeError as error:
            raise ConfigError(str(error)) from None
        self.clock = clock or SystemClock()
        self.random = Random(self.config.seed)
        self._host = host
        self._further_plugins = tuple(plugins)
        self._stack = contextlib.AsyncExitStack()
        self._server: ApiServer | None = None
        self._client: ApiClient | None = None
        self._informers: Informers | None = None
        self._authority: Authority | None = None
        self._admin: KeyPair | None = None
        self._background: Background | None = None
        self._state: Path | None = None
        self.controllers: ControllerRuntime | None = None
        self.scheduler: Scheduler | None = None
        self.service_proxy: ServiceProxyAgent | None = None
        self.ingress: IngressAgent | None = None
        self.nodes: dict[str, NodeAgent] = {}
        #: The ranges of pod and service addresses; known once started.
        self.ranges = NetworkRanges()
        self.port = 0

    @functools.cached_property
    def plugins(self) -> PluginHost:
        """The plugins of this cluster: those that are installed, and those it was given."""
        host = self._host if self._host is not None else PluginHost.from_entry_points()
        for plugin in self._further_plugins:
            host.register(plugin, getattr(plugin, "__name__", type(plugin).__name__))
        return host

    # -- what users reach for ----------------------------------------------------------------------------------------

    @property
    def client(self) -> ApiClient:
        """A client that may do everything, without a socket between."""
        if self._client is None:
            raise RuntimeError("the cluster has not been started: use `async with Cluster(...) as cluster`")
        return self._client

    @property
    def server(self) -> ApiServer:
        if self._server is None:
            raise RuntimeError("the cluster has not been started: use `async with Cluster(...) as cluster`")
        return self._server

    @property
    def bus(self) -> Bus:
        """Every change as it happens: `cluster.bus.subscribe(kind, selector)`."""
        return self.server.bus

    @property
    def informers(self) -> Informers:
        if self._informers is None:
            raise RuntimeError("the cluster has not been started: use `async with Cluster(...) as cluster`")
        return self._informers

    @property
    def url(self) -> str:
        """Where the server listens; "" when it does not."""
        host = f"[{self.config.bind}]" if ":" in self.config.bind else self.config.bind
        return f"https://{host}:{self.port}" if self.port else ""

    def client_for(self, user: User, *, field_manager: str = "kube-core") -> ApiClient:
        """A client that asks as `user`, without a socket between."""
        server = self.server
        return ApiClient(LocalTransport(server.handle, server, user), field_manager=field_manager)

    def kubeconfig(self) -> Mapping[str, Any]:
        """A kubeconfig for the cluster's administrator."""
        return kubeconfig(self.config.name, self.url, self.authority.certificate, self.admin)

    @property
    def authority(self) -> Authority:
        if self._authority is None:
            raise RuntimeError("the cluster has not been started: use `async with Cluster(...) as cluster`")
        return self._authority

    @property
    def admin(self) -> KeyPair:
        """The administrator's client certificate."""
        if self._admin is None:
            self._admin = self.authority.issue_client("kubernetes-admin", [MASTERS], now=self.clock.now())
        return self._admin

    # -- time --------------------------------------------------------------------------------------------------------

    async def settled(self, *, limit: float = 30.0) -> None:
        """Return when there is nothing left to do anywhere, until time passes or somebody asks for something.

        Raises `NotSettled`, which names what is still busy, after `limit` seconds of the machine's time.
        """
        await self._settling.settled(limit)

    async def advance(
        self, *, seconds: float = 0.0, minutes: float = 0.0, hours: float = 0.0, limit: float = 30.0
    ) -> None:
        """Let time pass on the `FakeClock` that the cluster was given; settled before, after, and at every timer.

        Raises `TimeStandsStill` for a cluster on the machine's own time, and `NotSettled` as `settled` does.
        """
        await self._settling.advance(seconds + 60.0 * minutes + 3600.0 * hours, limit)

    @functools.cached_property
    def _settling(self) -> Settling:
        return Settling(
            self.clock,
            busy=self._busy,
            next_retry=lambda: self.controllers.next_retry if self.controllers is not None else None,
            revision=lambda: self.server.cache.revision,
        )

    def _busy(self) -> Iterator[str]:
        """Names of what has work, now."""
        yield from (f"watch of {resource}" for resource in self.bus.undelivered)
        if self.controllers is not None:
            yield from self.controllers.busy
        yield from (f"node {name}" for name, agent in self.nodes.items() if not agent.idle)
        others = {
            "scheduler": self.scheduler,
            "service proxy": self.service_proxy,
            "ingress": self.ingress,
            "events": self._events,
        }
        yield from (name for name, part in others.items() if part is not None and not part.idle)

    # -- start and stop ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        self._state = self._state_directory(stack)
        network = load_driver("network", self.config.driver("network"))
        self.ranges = ranges = self._choose_ranges(stack, network)
        cidrs = node_ranges(ranges.pod_cidr, self.config.nodes)
        runtimes = self._make_runtimes(cidrs)
        # Some runtimes start a process of their own: that takes its time beside ours.
        starting = asyncio.gather(*(runtime.start() for runtime in runtimes.values()))
        stack.push_async_callback(self._end_runtimes, runtimes, starting)
        await turn()
        self._authority = self._load_authority()
        store = await self._open_store(stack)
        host = self.plugins
        self._server = await self._start_server(stack, store, ranges)
        self._client = self.client_for(_ADMIN)
        await self._listen(stack)
        self._informers = await stack.enter_async_context(
            Informers(
                self.client_for(User("system:kube-controller-manager", (AUTHENTICATED,))),
                clock=self.clock,
                random=self.random,
            )
        )
        writer = EventWriter(self.client, clock=self.clock, random=self.random)
        self._events = await stack.enter_async_context(writer)
        self._background = await stack.enter_async_context(Background())
        volumes = await self._start_volumes(stack) if self.config.nodes else None
        await self._start_controllers(stack, host, {"volume": volumes} if volumes is not None else {})
        if volumes is not None:
            await self._start_scheduler(host)
            await self._start_data_plane()
            await starting
            await self._start_nodes(network, volumes, cidrs, runtimes)

    def _state_directory(self, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> Path | None:
        """Where state is kept, made if need be; None for a cluster that keeps nothing."""
        if self.config.state_directory is not None:
            self.config.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            return self.config.state_directory
        if self.config.simulated:
            return None
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kube-core-")))

    def _choose_ranges(self, stack: contextlib.AsyncExitStack, network: type[Network]) -> NetworkRanges:
        """Pod and service ranges: what was asked for, what the driver declares, or upstream's usual ones.

        A cluster whose place on the machine is another's takes the next one. Services keep their addresses, so a
        cluster with state keeps what it chose at first.
        """
        kept = self._state / "ranges.json" if self._state is not None and self.config.nodes else None
        ranges = self._ranges(network, 0)
        asked = bool(self.config.pod_cidr or self.config.service_cidr)
        if kept is not None and kept.exists() and not asked:
            ranges = _read_ranges(kept)
            stack.callback(network.reserve(ranges) or _nothing)
            return ranges
        for attempt in range(_RANGE_TRIES if self.config.nodes else 0):
            candidate = self._ranges(network, attempt)
            let_go = network.reserve(candidate)
            if let_go is not None:
                stack.callback(let_go)
                ranges = candidate
                break
        if kept is not None:
            chosen = {"pod_cidr": ranges.pod_cidr, "service_cidr": ranges.service_cidr}
            write_file(kept, orjson.dumps(chosen) + b"\n", mode=0o600)
        return ranges

    def _ranges(self, network: type[Network], attempt: int) -> NetworkRanges:
        # The same for a named cluster each time; another one for every cluster without a place of its own.
        where = f"{self.config.name}@{self._state}" if self._state is not None else self.config.name
        place = f"{where}#{attempt}" if attempt else where
        declared = network.ranges_for(place) if self.config.nodes else NetworkRanges()
        return NetworkRanges(
            pod_cidr=self.config.pod_cidr or declared.pod_cidr,
            service_cidr=self.config.service_cidr or declared.service_cidr,
        )

    def _load_authority(self) -> Authority:
        now = self.clock.now()
        if self.config.state_directory is None:
            return Authority.create("kube-core", now=now)
        try:
            return load_or_create(self.config.state_directory, "kube-core", now=now)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> Store:
        store: Store = load_driver("store", self.config.store)(clock=self.clock, url=self.config.store)
        opening = begin(stack, store.open(), store.close)
        await turn()
        # Importing every plugin takes about as long as the disk does.
        try:
            _ = self.plugins
        finally:
            await asyncio.shield(opening)
        return store

    async def _start_server(self, stack: contextlib.AsyncExitStack, store: Store, ranges: NetworkRanges) -> ApiServer:
        loopback = [each for each in (ranges.pod_cidr, ranges.service_cidr) if ipaddress.ip_network(each).is_loopback]
        server = ApiServer(
            store,
            ServerConfig(
                service_cidr=ranges.service_cidr,
                exempt_ranges=tuple(loopback),
                state_directory=self.config.state_directory,
                client_ca=self.authority.certificate,
                tokens=self.config.tokens,
            ),
            clock=self.clock,
            random=self.random,
            admission=self.plugins.admission(),
        )
        try:
            server.issuer.key.loaded  # noqa: B018 (a damaged key is to be told now, not when a pod needs a token)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        starting = begin(stack, server.start(), server.stop)
        if self.config.listen:
            for _ in range(_HEAD_START):
                await turn()
            # aiohttp takes a while to import, in which the first objects can be written.
            importlib.import_module("kube_core.apiserver.http")
        await asyncio.shield(starting)
        return server

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        if not self.config.listen:
            return
        # aiohttp takes a while to import, and a cluster without a socket does without it.
        from kube_core.apiserver.http import HttpServer, describe_listen_error, server_context

        names = [*_SERVER_NAMES, "localhost", "127.0.0.1", self.config.bind, self.server.config.kubernetes_ip]
        pair = self.authority.issue_server("kube-apiserver", names, now=self.clock.now())
        http = HttpServer(self.server.handle, server_context(pair, self.authority.certificate))
        try:
            listening = begin(stack, http.listen(self.config.bind, self.config.port), http.stop)
            self.port = await asyncio.shield(listening)
        except OSError as error:
            raise ConfigError(describe_listen_error(error, [f"{self.config.bind}:{self.config.port}"])) from error
        await self.server.publish_address(self.config.bind, self.port)

    async def _start_volumes(self, stack: contextlib.AsyncExitStack) -> VolumeDriver:
        """The cluster's volume driver, and its storage class as the default one."""
        directory = str(self._state) if self._state is not None else ""
        driver: VolumeDriver = load_driver("volume", self.config.driver("volume"))(
            clock=self.clock, state_directory=directory
        )
        await driver.start()
        stack.push_async_callback(driver.stop)
        await self._ensure(resources.STORAGE_CLASSES, driver.storage_class())
        return driver

    async def _start_scheduler(self, host: PluginHost) -> None:
        client = self.client_for(User("system:kube-scheduler", (AUTHENTICATED,)), field_manager="kube-scheduler")
        self.scheduler = Scheduler(
            client,
            self.informers,
            self.clock,
            self.random,
            host.scheduler_plugins(),
            get_logger("kube_core.scheduler"),
            events=self._events.recorder("default-scheduler"),
        )
        self.background.start("scheduler", self.scheduler.run())

    async def _start_data_plane(self) -> None:
        """Service proxy and ingress, for all nodes of this host."""
        proxy: ProxyDriver = load_driver("proxy", self.config.driver("proxy"))(clock=self.clock)
        recorder = self._events.recorder("kube-proxy")
        self.service_proxy = ServiceProxyAgent(self.informers, proxy, clock=self.clock, events=recorder)
        self.background.start("service proxy", self.service_proxy.run())
        ingress: IngressDriver = load_driver("ingress", self.config.driver("ingress"))(
            clock=self.clock, address=self._reachable_bind(), port=self.config.ingress_port
        )
        client = self.client_for(User("system:kube-ingress", (AUTHENTICATED,)), field_manager="kube-core-ingress")
        await self._ensure(resources.INGRESS_CLASSES, ingress_class())
        self.ingress = IngressAgent(self.informers, ingress, client, clock=self.clock)
        self.background.start("ingress", self.ingress.run())
        await self.service_proxy.started()
        await self.ingress.started()

    def _make_runtimes(self, cidrs: Sequence[str]) -> dict[str, Runtime]:
        """A runtime for each node, by the node's name."""
        if not cidrs:
            return {}
        driver = load_driver("runtime", self.config.runtime)
        options = {"image_folders": self.config.images} if self.config.images else {}
        names = [f"node-{number}" for number in range(1, len(cidrs) + 1)]
        return {
            name: driver(clock=self.clock, node_name=name, state_directory=self._node_directory(name), **options)
            for name in names
        }

    def _node_directory(self, name: str) -> str:
        """Where a node keeps what it keeps; "" for a cluster without state."""
        if self._state is None:
            return ""
        directory = self._state / "nodes" / name
        directory.mkdir(parents=True, exist_ok=True)
        return str(directory)

    async def _start_nodes(
        self, network: type[Network], volumes: VolumeDriver, cidrs: Sequence[str], runtimes: Mapping[str, Runtime]
    ) -> None:
        """Every node's agent; returns when all are Ready."""
        nodes = zip(runtimes.items(), cidrs, strict=True)
        await asyncio.gather(
            *(self._start_node(name, cidr, runtime, network, volumes) for (name, runtime), cidr in nodes)
        )

    async def _start_node(
        self, name: str, cidr: str, runtime: Runtime, network: type[Network], volumes: VolumeDriver
    ) -> None:
        state = self._node_directory(name)
        agent = NodeAgent(
            # Its streams are called directly, so nothing listens on the kubelet's port.
            NodeConfig(name, pod_cidr=cidr, state_directory=state, kubelet_port=0),
            client=self.client_for(User(f"system:node:{name}", ("system:nodes", AUTHENTICATED))),
            informers=self.informers,
            events=self._events,
            runtime=runtime,
            network=network(clock=self.clock, node_name=name, pod_cidr=cidr, state_directory=state),
            volumes=[volumes],
            clock=self.clock,
        )
        self.nodes[name] = agent
        self.server.nodes[name] = PodStreams(agent)
        ready = asyncio.Event()
        running = self.background.start(f"node {name}", agent.run(ready=ready.set), ready)
        await first(ready, running)

    async def _end_runtimes(self, runtimes: Mapping[str, Runtime], starting: asyncio.Future[Any]) -> None:
        """A cluster that stops in good order takes its pods along; one that is killed finds them again."""
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.gather(*(end_gently(runtime) for runtime in runtimes.values()))

    def _reachable_bind(self) -> str:
        """The address to listen on, or loopback where that is every address: it is shown to people."""
        return "127.0.0.1" if ipaddress.ip_address(self.config.bind).is_unspecified else self.config.bind

    async def _ensure(self, resource: ResourceType, document: Mapping[str, Any]) -> None:
        """Make an object, unless there is one of its name."""
        with contextlib.suppress(AlreadyExists):
            await self.client.create(resource, document)

    @property
    def background(self) -> Background:
        if self._background is None:
            raise RuntimeError("the cluster has not been started")
        return self._background

    async def _start_controllers(
        self, stack: contextlib.AsyncExitStack, host: PluginHost, drivers: Mapping[str, Any]
    ) -> None:
        wanted = self.config.controllers
        specs = [spec for spec in host.controllers() if "all" in wanted or spec.name in wanted]
        unknown = set(wanted) - {"all"} - {spec.name for spec in host.controllers()}
        if unknown:
            raise ConfigError(f"unknown controller {', '.join(sorted(unknown))}")
        if not specs:
            return
        runtime = ControllerRuntime(
            specs,
            self._controller_client,
            clock=self.clock,
            random=self.random,
            drivers=drivers,
            informers=self.informers,
        )
        self.controllers = await stack.enter_async_context(runtime)
        await runtime.started()

    def _controller_client(self, name: str) -> ApiClient:
        account = name if name.startswith("kube-") else f"serviceaccount:kube-system:{name}"
        return self.client_for(User(f"system:{account}", (AUTHENTICATED,)), field_manager=name)


class Background:
    """Tasks that run as long as the cluster does. One that fails is logged, and the others go on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(
        self, name: str, work: Coroutine[Any, Any, None], ready: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        """`ready`: set once the work is under way; what fails before that is for who waits for it to tell."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._finished(task, ready))
        return task

    def _finished(self, task: asyncio.Task[None], ready: asyncio.Event | None) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and (ready is None or ready.is_set()):
            _log.error("a part of the cluster failed", part=task.get_name(), exc_info=error)


def begin(
    stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, _T], undo: Callable[[], Awaitable[None]]
) -> asyncio.Task[_T]:
    """Begin `work`, which is to be awaited with `asyncio.shield`: only what is whole can be undone, so it comes to its
    end even when a start is given up, and then `undo` follows when the stack unwinds."""
    task = asyncio.create_task(work)

    async def end() -> None:
        await asyncio.gather(task, return_exceptions=True)
        await undo()

    stack.push_async_callback(end)
    return task


def _nothing() -> None:
    """The ranges are another cluster's: the node's own claim will say so."""


def _read_ranges(path: Path) -> NetworkRanges:
    """What a cluster chose when it was made. Raises `ConfigError`."""
    try:
        chosen = orjson.loads(path.read_bytes())
        return NetworkRanges(pod_cidr=str(chosen["pod_cidr"]), service_cidr=str(chosen["service_cidr"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); repair or remove it") from None


async def end_gently(runtime: Runtime) -> None:
    """End a node's containers: the processes are asked first, and get a short while."""
    if runtime.capabilities.processes:
        try:
            # The node's agent has let go of the runtime.
            await runtime.start()
            running = [each.id for each in runtime.list_containers() if each.state == "running"]
            await asyncio.gather(*(runtime.stop_container(each, STOP_GRACE) for each in running))
        except RuntimeFailure as error:
            _log.warning("containers are ended by force", node=runtime.node_name, error=str(error))
    await runtime.end()


async def first(ready: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Return once `ready` is set. Raises what ended `running` before that."""
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            await running
    finally:
        waiting.cancel()


def node_ranges(pod_cidr: str, nodes: int) -> list[str]:
    """Each node's part of the pod range: /24 where that is enough (or /64 of IPv6), smaller where it has to be.

    Raises `ConfigError` for a range that is too small.
    """
    network = ipaddress.ip_network(pod_cidr)
    length = 24 if network.version == 4 else 64
    length = max(length, network.prefixlen + max(nodes - 1, 0).bit_length())
    if length > network.max_prefixlen - 3:
        raise ConfigError(f"the pod range {pod_cidr} is too small for {nodes} nodes")
    return [str(subnet) for subnet in itertools.islice(network.subnets(new_prefix=length), nodes)]


def kubeconfig(name: str, url: str, authority: bytes, user: KeyPair) -> Mapping[str, Any]:
    """Upstream's kubeconfig with one context, everything inline."""
    import base64

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    context = f"kube-core-{name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": url, "certificate-authority-data": inline(authority)}}],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": inline(user.certificate),
                    "client-key-data": inline(user.key),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
