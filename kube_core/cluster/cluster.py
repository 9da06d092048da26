"""A whole cluster in this program, and the order in which its parts start.

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
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from kube_core._kit.clock import Clock, FakeClock, SystemClock, inside, turn
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.network import NetworkRanges
from kube_core.abc.snapshots import Snapshots
from kube_core.abc.store import Store
from kube_core.abc.transport import Request, Response, User, WatchEvent, WatchRequest
from kube_core.api import resources
from kube_core.api.config_files import ConfigFileError
from kube_core.api.types import ResourceType
from kube_core.apiserver.server import ApiServer, ServerConfig
from kube_core.auth.authentication import MASTERS
from kube_core.auth.certificates import Authority, KeyPair
from kube_core.bus.bus import Bus
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.client.local import LocalTransport
from kube_core.cluster.access import SERVER_NAMES, kubeconfig, load_authority
from kube_core.cluster.addresses import choose_ranges, node_ranges
from kube_core.cluster.background import Background, begin
from kube_core.cluster.identities import (
    ADMIN,
    CONTROLLER_MANAGER,
    INGRESS,
    METRICS_SERVER,
    SCHEDULER,
    controller_user,
    ingress_policy,
    metrics_policy,
    metrics_server_policy,
)
from kube_core.cluster.kinds import OfferedKinds, install_kinds
from kube_core.cluster.nodes import Nodes, Surroundings
from kube_core.cluster.snapshots import Snapshot, take
from kube_core.config import ClusterConfig, ConfigError
from kube_core.drivers import load_driver
from kube_core.meta.status import AlreadyExists
from kube_core.plugins import PluginHost
from kube_core.settling import Settling

if TYPE_CHECKING:
    from kube_core.abc.cloud import CloudDriver
    from kube_core.abc.ingress import IngressDriver
    from kube_core.abc.proxy import ProxyDriver
    from kube_core.abc.usage import FiguresSource
    from kube_core.abc.volume import VolumeDriver
    from kube_core.cluster.faults import Faults
    from kube_core.cluster.metrics import ComponentMetrics
    from kube_core.cluster.record import Record
    from kube_core.control.events import EventWriter
    from kube_core.control.runtime import ControllerRuntime
    from kube_core.metricsserver.server import MetricsServer
    from kube_core.node.agent import NodeAgent
    from kube_core.node.registration import MayWait
    from kube_core.proxy.agent import IngressAgent, ServiceProxyAgent
    from kube_core.scheduler.scheduler import Scheduler
    from kube_core.serving.http import HttpServer

__all__ = ["Cluster"]

_log = get_logger("kube_core.cluster")
#: Options that say what is in a snapshot.
_OF_STATE: Final = frozenset(("name", "nodes", "outside_nodes", "store", "runtime", "network", "volume", "proxy",
                              "ingress", "cloud", "behaviours", "pod_cidr", "service_cidr",
                              "state_directory"))  # fmt: skip
#: Turns of the loop in which the server's first writes are on their way to the disk.
_HEAD_START = 8


class Cluster:
    """A whole cluster in this program. Options are those of `ClusterConfig`."""

    def __init__(
        self,
        config: ClusterConfig | None = None,
        *,
        clock: Clock | None = None,
        plugins: Iterable[object] = (),
        kinds: Iterable[object] = (),
        host: PluginHost | None = None,
        **options: Any,
    ) -> None:
        """`plugins`: more of them, besides those that are installed (or those of `host`, where it is given).

        `kinds`: classes of `@kind` and functions of `@validate`, `@mutate` and `@convert`, besides those of plugins; of
        a module all that it has.

        Raises `ConfigError` for options that cannot be.
        """
        try:
            self.config = attrs.evolve(config, **options) if config is not None else ClusterConfig(**options)
        except TypeError as error:
            raise ConfigError(str(error)) from None
        self.clock = clock or SystemClock()
        self.random = Random(self.config.seed)
        self._record: Record | None = None
        if self.config.record:
            from kube_core.cluster.record import Record

            self._record = Record(self.clock)
        self._host = host
        self._further_plugins = tuple(plugins)
        if offered := tuple(kinds):
            self._further_plugins += (OfferedKinds(offered),)
        self._stack = contextlib.AsyncExitStack()
        self._server: ApiServer | None = None
        self._client: ApiClient | None = None
        self._informers: Informers | None = None
        self._authority: Authority | None = None
        self._admin: KeyPair | None = None
        #: What to begin with, until begun.
        self._snapshot: Snapshot | None = None
        #: What has state of its own besides the store, by what it is.
        self._drivers: dict[str, Snapshots] = {}
        #: The socket to listen on, where there is one from before.
        self._socket: socket.socket | None = None
        self._background: Background | None = None
        self._http: HttpServer | None = None
        self._state: Path | None = None
        self._component_metrics: ComponentMetrics | None = None
        self.controllers: ControllerRuntime | None = None
        self._events: EventWriter | None = None
        self.scheduler: Scheduler | None = None
        self.service_proxy: ServiceProxyAgent | None = None
        self.ingress: IngressAgent | None = None
        self.nodes: dict[str, NodeAgent] = {}
        #: The ranges of pod and service addresses; known once started.
        self.ranges = NetworkRanges()
        self.port = 0

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, **options: Any) -> Self:
        """What `snapshot.fork` does. Raises `ConfigError` for options that say what a snapshot has in it."""
        if fixed := sorted(_OF_STATE & options.keys()):
            raise ConfigError(f"a fork has the {', '.join(fixed)} of its snapshot")
        cluster = cls(snapshot.config, clock=snapshot.make_clock(), host=snapshot.plugins, **options)
        cluster._snapshot = snapshot
        if "seed" not in options:
            cluster.random.restore(snapshot.chance)
        return cluster

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
    def record(self) -> Record:
        """What happened of late, and why, where the option `record` says so."""
        if self._record is None:
            raise RuntimeError("this cluster keeps no record: start it with Cluster(record=True)")
        return self._record

    @functools.cached_property
    def faults(self) -> Faults:
        """What is to go wrong, by rule. Rules end with `restore`."""
        from kube_core.cluster.faults import Faults  # few clusters want any

        return Faults(self.server, self._drivers, self.clock, self.random)

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
        return self._client_over(LocalTransport(self._handle, self, user), field_manager)

    def _component(self, user: User, *, field_manager: str) -> ApiClient:
        """The same for a part of the cluster, whose requests are counted."""
        handle = self._metrics.counting(self._handle)
        return self._client_over(LocalTransport(handle, self, user), field_manager)

    def _client_over(self, transport: LocalTransport, field_manager: str) -> ApiClient:
        return ApiClient(transport, field_manager=field_manager, clock=self.clock, random=self.random)

    @property
    def _metrics(self) -> ComponentMetrics:
        if self._component_metrics is None:
            from kube_core.cluster.metrics import ComponentMetrics  # a server alone has no components

            self._component_metrics = ComponentMetrics(self.server.metrics.metrics, lambda: self.nodes)
        return self._component_metrics

    async def _handle(self, request: Request) -> Response:
        return await self.server.handle(request)

    def watch(self, wanted: WatchRequest, user: User) -> AsyncIterator[WatchEvent]:
        """The event source of the clients in this program (`kube_core.abc.transport.EventSource`)."""
        return self.server.watch(wanted, user)

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

    # -- state -------------------------------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """This cluster's whole state; settled first. Raises `SnapshotRefused`, which names who cannot give theirs."""
        await self.settled()
        return await take(self, self._drivers)

    @contextlib.asynccontextmanager
    async def fork(self, **options: Any) -> AsyncIterator[Cluster]:
        """A running cluster that begins as this one is now, and goes its own way: `snapshot().fork(**options)`."""
        async with (await self.snapshot()).fork(**options) as forked:
            yield forked

    async def restore(self, snapshot: Snapshot) -> None:
        """Be again what `snapshot` says: everything stops, and starts from there. Its port, and its clients, stay.

        The snapshot is one of this cluster, or of one with the same options. Time on a `FakeClock` becomes what it was;
        watches end, and clients begin them anew. Raises `ConfigError` for a snapshot of another kind of cluster.
        """
        if differing := [name for name in sorted(_OF_STATE) if _differs(name, self.config, snapshot.config)]:
            raise ConfigError(f"the snapshot is of a cluster with another {', '.join(differing)}")
        http = self._http
        self._socket = http.kept_socket() if http is not None else None
        await self._stack.aclose()
        self._forget()
        self._snapshot = snapshot
        self.random.restore(snapshot.chance)
        if isinstance(self.clock, FakeClock) and snapshot.moment is not None:
            self.clock.set_now(snapshot.moment)
        await self.__aenter__()

    def _forget(self) -> None:
        """Be as before the start, but for what clients know of this cluster."""
        self._server = self._informers = self._background = self._http = None
        self.controllers = self.scheduler = self.service_proxy = self.ingress = self._component_metrics = None
        self.nodes, self._drivers = {}, {}
        vars(self).pop("faults", None)

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
        began = inside.set(True)
        try:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    await self._start(stack, self._snapshot)
                except ConfigFileError as error:
                    raise ConfigError(str(error)) from None
                self._stack = stack.pop_all()
        finally:
            inside.reset(began)
        # Objects that are gone here must not be kept for good.
        self._snapshot = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.announce_stop(self.config.shutdown_delay)
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack, snapshot: Snapshot | None) -> None:
        self._state = self._state_directory(stack)
        network = load_driver("network", self.config.driver("network"))
        self.ranges = ranges = choose_ranges(self.config, network, self._state, stack)
        nodes = Nodes(self.config, self.clock, network, node_ranges(ranges.pod_cidr, self.config.nodes), self._state)
        self.nodes = nodes.agents
        for part, driver in nodes.drivers():
            self._add_driver(part, driver)
        # Some runtimes start a process of their own: that takes its time beside ours.
        nodes.start_runtimes()
        stack.push_async_callback(nodes.end)
        await turn()
        if snapshot is None:
            self._authority = load_authority(self.config.state_directory, self.clock)
            store = await self._open_store(stack)
        else:
            self._authority, self._admin = snapshot.authority, snapshot.admin
            store = await snapshot.store.fork(clock=self.clock)
            stack.push_async_callback(store.close)
        host = self.plugins
        self._server = await self._start_server(stack, store, ranges)
        if self._client is None:
            self._client = self.client_for(ADMIN)
        await self._listen(stack)
        await install_kinds(host, self._server, self._client, clock=self.clock, fresh=snapshot is None)
        self._informers = await stack.enter_async_context(
            Informers(
                self.client_for(CONTROLLER_MANAGER),
                clock=self.clock,
                random=self.random,
                image=snapshot.informers if snapshot is not None else None,
            )
        )
        if self.config.has_nodes:
            from kube_core.control.events import EventWriter  # only where somebody reports something

            writer = EventWriter(self.client_for(CONTROLLER_MANAGER), clock=self.clock, random=self.random)
            self._events = await stack.enter_async_context(writer)
        self._background = await stack.enter_async_context(Background())
        volumes = await self._start_volumes(stack) if self.config.has_nodes else None
        drivers: dict[str, Any] = {"authority": self.authority, "cluster_ca": self.authority.certificate}
        if volumes is not None:
            drivers["volume"] = volumes
        drivers |= await self._start_cloud(stack)
        if self.config.has_nodes and not network.capabilities.own_ranges:
            drivers["network"] = ranges
        await self._start_controllers(stack, host, drivers)
        if volumes is not None and self._events is not None:
            await self._start_scheduler(host, self._events)
            await self._start_data_plane(self._events)
            figures: dict[str, FiguresSource] = {}
            metrics = self._serve_metrics(figures) if self.config.metrics else None
            around = Surroundings(
                self.client_for,
                self.informers,
                self._events,
                volumes,
                self.random,
                self.background,
                self.server.nodes,
                self.server.node_endpoints,
                figures,
                goes_on=snapshot is not None,
                cloud="cloud.instances" in drivers,
                may_wait=self._renewals(),
            )
            await nodes.start(around)
            if metrics is not None:
                # Now that there is somebody to look at: a node that cannot start is not one that says nothing.
                self.background.start("metrics server", metrics.run())
        # Nobody else waits for these, and all the rest would.
        await self.server.begin_upkeep()

    def _renewals(self) -> MayWait | None:
        """Who says which renewals of the nodes' leases may be left out, where any may."""
        if self.config.every_heartbeat or not isinstance(self.clock, FakeClock):
            return None
        from kube_core.cluster.renewals import Renewals  # only virtual time leaves any out

        return Renewals(self.clock, self.server, self.informers, lambda: vars(self).get("faults")).may_wait

    def _serve_metrics(self, figures: Mapping[str, FiguresSource]) -> MetricsServer:
        """Serve metrics.k8s.io from what nodes say that they use; its loop is still to be started."""
        from kube_core.apiserver.aggregation.local import LocalService
        from kube_core.metricsserver.documents import DISCOVERED, GROUP_VERSION
        from kube_core.metricsserver.server import MetricsServer

        server = MetricsServer(
            self._figures_of(figures),
            nodes=self.informers.lister(resources.NODES),
            pods=self.informers.lister(resources.PODS),
            clock=self.clock,
            # What is simulated knows its rates at any moment; where time is moved by hand every timer costs.
            always=not (self.config.simulated or isinstance(self.clock, FakeClock)),
        )
        self.server.aggregation.serve(LocalService(GROUP_VERSION, DISCOVERED, server.handle))
        self.background.start("metrics policy", self._ensure(*metrics_policy()))
        if self.config.outside_nodes:
            for number, each in enumerate(metrics_server_policy()):
                self.background.start(f"metrics server's policy {number}", self._ensure(*each))
        return server

    def _figures_of(self, figures: Mapping[str, FiguresSource]) -> Callable[[], Mapping[str, FiguresSource]]:
        """Who says what each node uses: those of this program, and the servers of those that are elsewhere."""

        def here() -> dict[str, FiguresSource]:
            return {name: each for name, each in figures.items() if name not in self.server.unreachable}

        if not self.config.outside_nodes:
            return here
        from kube_core.metricsserver.elsewhere import figures_elsewhere

        client, nodes = (
            self._component(METRICS_SERVER, field_manager="metrics-server"),
            self.informers.lister(resources.NODES),
        )
        return lambda: figures_elsewhere(client, nodes.list(), known=figures) | here()

    def _add_driver(self, part: str, driver: Snapshots) -> None:
        """A driver that is not started yet; it goes on from the snapshot, if there is one."""
        self._drivers[part] = driver
        if self._snapshot is not None:
            self._snapshot.hand_over(part, driver)

    def _state_directory(self, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> Path | None:
        """Where state is kept, made if need be; None for a cluster that keeps nothing."""
        if self.config.state_directory is not None:
            self.config.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            return self.config.state_directory
        if self.config.simulated:
            return None
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kube-core-")))

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> Store:
        store: Store = load_driver("store", self.config.store)(clock=self.clock, url=self.config.store)
        sealed = self.config.security.encryption_provider_config
        if sealed is not None:
            from kube_core.storage.encryption import EncryptedStore, read_encryption_configuration  # few have one

            reload = self.config.security.encryption_provider_config_automatic_reload
            store = EncryptedStore(store, read_encryption_configuration(sealed), reload=reload)
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
                event_ttl=self.config.event_ttl,
                kubelet_certificate=functools.cache(self._kubelet_certificate),
                tokens=self.config.tokens,
                security=self.config.security,
            ),
            clock=self.clock,
            random=self.random,
            admission=self.plugins.admission(),
        )
        try:
            server.issuer.key.loaded  # noqa: B018 (a damaged key is to be told now, not when a pod needs a token)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if self._record is not None:
            from kube_core.cluster.why import why_route

            server.cache.recorder = server.pipeline.recorder = self._record
            server.pipeline.routes.append(why_route(self._record))
        image = self._snapshot.server if self._snapshot is not None else None
        starting = begin(stack, server.start(upkeep=False, image=image), server.stop)
        if self.config.listen:
            for _ in range(_HEAD_START):
                await turn()
            # aiohttp takes a while to import, in which the first objects can be written.
            importlib.import_module("kube_core.serving.http")
        await asyncio.shield(starting)
        return server

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        if not self.config.listen:
            return
        # aiohttp takes a while to import, and a cluster without a socket does without it.
        from kube_core.serving.http import HttpServer, describe_listen_error
        from kube_core.serving.tls import server_context

        names = [*SERVER_NAMES, "localhost", "127.0.0.1", self.config.bind, self.server.config.kubernetes_ip]
        pair = self.authority.issue_server("kube-apiserver", names, now=self.clock.now())
        http = self._http = HttpServer(
            self._handle,
            server_context(pair.certificate, pair.key, self._client_authorities()),
            doorkeeper=self.server.pipeline.admits,
        )
        try:
            kept, self._socket = self._socket, None
            listening = begin(stack, http.listen(self.config.bind, self.config.port, kept=kept), http.stop)
            self.port = await asyncio.shield(listening)
        except OSError as error:
            raise ConfigError(describe_listen_error(error, [f"{self.config.bind}:{self.config.port}"])) from error
        await self.server.publish_address(self.config.bind, self.port)

    def _kubelet_certificate(self) -> KeyPair:
        """Who the API server is to nodes that are elsewhere."""
        return self.authority.issue_client("kube-apiserver-kubelet-client", [MASTERS], now=self.clock.now())

    def _client_authorities(self) -> bytes:
        """Whose client certificates there may be: the cluster's own authority's, and those of front proxies."""
        front_proxies = self.config.security.requestheader_client_ca_file
        if front_proxies is None:
            return self.authority.certificate
        return self.authority.certificate + b"\n" + front_proxies.read_bytes()

    async def _start_volumes(self, stack: contextlib.AsyncExitStack) -> VolumeDriver:
        """The cluster's volume driver, and its storage class as the default one."""
        directory = str(self._state) if self._state is not None else ""
        driver: VolumeDriver = load_driver("volume", self.config.driver("volume"))(
            clock=self.clock, state_directory=directory
        )
        self._add_driver("volume", driver)
        await driver.start()
        stack.push_async_callback(driver.stop)
        await self._ensure(resources.STORAGE_CLASSES, driver.storage_class())
        return driver

    async def _start_cloud(self, stack: contextlib.AsyncExitStack) -> Mapping[str, Any]:
        """The cloud that the cluster stands on, by what it has, for the controllers that need just that."""
        choice = self.config.driver("cloud")
        if choice == "none":
            return {}
        driver: CloudDriver = load_driver("cloud", choice)(
            clock=self.clock,
            cluster=self.config.name,
            ranges=self.ranges,
            state_directory=str(self._state) if self._state is not None else "",
        )
        self._add_driver("cloud", driver)
        await driver.start()
        stack.push_async_callback(driver.stop)
        has = driver.capabilities
        parts = {"load_balancers": has.load_balancers, "instances": has.instances, "routes": has.routes}
        return {f"cloud.{part}": driver for part, there in parts.items() if there}

    async def _start_scheduler(self, host: PluginHost, events: EventWriter) -> None:
        from kube_core.scheduler.scheduler import Scheduler  # only where there are nodes

        client = self._component(SCHEDULER, field_manager="kube-scheduler")
        self.scheduler = Scheduler(
            client,
            self.informers,
            self.clock,
            self.random,
            host.scheduler_plugins(),
            get_logger("kube_core.scheduler"),
            events=events.recorder("default-scheduler"),
            metrics=self._metrics.scheduler,
        )
        self.background.start("scheduler", self.scheduler.run())

    async def _start_data_plane(self, events: EventWriter) -> None:
        """Service proxy and ingress, for all nodes of this host."""
        from kube_core.proxy.agent import IngressAgent, ServiceProxyAgent  # only where there are nodes
        from kube_core.proxy.ingresses import ingress_class

        proxy: ProxyDriver = load_driver("proxy", self.config.driver("proxy"))(clock=self.clock)
        self._add_driver("service proxy", proxy)
        recorder = events.recorder("kube-proxy")
        self.service_proxy = ServiceProxyAgent(self.informers, proxy, clock=self.clock, events=recorder)
        self.background.start("service proxy", self.service_proxy.run())
        ingress: IngressDriver = load_driver("ingress", self.config.driver("ingress"))(
            clock=self.clock, address=self._reachable_bind(), port=self.config.ingress_port
        )
        self._add_driver("ingress", ingress)
        client = self.client_for(INGRESS, field_manager="kube-core-ingress")
        needed = [(resources.INGRESS_CLASSES, ingress_class()), *ingress_policy()]
        if self._snapshot is None:
            await asyncio.gather(*(self._ensure(resource, document) for resource, document in needed))
        self.ingress = IngressAgent(self.informers, ingress, client, clock=self.clock)
        self.background.start("ingress", self.ingress.run())
        if self._snapshot is None:
            await self.service_proxy.started()
            await self.ingress.started()

    def _reachable_bind(self) -> str:
        """The address to listen on, or loopback where that is every address: it is shown to people."""
        return "127.0.0.1" if ipaddress.ip_address(self.config.bind).is_unspecified else self.config.bind

    async def _ensure(self, resource: ResourceType, document: Mapping[str, Any]) -> None:
        """Make an object, unless there is one of its name. A snapshot has all of them that were wanted."""
        if self._snapshot is not None:
            return
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
        if not wanted:
            return
        found = host.controllers()
        specs = [spec for spec in found if spec.name in wanted or ("all" in wanted and spec.by_default)]
        unknown = set(wanted) - {"all"} - {spec.name for spec in found}
        if unknown:
            raise ConfigError(f"unknown controller {', '.join(sorted(unknown))}")
        if not specs:
            return
        from kube_core.control.runtime import ControllerRuntime  # only where there are controllers

        accounts = {spec.name: spec.account for spec in specs}
        runtime = ControllerRuntime(
            specs,
            lambda name: self._component(controller_user(name, accounts.get(name, "")), field_manager=name),
            clock=self.clock,
            random=self.random,
            drivers=drivers,
            informers=self.informers,
            metrics=self._metrics.controllers,
            recorder=self._record,
        )
        self.controllers = await stack.enter_async_context(runtime)
        # Those of a fork have nothing to catch up with, and nobody has to wait for them.
        if self._snapshot is None:
            await runtime.started()


def _differs(name: str, config: ClusterConfig, other: ClusterConfig) -> bool:
    """Whether an option differs; addresses and directories are as chosen at the start."""
    if name in ("pod_cidr", "service_cidr", "state_directory"):
        return False
    return bool(getattr(config, name) != getattr(other, name))
