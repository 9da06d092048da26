"""The server as a program: what `kube-core cri` does.

    await serve(CriOptions(runtime="oci", network="bridge", state=Path("/var/lib/kube-core/cri"), …), stop=stop)

Runtime and network are made of their drivers, on the state folder, where they find what ran before; then the socket is
there. When `stop` is set, or the program is killed, containers go on (where the runtime is persistent), and the next
one finds them. `end` ends them all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import attrs

from kube_core._kit.clock import Clock, SystemClock
from kube_core.abc.network import Network, NetworkError
from kube_core.abc.runtime import Runtime
from kube_core.drivers import make_node_drivers
from kube_drivers.runtime.criserver.containers import Containers
from kube_drivers.runtime.criserver.events import Events
from kube_drivers.runtime.criserver.images import Images
from kube_drivers.runtime.criserver.information import Information
from kube_drivers.runtime.criserver.sandboxes import Sandboxes
from kube_drivers.runtime.criserver.server import CriServer
from kube_drivers.runtime.criserver.statistics import Statistics
from kube_drivers.runtime.criserver.streams import Streams

__all__ = ["CriOptions", "end", "serve", "serve_drivers"]


@attrs.frozen(kw_only=True)
class CriOptions:
    """`runtime` and `network` are drivers. `stream_address`: where streams are to be had; port 0 takes a free one."""

    runtime: str
    network: str
    state: Path
    listen: Sequence[Path]
    pod_cidr: str
    images: Sequence[Path] = ()
    stream_address: str = "127.0.0.1"
    stream_port: int = 0
    name: str = "cri"


async def serve(
    options: CriOptions,
    *,
    stop: asyncio.Event,
    tell: Callable[[str], None] = lambda line: None,
    clock: Clock | None = None,
) -> None:
    """Serve until `stop` is set. `tell` is given a line when clients may come.

    Raises `DriverError`, `DriverFailure`, and OSError where it cannot listen.
    """
    clock = clock or SystemClock()
    runtime, network = _drivers(options, clock)
    async with contextlib.AsyncExitStack() as stack:
        await network.start()
        stack.push_async_callback(network.stop)
        await runtime.start()
        stack.push_async_callback(runtime.stop)
        await stack.enter_async_context(serve_drivers(runtime, network, options, clock))
        tell("serving CRI at " + ", ".join(f"unix://{path}" for path in options.listen))
        await stop.wait()


@contextlib.asynccontextmanager
async def serve_drivers(runtime: Runtime, network: Network, options: CriOptions, clock: Clock) -> AsyncIterator[None]:
    """Serve drivers that are started, for as long as the block runs. Raises OSError where it cannot listen."""
    events = Events(runtime, clock)
    sandboxes, streams = Sandboxes(runtime, network, events), Streams(runtime, clock)
    await sandboxes.find_again()
    following = asyncio.create_task(events.follow(), name="events of the runtime")
    server = CriServer(
        [
            Information(runtime, network),
            sandboxes,
            Containers(runtime, events),
            streams,
            Images(runtime, clock),
            Statistics(runtime, clock),
            events,
        ]
    )
    try:
        await streams.listen(options.stream_address, options.stream_port)
        await server.listen(options.listen)
        yield
    finally:
        await server.stop()
        await streams.stop()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def end(options: CriOptions, *, clock: Clock | None = None) -> None:
    """End what an earlier program has left running, and remove it."""
    runtime, network = _drivers(options, clock or SystemClock())
    await runtime.end()
    with contextlib.suppress(NetworkError):
        await network.end()


def _drivers(options: CriOptions, clock: Clock) -> tuple[Runtime, Network]:
    return make_node_drivers(
        options.runtime,
        options.network,
        clock=clock,
        node_name=options.name,
        state=options.state,
        pod_cidr=options.pod_cidr,
        images=options.images,
    )
