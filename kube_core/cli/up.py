"""`kube-core up`: start or resume a cluster, in the foreground or detached.

Options that were given win over those the cluster was last started with, which win over the defaults. The kubeconfig
gets a context `kube-core-NAME`. Detached, the same program runs in a session of its own, and this one waits on a pipe
until it says that it is ready, or why not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from kube_core.cli.state import ClusterState, StateError
from kube_core.config import ClusterConfig, ConfigError

__all__ = ["UpOptions", "detached", "run"]

_DEFAULTS: Mapping[str, Any] = {"nodes": 1, "runtime": "process", "bind": "127.0.0.1", "port": 0, "controllers": "all"}
_READY_FD = "KUBE_CORE_READY_FD"


@attrs.frozen
class UpOptions:
    """What the command line said. `given` holds the cluster's own options, under their names in the state file."""

    name: str
    given: Mapping[str, Any]
    in_memory: bool = False
    kubeconfig: str | None = None
    use_context: bool = False


def run(options: UpOptions) -> str | None:
    """Run the cluster until told to stop; returns what went wrong, in one line."""
    if descriptor := os.environ.get(_READY_FD):
        # The pipe ends with this process; those that it starts must not keep it open.
        os.set_inheritable(int(descriptor), False)
    error = _run(options)
    _tell_parent(error or "")
    return error


def detached(options: UpOptions) -> str | None:
    """Start the cluster as a process of its own and return when it is ready."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    log: Any = subprocess.DEVNULL
    try:
        if not options.in_memory:
            state = ClusterState.of(options.name)
            state.make()
            log = open(state.log, "ab")  # noqa: SIM115 (the child's from here on)
        child = subprocess.Popen(
            [sys.executable, "-m", "kube_core.cli", "up", *_arguments(options)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, _READY_FD: str(write)},
            pass_fds=[write],
            start_new_session=True,
        )
    except StateError as error:
        os.close(read)
        os.close(write)
        return str(error)
    os.close(write)
    with os.fdopen(read) as pipe:
        message = pipe.read()
    if message.startswith("ready\n"):
        sys.stdout.write(message.removeprefix("ready\n"))
        return None
    code = child.wait()
    return message.strip() or f"the cluster's process ended with code {code}; see {getattr(log, 'name', 'its output')}"


def _arguments(options: UpOptions) -> list[str]:
    arguments = ["--name", options.name]
    for name, value in options.given.items():
        values = value if isinstance(value, list) else [value]
        for each in values:
            arguments += [f"--{name.replace('_', '-')}", str(each)]
    if options.in_memory:
        arguments.append("--in-memory")
    if options.kubeconfig is not None:
        arguments += ["--kubeconfig", options.kubeconfig]
    if options.use_context:
        arguments.append("--use-context")
    return arguments


def _run(options: UpOptions) -> str | None:
    from kube_core.abc.store import StoreError
    from kube_core.client.kubeconfig import KubeconfigError
    from kube_core.drivers import DriverError

    try:
        state = ClusterState.of(options.name)
        if options.in_memory:
            _serve(options, _config(options, None, {}), None)
        else:
            state.make()
            with state.held():
                saved = state.load()
                _serve(options, _config(options, state, saved), state)
    except (StateError, ConfigError, DriverError, StoreError, KubeconfigError) as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or 'system'}: {error.strerror or error}"
    except (KeyboardInterrupt, asyncio.CancelledError):
        return "told to stop before it was ready"
    return None


def _config(options: UpOptions, state: ClusterState | None, saved: Mapping[str, Any]) -> ClusterConfig:
    """Raises `ConfigError`."""
    chosen = {**_DEFAULTS, **saved, **options.given}
    if state is None:
        chosen["store"] = "memory:"
    elif "store" not in chosen or chosen["store"] == "sqlite":
        chosen["store"] = state.store
    known = {field.name for field in attrs.fields(ClusterConfig)}
    unknown = set(chosen) - known
    if unknown:
        raise ConfigError(f"unknown option {', '.join(sorted(unknown))} in the cluster's saved state")
    controllers = str(chosen.pop("controllers"))
    names = () if controllers == "none" else tuple(name.strip() for name in controllers.split(",") if name.strip())
    images = tuple(Path(each).absolute() for each in chosen.pop("images", ()))
    try:
        return ClusterConfig(
            name=options.name,
            state_directory=state.directory if state is not None else None,
            controllers=names,
            images=images,
            **chosen,
        )
    except TypeError as error:
        raise ConfigError(f"the cluster's saved state does not fit: {error}") from None


def _serve(options: UpOptions, config: ClusterConfig, state: ClusterState | None) -> None:
    import uvloop

    uvloop.run(_until_told(options, config, state))


async def _until_told(options: UpOptions, config: ClusterConfig, state: ClusterState | None) -> None:
    from kube_core._kit import logs
    from kube_core.cluster import Cluster

    logs.configure("warning")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()

    def told() -> None:
        """Stop in good order; a cluster that is still starting is given up."""
        stop.set()
        if starting and task is not None:
            task.cancel()

    starting = True
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    async with Cluster(config) as cluster:
        starting = False
        if state is not None:
            state.save(_saved(config, cluster.port))
        path, current = _merge(options, cluster)
        text = _announcement(config.name, cluster.url, path, current=current)
        _tell_parent(f"ready\n{text}")
        if _READY_FD not in os.environ:
            sys.stdout.write(text)
            sys.stdout.flush()
        await stop.wait()


def _saved(config: ClusterConfig, port: int) -> Mapping[str, Any]:
    """What `up` needs to resume the cluster as it is."""
    return {
        "nodes": config.nodes,
        "runtime": config.runtime,
        "network": config.network,
        "store": config.store,
        "bind": config.bind,
        "port": port,
        "controllers": ",".join(config.controllers) or "none",
        "pod_cidr": config.pod_cidr,
        "service_cidr": config.service_cidr,
        "images": [str(path) for path in config.images],
    }


def _merge(options: UpOptions, cluster: Any) -> tuple[Path, bool]:
    from kube_core.client.kubeconfig import default_paths, merge_context

    document = cluster.kubeconfig()
    path = Path(options.kubeconfig) if options.kubeconfig else default_paths()[0]
    current = merge_context(
        path,
        document["current-context"],
        cluster=document["clusters"][0]["cluster"],
        user=document["users"][0]["user"],
        make_current="always" if options.use_context else "where-none-set",
    )
    return path, current


def _announcement(name: str, url: str, kubeconfig: Path, *, current: bool) -> str:
    lines = [f"cluster {name!r} is ready at {url}", f"export KUBECONFIG={kubeconfig}"]
    if not current:
        lines.append(f"kubectl config use-context kube-core-{name}")
    return "\n".join(lines) + "\n"


def _tell_parent(message: str) -> None:
    """Say it to the process that waits for us, if one does, and only once."""
    descriptor = os.environ.get(_READY_FD)
    if not descriptor:
        return
    try:
        os.write(int(descriptor), message.encode())
        os.close(int(descriptor))
    except OSError:
        pass
    os.environ[_READY_FD] = ""
