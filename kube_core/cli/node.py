"""`kube-core node`: a node as a process of its own, until told to stop; and the end of what one has left running."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit import garbage
from kube_core.api.kubelet import KubeletSettings

if TYPE_CHECKING:
    from kube_core.client.connection import Connection
    from kube_core.node.process import NodeOptions

__all__ = ["NodeArguments", "NodeFile", "end", "run"]

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@attrs.frozen(kw_only=True)
class NodeArguments:
    """What the command line said."""

    name: str
    kubeconfig: str | None
    context: str
    state: str | None
    client_ca_file: str | None
    serving_csr: bool
    config_file: str | None
    #: Of what may stand in that file, what was given, in its form.
    given: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class NodeFile:
    """What a file of options says (`--config`); the command line wins over it."""

    runtime: str = "process"
    network: str = ""
    volume: str = ""
    pod_cidr: str = ""
    address: str = ""
    port: int = 10250
    #: For the Node.
    labels: Mapping[str, str] = attrs.field(factory=dict)
    #: `KEY[=VALUE]:EFFECT`, where the Node is made.
    taints: tuple[str, ...] = ()
    images: tuple[Path, ...] = ()
    #: Ask the cluster for the certificate of its server.
    serving_csr: bool = False
    kubelet: KubeletSettings = attrs.field(factory=KubeletSettings)


class _Mistake(Exception):
    """An argument that cannot be; the message is one line for a person."""


def run(arguments: NodeArguments, *, log_level: str) -> str | None:
    """Be the node until told to stop; returns what went wrong, in one line."""
    from kube_core._kit import logs
    from kube_core.abc.failures import DriverFailure
    from kube_core.cli.state import StateError
    from kube_core.client.kubeconfig import KubeconfigError, load_connection
    from kube_core.drivers import DriverError
    from kube_core.meta.status import StatusError
    from kube_core.node.process import NodeError

    logs.configure(log_level)
    try:
        with _held(arguments) as state:
            options = _options(arguments, state)
            connection = load_connection(arguments.kubeconfig, arguments.context)
            _serve(options, connection)
    except (_Mistake, StateError, NodeError, KubeconfigError, DriverError, DriverFailure) as error:
        return str(error)
    except StatusError as error:
        return error.message
    except OSError as error:
        return f"{error.filename or arguments.given.get('address') or 'system'}: {error.strerror or error}"
    return None


def end(arguments: NodeArguments) -> str | None:
    """End and remove what the node has left running; returns what went wrong, in one line."""
    from kube_core.abc.failures import DriverFailure
    from kube_core.cli.state import StateError
    from kube_core.drivers import DriverError
    from kube_core.node import process

    try:
        with _held(arguments) as state:
            asyncio.run(process.end(_options(arguments, state)))
    except (_Mistake, StateError, process.NodeError, DriverError, DriverFailure) as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or 'system'}: {error.strerror or error}"
    return None


def _serve(options: NodeOptions, connection: Connection) -> None:
    import uvloop

    garbage.settle_in(small=True)
    uvloop.run(_until_told(options, connection))


async def _until_told(options: NodeOptions, connection: Connection) -> None:
    from kube_core.node.process import serve

    stop, wind_down = asyncio.Event(), asyncio.Event()

    def told() -> None:
        # Who asks again does not want to wait.
        (stop if wind_down.is_set() else wind_down).set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    await serve(options, connection, stop=stop, wind_down=wind_down, tell=functools.partial(print, flush=True))


def _options(arguments: NodeArguments, state: Path) -> NodeOptions:
    """Raises `_Mistake`, and OSError for a file that cannot be read."""
    import ipaddress

    from kube_core.config import ClusterConfig, ConfigError
    from kube_core.node.process import NodeOptions

    try:
        told = _told(arguments)
        chosen = ClusterConfig(runtime=told.runtime, network=told.network, volume=told.volume, pod_cidr=told.pod_cidr)
        if told.address and ipaddress.ip_address(told.address).is_unspecified:
            raise _Mistake(f"{told.address} is no address by which a node is reached")
    except (ConfigError, ValueError) as error:
        raise _Mistake(str(error)) from None
    authorities = Path(arguments.client_ca_file).read_bytes() if arguments.client_ca_file else b""
    return NodeOptions(
        name=arguments.name,
        runtime=told.runtime,
        network=chosen.driver("network"),
        volume=chosen.driver("volume"),
        state=state,
        pod_cidr=told.pod_cidr,
        address=told.address,
        port=told.port,
        labels=told.labels,
        taints=[_taint(each) for each in told.taints],
        images=told.images,
        client_authorities=authorities,
        certified=told.serving_csr or arguments.serving_csr,
        kubelet=told.kubelet,
    )


def _told(arguments: NodeArguments) -> NodeFile:
    """The file's options, and over them the command line's. Raises `ConfigError`, `_Mistake`."""
    from kube_core.config_file import read_file

    of_file = read_file(NodeFile, arguments.config_file) if arguments.config_file else NodeFile()
    given = dict(arguments.given)
    if "labels" in given:
        given["labels"] = {**of_file.labels, **dict(_pair(each) for each in given["labels"])}
    if "images" in given:
        given["images"] = tuple(Path(each).absolute() for each in given["images"])
    return attrs.evolve(of_file, **given)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise _Mistake(f"--labels {text}: give KEY=VALUE")
    return key, value


def _taint(text: str) -> Mapping[str, str]:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if not key or effect not in _EFFECTS:
        raise _Mistake(f"--taints {text}: give KEY[=VALUE]:EFFECT, with an effect of {', '.join(_EFFECTS)}")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def _held(arguments: NodeArguments) -> AbstractContextManager[Path]:
    """The node's folder, of which no other process is the node. Raises `StateError` and OSError."""
    from kube_core.cli.state import held_folder, state_root

    state = Path(arguments.state).absolute() if arguments.state else state_root() / "nodes" / arguments.name
    return held_folder(state, f"node {arguments.name!r}")
