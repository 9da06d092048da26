"""Running controllers in a program of their own, against any cluster: what `kube-core run` and `kube_core.run` do.

In this order: the programs' controllers are found, the cluster's address and credentials are taken from a kubeconfig
(or the pod's own service account), metrics and health are served, kinds and webhooks are installed where that was asked
for, the Lease is waited for where several programs may run, and then the controllers run until they are told to stop.

Stopping is graceful: no further key is begun, reconciles under way have `grace` seconds, and then the Lease is given
up. A program that lost its Lease stops at once, by `LeadershipLost`: another one may have begun already.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core._kit.tracing import find_tracer
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informer, Informers
from kube_core.client.observed import ObservedTransport
from kube_core.client.transport import Transport
from kube_core.control.controller import ControllerSpec
from kube_core.control.election import ElectionTimes, LeaderElector, LedTransport
from kube_core.control.metrics import ControllerMetrics
from kube_core.control.runtime import ControllerRuntime
from kube_core.operators.discovery import ProgramError, controllers_in, load_program

if TYPE_CHECKING:
    from kube_core.client.connection import Connection

__all__ = ["RunOptions", "run", "serve"]

_log = get_logger("kube_core.run")


@attrs.frozen
class RunOptions:
    """How a program's controllers run.

    * `kubeconfig` and `context`: which cluster; kubectl's rules without them. `namespace`: look at no other.
    * `controllers`: only these, by name; all without.
    * `leader_elect`: be one of several. `lease`: its name, and maybe namespace (`tools/website`); otherwise the first
      controller's name, in `namespace` or the context's. `identity`: unlike any other candidate's.
    * `metrics_bind`: where to serve `/metrics`, `/healthz` and `/readyz`: `:8080`, `127.0.0.1:0`; "": nowhere.
    * `install_kinds`: install the programs' own kinds first. `webhooks_bind`: serve their functions as webhooks there;
      `webhooks_url`: by which the cluster comes to them, if that is another address.
    * `grace`: seconds that reconciles have when the program stops.
    """

    kubeconfig: str | None = None
    context: str = ""
    namespace: str = ""
    controllers: Sequence[str] = ()
    leader_elect: bool = False
    lease: str = ""
    identity: str = ""
    election_times: ElectionTimes = attrs.field(factory=ElectionTimes)
    metrics_bind: str = ""
    install_kinds: bool = False
    webhooks_bind: str = ""
    webhooks_url: str = ""
    grace: float = 30.0


def run(*programs: object, **options: Any) -> None:
    """Run the controllers of modules (or what `@controller` made, or names of modules or files) until told to stop.

    Options are those of `RunOptions`. SIGINT and SIGTERM stop it. Raises `ProgramError` for what cannot run,
    `LeadershipLost`, and what the client raises.
    """
    import uvloop

    uvloop.run(_until_told(programs, RunOptions(**options)))


async def serve(
    programs: Iterable[object],
    options: RunOptions | None = None,
    *,
    stop: asyncio.Event,
    transport: Transport | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Run controllers until `stop` is set. Raises as `run` does.

    `transport`: to a cluster that is reached otherwise than by a kubeconfig; it is left open. `tell` is given a line
    whenever there is something for a person to know.
    """
    options = options or RunOptions()
    clock, random = clock or SystemClock(), random or Random()
    loaded = [load_program(program) if isinstance(program, str) else program for program in programs]
    specs = _chosen(loaded, options.controllers)
    metrics = ControllerMetrics()
    async with contextlib.AsyncExitStack() as stack:
        home = options.namespace or "default"
        if transport is None:
            connection = _connection(options)
            home = options.namespace or connection.namespace
            transport = await _connect(stack, connection, clock, random)
            tell(f"running {', '.join(spec.name for spec in specs)} against {connection.server}")
        observed = ObservedTransport(transport, count=_count(metrics), tracer=find_tracer("kube_core.client"))
        client = ApiClient(observed, field_manager="kube-core-run")
        work = _Work(options, specs, client, metrics, clock, random)
        if options.metrics_bind:
            tell(f"metrics at {await work.serve_metrics(stack)}/metrics")
        await _install_kinds(stack, loaded, options, client, clock, specs[0].name)
        if options.leader_elect:
            await work.run_as_leader(stop, home, tell)
        else:
            await work.run(stop, tell)


class _Work:
    """Controllers, and what surrounds them."""

    def __init__(
        self,
        options: RunOptions,
        specs: Sequence[ControllerSpec],
        client: ApiClient,
        metrics: ControllerMetrics,
        clock: Clock,
        random: Random,
    ) -> None:
        self._options = options
        self._specs = specs
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._ready = False

    async def serve_metrics(self, stack: contextlib.AsyncExitStack) -> str:
        """Serve metrics and health; where. Raises `ProgramError`."""
        from kube_core.operators.serving import Endpoints  # aiohttp, for those who want it

        try:
            endpoints = Endpoints(self._options.metrics_bind, self._metrics.text, lambda: self._ready)
            return (await stack.enter_async_context(endpoints)).url
        except (OSError, ValueError) as error:
            raise ProgramError(f"metrics: {getattr(error, 'strerror', None) or error}") from error

    async def run(self, stop: asyncio.Event, tell: Callable[[str], None], elector: LeaderElector | None = None) -> None:
        """The controllers, until told to stop. `elector`: they write only while it leads."""
        client = self._client
        if elector is not None:
            led = LedTransport(client.transport, elector)
            client = ApiClient(led, field_manager=client.field_manager)
        informers = _Informers(client, clock=self._clock, random=self._random, namespace=self._options.namespace)
        async with informers:
            runtime = ControllerRuntime(
                self._specs,
                client.with_field_manager,
                clock=self._clock,
                random=self._random,
                informers=informers,
                grace=self._options.grace,
                metrics=self._metrics,
            )
            async with runtime:
                starting = asyncio.create_task(runtime.started(), name="start of controllers")
                stopping = asyncio.create_task(stop.wait(), name="end of controllers")
                try:
                    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
                    for left_out in runtime.left_out:
                        tell(f"left out: {left_out.name}: {left_out.reason}")
                    if starting.done():
                        self._ready = True
                        tell("controllers run")
                    await stop.wait()
                finally:
                    self._ready = False
                    starting.cancel()
                    stopping.cancel()

    async def run_as_leader(self, stop: asyncio.Event, home: str, tell: Callable[[str], None]) -> None:
        """The same, while this program holds the Lease."""
        namespace, _, name = (self._options.lease or self._specs[0].name).rpartition("/")
        elector = LeaderElector(
            self._client.with_field_manager("kube-core-leader-election"),
            name=name,
            namespace=namespace or home,
            identity=self._options.identity or f"{socket.gethostname()}_{self._random.uid()}",
            clock=self._clock,
            random=self._random,
            times=self._options.election_times,
            slow_renewals=self._metrics.slow_renewals.cell(name),
        )
        leading = self._metrics.leading.cell(name)
        # Who stands by is as well as can be.
        self._ready = True
        tell(f"standing by as {elector.identity}")
        if not await _unless(stop, elector.acquire()):
            await elector.release()
            return
        tell(f"leading as {elector.identity}")
        leading.value = 1
        holding = asyncio.create_task(elector.hold(), name="holding the lease")
        working = asyncio.create_task(self.run(stop, tell, elector), name="controllers")
        try:
            await asyncio.wait([holding, working], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            else:
                await holding
        finally:
            leading.value = 0
            for task in (holding, working):
                task.cancel()
            await asyncio.gather(holding, working, return_exceptions=True)
            await elector.release()


class _Informers(Informers):
    """Informers that look at one namespace, where there is one given, for all that lives in namespaces."""

    def __init__(self, client: ApiClient, *, clock: Clock, random: Random, namespace: str) -> None:
        super().__init__(client, clock=clock, random=random)
        self._namespace = namespace

    def informer(self, resource: ResourceType, *, namespace: str = "", **selection: Any) -> Informer:
        within = namespace or (self._namespace if resource.namespaced else "")
        return super().informer(resource, namespace=within, **selection)


def _chosen(programs: Sequence[object], names: Sequence[str]) -> Sequence[ControllerSpec]:
    """The controllers to run. Raises `ProgramError`."""
    specs: list[ControllerSpec] = []
    known: set[object] = set()
    for program in programs:
        try:
            # What a plugin's hook gives, and what is declared.
            specs += getattr(program, "kube_core_controllers", tuple)()
            specs += controllers_in(program, known)
        except Exception as error:
            name = getattr(program, "__name__", type(program).__name__)
            raise ProgramError(f"{name}: {type(error).__name__}: {error}") from error
    declared = [spec.name for spec in specs]
    if twice := sorted({name for name in declared if declared.count(name) > 1}):
        raise ProgramError(f"there are two controllers {twice[0]!r}")
    if unknown := sorted(set(names) - set(declared)):
        raise ProgramError(f"unknown controller {', '.join(unknown)}")
    chosen = [spec for spec in specs if not names or spec.name in names]
    if not chosen:
        raise ProgramError("no controller is declared there")
    return chosen


def _connection(options: RunOptions) -> Connection:
    """Raises `KubeconfigError`."""
    from kube_core.client.kubeconfig import load_connection  # who has a transport needs none

    return load_connection(options.kubeconfig, options.context)


async def _connect(stack: contextlib.AsyncExitStack, connection: Connection, clock: Clock, random: Random) -> Transport:
    from kube_core.client.http import HttpTransport  # aiohttp takes a while to import

    transport = HttpTransport(connection, clock=clock, random=random)
    stack.push_async_callback(transport.close)
    return transport


async def _install_kinds(
    stack: contextlib.AsyncExitStack,
    programs: Sequence[object],
    options: RunOptions,
    client: ApiClient,
    clock: Clock,
    name: str,
) -> None:
    """Raises `ProgramError`."""
    if not (options.install_kinds or options.webhooks_bind):
        return
    from kube_core.kinds.bundle import gather, offers  # for those who have kinds
    from kube_core.kinds.install import InstallError, install
    from kube_core.kinds.schemas import KindError

    offered = [value for program in programs for value in vars(program).values() if offers(value)]
    try:
        if options.webhooks_bind:
            from kube_core.kinds.webhooks import Webhooks
            from kube_core.operators.serving import parse_address

            host, port = parse_address(options.webhooks_bind)
            webhooks = Webhooks(
                client,
                offered,
                name=name,
                host=host or "0.0.0.0",
                port=port,
                reached_by=options.webhooks_url,
                clock=clock,
            )
            await stack.enter_async_context(webhooks)
        else:
            await install(client, gather(offered), clock=clock)
    except (KindError, InstallError, OSError, ValueError) as error:
        raise ProgramError(f"kinds: {error}") from error


def _count(metrics: ControllerMetrics) -> Callable[[str, str], None]:
    def count(code: str, method: str) -> None:
        metrics.requests.cell(code, method).value += 1

    return count


async def _unless(stop: asyncio.Event, work: Any) -> bool:
    """Do some work; whether it was done before `stop` was set, which cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _until_told(programs: Sequence[object], options: RunOptions) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set():
            # Told twice: whoever said it does not want to wait.
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, functools.partial(told, number))
    await serve(programs, options, stop=stop, tell=_say)


def _say(line: str) -> None:
    print(line, flush=True)
